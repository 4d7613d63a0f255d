from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from dth.errors import LeaseLost, LedgerError, QueueError, RunUnderWay, ServerFault
from dth.events import Event, ListingProgress, Notice, Planned, RunAbandoned, RunSealed
from dth.finder import outbox, run
from dth.finder.result import Found
from dth.finder.run import find, preview
from dth.ledgers.base import Ledger, Run
from dth.ledgers.sqlite import SqliteLedger
from dth.messages import ObjectEntry, ObjectsMessage, decode
from dth.model import Entry, KeyMapping
from dth.queues.base import Queue, QueueDepth
from dth.queues.sqlite import SqliteQueue
from dth.states import Reason, RunState
from dth.stores.base import Lister
from tests.unit.finder_fakes import (
    CAPABILITIES,
    FakeLister,
    MadeUpLister,
    entry,
    finder_settings,
    no_emit,
    paged,
)


class RunRows:
    """The part of a ledger that a finder uses, with faults on demand."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.calls: list[str] = []
        self.sealed: tuple[int, int, dict[str, int]] | None = None
        self.beat_error: Exception | None = None
        self.start_error: Exception | None = None

    async def run_key(self, run_id: str) -> bytes:
        return run_id.encode()

    async def start_run(self, row: Run, *, overlap: bool = False) -> None:
        self.calls.append("start")
        if self.start_error:
            raise self.start_error
        self.runs[row.run_id] = row

    async def extend_run(self, run_id: str, finder: str, lease_until: float) -> None:
        self.calls.append("extend")
        if self.beat_error:
            raise self.beat_error

    async def seal_run(
        self, run_id: str, finder: str, found: int, found_bytes: int, reasons: Mapping[str, int]
    ) -> None:
        self.calls.append("seal")
        self.sealed = (found, found_bytes, dict(reasons))

    async def abandon_run(self, run_id: str, *, expired_before: float | None = None) -> bool:
        self.calls.append("abandon")
        return self.sealed is None


class HeldQueue:
    """A queue that keeps what it gets and whose depth a test sets."""

    message_bytes = 262_144

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.depths: list[int] = []
        self.asked = 0
        self.error: Exception | None = None

    async def send(self, bodies: Sequence[str]) -> None:
        if self.error:
            raise self.error
        self.bodies += bodies

    async def depth(self) -> QueueDepth:
        self.asked += 1
        return QueueDepth(self.depths.pop(0) if self.depths else 0, 0, 0, exact=True)

    def entries(self) -> list[ObjectEntry]:
        return [o for body in self.bodies for o in cast("ObjectsMessage", decode(body)).objects]


async def search(
    source: Lister,
    destination: Lister,
    rows: RunRows | None = None,
    queue: HeldQueue | None = None,
    events: list[Event] | None = None,
    **changed: object,
) -> Found:
    return await find(
        source,
        destination,
        cast("Queue", queue or HeldQueue()),
        cast("Ledger", rows or RunRows()),
        finder_settings(**changed),
        no_emit if events is None else events.append,
    )


class StuckLister(FakeLister):
    """Lists one page and then waits for ever."""

    async def pages(self, prefix: str, *, after: str = "", until: str = "") -> AsyncIterator[Sequence[Entry]]:
        self.open += 1
        try:
            yield [entry("a")]
            await asyncio.Event().wait()
        finally:
            self.open -= 1


async def test_a_run_sends_the_difference_to_a_real_queue_and_is_sealed_with_exact_totals(tmp_path: Path) -> None:
    queue = await SqliteQueue.open(
        tmp_path / "queue", owner="me", lease_seconds=60, message_bytes=262_144, receive_limit=20
    )
    ledger = await SqliteLedger.open(tmp_path / "ledger")
    events: list[Event] = []
    source = FakeLister(paged([entry(f"k{n:05}\udc80", n) for n in range(2_500)], [1000]))
    destination = FakeLister(paged([entry(f"k{n:05}\udc80", n if n % 2 else n + 1) for n in range(2_000)], [700]))
    found = await find(source, destination, queue, ledger, finder_settings(), events.append)
    received = []
    while deliveries := await queue.receive(10, 0):
        received += [o for d in deliveries for o in cast("ObjectsMessage", decode(d.body)).objects]
        await queue.ack(deliveries)
    sealed = await ledger.run("run")
    with pytest.raises(RunUnderWay):  # not counted yet
        await find(source, destination, queue, ledger, finder_settings(run_id="next"), no_emit)
    await queue.close()
    await ledger.close()
    assert sorted(o.key for o in received) == [f"k{n:05}\udc80" for n in range(2_500) if n >= 2_000 or n % 2 == 0]
    sizes = sum(n for n in range(2_500) if n >= 2_000 or n % 2 == 0)
    assert sealed
    assert (sealed.state, sealed.found, sealed.found_bytes) == (RunState.SEALED, 1_500, sizes)
    assert sealed.reasons == {"size": 1_000, "missing": 500}
    assert found == Found(1_500, sizes, 2_500, 2_000, {"size": 1_000, "missing": 500}, 0, 0, 0)
    assert [e for e in events if isinstance(e, RunSealed)] == [
        RunSealed("run", 1_500, sizes, 2_500, {"size": 1_000, "missing": 500})
    ]
    assert any(isinstance(e, ListingProgress) for e in events)


async def test_a_failed_run_never_blocks_the_next(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "ledger")
    queue, source = cast("Queue", HeldQueue()), FakeLister([[entry("a")]])
    for run_id in ("first", "second"):
        with pytest.raises(ServerFault):
            await find(source, FakeLister([ServerFault("no")]), queue, ledger, finder_settings(run_id=run_id), no_emit)
    await find(source, FakeLister([]), queue, ledger, finder_settings(run_id="third"), no_emit)
    states = {r.run_id: r.state for r in await ledger.runs("job", 9)}
    await ledger.close()
    assert states == {"first": RunState.ABANDONED, "second": RunState.ABANDONED, "third": RunState.SEALED}


async def test_the_second_run_over_what_the_first_one_copied_finds_nothing() -> None:
    md5 = "d" * 32
    old, new = "2024-05-01T12:00:00.000Z", "2024-05-02T12:00:00.000Z"
    source = [
        entry("archived", 5, "a" * 32, old),
        entry("empty", 0, "e" * 32, old),
        entry("folder/", 0, md5, old),
        entry("kms", 5, "9" * 32 + "-1", old),
        entry("multipart", 9, "a" * 32 + "-3", old),
    ]
    copied = [
        entry("archived", 5, "a" * 32, new, "DEEP_ARCHIVE"),
        entry("empty", 0, md5, new),
        entry("folder/", 0, md5, new),
        entry("kms", 5, "8" * 32, new),
        entry("multipart", 9, "b" * 32 + "-2", new),
    ]
    queue = HeldQueue()
    found = await search(FakeLister([source]), FakeLister([copied]), queue=queue)
    assert (found.found, found.compared, queue.bodies) == (0, 5, [])


async def test_disorder_in_the_middle_of_a_run_counts_and_sends_each_key_once() -> None:
    queue, rows = HeldQueue(), RunRows()
    keys = [f"k{n:05}" for n in range(5_000)]
    source = FakeLister(paged([entry(k) for k in [*keys[100:], *keys[:100]]], [500]))
    found = await search(source, FakeLister([]), rows, queue)
    assert sorted(o.key for o in queue.entries()) == keys
    assert rows.sealed == (5_000, 5_000, {"missing": 5_000})
    assert found.compared == 5_000


@pytest.mark.parametrize("page", [0, 3])
@pytest.mark.parametrize("side", ["source", "destination"])
async def test_a_listing_that_fails_on_any_page_abandons_the_run_and_raises_the_stores_error(
    side: str, page: int
) -> None:
    pages = paged([entry(f"k{n}") for n in range(8)], [2])
    broken, whole = FakeLister([*pages[:page], ServerFault("page lost")]), FakeLister(pages)
    rows, events = RunRows(), list[Event]()
    with pytest.raises(ServerFault, match="page lost"):
        await search(*((broken, whole) if side == "source" else (whole, broken)), rows, events=events)
    assert rows.calls == ["start", "abandon"]
    assert rows.sealed is None
    assert [e for e in events if isinstance(e, RunAbandoned | RunSealed)] == [RunAbandoned("run", "page lost")]
    assert whole.open == broken.open == 0


async def test_a_queue_that_refuses_a_message_leaves_the_run_unsealed() -> None:
    rows, queue = RunRows(), HeldQueue()
    queue.error = QueueError("3 messages were not sent", ("1", "2", "3"))
    with pytest.raises(QueueError, match="3 messages"):
        await search(FakeLister([[entry("a")]]), FakeLister([]), rows, queue)
    assert rows.calls == ["start", "abandon"]


async def test_a_run_under_way_is_left_alone() -> None:
    rows = RunRows()
    rows.start_error = RunUnderWay("run other is under way", "other")
    source = FakeLister([[entry("a")]])
    with pytest.raises(RunUnderWay):
        await search(source, FakeLister([]), rows)
    assert (rows.calls, source.listings) == (["start"], 0)


async def test_a_lost_lease_stops_the_finder() -> None:
    rows, source = RunRows(), StuckLister([])
    rows.beat_error = LeaseLost("somebody else took the run")
    with pytest.raises(LeaseLost):
        await search(source, FakeLister([]), rows, lease_seconds=0.01)
    assert rows.calls[-1] == "abandon"
    assert source.open == 0


async def test_a_ledger_that_is_away_stops_the_finder_only_when_the_lease_would_be_over() -> None:
    rows, events = RunRows(), list[Event]()
    rows.beat_error = LedgerError("away")
    with pytest.raises(LedgerError):
        await search(StuckLister([]), FakeLister([]), rows, events=events, lease_seconds=0.05)
    assert rows.calls.count("extend") > 1
    assert any(isinstance(e, Notice) and e.level == "warning" for e in events)


async def test_cancelling_abandons_the_run() -> None:
    rows, events, source = RunRows(), list[Event](), StuckLister([])
    task = asyncio.create_task(search(source, FakeLister([]), rows, events=events))
    while not source.open:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rows.calls == ["start", "abandon"]
    assert RunAbandoned("run", "interrupted") in events
    assert source.open == 0


async def test_the_finder_waits_while_the_queue_is_above_its_high_water(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_POLL_SECONDS", 0)
    queue, events = HeldQueue(), list[Event]()
    queue.depths = [11, 12, 11, 10]
    await search(FakeLister([[entry("a")]]), FakeLister([]), queue=queue, events=events, high_water=10)
    assert (queue.asked, len(queue.bodies)) == (4, 1)
    assert [e.code for e in events if isinstance(e, Notice)] == ["high_water"]


async def test_a_queue_far_from_its_high_water_is_asked_once() -> None:
    queue = HeldQueue()
    pages = paged([entry(f"k{n:05}") for n in range(3_000)], [100])
    await search(FakeLister(pages), FakeLister([]), queue=queue, pack_objects=10)
    assert len(queue.bodies) == 300
    assert queue.asked == 1


async def test_a_message_that_is_not_full_does_not_wait_for_the_end_of_a_slow_listing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "_FLUSH_SECONDS", 0)
    queue = HeldQueue()
    task = asyncio.create_task(search(StuckLister([]), FakeLister([]), queue=queue, skip_compare=True))
    async with asyncio.timeout(10):
        while not queue.bodies:
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [o.key for o in queue.entries()] == ["a"]


async def test_skipping_the_comparison_does_not_list_the_destination() -> None:
    queue, destination = HeldQueue(), FakeLister([ServerFault("not asked for")])
    found = await search(FakeLister([[entry("a"), entry("b")]]), destination, queue=queue, skip_compare=True)
    assert [(o.key, o.reason) for o in queue.entries()] == [("a", Reason.UNCOMPARED), ("b", Reason.UNCOMPARED)]
    assert (found.reasons, destination.listings) == ({"uncompared": 2}, 0)


async def test_archived_sources_are_reported_and_not_sent() -> None:
    queue, rows, events = HeldQueue(), RunRows(), list[Event]()
    source = FakeLister([[entry("a", cls="GLACIER"), entry("b", cls="GLACIER_IR"), entry("c", cls="DEEP_ARCHIVE")]])
    found = await search(source, FakeLister([[entry("c")]]), rows, queue, events)
    assert [o.key for o in queue.entries()] == ["b"]
    assert (found.found, found.needs_restore) == (1, 1)
    assert rows.sealed == (1, 1, {"missing": 1, "archived": 1})
    assert [e.code for e in events if isinstance(e, Notice)] == ["needs_restore"]


async def test_a_preview_names_every_change_and_needs_neither_queue_nor_ledger() -> None:
    events: list[Event] = []
    source = FakeLister([[entry("p/a", 1), entry("p/b", 2), entry("p/c", cls="GLACIER"), entry("p/d")]])
    destination = FakeLister([[entry("q/b", 3), entry("q/d"), entry("q/e")]])
    settings = finder_settings(mapping=KeyMapping("p/", "q/", strip=True))
    found = await preview(source, destination, settings, events.append)
    assert [e for e in events if isinstance(e, Planned)] == [
        Planned("copy", "p/a", "q/a", 1, "missing"),
        Planned("copy", "p/b", "q/b", 2, "size"),
        Planned("skip", "p/c", "q/c", 1, "archived"),
    ]
    assert (found.found, found.extra, found.needs_restore, found.compared) == (2, 1, 1, 4)


def _peak(objects: int, make: Callable[[int], Entry], their_make: Callable[[int], Entry]) -> int:
    async def once() -> None:
        source, destination = MadeUpLister(objects, make), MadeUpLister(objects, their_make)
        assert source.capabilities is CAPABILITIES
        await search(source, destination, queue=_Sink())

    tracemalloc.start()
    try:
        asyncio.run(once())
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class _Sink(HeldQueue):
    async def send(self, bodies: Sequence[str]) -> None:
        """Taken and forgotten, as by a service."""


@pytest.mark.slow
@pytest.mark.parametrize("different", [False, True])
def test_memory_does_not_grow_with_the_number_of_objects(*, different: bool) -> None:
    def ours(n: int) -> Entry:
        return entry(f"folder/{n:09}", n, f"{n:032x}")

    def theirs(n: int) -> Entry:
        return entry(f"folder/{n:09}", n + different, f"{n:032x}")

    _peak(3_000, ours, theirs)  # what is loaded once
    small, large = _peak(10_000, ours, theirs), _peak(100_000, ours, theirs)
    assert large < small * 1.2, f"{small} bytes for 10,000 objects, {large} for 100,000"

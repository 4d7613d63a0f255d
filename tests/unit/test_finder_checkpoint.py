"""Going on where a dead finder was: what its checkpoint may say, who believes it, and that no key falls between two runs."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dth.events import Emit, Event, Notice
from dth.finder.attempts import Attempts
from dth.finder.checkpoint import (
    CHAIN_MAX,
    OLDEST_SECONDS,
    TEXT_MAX,
    Checkpoint,
    beginning,
    continued_by,
    from_json,
    keep,
    take_over,
)
from dth.finder.compare import CompareMode, deciding
from dth.finder.dedup import Accepted
from dth.finder.delete_guards import DeleteRules
from dth.finder.plan import Decisions, Extras, Tally
from dth.finder.ranges import KeyRange, resting_place, sendable
from dth.finder.result import Found
from dth.finder.run import find
from dth.ledgers.base import OutcomeRow, Run
from dth.ledgers.sqlite import SqliteLedger
from dth.messages import ObjectsMessage, decode
from dth.model import Change, Counts, Entry, KeyMapping
from dth.queues.base import Queue
from dth.states import Reason, RunState
from tests.unit.finder_fakes import CAPABILITIES, IDENTITY, FakeLister, entry, finder_settings, no_emit, paged
from tests.unit.test_finder_diff import entries, expected, mappings, page_sizes, trees
from tests.unit.test_finder_parallel import Unhurried, cutting_anywhere
from tests.unit.test_finder_run import HeldQueue

EVERYWHERE = KeyRange("", "")


class Died(Exception):
    """Of a finder."""


async def planned(
    sides: tuple[FakeLister, FakeLister],
    mapping: KeyMapping,
    listers: int,
    begin: Sequence[KeyRange],
    dies_after: int,
) -> tuple[list[Change], list[KeyRange]]:
    """What was accepted, and what was left when the finder died."""
    got: list[Change] = []
    left: list[KeyRange] = []
    accepts = 0

    async def accept(changes: Sequence[Change]) -> None:
        nonlocal accepts
        await asyncio.sleep(0)
        if accepts == dies_after:
            left[:] = plan.left()
            raise Died
        accepts += 1
        got.extend(changes)

    decide = deciding(CompareMode.AUTO, CAPABILITIES, CAPABILITIES)
    decisions = Decisions(mapping, decide, Accepted(""), Tally(), accept, Extras())
    plan = Attempts(*sides, decisions, listers=listers, sort_memory=2_000, sort_directory="", emit=no_emit)
    plan.begin_at(begin)
    with contextlib.suppress(Died):
        await plan.run()
    return got, left


@given(
    source=trees, destination=trees, shared=trees, mapping=mappings, sizes=page_sizes, their_sizes=page_sizes,
    listers=st.tuples(*[st.integers(2, 9)] * 3), dies=st.tuples(st.integers(0, 9), st.integers(0, 9)), seed=st.integers(0, 999),
)  # fmt: skip
@settings(max_examples=200)
def test_what_was_accepted_before_each_death_and_what_was_left_are_together_exactly_the_difference(
    source: dict[str, int],
    destination: dict[str, int],
    shared: dict[str, int],
    mapping: KeyMapping,
    sizes: list[int],
    their_sizes: list[int],
    listers: tuple[int, ...],
    dies: tuple[int, ...],
    seed: int,
) -> None:
    source |= shared
    mapped = {mapping.dest_key(k): size for k, size in shared.items() if k.startswith(mapping.source_prefix)}
    destination |= {key: size for key, size in mapped.items() if key}
    chance = random.Random(seed)

    def sides() -> tuple[FakeLister, FakeLister]:
        return (
            Unhurried(paged(entries(source), sizes), chance),
            Unhurried(paged(entries(destination), their_sizes), chance),
        )

    with pytest.MonkeyPatch.context() as patch:
        cutting_anywhere(patch, chance)
        left, sent = [EVERYWHERE], dict[str, Reason]()
        for number, death in zip(listers, [*dies, -1], strict=True):
            got, left = asyncio.run(planned(sides(), mapping, number, left, death))
            assert len(got) == len({c.entry.key for c in got})
            sent |= {c.entry.key: c.reason for c in got}
            left = list(beginning("", "run", 0.0).reached(left, 0).ranges)
            assert all(one.until and one.until <= other.after for one, other in itertools.pairwise(left))
            if not left:
                break
    assert sent == expected(source, destination, mapping)


def test_ranges_that_no_lister_had_time_for_are_left_too() -> None:
    letters = "abcdefgh"
    sides = FakeLister([[entry(letter) for letter in letters]]), FakeLister([])
    begin = [KeyRange(after, until) for after, until in itertools.pairwise(letters)]
    got, left = asyncio.run(planned(sides, IDENTITY, 2, begin, 3))
    rest, _ = asyncio.run(planned(sides, IDENTITY, 2, left, -1))
    assert 0 < len(got) < len(letters) - 1
    assert {c.entry.key for c in [*got, *rest]} == set(letters[1:])


@given(st.text(st.characters(codec=None, categories=None), max_size=20), st.integers(0, 40))
def test_a_resting_place_can_be_sent_and_lies_at_or_before_the_key(key: str, room: int) -> None:
    place = resting_place(key, room)
    assert key.startswith(place)
    assert len(place.encode()) <= room
    assert all(sendable(ord(letter)) == ord(letter) for letter in place)
    if len(key.encode("utf-8", "surrogatepass")) <= room and all(sendable(ord(a)) == ord(a) for a in key):
        assert place == key


class Stopping(FakeLister):
    """Lists so many pages of a listing and waits for ever after them, as long as it is told to."""

    def __init__(self, pages: Sequence[Sequence[Entry]], stops_after: int = -1) -> None:
        super().__init__(pages)
        self.asked: list[KeyRange] = []
        self._stops_after = stops_after

    async def pages(self, prefix: str, *, after: str = "", until: str = "") -> AsyncIterator[Sequence[Entry]]:
        self.asked.append(KeyRange(after, until))
        given = 0
        async for page in super().pages(prefix, after=after, until=until):
            if given == self._stops_after:
                await asyncio.Event().wait()
            given += bool(page)
            yield page


@asynccontextmanager
async def ledger_in(folder: Path) -> AsyncIterator[SqliteLedger]:
    ledger = await SqliteLedger.open(folder / "ledger")
    try:
        yield ledger
    finally:
        await ledger.close()


KEYS = [f"k{n:05}" for n in range(4_000)]
DELETES = DeleteRules("", from_empty=False, moved=False)
PAGES = paged([entry(key) for key in KEYS], [100])


async def run_of(
    ledger: SqliteLedger, source: FakeLister, queue: HeldQueue, emit: Emit = no_emit, **changed: object
) -> Found:
    how = {"resumable": True, "listers": 2, "lease_seconds": 0.03, "pack_objects": 2_000, **changed}
    return await find(source, FakeLister([]), cast("Queue", queue), ledger, finder_settings(**how), emit)


async def killed_with_a_checkpoint(ledger: SqliteLedger, queue: HeldQueue) -> Checkpoint:
    """A run that came so far, and its checkpoint."""
    source = Stopping(PAGES, stops_after=5)
    run = asyncio.create_task(run_of(ledger, source, queue))
    async with asyncio.timeout(120):
        while not (text := await ledger.get_note("job", "checkpoint")) or "k00499" not in text:
            assert not run.done()
            await asyncio.sleep(0.01)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    checkpoint = from_json(await ledger.get_note("job", "checkpoint") or "")
    assert checkpoint
    return checkpoint


def keys_in(queue: HeldQueue) -> list[str]:
    return [o.key for body in queue.bodies for o in cast("ObjectsMessage", decode(body)).objects]


async def test_the_run_after_a_dead_one_lists_what_was_left_and_has_totals_of_its_own(tmp_path: Path) -> None:
    async with ledger_in(tmp_path) as ledger:
        queue, events, source = HeldQueue(), list[Event](), Stopping(PAGES)
        left = await killed_with_a_checkpoint(ledger, queue)
        first = keys_in(queue)
        queue.bodies.clear()
        found = await run_of(ledger, source, queue, events.append, run_id="next")
        assert sorted({*first, *keys_in(queue)}) == KEYS
        assert found.found == found.compared == len(keys_in(queue)) < len(KEYS)
        assert source.asked[: len(left.ranges)] == list(left.ranges)
        assert "taken_over" in {e.code for e in events if isinstance(e, Notice)}
        assert await continued_by(ledger, "job", "next") == ("run",)
        sealed = await ledger.run("next")
        assert sealed
        assert (sealed.state, sealed.found) == (RunState.SEALED, found.found)
        assert await ledger.get_note("job", "checkpoint") is None
        source = Stopping(PAGES)
        found = await run_of(ledger, source, HeldQueue(), run_id="whole", overlap=True)
        assert (found.compared, source.asked[0]) == (len(KEYS), EVERYWHERE)
        assert await continued_by(ledger, "job", "whole") == ()


async def test_a_key_is_behind_the_checkpoint_only_once_the_queue_has_its_message(tmp_path: Path) -> None:
    taking = asyncio.Event()

    class Slow(HeldQueue):
        async def send(self, bodies: Sequence[str]) -> None:
            await taking.wait()
            await super().send(bodies)

    async with ledger_in(tmp_path) as ledger:
        run = asyncio.create_task(run_of(ledger, Stopping(PAGES, stops_after=5), Slow()))
        before = 0.0
        for _ in range(6):  # beats
            async with asyncio.timeout(120):
                while (row := await ledger.run("run")) is None or row.lease_until == before:
                    await asyncio.sleep(0.005)
                before = row.lease_until
        assert await ledger.get_note("job", "checkpoint") is None
        taking.set()
        async with asyncio.timeout(120):
            while not await ledger.get_note("job", "checkpoint"):
                await asyncio.sleep(0.005)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


@pytest.mark.parametrize("how", [{"deletes": DELETES}, {"listers": 1}, {"resumable": False}])
async def test_a_run_that_cannot_go_on_from_a_checkpoint_lists_everything(
    tmp_path: Path, how: dict[str, object]
) -> None:
    """Extras behind it were spooled by a dead process; one lister has no ranges; a list of keys may have changed."""
    async with ledger_in(tmp_path) as ledger:
        await killed_with_a_checkpoint(ledger, HeldQueue())
        source = Stopping(PAGES)
        found = await run_of(ledger, source, HeldQueue(), no_emit, run_id="next", **how)
        assert (found.compared, source.asked[0]) == (len(KEYS), EVERYWHERE)


async def test_archived_objects_behind_the_checkpoint_are_still_named(tmp_path: Path) -> None:
    pages = [[e._replace(storage_class="GLACIER") if n < 2 else e for e in page] for n, page in enumerate(PAGES)]
    async with ledger_in(tmp_path) as ledger:
        run = asyncio.create_task(run_of(ledger, Stopping(pages, stops_after=5), HeldQueue()))
        async with asyncio.timeout(120):
            while "k00499" not in (await ledger.get_note("job", "checkpoint") or ""):
                await asyncio.sleep(0.01)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        found = await run_of(ledger, Stopping(pages), HeldQueue(), run_id="next")
        assert found.needs_restore == found.reasons["archived"] == 200


async def test_disorder_takes_the_checkpoint_back_and_everything_is_listed(tmp_path: Path) -> None:
    spoilt = [*PAGES[:20], *reversed(PAGES[20:])]
    async with ledger_in(tmp_path) as ledger:
        queue = HeldQueue()
        await killed_with_a_checkpoint(ledger, queue)
        seen: list[str | None] = []

        class Watched(FakeLister):
            async def pages(self, prefix: str, *, after: str = "", until: str = "") -> AsyncIterator[Sequence[Entry]]:
                if self.listings and not after:  # anew
                    seen.append(await ledger.get_note("job", "checkpoint"))
                async for page in super().pages(prefix, after=after, until=until):
                    yield page

        queue.bodies.clear()
        found = await run_of(ledger, Watched(spoilt), queue, run_id="next")
        assert seen[-1] is None
        assert sorted(keys_in(queue)) == KEYS
        assert found.compared == found.found == len(KEYS)


def run_row(run_id: str, state: RunState = RunState.LISTING) -> Run:
    return Run(run_id, "job", state, "{}", "me", 0.0, 0.0, None, 0, {}, Counts())


async def dead_run(ledger: SqliteLedger, run_id: str = "dead", *, failed: int = 0) -> None:
    await ledger.start_run(run_row(run_id), overlap=True)
    await ledger.abandon_run(run_id)
    await ledger.record(OutcomeRow(f"{run_id}-1", run_id, Counts(done=9, failed=failed), "", ""), "worker")


LEFT = (KeyRange("c", "f"), KeyRange("k", ""))


async def test_a_checkpoint_of_dead_runs_is_taken_over_with_their_names(tmp_path: Path) -> None:
    async with ledger_in(tmp_path) as ledger:
        await dead_run(ledger)
        await keep(ledger, "job", beginning("{}", "dead", 1_000.0).reached(LEFT, 7))
        found = await take_over(ledger, "job", beginning("{}", "new", 1_000.0 + OLDEST_SECONDS))
        assert found.taken
        assert (found.taken.runs, found.taken.ranges, found.taken.needs_restore) == (("dead", "new"), LEFT, 7)
        assert found.taken.began_at == 1_000.0


@pytest.mark.parametrize(
    "why", ["settings", "old", "from the future", "failed", "sealed", "listing", "unknown run", "chain", "garbage", "version"]
)  # fmt: skip
async def test_a_checkpoint_that_is_doubtful_is_not_believed(tmp_path: Path, why: str) -> None:
    """Each of these, believed, would leave out objects that nobody has sent, or that nobody would look at for days."""
    async with ledger_in(tmp_path) as ledger:
        stored = beginning("{}", "dead", 1_000.0).reached(LEFT, 0)
        fresh = beginning("{}", "new", 1_000.0)
        if why not in {"sealed", "listing", "unknown run"}:
            await dead_run(ledger, failed=int(why == "failed"))
        if why == "settings":
            fresh = beginning('{"include":["*.jpg"]}', "new", 1_000.0)
        if why in {"old", "from the future"}:
            fresh = dataclasses.replace(fresh, began_at=2_000.0 + OLDEST_SECONDS if why == "old" else 999.0)
        if why in {"sealed", "listing"}:
            await ledger.start_run(run_row("dead"))
        if why == "sealed":
            await ledger.seal_run("dead", "me", 1, 1, {})
        if why == "chain":
            stored = dataclasses.replace(stored, runs=("dead",) * CHAIN_MAX)
        await keep(ledger, "job", stored)
        if why in {"garbage", "version"}:
            text = "{" if why == "garbage" else stored.to_json().replace('"version": 1', '"version": 2')
            await ledger.put_note("job", "checkpoint", text)
        found = await take_over(ledger, "job", fresh)
        assert (found.stored, found.taken) == (True, None)


async def test_nothing_is_written_as_long_as_nothing_was_reached(tmp_path: Path) -> None:
    async with ledger_in(tmp_path) as ledger:
        run = asyncio.create_task(run_of(ledger, Stopping(PAGES, stops_after=0), HeldQueue()))
        before = 0.0
        for _ in range(5):  # beats
            async with asyncio.timeout(120):
                while (row := await ledger.run("run")) is None or row.lease_until == before:
                    await asyncio.sleep(0.005)
                before = row.lease_until
        assert await ledger.get_note("job", "checkpoint") is None
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


async def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    async with ledger_in(tmp_path) as ledger:
        found = await take_over(ledger, "job", beginning("{}", "new", 1.0))
        assert (found.stored, found.taken) == (False, None)


def test_a_checkpoint_of_many_ranges_of_long_keys_fits_a_row_and_still_holds_all_of_them() -> None:
    bounds = [chr(0x4E00 + n) * 300 for n in range(200)]
    ranges = [KeyRange(after, until) for after, until in zip(bounds[::2], bounds[1::2], strict=True)]
    text = beginning("{}", "run", 1.0).reached(ranges[::-1], 0).to_json()
    assert len(text) <= TEXT_MAX
    read = from_json(text)
    assert read
    assert 1 < len(read.ranges) < len(ranges)
    for one in ranges:
        assert any(wide.after <= one.after and one.until <= wide.until for wide in read.ranges)

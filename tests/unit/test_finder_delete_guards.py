"""What the finder lets through to be deleted. Each guard has a test in which an object would be lost without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dth.errors import AccessDenied, DeletesRefused, ServerFault, TimedOut
from dth.events import Event, Planned
from dth.finder.delete_guards import DeleteRules, SpooledDeletes
from dth.finder.plan import Tally
from dth.finder.run import find, preview
from dth.finder.select import Rules, Selection
from dth.ledgers.base import Ledger
from dth.messages import DeleteMessage, ObjectsMessage, decode
from dth.model import Entry, KeyMapping
from dth.queues.base import Queue
from dth.states import Reason
from tests.unit.finder_fakes import IDENTITY, FakeLister, entry, finder_settings, keys, no_emit, paged
from tests.unit.test_finder_run import HeldQueue, RunRows

ANY = DeleteRules(most="", from_empty=False, moved=False)


async def found_by(
    source: FakeLister,
    destination: FakeLister,
    rules: DeleteRules = ANY,
    rows: RunRows | None = None,
    queue: HeldQueue | None = None,
    **changed: object,
) -> tuple[list[str], list[str]]:
    """Keys to copy and keys to delete, from the queue, in the order in which they were sent."""
    queue = queue or HeldQueue()
    options = finder_settings(deletes=rules, **changed)
    await find(source, destination, cast("Queue", queue), cast("Ledger", rows or RunRows()), options, no_emit)
    return keys_of(queue)


def keys_of(queue: HeldQueue) -> tuple[list[str], list[str]]:
    copies: list[str] = []
    deletes: list[str] = []
    for body in queue.bodies:
        message = decode(body)
        if isinstance(message, ObjectsMessage):
            copies += [one.key for one in message.objects]
        else:
            assert isinstance(message, DeleteMessage)
            deletes += [one.key for one in message.objects]
    return copies, deletes


trees = st.dictionaries(keys, st.integers(0, 2), max_size=25)


@given(
    source=trees.filter(bool), destination=trees, sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    listers=st.sampled_from([1, 3]), ordered=st.booleans(),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
async def test_deletes_are_what_set_arithmetic_gives_and_come_after_all_copies(
    source: dict[str, int], destination: dict[str, int], sizes: list[int], listers: int, ordered: bool
) -> None:
    ours = [entry(key, size) for key, size in sorted(source.items())]
    theirs = [entry("q/" + key, size) for key, size in sorted(destination.items())]
    queue, rows = HeldQueue(), RunRows()
    copies, deletes = await found_by(
        FakeLister(paged(ours, sizes), ordered=ordered),
        FakeLister(paged(theirs, sizes)),
        rows=rows,
        queue=queue,
        mapping=KeyMapping("", "q/", strip=True),
        listers=listers,
    )
    assert deletes == sorted(destination.keys() - source.keys())
    assert sorted(copies) == sorted(key for key, size in source.items() if destination.get(key) != size)
    assert rows.sealed
    assert rows.sealed[0] == len(copies) + len(deletes)
    assert rows.sealed[2].get("extra", 0) == len(deletes)
    kinds = [decode(body).kind for body in queue.bodies]
    assert kinds == sorted(kinds, reverse=True)  # objects before delete
    ids = [cast("DeleteMessage", decode(body)).message_id for body in queue.bodies]
    assert len(set(ids)) == len(ids)


ERRORS = [
    ServerFault("broke", operation="ListObjectsV2"),
    TimedOut("slow"),
    AccessDenied("no", operation="ListObjectsV2"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("broken", ["source", "destination"])
@pytest.mark.parametrize("page", range(5))
@pytest.mark.parametrize("listers", [1, 4])
async def test_an_error_on_any_page_of_either_side_deletes_nothing(
    error: Exception, broken: str, page: int, listers: int
) -> None:
    live = paged([entry(f"k{n:02}") for n in range(20)], [5])
    there = paged([entry(f"k{n:02}") for n in range(40)], [10])
    sides: dict[str, Sequence[Sequence[Entry] | Exception]] = {"source": live, "destination": there}
    sides[broken] = [*sides[broken][:page], error]
    queue, rows = HeldQueue(), RunRows()
    with pytest.raises(type(error)):
        await found_by(
            FakeLister(sides["source"]), FakeLister(sides["destination"]), rows=rows, queue=queue, listers=listers
        )
    assert keys_of(queue)[1] == []
    assert rows.sealed is None


async def test_a_listing_that_turns_out_to_be_unordered_takes_back_the_extras_that_it_made() -> None:
    source = [[entry("a"), entry("d")], [entry("b"), entry("c")]]  # b and c come late: taken for extras until then
    there = [[entry(key) for key in "abcdz"]]
    assert await found_by(FakeLister(source), FakeLister(there)) == ([], ["z"])


async def test_an_empty_source_deletes_nothing_unless_it_is_said() -> None:
    there = [[entry("live/1"), entry("live/2")]]
    queue, rows = HeldQueue(), RunRows()
    with pytest.raises(DeletesRefused, match="the source lists no object at all") as caught:
        await found_by(FakeLister([]), FakeLister(there), rows=rows, queue=queue)
    assert caught.value.exit_code == 3
    assert queue.bodies == []
    assert rows.sealed == (0, 0, {})
    said = DeleteRules(most="", from_empty=True, moved=False)
    assert await found_by(FakeLister([]), FakeLister(there), said) == ([], ["live/1", "live/2"])


@pytest.mark.parametrize(
    ("most", "refused"), [("", False), ("4", False), ("3", True), ("0", True), ("40%", False), ("39.9%", True)]
)
async def test_more_deletes_than_allowed_delete_nothing_and_copies_go_on(most: str, refused: bool) -> None:
    source = [[entry(f"k{n}") for n in range(6)] + [entry("new")]]
    there = [[entry(f"k{n}") for n in range(10)]]
    queue, rows = HeldQueue(), RunRows()
    rules = DeleteRules(most=most, from_empty=False, moved=False)
    if refused:
        with pytest.raises(DeletesRefused, match=f"4 of 10 objects.*--max-delete {most}"):
            await found_by(FakeLister(source), FakeLister(there), rules, rows, queue)
    else:
        await found_by(FakeLister(source), FakeLister(there), rules, rows, queue)
    assert keys_of(queue) == (["new"], [] if refused else ["k6", "k7", "k8", "k9"])
    assert rows.sealed
    assert rows.sealed[0] == len(keys_of(queue)[0]) + len(keys_of(queue)[1])


async def test_what_the_selection_leaves_out_is_never_deleted() -> None:
    select = Selection(Rules(("*",), ("keep/*",), 0, 10, None, None, ()), "")
    source = [[entry("big", 100), entry("x")]]
    there = [[entry("big", 1), entry("extra"), entry("huge", 100), entry("keep/1"), entry("x")]]
    assert await found_by(FakeLister(source), FakeLister(there), select=select) == ([], ["extra"])


async def test_a_range_that_has_not_ended_refuses_all_deletes() -> None:
    deletes = SpooledDeletes(ANY, IDENTITY, "")
    await deletes.take("", [entry("a")])
    await deletes.ended("")
    assert deletes.refusal(Tally(compared=1)) == ""
    await deletes.take("m", [entry("n")])
    assert "not every range" in deletes.refusal(Tally(compared=1))
    deletes.close()


async def test_listings_that_begin_again_forget_all_extras_also_those_on_disk() -> None:
    deletes = SpooledDeletes(ANY, IDENTITY, "")
    await deletes.take("", [entry(f"live/{n:04}") for n in range(3000)])
    await deletes.take("live/1", [entry("live/2")])
    await deletes.list_anew()
    await deletes.take("", [entry("old")])
    await deletes.ended("")
    assert (deletes.count, deletes.refusal(Tally(compared=1))) == (1, "")
    assert [change.entry.key async for changes in deletes.changes() for change in changes] == ["old"]
    deletes.close()


async def test_deletes_carry_what_the_destination_listed_and_outlast_memory_on_disk() -> None:
    theirs = [entry(f"q/{n:05}", n, f"etag{n}") for n in range(5000)]
    queue = HeldQueue()
    _, deletes = await found_by(
        FakeLister([[entry("p/live")]]),
        FakeLister(paged(theirs, [1000])),
        queue=queue,
        mapping=KeyMapping("p/", "q/", strip=True),
        pack_objects=1000,
    )
    assert deletes == [f"p/{n:05}" for n in range(5000)]
    last = cast("DeleteMessage", decode(queue.bodies[-1])).objects[-1]
    assert (last.size, last.etag, last.reason) == (4999, "etag4999", Reason.EXTRA)


async def test_a_dry_run_names_the_deletes_that_a_run_sends_and_is_refused_as_a_run_is() -> None:
    source, there = [[entry("a"), entry("b", 2)]], [[entry("b"), entry("c"), entry("d")]]
    events: list[Event] = []
    await preview(FakeLister(source), FakeLister(there), finder_settings(deletes=ANY), events.append)
    planned = [(event.action, event.key) for event in events if isinstance(event, Planned)]
    copies, deletes = await found_by(FakeLister(source), FakeLister(there))
    assert planned == [("copy", key) for key in copies] + [("delete", key) for key in deletes]
    strict = finder_settings(deletes=DeleteRules(most="1", from_empty=False, moved=False))
    with pytest.raises(DeletesRefused):
        await preview(FakeLister(source), FakeLister(there), strict, no_emit)

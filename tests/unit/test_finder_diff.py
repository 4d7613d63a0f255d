"""The plan of one range against set arithmetic, over keys that trap tools which compare by path, by UTF-16 or by folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dth.errors import ListingBroken, ServerFault
from dth.events import Event, Notice, SortProgress
from dth.finder import dedup as accepted_module
from dth.finder.attempts import Attempts
from dth.finder.compare import CompareMode, deciding
from dth.finder.dedup import Accepted
from dth.finder.diff import Batch, diff
from dth.finder.listing import Feed
from dth.finder.plan import Decisions, Extras, Tally
from dth.finder.ranges import EVERYTHING, KeyRange
from dth.model import Change, Entry, KeyMapping
from dth.states import Reason, Side
from tests.unit.finder_fakes import CAPABILITIES, IDENTITY, FakeLister, entry, keys, no_emit, paged

trees = st.dictionaries(keys, st.integers(0, 2), max_size=30)
page_sizes = st.lists(st.integers(1, 7), min_size=1, max_size=4)
mappings = st.sampled_from([
    IDENTITY,
    KeyMapping("", "copy/", strip=True),
    KeyMapping("a", "", strip=True),
    KeyMapping("a/", "b/", strip=True),
    KeyMapping("a", "a", strip=False),
    KeyMapping("", "\U0001f600/", strip=False),
])  # fmt: skip


async def plan(
    source: FakeLister,
    destination: FakeLister | None,
    mapping: KeyMapping = IDENTITY,
    bounds: KeyRange = EVERYTHING,
    events: list[Event] | None = None,
    sort_memory: int = 2_000,
    listers: int = 1,
) -> tuple[list[Change], Tally]:
    """The changes handed on, and the tally; checks that both listings were closed."""
    emit = no_emit if events is None else events.append
    got: list[Change] = []
    tally = Tally()

    async def accept(changes: Sequence[Change]) -> None:
        await asyncio.sleep(0)
        got.extend(changes)

    decide = deciding(CompareMode.AUTO, CAPABILITIES, CAPABILITIES)
    decisions = Decisions(mapping, decide, Accepted(""), tally, accept, Extras())
    try:
        await Attempts(
            source,
            destination,
            decisions,
            listers=listers,
            sort_memory=sort_memory,
            sort_directory="",
            emit=emit,
            bounds=bounds,
        ).run()
    finally:
        assert source.open == 0
        assert destination is None or destination.open == 0
    return got, tally


def expected(source: dict[str, int], destination: dict[str, int], mapping: KeyMapping) -> dict[str, Reason]:
    """By set arithmetic."""
    wanted = {key: mapping.dest_key(key) for key in source if key.startswith(mapping.source_prefix)}
    missing = {key: Reason.MISSING for key, dest in wanted.items() if dest not in destination}
    sizes = {
        key: Reason.SIZE for key, dest in wanted.items() if dest in destination and destination[dest] != source[key]
    }
    return missing | sizes


def entries(tree: dict[str, int]) -> list[Entry]:
    return [entry(key, size) for key, size in sorted(tree.items())]


@given(source=trees, destination=trees, sizes=page_sizes, their_sizes=page_sizes)
def test_no_key_up_to_the_last_of_a_batch_comes_in_a_later_one(
    source: dict[str, int], destination: dict[str, int], sizes: list[int], their_sizes: list[int]
) -> None:
    async def batches() -> list[Batch]:
        feeds = []
        async with asyncio.TaskGroup() as tasks:
            for tree, size in ((source, sizes), (destination, their_sizes)):
                feeds.append(Feed())
                tasks.create_task(feeds[-1].fill(FakeLister(paged(entries(tree), size)).pages("")))
            decide = deciding(CompareMode.SIZE, CAPABILITIES, CAPABILITIES)
            return [batch async for batch in diff(feeds[0], feeds[1], IDENTITY, decide)]

    last = ""
    for batch in asyncio.run(batches()):
        keys = [c.entry.key for c in batch.changes] + [e.key for e in batch.extras]
        assert all(last < key <= batch.last for key in keys)
        assert last < batch.last
        last = batch.last


@given(source=trees, destination=trees, shared=trees, mapping=mappings, sizes=page_sizes, their_sizes=page_sizes)
@settings(deadline=None, max_examples=100)
def test_the_diff_of_ordered_listings_is_exact(
    source: dict[str, int],
    destination: dict[str, int],
    shared: dict[str, int],
    mapping: KeyMapping,
    sizes: list[int],
    their_sizes: list[int],
) -> None:
    source |= shared
    mapped = {mapping.dest_key(k): size for k, size in shared.items() if k.startswith(mapping.source_prefix)}
    destination |= {key: size for key, size in mapped.items() if key}  # no store holds the empty key
    ours, theirs = FakeLister(paged(entries(source), sizes)), FakeLister(paged(entries(destination), their_sizes))
    got, tally = asyncio.run(plan(ours, theirs, mapping))
    assert [c.entry.key for c in got] == sorted(c.entry.key for c in got)
    assert {c.entry.key: c.reason for c in got} == expected(source, destination, mapping)
    wanted = {mapping.dest_key(key) for key in source if key.startswith(mapping.source_prefix)}
    there = {key for key in destination if key.startswith(mapping.dest_listing_prefix)}
    assert (tally.found, tally.extra) == (len(got), len(there - wanted))
    assert (tally.compared, tally.dest_objects) == (len(wanted), len(there))
    assert (ours.listings, theirs.listings) == (1, 1)


@given(
    source=trees,
    destination=trees,
    shared=trees,
    sizes=page_sizes,
    their_sizes=page_sizes,
    data=st.data(),
    announced=st.tuples(st.booleans(), st.booleans()),
    block=st.integers(1, 4),
)
@settings(deadline=None, max_examples=100)
def test_disorder_anywhere_on_either_side_loses_nothing_and_hands_on_each_key_once(
    source: dict[str, int],
    destination: dict[str, int],
    shared: dict[str, int],
    sizes: list[int],
    their_sizes: list[int],
    data: st.DataObject,
    announced: tuple[bool, bool],
    block: int,
) -> None:
    source |= shared
    destination |= shared

    def shuffled(tree: dict[str, int], page: list[int], *, known: bool) -> FakeLister:
        listed = entries(tree)
        calm = data.draw(st.integers(0, len(listed)), "keys in order")
        rest = data.draw(st.permutations(listed[calm:]), "then")
        # Duplicates too: the first time with a stale size, which the last one must overrule.
        stale = [entry(e.key, 77) for e in listed if data.draw(st.integers(0, 9)) == 0]
        return FakeLister(paged(stale + listed[:calm] + list(rest), page), ordered=not known)

    ours, theirs = shuffled(source, sizes, known=announced[0]), shuffled(destination, their_sizes, known=announced[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accepted_module, "_BLOCK_KEYS", block)
        got, tally = asyncio.run(plan(ours, theirs))
    handed = [c.entry.key for c in got]
    assert len(set(handed)) == len(handed) == tally.found
    assert sum(tally.reasons.values()) == tally.found
    # Nothing that differs is left out. More than that only where it was handed on before disorder was seen.
    assert set(handed) >= set(expected(source, destination, IDENTITY))
    assert set(handed) <= set(source)
    assert tally.extra == len(destination.keys() - source.keys())
    assert (tally.compared, tally.dest_objects) == (len(source), len(destination))
    if all(announced):
        assert {c.entry.key: c.reason for c in got} == expected(source, destination, IDENTITY)
    assert ours.listings <= 3
    assert theirs.listings <= 3


@given(source=trees, destination=trees, after=keys | st.just(""), until=keys | st.just(""), data=st.data())
@settings(deadline=None)
def test_a_range_gives_exactly_its_own_keys_whether_or_not_the_store_honours_bounds(
    source: dict[str, int], destination: dict[str, int], after: str, until: str, data: st.DataObject
) -> None:
    mapping = KeyMapping("", "copy/", strip=True)
    ordered, honours = data.draw(st.booleans()), data.draw(st.booleans())
    theirs = {"copy/" + key: size for key, size in destination.items()}
    got, tally = asyncio.run(
        plan(
            FakeLister(paged(entries(source), [3]), ordered=ordered, honours_bounds=honours),
            FakeLister(paged(entries(theirs), [2]), ordered=ordered, honours_bounds=honours),
            mapping,
            KeyRange(after, until),
        )
    )

    def inside(key: str) -> bool:
        return key > after and (not until or key <= until)

    want = {key: reason for key, reason in expected(source, theirs, mapping).items() if inside(key)}
    assert {c.entry.key: c.reason for c in got} == want
    assert tally.compared == sum(map(inside, source))
    assert tally.dest_objects == sum(map(inside, destination))


async def test_disorder_after_thousands_of_good_pages_sorts_that_side_and_says_so() -> None:
    good = [entry(f"k{n:06}") for n in range(20_000)]
    late = [entry("k000000-late"), entry("k019999-late")]
    ours = FakeLister(paged([*good, *late], [10]))
    theirs = FakeLister(paged(good[5_000:], [10]))
    events: list[Event] = []
    got, tally = await plan(ours, theirs, events=events, sort_memory=500_000)
    assert sorted(c.entry.key for c in got) == sorted(e.key for e in good[:5_000] + late)
    assert (ours.listings, theirs.listings, tally.found, tally.extra) == (2, 2, 5_002, 0)
    assert [e.code for e in events if isinstance(e, Notice)] == ["unordered_listing"]
    assert any(isinstance(e, SortProgress) and e.side == "source" for e in events)


async def test_a_store_known_to_be_unordered_is_listed_once() -> None:
    ours = FakeLister(paged([entry("b"), entry("a"), entry("c")], [2]), ordered=False)
    theirs = FakeLister(paged([entry("c"), entry("b"), entry("z")], [2]), ordered=False)
    got, tally = await plan(ours, theirs)
    assert [c.entry.key for c in got] == ["a"]
    assert (ours.listings, theirs.listings, tally.extra) == (1, 1, 1)


async def test_a_key_on_two_pages_counts_once() -> None:
    ours = FakeLister([[entry("a"), entry("b")], [entry("b", 5), entry("c")]])
    got, tally = await plan(ours, FakeLister([]))
    assert sorted(c.entry.key for c in got) == ["a", "b", "c"]
    assert (tally.found, tally.compared, ours.listings) == (3, 3, 2)


@pytest.mark.parametrize("page", [0, 1, 3])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("side", [Side.SOURCE, Side.DESTINATION])
async def test_a_listing_error_on_any_page_is_raised_and_never_an_empty_listing(
    *, page: int, ordered: bool, side: Side
) -> None:
    good = paged([entry(f"k{n}") for n in range(8)], [2])
    broken = FakeLister([*good[:page], ServerFault("list failed", status=500)], ordered=ordered)
    whole = FakeLister(good, ordered=ordered)
    with pytest.raises(ServerFault, match="list failed"):
        await plan(*((broken, whole) if side is Side.SOURCE else (whole, broken)))


async def test_a_destination_that_cannot_be_listed_at_all_causes_no_change() -> None:
    handed: list[Change] = []

    async def accept(changes: Sequence[Change]) -> None:
        handed.extend(changes)

    decisions = Decisions(
        IDENTITY, deciding(CompareMode.AUTO, CAPABILITIES, CAPABILITIES), Accepted(""), Tally(), accept, Extras()
    )
    with pytest.raises(ServerFault):
        await Attempts(
            FakeLister([[entry("a")]]),
            FakeLister([ServerFault("no")]),
            decisions,
            listers=1,
            sort_memory=1000,
            sort_directory="",
            emit=no_emit,
        ).run()
    assert handed == []


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_key_outside_the_prefix_is_a_broken_listing(*, ordered: bool) -> None:
    class Straying(FakeLister):
        def pages(self, prefix: str, *, after: str = "", until: str = "") -> object:  # type: ignore[override]
            return super().pages("", after=after, until=until)

    lister = Straying([[entry("a/1"), entry("b")]], ordered=ordered)
    with pytest.raises(ListingBroken, match="'b'"):
        await plan(lister, FakeLister([]), KeyMapping("a/", "", strip=True))


async def test_a_feed_holds_two_pages_and_no_more() -> None:
    asked = 0

    async def pages() -> object:
        nonlocal asked
        while True:
            asked += 1
            yield [entry(f"{asked:09}")]

    feed = Feed()
    task = asyncio.create_task(feed.fill(pages()))  # type: ignore[arg-type]
    for _ in range(20):
        await asyncio.sleep(0)
    assert asked == 3  # two wait, and one is in the lister's hands
    await feed.next_page()
    for _ in range(20):
        await asyncio.sleep(0)
    assert asked == 4
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_skipping_the_comparison_sends_everything_and_archived_ones_are_not_sent() -> None:
    got, tally = await plan(FakeLister([[entry("a"), entry("b", cls="GLACIER")]]), None)
    assert [(c.entry.key, c.reason) for c in got] == [("a", Reason.UNCOMPARED), ("b", Reason.ARCHIVED)]
    assert (tally.found, tally.needs_restore, tally.compared, tally.dest_objects) == (1, 1, 2, 0)


async def test_a_range_of_an_unordered_store_is_cut_here_because_bounds_mean_nothing_there() -> None:
    class EndsEarly(FakeLister):
        """As a store does that takes its own listing for ordered: the end of the range is the first key beyond it."""

        async def pages(self, prefix: str, *, after: str = "", until: str = "") -> AsyncIterator[Sequence[Entry]]:
            async for page in super().pages(prefix):
                if until and any(e.key > until for e in page):
                    return
                yield page

    source = EndsEarly([[entry("z")], [entry("c")], [entry("a")], [entry("b")]], ordered=False)
    got, _ = await plan(source, FakeLister([]), bounds=KeyRange("a", "c"))
    assert [c.entry.key for c in got] == ["b", "c"]

"""Many ranges at once against set arithmetic: whatever is cut, wherever, and whatever goes wrong on which page."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dth.errors import ServerFault
from dth.events import Event, Notice
from dth.finder import dedup as accepted_module
from dth.finder.ranges import KeyRange, Letters, Share
from dth.model import Entry, KeyMapping
from tests.unit.finder_fakes import IDENTITY, FakeLister, entry, keys, paged
from tests.unit.test_finder_diff import entries, expected, mappings, page_sizes, plan, trees


class Unhurried(FakeLister):
    """Lets others go on between two pages, by chance; remembers what it was asked."""

    def __init__(self, pages: Sequence[Sequence[Entry] | Exception], chance: random.Random, **how: bool) -> None:
        super().__init__(pages, **how)
        self._chance = chance
        self.asked: list[KeyRange] = []

    async def pages(self, prefix: str, *, after: str = "", until: str = "") -> AsyncIterator[Sequence[Entry]]:
        self.asked.append(KeyRange(after, until))
        async for page in super().pages(prefix, after=after, until=until):
            for _ in range(self._chance.randrange(4)):
                await asyncio.sleep(0)
            yield page


def cutting_anywhere(patch: pytest.MonkeyPatch, chance: random.Random) -> list[str]:
    """Cut ranges at places that no data suggests; gives what was cut."""
    cuts: list[str] = []

    def places(share: Share, letters: Letters, parts: int) -> list[str]:
        if not share.reached or chance.randrange(3) == 0:
            return []
        text = [share.reached[: chance.randrange(8)] + chr(chance.choice([33, 47, 48, 98, 0xFFFD, 0x1F600, 0x10FFFF]))]
        text += [share.reached + "!", share.reached + "a"]
        inside = sorted({p for p in text if p > share.reached and (not share.until or p < share.until)})[:parts]
        cuts.extend(inside)
        return inside

    patch.setattr(Share, "_places", places)
    return cuts


@given(
    source=trees, destination=trees, shared=trees, mapping=mappings, sizes=page_sizes, their_sizes=page_sizes,
    listers=st.integers(2, 9), seed=st.integers(0, 999), anywhere=st.booleans(),
)  # fmt: skip
@settings(deadline=None, max_examples=200)
def test_many_ranges_give_exactly_the_difference_and_list_each_key_once(
    source: dict[str, int],
    destination: dict[str, int],
    shared: dict[str, int],
    mapping: KeyMapping,
    sizes: list[int],
    their_sizes: list[int],
    listers: int,
    seed: int,
    *,
    anywhere: bool,
) -> None:
    source |= shared
    mapped = {mapping.dest_key(k): size for k, size in shared.items() if k.startswith(mapping.source_prefix)}
    destination |= {key: size for key, size in mapped.items() if key}
    chance = random.Random(seed)
    ours = Unhurried(paged(entries(source), sizes), chance)
    theirs = Unhurried(paged(entries(destination), their_sizes), chance)
    with pytest.MonkeyPatch.context() as patch:
        if anywhere:
            cutting_anywhere(patch, chance)
        got, tally = asyncio.run(plan(ours, theirs, mapping, listers=listers))
    assert {c.entry.key: c.reason for c in got} == expected(source, destination, mapping)
    assert len(got) == tally.found == len({c.entry.key for c in got})
    wanted = {mapping.dest_key(key) for key in source if key.startswith(mapping.source_prefix)}
    there = {key for key in destination if key.startswith(mapping.dest_listing_prefix)}
    assert (tally.compared, tally.dest_objects, tally.extra) == (len(wanted), len(there), len(there - wanted))
    assert len(set(ours.asked)) == len(ours.asked) == len(theirs.asked)


@given(
    source=trees, destination=trees, shared=trees, sizes=page_sizes, their_sizes=page_sizes, listers=st.integers(2, 9),
    seed=st.integers(0, 999), data=st.data(), block=st.integers(1, 4), honours=st.booleans(),
)  # fmt: skip
@settings(deadline=None, max_examples=200)
def test_disorder_seen_in_any_of_many_ranges_loses_nothing_and_hands_on_each_key_once(
    source: dict[str, int],
    destination: dict[str, int],
    shared: dict[str, int],
    sizes: list[int],
    their_sizes: list[int],
    listers: int,
    seed: int,
    data: st.DataObject,
    block: int,
    *,
    honours: bool,
) -> None:
    source |= shared
    destination |= shared
    chance = random.Random(seed)

    def shuffled(tree: dict[str, int], page: list[int]) -> Unhurried:
        listed = entries(tree)
        calm = data.draw(st.integers(0, len(listed)), "keys in order")
        rest = data.draw(st.permutations(listed[calm:]), "then")
        return Unhurried(paged(listed[:calm] + list(rest), page), chance, honours_bounds=honours)

    ours, theirs = shuffled(source, sizes), shuffled(destination, their_sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accepted_module, "_BLOCK_KEYS", block)
        cutting_anywhere(patch, chance)
        got, tally = asyncio.run(plan(ours, theirs, listers=listers))
    handed = [c.entry.key for c in got]
    assert len(set(handed)) == len(handed) == tally.found
    assert set(handed) <= set(source)
    # Disorder between two ranges shows in neither of them: only a store that orders its keys vouches for ranges. What was
    # listed in one range in the end is exact.
    if KeyRange("", "") in ours.asked[1:] or len(ours.asked) == 1:
        assert set(handed) >= set(expected(source, destination, IDENTITY))
        assert (tally.compared, tally.dest_objects) == (len(source), len(destination))
        assert tally.extra == len(destination.keys() - source.keys())


@given(
    tree=st.dictionaries(keys, st.integers(0, 2), min_size=1, max_size=30), sizes=page_sizes, seed=st.integers(0, 999),
    listers=st.integers(2, 9), data=st.data(),
)  # fmt: skip
@settings(deadline=None, max_examples=100)
def test_an_error_on_any_page_of_any_range_is_raised_and_what_was_handed_on_is_right(
    tree: dict[str, int], sizes: list[int], seed: int, listers: int, data: st.DataObject
) -> None:
    pages: list[Sequence[Entry] | Exception] = [*paged(entries(tree), sizes)]
    pages.insert(data.draw(st.integers(0, len(pages))), ServerFault("page lost"))
    chance = random.Random(seed)
    whole = Unhurried(paged(entries(tree), [2]), chance)
    broken = Unhurried(pages, chance)
    sides = (broken, whole) if data.draw(st.booleans(), "source is broken") else (whole, broken)
    with pytest.MonkeyPatch.context() as patch:
        cutting_anywhere(patch, chance)
        with pytest.raises(ServerFault, match="page lost"):
            asyncio.run(plan(*sides, listers=listers))


async def test_every_key_is_sent_once_when_another_range_sees_disorder_while_this_one_is_sending() -> None:
    """The range that is in the middle of handing on must not be cut short: what it has remembered must be sent."""
    head = [entry(f"a{n:04}") for n in range(3_000)]
    tail = [entry(f"b{n:04}") for n in range(3_000)]
    spoilt = [*tail[:2_000], *reversed(tail[2_000:])]
    for seed in range(5):
        ours = Unhurried(paged([*head, *spoilt], [100]), random.Random(seed))
        events: list[Event] = []
        got, tally = await plan(ours, FakeLister([]), listers=4, events=events)
        assert len(ours.asked) > 2
        assert sorted(c.entry.key for c in got) == [e.key for e in head + tail]
        assert (tally.found, tally.compared) == (6_000, 6_000)
        assert [e.code for e in events if isinstance(e, Notice)] == ["unordered_listing"]


async def test_a_store_that_ignores_where_to_begin_is_listed_in_one_range() -> None:
    listed = [entry(f"k{n:05}") for n in range(5_000)]
    ours, theirs = FakeLister(paged(listed, [1000])), FakeLister(paged(listed[:-1], [1000]), honours_bounds=False)
    got, tally = await plan(ours, theirs, listers=8)
    assert [c.entry.key for c in got] == [listed[-1].key]
    assert (tally.compared, tally.dest_objects, tally.extra) == (5_000, 4_999, 0)
    assert theirs.listings < 16


@pytest.mark.parametrize("what", ["ordered", "start_after"])
async def test_a_side_that_does_not_vouch_for_ranges_is_listed_in_one(what: str) -> None:
    listed = [entry(f"k{n:05}") for n in range(5_000)]
    ours, theirs = FakeLister(paged(listed, [1000])), FakeLister(paged(listed, [1000]))
    theirs._capabilities = dataclasses.replace(theirs._capabilities, **{what: False})  # type: ignore[arg-type]
    got, _ = await plan(ours, theirs, listers=8)
    assert (got, ours.listings, theirs.listings) == ([], 1, 1)


async def test_a_bucket_of_one_page_costs_one_listing_a_side() -> None:
    listed = [entry(f"k{n:05}") for n in range(999)]
    ours, theirs = FakeLister([listed]), FakeLister([listed])
    await plan(ours, theirs, listers=16)
    assert (ours.listings, theirs.listings) == (1, 1)

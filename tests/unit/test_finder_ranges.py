"""Cutting key space: wherever the cuts fall, every key lies in one range, and bounds are text that every store takes."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dth.finder.ranges import EVERYTHING, KeyRange, Letters, Share, on_side, past, sendable
from dth.model import KeyMapping
from dth.states import Side
from tests.unit.finder_fakes import keys
from tests.unit.test_finder_diff import mappings

any_key = st.one_of(
    keys, st.text(st.characters(codec=None), min_size=1, max_size=8), st.text("0123456789/", min_size=1)
)
sorted_keys = st.lists(any_key, min_size=1, max_size=60, unique=True).map(sorted)


def inside(key: str, bounds: KeyRange) -> bool:
    return key > bounds.after and (not bounds.until or key <= bounds.until)


def share_at(tree: list[str], fetched: int, letters: Letters, bounds: KeyRange = EVERYTHING, page: int = 3) -> Share:
    """A share that has listed the first keys of the tree."""
    share = Share(bounds, 1024)
    for at in range(0, fetched, page):
        listed = tree[at : at + page]
        share.fetched(Side.SOURCE, listed[0], listed[-1], full=True)
        letters.learn(listed[0])
        letters.learn(listed[-1])
    return share


@given(tree=sorted_keys, data=st.data())
@settings(deadline=None, max_examples=300)
def test_however_often_a_range_is_cut_each_key_lies_in_exactly_one_part(tree: list[str], data: st.DataObject) -> None:
    letters = Letters()
    share = share_at(tree, data.draw(st.integers(1, len(tree)), "fetched"), letters)
    open_ranges: list[Share] = [share]
    closed: list[KeyRange] = []
    for _ in range(data.draw(st.integers(1, 6), "cuts")):
        cut = open_ranges.pop(data.draw(st.integers(0, len(open_ranges) - 1), "which"))
        reached = cut.reached
        parts = cut.cut(letters, data.draw(st.integers(1, 5), "parts"))
        assert all(part.after > reached for part in parts)  # beyond what was fetched
        closed.append(cut.bounds)
        for part in parts:
            mine = [key for key in tree if inside(key, part)]
            if mine:
                open_ranges.append(share_at(mine, data.draw(st.integers(1, len(mine))), letters, part))
            else:
                closed.append(part)
        if not open_ranges:
            break
    ranges = closed + [share.bounds for share in open_ranges]
    assert all(sum(inside(key, bounds) for bounds in ranges) == 1 for key in tree)
    rising = sorted(ranges)
    assert rising[0].after == rising[-1].until == ""
    assert all(one.until == other.after != "" for one, other in itertools.pairwise(rising))


@given(tree=sorted_keys, data=st.data())
@settings(deadline=None, max_examples=300)
def test_bounds_are_text_that_every_store_takes(tree: list[str], data: st.DataObject) -> None:
    letters = Letters()
    share = share_at(tree, data.draw(st.integers(1, len(tree))), letters)
    for part in share.cut(letters, 16) + share.cut(letters, 16):
        for code in map(ord, part.after):
            assert code >= 0x20
            assert not 0x7F <= code < 0xA0
            assert not 0xD800 <= code < 0xE000
            assert code not in {0xFFFE, 0xFFFF}
        assert len(part.after.encode()) <= 1024


@given(key=any_key, data=st.data())
def test_past_a_beginning_lie_no_keys_that_begin_so(key: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(key) - 1))
    place = past(key, at)
    assert not place or place > key[: at + 1] + "\U0010ffff" * 3
    assert place or ord(key[at]) == 0x10FFFF


@given(low=any_key, high=any_key, learnt=sorted_keys)
@example(low="0", high="/a", learnt=["\udc800"])  # a place where no letter was learnt
@settings(deadline=None)
def test_fractions_rise_with_keys_and_middles_lie_between(low: str, high: str, learnt: list[str]) -> None:
    low, high = sorted([low, high])
    letters = Letters()
    for key in learnt:
        letters.learn(key)
    assert 0 <= letters.fraction(low, 0) <= letters.fraction(high, 0) <= 1
    middle = letters.middle(low, high, 0, 12) if low < high else ""
    assert not middle or low < middle < high
    assert all(sendable(ord(letter)) == ord(letter) for letter in middle)


@given(
    bounds=st.tuples(st.sampled_from(["", "a", "/", "é"]), st.sampled_from(["", "b", "\U0001f600"])), mapping=mappings
)
def test_a_range_means_the_same_on_both_sides(bounds: tuple[str, str], mapping: KeyMapping) -> None:
    ours = on_side(KeyRange(*bounds), mapping.source_prefix)
    theirs = on_side(KeyRange(*bounds), mapping.dest_listing_prefix)
    for rest in ("", "a", "a/b", "/", "0", "b", "bb", "é", "\U0001f600", "z"):
        key = mapping.source_prefix + rest
        if key and mapping.dest_key(key):  # no store holds the empty key
            assert inside(key, ours) == inside(mapping.dest_key(key), theirs)


def test_what_follows_a_folder_is_looked_for_at_each_level_of_the_last_key() -> None:
    letters = Letters()
    tree = [f"tenant-a/2024/{n:06}.log" for n in range(1000)]
    share = share_at(tree, 1000, letters, page=1000)
    parts = share.cut(letters, 64)
    starts = [part.after for part in parts]
    assert {"u", "tenant.", "tenant-b", "tenant-a0", "tenant-a/3", "tenant-a/2025"} <= set(starts)
    assert share.until == starts[0] > share.reached


def test_with_the_digits_known_a_range_is_halved_where_its_middle_is() -> None:
    letters = Letters()
    for digit in "0123456789":
        letters.learn(f"object-{digit * 6}")
    share = share_at(
        [f"object-{n:06}" for n in range(100_000, 140_000)], 40_000, letters, KeyRange("object-1", ""), 1000
    )
    share.cut(letters, 1)  # looks behind the exits once
    middles = []
    for _ in range(3):
        middles += [part.after for part in share.cut(letters, 1)]
    assert middles == ["object-5", "object-3", "object-2"]


def test_a_bucket_of_one_page_is_never_cut() -> None:
    letters = Letters()
    share = Share(EVERYTHING, 1024)
    share.fetched(Side.SOURCE, "a", "z", full=False)
    assert share.cut(letters, 16) == []


def test_a_range_that_both_sides_have_listed_is_not_cut_any_more() -> None:
    letters = Letters()
    share = share_at([f"{n:04}" for n in range(900)], 900, letters)
    for side in Side:
        share.ended(side)
    assert (share.left(letters), share.cut(letters, 16)) == (0.0, [])


@pytest.mark.parametrize("parts", [1, 3, 16])
def test_looking_behind_the_exits_in_vain_is_not_repeated_page_by_page(parts: int) -> None:
    letters = Letters()
    share = share_at([f"k{n:09}" for n in range(1000)], 1000, letters, page=1000)
    looks = 0
    for page in range(1, 65):
        share.until = ""  # whatever was found behind it
        looks += bool(share.cut(letters, parts))
        share.fetched(Side.SOURCE, f"k{page * 1000:09}", f"k{page * 1000 + 999:09}", full=True)
    assert looks < 64


async def test_waiting_for_a_page_ends_at_once_when_the_feed_is_broken_off() -> None:
    from dth.finder.listing import Disorder, Feed

    feed = Feed()
    waiting = asyncio.create_task(feed.next_page())
    await asyncio.sleep(0)
    feed.break_off(Disorder("elsewhere"))
    with pytest.raises(Disorder):
        await waiting
    with pytest.raises(Disorder):
        await feed.next_page()

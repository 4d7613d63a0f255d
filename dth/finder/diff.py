"""Merge-join of two ordered listings: what the destination lacks or holds differently, and what only it holds.

Stretches in which both sides hold the same keys are compared list by list, and a stretch that only the source holds is one
decision: nothing is made, called or awaited for each of their keys. Only what differs is looked at key by key. Memory is one
page a side and the batch in hand.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from dth.columns import Columns, Uniform, keys_of
from dth.finder.compare import ARCHIVED_CLASSES, Alike, Decide, change
from dth.finder.listing import Feed
from dth.finder.select import Selection
from dth.model import Change, Entry, KeyMapping
from dth.states import Reason

_STRETCH, _LEAST = 256, 16
"""Keys that are compared at once: as many as ever differ halve it, down to so few that one by one is cheaper."""


class Batch(NamedTuple):
    """What a stretch of keys gave, at most one page of each side: changes in key order, entries that only the destination
    holds, how many entries of each side were looked at, and how many of the source's are not selected. Neither changes nor
    extras hold what the selection leaves out. `last`: no key up to this one, without its side's prefix, comes any more."""

    changes: Sequence[Change]
    extras: Sequence[Entry]
    source_objects: int
    destination_objects: int
    not_selected: int = 0
    last: str = ""


class Cursor:
    """One side: the page in hand, its keys without the side's prefix, and the place in it; where there is a selection, the
    full keys of the page that it leaves out. `columns`: pages may be `Columns`, which are dear to read entry by entry."""

    __slots__ = ("_columns", "_cut", "_feed", "_keys", "_select", "at", "page", "rejected")

    def __init__(self, feed: Feed, prefix: str, select: Selection | None = None, *, columns: bool = False) -> None:
        self._feed = feed
        self._cut = len(prefix)
        self._select = select
        self._columns = columns and not select
        self.rejected: set[str] = set()
        self.page: Sequence[Entry] = ()
        self._keys: list[str] | None = []
        self.at = 0

    @property
    def keys(self) -> list[str]:
        """The keys of the page in hand, without the prefix: cut off where they are asked for, because a page of which the
        other side has nothing is handed on as it is."""
        if self._keys is None:
            cut, keys = self._cut, keys_of(self.page)
            self._keys = [key[cut:] for key in keys] if cut else keys
        return self._keys

    @property
    def passed(self) -> str:
        """The last key of the page in hand that was looked at; "" where none was."""
        return self.page[self.at - 1].key[self._cut :] if self.at else ""

    async def fill(self) -> bool:
        """Have something in hand; False at the end of the listing."""
        if self.at < len(self.page):
            return True
        page = await self._feed.next_page()
        self.page = page if self._columns else list(page)
        self._keys = None
        if self._select:
            self.rejected = self._select.rejected(self.keys, self.page)
        self.at = 0
        return bool(self.page)


async def diff(
    source: Feed,
    destination: Feed,
    mapping: KeyMapping,
    decide: Decide,
    select: Selection | None = None,
    alike: Alike | None = None,
) -> AsyncIterator[Batch]:
    """Batches until both sides have ended. What `alike` says of a stretch, `decide` would say of each pair.

    The selection is asked after the join: a source object that it leaves out still holds its place, so that the one at the
    destination never looks like an extra.

    Keys are compared without the prefix that all keys of their side share: cutting it off keeps the order. Raises what the
    feeds raise; whatever was yielded before stands.
    """
    ours = Cursor(source, mapping.source_prefix, select, columns=True)
    theirs = Cursor(destination, mapping.dest_listing_prefix, columns=True)
    while True:
        # Both, before anything is said: a side that cannot be listed at all must not look like an empty one.
        more, theirs_more = await ours.fill(), await theirs.fill()
        if more and theirs_more:
            batch = _join(ours, theirs, decide, alike)
        elif more:
            batch = _only_ours(ours, len(ours.page), Reason.MISSING)
        elif theirs_more:
            extras = list(theirs.page[theirs.at :])
            theirs.at = len(theirs.page)
            batch = Batch([], extras, 0, len(extras))
        else:
            return
        if select:
            batch = _selected(batch, ours, mapping, select)
        yield batch._replace(last=max(ours.passed, theirs.passed))


async def uncompared(source: Feed, mapping: KeyMapping, select: Selection | None = None) -> AsyncIterator[Batch]:
    """Every object of the source as a change, for `skip_compare`: the destination is not looked at."""
    ours = Cursor(source, mapping.source_prefix, select, columns=True)
    while await ours.fill():
        batch = _only_ours(ours, len(ours.page), Reason.UNCOMPARED)
        if select:
            batch = _selected(batch, ours, mapping, select)
        yield batch._replace(last=ours.passed)


def _only_ours(ours: Cursor, stop: int, reason: Reason) -> Batch:
    """The page in hand up to `stop`, of which the destination holds nothing."""
    rest = ours.page[ours.at : stop]
    ours.at = stop
    if isinstance(rest, Columns) and ARCHIVED_CLASSES.isdisjoint(rest.classes):
        return Batch(Uniform(rest, reason), [], len(rest), 0)
    return Batch([change(entry, reason) for entry in rest], [], len(rest), 0)


def _selected(batch: Batch, ours: Cursor, mapping: KeyMapping, select: Selection) -> Batch:
    """What is left of a batch; `ours` stands behind it, with the page that it is of."""
    changes, extras, out, count = batch.changes, batch.extras, ours.rejected, 0
    if out and batch.source_objects:
        looked_at = ours.page[ours.at - batch.source_objects : ours.at]
        count = sum(entry.key in out for entry in looked_at)
        changes = [one for one in changes if one.entry.key not in out]
    if extras:
        cut = len(mapping.dest_listing_prefix)
        extras = select.deletable([entry.key[cut:] for entry in extras], extras)
    return Batch(changes, extras, batch.source_objects, batch.destination_objects, count)


def _join(ours: Cursor, theirs: Cursor, decide: Decide, alike: Alike | None) -> Batch:
    """Join until one of the two pages is used up, or up to a long stretch that only the source holds: that is a batch by
    itself, and so is what comes before it."""
    changes: list[Change] = []
    extras: list[Entry] = []
    first, second = ours.at, theirs.at
    keys, stop = ours.keys, len(ours.page)
    their_keys, their_stop = theirs.keys, len(theirs.page)
    step = _STRETCH
    while ours.at < stop and theirs.at < their_stop:
        i, j = ours.at, theirs.at
        count = min(step, stop - i, their_stop - j)
        if keys[i : i + count] == their_keys[j : j + count]:
            changes += _differing(ours.page[i : i + count], theirs.page[j : j + count], decide, alike)
            ours.at, theirs.at = i + count, j + count
            step = _STRETCH
        elif keys[i] < their_keys[j] and (missing := bisect_left(keys, their_keys[j], i, stop)) - i >= _STRETCH:
            if i > first or j > second:
                break
            return _only_ours(ours, missing, Reason.MISSING)
        elif step > _LEAST:
            step = max(_LEAST, step // 4)
        else:
            _one_by_one(ours, theirs, count, decide, changes, extras)
    return Batch(changes, extras, ours.at - first, theirs.at - second)


def _differing(ours: Sequence[Entry], theirs: Sequence[Entry], decide: Decide, alike: Alike | None) -> Sequence[Change]:
    """The changes of a stretch of pairs."""
    if alike and isinstance(ours, Columns) and isinstance(theirs, Columns) and alike(ours, theirs):
        return ()
    pairs = list(ours), list(theirs)
    reasons = list(map(decide, *pairs))
    equal = Reason.EQUAL
    if reasons.count(equal) == len(reasons):
        return ()
    return [
        change(entry, reason, there)
        for entry, there, reason in zip(*pairs, reasons, strict=True)
        if reason is not equal
    ]


def _one_by_one(
    ours: Cursor, theirs: Cursor, count: int, decide: Decide, changes: list[Change], extras: list[Entry]
) -> None:
    """Join the next `count` keys of one side or the other."""
    page, their_page = list(ours.page[ours.at : ours.at + count]), list(theirs.page[theirs.at : theirs.at + count])
    keys, their_keys = ours.keys[ours.at : ours.at + count], theirs.keys[theirs.at : theirs.at + count]
    i = j = 0
    while i < count and j < count:
        key, their_key = keys[i], their_keys[j]
        if key == their_key:
            reason = decide(page[i], their_page[j])
            if reason is not Reason.EQUAL:
                changes.append(change(page[i], reason, their_page[j]))
            i += 1
            j += 1
        elif key < their_key:
            changes.append(change(page[i], Reason.MISSING))
            i += 1
        else:
            extras.append(their_page[j])
            j += 1
    ours.at += i
    theirs.at += j

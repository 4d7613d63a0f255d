"""Every key of both sides, with what each of them lists for it.

Pairs are handed on as they come: a key that both sides listed is at both. A key that only one side has listed is held
back (on disk, where there are many) until both listings have ended well: a listing that breaks off, or turns out to be
unordered, has only not listed it yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dth.error_groups import first_error
from dth.finder.dedup import Accepted
from dth.finder.diff import Cursor
from dth.finder.listing import Disorder, Feed, Listing
from dth.finder.select import Selection
from dth.finder.spool import Spool
from dth.model import Change, Entry, KeyMapping
from dth.states import Reason, Side

_BLOCK = 1024

Pair = tuple[Entry, Entry]
"""The source's entry and the destination's."""


class Stretch(NamedTuple):
    """What a stretch of keys gave: pairs, and what only one side has listed."""

    pairs: list[Pair]
    missing: list[Entry]
    extra: list[Entry]


@dataclass(slots=True)
class Listed:
    """How many objects each side has listed so far."""

    source: int = 0
    destination: int = 0


async def joined(
    source: Feed, destination: Feed, mapping: KeyMapping, select: Selection | None = None
) -> AsyncIterator[Stretch]:
    """Merge-join of two ordered listings. Raises what the feeds raise; what was yielded before stands. Without what is not
    selected: where the source has the key, the source's object decides."""
    ours = Cursor(source, mapping.source_prefix, select)
    theirs = Cursor(destination, mapping.dest_listing_prefix)
    while True:
        more, theirs_more = await ours.fill(), await theirs.fill()
        if more and theirs_more:
            stretch = _join(ours, theirs)
        elif more or theirs_more:
            stretch = Stretch([], _rest(ours), _rest(theirs))
        else:
            return
        yield _selected(stretch, ours.rejected, mapping, select) if select else stretch


def _selected(stretch: Stretch, out: set[str], mapping: KeyMapping, select: Selection) -> Stretch:
    cut = len(mapping.dest_listing_prefix)
    return Stretch(
        [pair for pair in stretch.pairs if pair[0].key not in out],
        [entry for entry in stretch.missing if entry.key not in out],
        select.deletable([entry.key[cut:] for entry in stretch.extra], stretch.extra),
    )


def _rest(side: Cursor) -> list[Entry]:
    rest = list(side.page[side.at :])
    side.at = len(side.page)
    return rest


def _join(ours: Cursor, theirs: Cursor) -> Stretch:
    """Join until one of the two pages is used up."""
    found = Stretch([], [], [])
    i, j = ours.at, theirs.at
    while i < len(ours.page) and j < len(theirs.page):
        key, their_key = ours.keys[i], theirs.keys[j]
        if key == their_key:
            found.pairs.append((ours.page[i], theirs.page[j]))
            i += 1
            j += 1
        elif key < their_key:
            found.missing.append(ours.page[i])
            i += 1
        else:
            found.extra.append(theirs.page[j])
            j += 1
    ours.at, theirs.at = i, j
    return found


class Lonely:
    """Keys that one side alone has listed, in the order in which they came."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._spool = Spool(directory)
        self._blocks: list[int] = []
        self._waiting: list[tuple[str, tuple[Any, ...]]] = []

    async def add(self, side: Side, entries: Sequence[Entry]) -> None:
        """Hold these back."""
        self._waiting += [(side.value, tuple(entry)) for entry in entries]  # marshal knows no named tuples
        if len(self._waiting) >= _BLOCK:
            block, self._waiting = self._waiting, []
            self._blocks.append(self._spool.size)
            await asyncio.to_thread(self._spool.append, block)

    def forget(self) -> None:
        """The listings begin again."""
        self._spool.close()
        self._spool = Spool(self._directory)
        self._blocks.clear()
        self._waiting.clear()

    async def blocks(self) -> AsyncIterator[list[tuple[Side, Entry]]]:
        """All of them."""
        for offset in self._blocks:
            block, _ = await asyncio.to_thread(self._spool.read, offset)
            yield [(Side(side), Entry(*fields)) for side, fields in block]
        yield [(Side(side), Entry(*fields)) for side, fields in self._waiting]

    def close(self) -> None:
        """Free the disk. Idempotent."""
        self._spool.close()


@dataclass(slots=True)
class Pairing:
    """Both listings of everything. `accept` takes each pair once; `lonely` is whole when `run` has returned."""

    source: Listing
    destination: Listing
    mapping: KeyMapping
    directory: str
    accept: Callable[[Sequence[Pair]], Awaitable[None]]
    lonely: Lonely
    listed: Listed = field(default_factory=Listed)
    select: Selection | None = None

    async def run(self) -> None:
        """Hand on all pairs. Raises the first error of a listing or of `accept`. A side that turns out to be unordered
        is read again, sorted; pairs that were handed on by then are not handed on again."""
        accepted = Accepted(self.directory)
        try:
            while not await self._attempt(accepted):
                self.listed.source = self.listed.destination = 0
                self.lonely.forget()
                await accepted.restart()
        finally:
            accepted.close()
            self.source.close()
            self.destination.close()

    async def _attempt(self, accepted: Accepted) -> bool:
        """False where a side turned out to be unordered."""
        try:
            async with asyncio.TaskGroup() as tasks:
                ours, theirs = Feed(), Feed()
                pumps = [
                    tasks.create_task(ours.fill(self.source.pages())),
                    tasks.create_task(theirs.fill(self.destination.pages())),
                ]
                async for stretch in joined(ours, theirs, self.mapping, self.select):
                    await self._hand_on(stretch, accepted)
                for pump in pumps:
                    pump.cancel()  # ended by now
        except BaseExceptionGroup as group:
            error = first_error(group)
            if isinstance(error, Disorder):
                return False
            raise error from error.__cause__
        return True

    async def _hand_on(self, stretch: Stretch, accepted: Accepted) -> None:
        pairs = stretch.pairs
        self.listed.source += len(pairs) + len(stretch.missing)
        self.listed.destination += len(pairs) + len(stretch.extra)
        await self.lonely.add(Side.SOURCE, stretch.missing)
        await self.lonely.add(Side.DESTINATION, stretch.extra)
        remember = self.source.ordered or self.destination.ordered  # else no second attempt can follow
        changes = [Change(ours, Reason.EQUAL) for ours, _ in pairs]
        fresh = await accepted.fresh(changes, remember=remember)
        if len(fresh) < len(pairs):
            keys = {change.entry.key for change in fresh}
            pairs = [pair for pair in pairs if pair[0].key in keys]
        await self.accept(pairs)

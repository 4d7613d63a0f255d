"""Which keys were handed on already, so that a listing that starts again hands on each key once.

Until a guard sees disorder, what it lets through rises; so do the keys handed on in one attempt, and they need no sorting:
they are spooled as they come and read back, block by block, beside the next attempt's changes. The first attempt may list
several ranges at once: each has a lane of its own, and because ranges don't overlap, lanes read one after the other rise
too. There are at most three earlier attempts (that one, and one for each side that can turn out to be unordered). Memory: a
block being written for each lane, and one being read for each attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from dth.columns import Uniform
from dth.finder.spool import Spool
from dth.model import Change

_BLOCK_KEYS = 1024


class Accepted:
    """`fresh` for every batch in key order, `restart` before a new attempt, `close` in any case."""

    def __init__(self, directory: str) -> None:
        self._spool = Spool(directory)
        self._attempts: list[list[int]] = []  # offsets of the blocks of each earlier attempt
        self._lanes: dict[str, _Lane] = {}  # by the key after which their range begins
        self._earlier: list[_Replay] = []
        self._writing = asyncio.Lock()

    async def fresh(self, changes: Sequence[Change], *, remember: bool, after: str = "") -> Sequence[Change]:
        """Those of `changes` whose key no earlier attempt handed on. They count as handed on now; `remember` is False
        where no further attempt can follow. `after` names the range; from the second attempt on there is one only."""
        if self._earlier and changes:
            changes = await asyncio.to_thread(self._unknown, changes)
        if remember:
            lane = self._lanes.get(after) or self._lanes.setdefault(after, _Lane())
            lane.block += (
                changes.page.keys if isinstance(changes, Uniform) else [change.entry.key for change in changes]
            )
            if len(lane.block) >= _BLOCK_KEYS:
                await self._write(lane)
        return changes

    async def restart(self) -> None:
        """The next changes start from the beginning of everything."""
        for lane in self._lanes.values():
            if lane.block:
                await self._write(lane)
        self._attempts.append([offset for _, lane in sorted(self._lanes.items()) for offset in lane.offsets])
        self._lanes.clear()
        self._earlier = [_Replay(self._spool, offsets) for offsets in self._attempts if offsets]

    async def ended(self, after: str) -> None:
        """The range hands on nothing more: free its memory."""
        lane = self._lanes.get(after)
        if lane and lane.block:
            await self._write(lane)

    def close(self) -> None:
        """Free the disk. Idempotent."""
        self._spool.close()

    async def _write(self, lane: _Lane) -> None:
        async with self._writing:  # a block's offset is the size before it
            block, lane.block = lane.block, []
            lane.offsets.append(self._spool.size)
            await asyncio.to_thread(self._spool.append, block)

    def _unknown(self, changes: Sequence[Change]) -> Sequence[Change]:
        wanted = {change.entry.key for change in changes}
        known: set[str] = set()
        for replay in self._earlier:
            known |= replay.among(wanted, changes[-1].entry.key)
        return [change for change in changes if change.entry.key not in known] if known else changes


class _Lane:
    """What one range has handed on."""

    __slots__ = ("block", "offsets")

    def __init__(self) -> None:
        self.block: list[str] = []
        self.offsets: list[int] = []


class _Replay:
    """Reads an attempt's keys again, alongside rising changes."""

    def __init__(self, spool: Spool, offsets: Sequence[int]) -> None:
        self._spool = spool
        self._offsets: Iterator[int] = iter(offsets)
        self._keys: list[str] = []
        self._next()

    def among(self, wanted: set[str], last: str) -> set[str]:
        """Those of `wanted` that are among the keys; `last` is the largest of them, and later calls ask for larger ones."""
        known: set[str] = set()
        while self._keys and self._keys[0] <= last:
            known |= wanted.intersection(self._keys)
            if self._keys[-1] > last:
                break
            self._next()
        return known

    def _next(self) -> None:
        offset = next(self._offsets, None)
        self._keys = [] if offset is None else self._spool.read(offset)[0]

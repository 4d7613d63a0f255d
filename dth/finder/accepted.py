"""Which keys of a range were handed on already, so that a range that starts again hands on each key once.

Until a guard sees disorder, what it lets through rises; so do the keys handed on in one attempt, and they need no sorting:
they are spooled as they come and read back, block by block, beside the next attempt's changes. There are at most two earlier
attempts (one for each side that can turn out to be unordered). Memory: a block being written and one being read an attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from dth.finder.spool import Spool
from dth.model import Change

_BLOCK_KEYS = 1024


class Accepted:
    """`fresh` for every batch in key order, `restart` before a new attempt, `close` in any case."""

    def __init__(self, directory: str) -> None:
        self._spool = Spool(directory)
        self._attempts: list[list[int]] = [[]]  # offsets of the blocks of each attempt
        self._block: list[str] = []
        self._earlier: list[_Replay] = []

    async def fresh(self, changes: Sequence[Change], *, remember: bool) -> Sequence[Change]:
        """Those of `changes` whose key no earlier attempt handed on. They count as handed on now; `remember` is False
        where no further attempt can follow."""
        if self._earlier and changes:
            changes = await asyncio.to_thread(self._unknown, changes)
        if remember:
            self._block += [change.entry.key for change in changes]
            if len(self._block) >= _BLOCK_KEYS:
                await self._write()
        return changes

    async def restart(self) -> None:
        """The next changes start from the beginning of the range."""
        if self._block:
            await self._write()
        self._earlier = [_Replay(self._spool, offsets) for offsets in self._attempts if offsets]
        self._attempts.append([])

    def close(self) -> None:
        """Free the disk. Idempotent."""
        self._spool.close()

    async def _write(self) -> None:
        block, self._block = self._block, []
        self._attempts[-1].append(self._spool.size)
        await asyncio.to_thread(self._spool.append, block)

    def _unknown(self, changes: Sequence[Change]) -> Sequence[Change]:
        wanted = {change.entry.key for change in changes}
        known: set[str] = set()
        for replay in self._earlier:
            known |= replay.among(wanted, changes[-1].entry.key)
        return [change for change in changes if change.entry.key not in known] if known else changes


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

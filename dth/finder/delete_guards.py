"""What only the destination holds, kept on disk while both sides are listed, and handed on only on the word of whole listings.

Nothing leaves here before every range of both sides has ended well: an error anywhere, and nothing is deleted. Then guards
have their say, each a way in which a source that is whole to look at may still be the wrong one: an empty source, and more
deletes than `--max-delete`. What passes is asked for again by the worker, key by key, before it is deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from dth.finder.plan import Extras, Tally
from dth.finder.spool import Spool
from dth.model import Change, Entry, KeyMapping
from dth.states import Reason
from dth.values import value

_BLOCK_ENTRIES = 1024  # of a range in memory


@value
class DeleteRules:
    """How much may be deleted. `most` is a number of objects or a share of those that the destination lists (`10%`), ""
    for any number; `from_empty` allows it although the source lists nothing; `moved`: objects are kept elsewhere, so their
    bytes travel."""

    most: str
    from_empty: bool
    moved: bool


class SpooledDeletes(Extras):
    """Takes extras; `refusal`, then `changes`, when the plan has ended; `close` in any case. In memory: a block for each
    range under way."""

    def __init__(self, rules: DeleteRules, mapping: KeyMapping, directory: str) -> None:
        self.rules = rules
        self._mapping = mapping
        self._directory = directory
        self._spool = Spool(directory)
        self._waiting: dict[str, list[tuple[str, int, str, str, str]]] = {}
        self._blocks: dict[str, list[int]] = {}
        self._open: set[str] = set()
        self._writing = asyncio.Lock()
        self.count = 0

    async def take(self, after: str, entries: Sequence[Entry]) -> None:
        """Keep them, by range."""
        self._open.add(after)
        self.count += len(entries)
        waiting = self._waiting.setdefault(after, [])
        waiting += map(tuple, entries)  # type: ignore[arg-type]  # marshal knows no named tuples
        if len(waiting) >= _BLOCK_ENTRIES:
            await self._write(after)

    async def ended(self, after: str) -> None:
        """The range is whole."""
        await self._write(after)
        self._open.discard(after)

    async def list_anew(self) -> None:
        """Forget all of them."""
        self._spool.close()
        self._spool = Spool(self._directory)
        self._waiting.clear()
        self._blocks.clear()
        self._open.clear()
        self.count = 0

    def refusal(self, tally: Tally) -> str:
        """Why none of them may be deleted, in a sentence; "" where they may."""
        if not self.count:
            return ""
        if self._open:
            return "nothing is deleted: not every range of the listings has ended"
        if not tally.compared and not self.rules.from_empty:
            return (
                f"nothing is deleted: the source lists no object at all, and {self.count} at the destination would go; "
                "if it is meant to be empty, say --delete-from-empty"
            )
        most = _limit(self.rules.most, tally.dest_objects)
        if most is not None and self.count > most:
            return (
                f"nothing is deleted: {self.count} of {tally.dest_objects} objects at the destination would go, more than "
                f"--max-delete {self.rules.most} allows"
            )
        return ""

    async def changes(self) -> AsyncIterator[list[Change]]:
        """All of them in key order, under the keys that they would have at the source."""
        cut, prefix = len(self._mapping.dest_listing_prefix), self._mapping.source_prefix
        for _, offsets in sorted(self._blocks.items()):
            for offset in offsets:
                block, _ = await asyncio.to_thread(self._spool.read, offset)
                entries = (Entry(*fields) for fields in block)
                yield [Change(entry._replace(key=prefix + entry.key[cut:]), Reason.EXTRA) for entry in entries]

    def close(self) -> None:
        """Free the disk. Idempotent."""
        self._spool.close()

    async def _write(self, after: str) -> None:
        async with self._writing:  # a block's offset is the size before it
            block = self._waiting.pop(after, [])
            if block:
                self._blocks.setdefault(after, []).append(self._spool.size)
                await asyncio.to_thread(self._spool.append, block)


def _limit(most: str, listed: int) -> float | None:
    if not most:
        return None
    return listed * float(most[:-1]) / 100 if most.endswith("%") else float(most)

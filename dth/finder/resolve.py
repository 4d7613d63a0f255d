"""What listings leave open is asked of the objects: whether both hold the same bytes, whether an archived one can be read.

Requests are bounded over all ranges together, and hold up the listing that they are of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from dth.errors import DthError, NoSuchKey
from dth.finder.compare import ARCHIVED_CLASSES, change, newer
from dth.finder.evidence import Evidence, by_heads, by_listing
from dth.finder.plan import Settle, Tally
from dth.model import Change, Entry
from dth.states import Comparison, Reason, RestoreState
from dth.stores.base import Reader, Restorer

T = TypeVar("T")


class Source(Reader, Restorer, Protocol):
    """A source that can be asked about its objects."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Both sides, to be asked about single objects."""

    source: Source
    destination: Reader


HEADS = 32
"""Objects that are asked for at once: at 100 ms some 300 a second."""


async def _each(changes: Sequence[Change], ask: Callable[[Change], Awaitable[T]], slots: asyncio.Semaphore) -> list[T]:
    async def one(change: Change) -> T:
        async with slots:
            return await ask(change)

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(one(change)) for change in changes]
    return [task.result() for task in asked]


_REASONS = {
    Comparison.EQUAL: Reason.EQUAL,
    Comparison.SIZE: Reason.SIZE,
    Comparison.CONTENT: Reason.CHECKSUM,
    Comparison.MISSING: Reason.MISSING,
}


class ByChecksum:
    """Decides OPEN pairs by checksums of the whole objects, or MD5s, that both sides keep. Where neither says anything, the
    source's newer object is copied, and one that is no newer is kept, and counted as undecided."""

    def __init__(self, stores: Stores, tally: Tally) -> None:
        self._source = stores.source
        self._destination = stores.destination
        self._evidence = Evidence.of(self._source.capabilities, self._destination.capabilities)
        self._slots = asyncio.Semaphore(HEADS)
        self._tally = tally

    async def __call__(self, changes: Sequence[Change]) -> Sequence[Change]:
        """See `Settle`."""
        still_open = [one for one in changes if one.reason is Reason.OPEN]
        if not still_open:
            return changes
        said = dict(
            zip(
                (one.entry.key for one in still_open),
                await _each(still_open, self._decided, self._slots),
                strict=True,
            )
        )
        settled = [change(one.entry, said.get(one.entry.key, one.reason)) for one in changes]
        return [one for one in settled if said.get(one.entry.key) is not Reason.EQUAL]

    async def _decided(self, pair: Change) -> Reason:
        assert pair.there is not None
        if reason := _REASONS.get(await self._compared(pair.entry, pair.there)):
            return reason
        if newer(pair.entry.last_modified, pair.there.last_modified):
            return Reason.NEWER
        self._tally.undecided += 1
        return Reason.EQUAL

    async def _compared(self, ours: Entry, theirs: Entry) -> Comparison:
        if judgement := by_listing(ours, theirs, self._evidence):
            return judgement.comparison  # heads could not say more
        try:
            head = await self._source.head(ours.key)
        except NoSuchKey:
            return Comparison.EQUAL  # gone since it was listed
        try:
            return by_heads(head, await self._destination.head(theirs.key), self._evidence).comparison
        except NoSuchKey:
            return Comparison.MISSING


@dataclass(frozen=True, slots=True)
class RestoreRules:
    """How archived objects are restored: see `Restorer.restore`. `ask` False only looks."""

    days: int
    tier: str
    ask: bool = True


class Restores:
    """Has archived objects restored, and lets those through that can be read by now, as RESTORED. One that cannot be asked
    for stays archived, and holds up no other; `error` is the first of such errors."""

    def __init__(self, source: Restorer, rules: RestoreRules, tally: Tally) -> None:
        self._source = source
        self._rules = rules
        self._slots = asyncio.Semaphore(HEADS)
        self._tally = tally
        self._on_their_way: set[str] = set()  # while only looking: of batches that nobody has asked about yet
        self.error: DthError | None = None

    @property
    def asks(self) -> bool:
        """Whether restores are asked for; otherwise it only looks."""
        return self._rules.ask

    def would_ask(self, key: str) -> bool:
        """Whether a restore would be asked for, of a key that stayed archived; once for each."""
        if key in self._on_their_way:
            self._on_their_way.remove(key)
            return False
        return True

    async def __call__(self, changes: Sequence[Change]) -> Sequence[Change]:
        """See `Settle`."""
        archived = [one for one in changes if one.reason is Reason.ARCHIVED]
        if not archived:
            return changes
        ready = await _each(archived, self._readable, self._slots)
        readable = {one.entry.key for one, is_ready in zip(archived, ready, strict=True) if is_ready}
        return [Change(one.entry, Reason.RESTORED) if one.entry.key in readable else one for one in changes]

    async def _readable(self, archived: Change) -> bool:
        key = archived.entry.key
        try:
            head = await self._source.head(key)
            if head.storage_class not in ARCHIVED_CLASSES:
                return True  # written anew since it was listed
            state = head.restore
            if state is RestoreState.UNDER_WAY:
                self._tally.restores_under_way += 1
                if not self._rules.ask:
                    self._on_their_way.add(key)
            if state is RestoreState.NONE:
                if self._rules.ask:
                    state = await self._source.restore(key, days=self._rules.days, tier=self._rules.tier)
                self._tally.restores_asked += 1
        except NoSuchKey:
            return True  # gone since it was listed: whoever wants to copy it sees that
        except DthError as error:
            self._tally.restores_failed += 1
            self.error = self.error or error
            return False
        return state is RestoreState.READY


def settling(stores: Stores | None, tally: Tally, *, checksums: bool, restores: Restores | None) -> Settle | None:
    """All that a run asks of objects; None where listings suffice."""
    by_checksum = ByChecksum(stores, tally) if checksums and stores else None

    async def settle(changes: Sequence[Change]) -> Sequence[Change]:
        if by_checksum:
            changes = await by_checksum(changes)
        return await restores(changes) if restores else changes

    return settle if by_checksum or restores else None

"""Decides what listings leave open by asking the objects: whether both hold the same bytes, whether an archived one can be read.

Requests are bounded over all ranges together, and hold up the listing that they are of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dth.errors import AccessDenied, NoSuchKey
from dth.finder.compare import change, newer
from dth.finder.etag_proof import ByEtag
from dth.finder.evidence import Evidence, by_heads, by_listing
from dth.finder.heads import HEADS, Stores, ask_each
from dth.finder.plan import Settle, Tally
from dth.finder.restore import Restores
from dth.model import Change, Entry, ObjectHead
from dth.states import Comparison, Reason
from dth.stores.base import Reader

_REASONS = {
    Comparison.EQUAL: Reason.EQUAL,
    Comparison.SIZE: Reason.SIZE,
    Comparison.CONTENT: Reason.CHECKSUM,
    Comparison.MISSING: Reason.MISSING,
}


DENIED = 10
"""If a store has denied so many objects and answered for none, it denies them all."""


class _Asked:
    """A store that is asked about single objects, and may deny some of them."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._denied = 0
        self._answers = False

    async def head(self, key: str) -> ObjectHead | None:
        """None if the store denies this object. Raises AccessDenied if it denies them all, NoSuchKey if there is none."""
        try:
            head = await self._reader.head(key)
        except AccessDenied:
            self._denied += 1
            if self._denied >= DENIED and not self._answers:
                raise
            return None
        except NoSuchKey:
            self._answers = True
            raise
        self._answers = True
        return head


class ByChecksum:
    """Decides OPEN pairs by checksums of the whole objects, or MD5s, that both sides keep. If neither says anything, a newer
    object of the source is copied; one that is no newer is kept, and counted as undecided. An object that a store denies is
    sent to be copied: the worker finds out what may be done with it, and names it if it fails."""

    def __init__(self, stores: Stores, tally: Tally) -> None:
        self._source = _Asked(stores.source)
        self._destination = _Asked(stores.destination)
        self._evidence = Evidence.of(stores.source.capabilities, stores.destination.capabilities)
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
                await ask_each(still_open, self._decided, self._slots),
                strict=True,
            )
        )
        settled = [change(one.entry, said.get(one.entry.key, one.reason)) for one in changes]
        return [one for one in settled if said.get(one.entry.key) is not Reason.EQUAL]

    async def _decided(self, pair: Change) -> Reason:
        assert pair.there is not None
        comparison = await self._compared(pair.entry, pair.there)
        if comparison is None:
            return Reason.UNCOMPARED
        if reason := _REASONS.get(comparison):
            return reason
        if newer(pair.entry.last_modified, pair.there.last_modified):
            return Reason.NEWER
        self._tally.undecided += 1
        return Reason.EQUAL

    async def _compared(self, ours: Entry, theirs: Entry) -> Comparison | None:
        """None if either object is denied."""
        if judgement := by_listing(ours, theirs, self._evidence):
            return judgement.comparison  # heads could not say more
        try:
            head = await self._source.head(ours.key)
        except NoSuchKey:
            return Comparison.EQUAL  # gone since it was listed
        try:
            there = await self._destination.head(theirs.key)
        except NoSuchKey:
            return Comparison.MISSING
        return by_heads(head, there, self._evidence).comparison if head and there else None


def settling(stores: Stores | None, tally: Tally, *, checksums: bool, restores: Restores | None) -> Settle | None:
    """All that a run asks of objects; None where listings suffice."""
    by_checksum = ByChecksum(stores, tally) if checksums and stores else None
    by_etag = None
    if stores and not checksums and (stores.source.capabilities.assumed or stores.destination.capabilities.assumed):
        by_etag = ByEtag(stores.source, stores.destination, tally)

    async def settle(changes: Sequence[Change]) -> Sequence[Change]:
        if by_checksum:
            changes = await by_checksum(changes)
        if by_etag:
            changes = await by_etag(changes)
        return await restores(changes) if restores else changes

    return settle if by_checksum or by_etag or restores else None

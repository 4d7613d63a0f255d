"""Whether the ETags of a store that nobody knows are MD5s of the bytes: read an object, and see."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

from dth.errors import DthError
from dth.finder.compare import change
from dth.finder.plan import Tally
from dth.model import Change, Entry
from dth.states import Reason
from dth.stores.base import Reader

SAMPLES = 3
"""Objects of a store that are read before its ETags are called no MD5s: one may be encrypted, or be written in parts."""

LARGEST = 64 << 20
"""Bytes of an object that is read for this. Differences between larger ones are believed."""


class EtagProof:
    """Of one store. The first object whose ETag is the MD5 of its bytes vouches for all: chance makes no MD5."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._md5s: bool | None = None if reader.capabilities.assumed else True
        self._tried: set[str] = set()
        self._one = asyncio.Lock()

    async def holds(self, entries: Sequence[Entry]) -> bool:
        """Whether they are, asked of some of these where that is not known yet. Also True where it cannot be found out: then
        a difference is believed."""
        async with self._one:
            for entry in sorted(entries, key=lambda entry: entry.size):
                if self._md5s is not None or entry.size > LARGEST:
                    break
                if entry.key not in self._tried:
                    await self._try(entry)
            return self._md5s is True or (self._md5s is None and not self._tried)

    async def _try(self, entry: Entry) -> None:
        try:
            stream = await self._reader.get(entry.key, pinned=None)
            if stream.head.generation.etag.lower() != entry.etag.lower():
                stream.close()
                return  # another object by now
            md5 = hashlib.md5(usedforsecurity=False)
            try:
                async for chunk in stream:
                    md5.update(chunk)
            finally:
                stream.close()
        except DthError:
            return  # not to be read: it says nothing
        self._tried.add(entry.key)
        if md5.hexdigest() == entry.etag.lower():
            self._md5s = True
        elif len(self._tried) >= SAMPLES:
            self._md5s = False


class ByEtag:
    """Decides OPEN pairs, whose ETags differ while the source is no newer: by these ETags, where both stores' are MD5s. Else
    nothing proves a difference: such a pair is kept, and counted as undecided."""

    def __init__(self, source: Reader, destination: Reader, tally: Tally) -> None:
        self._source = EtagProof(source)
        self._destination = EtagProof(destination)
        self._tally = tally

    async def __call__(self, changes: Sequence[Change]) -> Sequence[Change]:
        """See `Settle`."""
        pairs = [(one.entry, one.there) for one in changes if one.reason is Reason.OPEN and one.there]
        if not pairs:
            return changes
        believed = await self._destination.holds([there for _, there in pairs]) and await self._source.holds(
            [ours for ours, _ in pairs]
        )
        if not believed:
            self._tally.undecided += len(pairs)
            return [one for one in changes if one.reason is not Reason.OPEN]
        return [change(one.entry, Reason.ETAG) if one.reason is Reason.OPEN else one for one in changes]

"""One pair of objects, looked at: their heads, or their bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from dth.errors import Archived, DthError, NoSuchKey, ObjectChanged, PreconditionFailed
from dth.finder.etag_proof import EtagProof
from dth.finder.evidence import EQUAL_BY_BYTES, UNPROVEN, Evidence, Judgement, by_heads, by_listing, sizes_differ
from dth.flow.breaker import Breaker
from dth.model import Entry, Generation, KeyMapping, ObjectHead
from dth.multipart.context import Flow
from dth.states import Comparison, Side, VerifiedBy
from dth.stores.base import Reader
from dth.verify.attributes import with_attributes, with_tags
from dth.verify.compare_bytes import Gone, Held, compare_bytes

T = TypeVar("T")

READINGS = 4  # an object that changes faster than it can be read is CHANGED


@dataclass(frozen=True, slots=True)
class Checker:
    """Judges pairs as deeply as asked: `download` reads both sides, `metadata` compares what a copy carries, `tags` its tags,
    at a request more for each side."""

    source: Reader
    destination: Reader
    mapping: KeyMapping
    evidence: Evidence
    download: bool
    metadata: bool
    tags: bool
    flow: Flow
    breaker: Breaker
    source_proof: EtagProof
    dest_proof: EtagProof
    passed: Callable[[int], None]

    def at_once(self, ours: Entry, theirs: Entry) -> Judgement | None:
        """The judgement, where the listings suffice for it; no request is sent."""
        judgement = by_listing(ours, theirs, self.evidence)
        if (self.metadata or self.tags or (self.download and ours.size)) and ours.size == theirs.size:
            return None
        return judgement

    async def look(self, ours: Entry, theirs: Entry) -> Judgement:
        """The judgement by requests. An error of one object is its judgement; raises those that are everyone's."""
        try:
            judgement = await self._settled(ours, theirs)
        except Gone as gone:
            if gone.side is Side.DESTINATION:
                return Judgement(Comparison.MISSING, "it went from the destination meanwhile")
            return Judgement(Comparison.CHANGED, "it went from the source meanwhile")
        except Archived as error:
            return Judgement(Comparison.NEEDS_RESTORE, str(error), None, None, error.code)
        except DthError as error:
            self.breaker.failed(error, ours.key)
            return Judgement(Comparison.FAILED, str(error), None, None, error.code)
        self.breaker.succeeded()
        return judgement

    async def _settled(self, ours: Entry, theirs: Entry) -> Judgement:
        """Of the listed generations or, where they are no longer there, of newer ones."""
        listed = [Generation(entry.etag, entry.size) for entry in (ours, theirs)]
        pinned = listed if all(generation.etag for generation in listed) else None
        for _ in range(READINGS):
            try:
                judgement = await self._judged(ours.key, theirs.key, pinned)
                if self.tags and judgement.comparison is not Comparison.SIZE:
                    judgement = await self._with_tags(judgement, ours.key, theirs.key)
                return judgement
            except (ObjectChanged, PreconditionFailed):
                pinned = None
        return Judgement(Comparison.CHANGED, f"it changed each time it was read, {READINGS} times")

    async def _judged(self, key: str, dest_key: str, pinned: list[Generation] | None) -> Judgement:
        if pinned is None or not (self.download and pinned[0].size):
            first, second = await self._heads(key, dest_key)
            judgement = by_heads(first, second, self.evidence)
            if (
                judgement.comparison is Comparison.CONTENT
                and judgement.by_md5
                and not await self._vouched(key, first, dest_key, second)
            ):
                judgement = UNPROVEN
            if judgement.comparison is Comparison.SIZE:
                return judgement
            if not (self.download and first.generation.size):
                return with_attributes(judgement, first.attributes, second.attributes) if self.metadata else judgement
            pinned = [first.generation, second.generation]
        return await self._compared(key, dest_key, *pinned)

    async def _vouched(self, key: str, ours: ObjectHead, dest_key: str, theirs: ObjectHead) -> bool:
        """Whether ETags that differ are MD5s, as far as reading one object of a store that nobody knows can tell."""
        async with self.flow.limiter.slot():
            return await self.dest_proof.holds([_entry(dest_key, theirs)]) and await self.source_proof.holds(
                [_entry(key, ours)]
            )

    async def _compared(self, key: str, dest_key: str, ours: Generation, theirs: Generation) -> Judgement:
        if ours.size != theirs.size:
            return sizes_differ(ours.size, theirs.size)
        read = await compare_bytes(
            Held(Side.SOURCE, self.source, key, ours),
            Held(Side.DESTINATION, self.destination, dest_key, theirs),
            self.flow,
            self.passed,
        )
        judgement = EQUAL_BY_BYTES
        if read.offset is not None:
            text = f"first different byte at offset {read.offset}"
            judgement = Judgement(Comparison.CONTENT, text, VerifiedBy.COMPARED, read.offset)
        return with_attributes(judgement, read.ours.attributes, read.theirs.attributes) if self.metadata else judgement

    async def _with_tags(self, judgement: Judgement, key: str, dest_key: str) -> Judgement:
        async with self.flow.limiter.slot():
            ours = await _there(self.source.tags(key), Side.SOURCE)
            theirs = await _there(self.destination.tags(dest_key), Side.DESTINATION)
        return with_tags(judgement, ours, theirs)

    async def _heads(self, key: str, dest_key: str) -> tuple[ObjectHead, ObjectHead]:
        async with self.flow.limiter.slot():
            return (
                await _there(self.source.head(key), Side.SOURCE),
                await _there(self.destination.head(dest_key), Side.DESTINATION),
            )


def _entry(key: str, head: ObjectHead) -> Entry:
    return Entry(key, head.generation.size, head.generation.etag, "", "")


async def _there(asking: Awaitable[T], side: Side) -> T:
    try:
        return await asking
    except NoSuchKey as error:
        raise Gone(side) from error

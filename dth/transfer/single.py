"""One GET, one PUT: objects up to the multipart threshold, and empty ones.

The source's attributes, MD5 and checksums come from the GET's own answer, so they belong to the bytes that follow; no
HEAD is sent before. Up to `WHOLE_MAX` the body is held (one write with its head, and the store repeats it by itself);
above, it streams through two windows, and what fails is read again from the source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dth.errors import (
    AccessDenied,
    BodyMismatch,
    ConditionConflict,
    DigestRefused,
    DthError,
    NoSuchKey,
    ObjectChanged,
    PreconditionFailed,
)
from dth.events import Notice
from dth.model import Attributes, Generation, ObjectHead, Tags
from dth.multipart.checksum import MD5, Sums, best_algorithm
from dth.multipart.context import slow_down
from dth.multipart.relay import STREAM_WINDOW, Relay, relayed
from dth.retry import RetryPolicy, retrying
from dth.states import Outcome, VerifiedBy
from dth.stores.base import ObjectStream, PutOptions, Written
from dth.transfer.context import CopyContext
from dth.transfer.integrity import (
    answered_with,
    etags_decide,
    kept_checksum,
    put_proof,
    read_back,
    read_hashes,
    source_checksum,
    suspicious,
)
from dth.transfer.options import CopyOptions, Verify
from dth.transfer.result import Copied

WHOLE_MAX = 1 << 20
STREAM_POLICY = RetryPolicy(attempts=4, base_seconds=0.3, cap_seconds=20)
REFUSALS = 3  # how often a destination may say that the bytes arrived damaged


async def copy_single(key: str, dest_key: str, generation: Generation, ctx: CopyContext) -> Copied:
    """Raises ObjectChanged where the source is not, or after the copy no longer, of this generation."""
    single = _Single(key, dest_key, generation, ctx)
    try:
        head, sent, sums, written = await single.put()
    except _Exists:
        return skipped(generation.etag, "exists at the destination")
    if ctx.job.tags:
        await ctx.job.tags.confirm_put(dest_key, sent.tags)
    return await single.proven(head, sent, sums, written)


async def prove_single(key: str, dest_key: str, generation: Generation, written: Written, ctx: CopyContext) -> Copied:
    """What a plain copy (`transfer.express`) that was written, but answered with another ETag than the source's, is worth.
    Raises what `copy_single` raises."""
    single = _Single(key, dest_key, generation, ctx)
    head = await single.head()
    return await single.proven(head, single.options_for(head), Sums(()), written)


def skipped(etag: str, note: str, code: str = "") -> Copied:
    """Nothing was moved, and why."""
    return Copied(Outcome.SKIPPED, 0, etag, "", None, note, code=code)


def put_options(
    attributes: Attributes,
    options: CopyOptions,
    *,
    if_none_match: bool,
    content_md5: str = "",
    checksum: tuple[str, str] | None = None,
    tags: Tags = (),
) -> PutOptions:
    """What the job's writes carry, PUT or multipart."""
    return PutOptions(
        attributes=attributes if options.include_metadata else Attributes(),
        content_md5=content_md5,
        checksum=checksum,
        storage_class=options.storage_class,
        acl=options.acl,
        sse=options.sse,
        sse_kms_key_id=options.sse_kms_key_id,
        if_none_match=if_none_match,
        tags=tags,
    )


async def assert_unchanged(key: str, generation: Generation, ctx: CopyContext) -> None:
    """Raises ObjectChanged where the source holds another generation by now. A source that is gone by now is no
    change: what was copied was there."""
    if not generation.etag:
        return
    try:
        head = await ctx.job.source.head(key, if_match=generation.etag)
    except PreconditionFailed as error:
        raise ObjectChanged(f"{key!r} changed at the source while it was copied") from error
    except NoSuchKey:
        return
    if head.generation.etag != generation.etag:
        raise ObjectChanged(f"{key!r} changed at the source while it was copied")


class _Exists(Exception):
    """no_clobber: the destination holds the key."""


_Put = tuple[ObjectHead, PutOptions, Sums, Written]


class _Single:
    """One object's copy, over as many tries as it takes."""

    def __init__(self, key: str, dest_key: str, generation: Generation, ctx: CopyContext) -> None:
        self._key = key
        self._dest_key = dest_key
        self._generation = generation
        self._ctx = ctx
        self._source = ctx.job.source
        self._destination = ctx.job.destination
        self._options = ctx.job.options
        self._believes_md5 = not ctx.job.trust.source_made_otherwise
        self._head: ObjectHead | None = None

    async def put(self) -> _Put:
        """Read and write until the destination took the bytes. Raises DigestRefused where it keeps saying that they
        arrive damaged."""
        size = self._generation.size
        whole = size <= WHOLE_MAX or self._destination.capabilities.needs_payload_hash
        refusals = 0
        while True:
            try:
                return await (self._put_whole() if whole else self._put_streamed())
            except (DigestRefused, ConditionConflict) as error:
                refusals += 1
                if refusals >= REFUSALS:
                    raise
                if isinstance(error, DigestRefused):
                    self._ctx.emit(Notice("warning", "sent_again", str(error)))
                    await self._doubt_md5()

    async def _put_whole(self) -> _Put:
        async def read() -> tuple[ObjectStream, bytes, Sums]:
            stream = await self._open()
            try:
                body = await stream.read()
            finally:
                stream.close()
            sums = self._sums(stream.head)
            sums.update(body)
            sums.check_source()
            return stream, body, sums

        size = self._generation.size
        async with self._ctx.limiter.slot(size), self._ctx.budget.reserve(size):
            stream, body, sums = await retrying(read, STREAM_POLICY, on_retry=self._on_retry)
            sent = self._put_options(stream.head, sums, await self._ctx.job.tags_of(self._key, stream.head))
            return stream.head, sent, sums, await self._write(body, stream.length, sent)

    async def _put_streamed(self) -> _Put:
        async def attempt() -> _Put | DigestRefused:
            async with self._ctx.limiter.slot(self._generation.size), self._ctx.budget.reserve(STREAM_WINDOW):
                stream = await self._open()
                sums = self._sums(stream.head)
                try:
                    sent = self._put_options(stream.head, None, await self._ctx.job.tags_of(self._key, stream.head))
                    written = await relayed(stream, sums, lambda body: self._write(body, stream.length, sent))
                    sums.check_answer(written)
                except DigestRefused as error:
                    return error  # not to be sent again as it is: `put` looks into it
                return stream.head, sent, sums, written

        result = await retrying(attempt, STREAM_POLICY, on_retry=self._on_retry)
        if isinstance(result, DigestRefused):
            raise result
        return result

    async def head(self) -> ObjectHead:
        """The source's, of this generation. Raises ObjectChanged."""
        try:
            return await self._source.head(self._key, if_match=self._generation.etag)
        except PreconditionFailed as error:
            raise ObjectChanged(f"{self._key!r} changed at the source") from error

    def options_for(self, head: ObjectHead) -> PutOptions:
        """What a plain object is written with."""
        return self._put_options(head, None, ())

    async def _open(self) -> ObjectStream:
        try:
            stream = await self._source.get(self._key, pinned=self._generation)
        except PreconditionFailed as error:
            raise ObjectChanged(f"{self._key!r} changed at the source") from error
        self._head = stream.head
        return stream

    async def _write(self, body: bytes | Relay, length: int, sent: PutOptions) -> Written:
        try:
            return await self._destination.put(self._dest_key, body, length, sent)
        except PreconditionFailed as error:
            if sent.if_none_match:
                raise _Exists from error
            raise

    def _put_options(self, head: ObjectHead, sums: Sums | None, tags: Tags) -> PutOptions:
        """With the strongest check that the destination can make: the source's MD5, its checksum, or our own."""
        options, capabilities = self._options, self._destination.capabilities
        md5, checksum = "", None
        if options.verify is not Verify.OFF:
            own = sums and sums.crc(best_algorithm(capabilities.checksums))
            if head.md5 and self._believes_md5:
                md5 = head.md5
            elif (checksum := source_checksum(head, capabilities)) is None and own:
                checksum = (own.algorithm, own.base64)
            elif checksum is None and sums:
                md5 = sums.raw(MD5).hex()
        return put_options(
            head.attributes,
            options,
            content_md5=md5,
            checksum=checksum,
            if_none_match=options.no_clobber and capabilities.conditional_put,
            tags=tags,
        )

    def _sums(self, head: ObjectHead) -> Sums:
        """What to compute: nothing where the source's MD5 or checksum, checked by the destination, says more."""
        capabilities = self._destination.capabilities
        if self._options.verify is Verify.OFF or (head.md5 and self._believes_md5):
            return Sums(())
        if source_checksum(head, capabilities):
            return Sums(())
        if kept := kept_checksum(head):
            return Sums([answered_with(capabilities, "")], [kept])
        return Sums([best_algorithm(capabilities.checksums)])

    async def _doubt_md5(self) -> None:
        """After the destination refused the source's MD5: damaged bytes, or is it no MD5 at all (KMS, SSE-C and
        directory buckets have ETags that look like one)? Two reads that agree with each other, but not with it, say
        the latter."""
        head = self._head
        if head is None or not head.md5 or not self._believes_md5:
            return
        _, first = await read_hashes(self._source, self._key, head.generation, "crc64nvme", self._ctx)
        if first == head.md5:
            return  # damaged on the way; send it again
        _, second = await read_hashes(self._source, self._key, head.generation, "crc64nvme", self._ctx)
        if first != second:
            raise BodyMismatch(f"two reads of {self._key!r} at the source gave different bytes")
        self._believes_md5 = False
        if self._source.capabilities.assumed:
            self._ctx.job.trust.source_made_otherwise = True

    async def proven(self, head: ObjectHead, sent: PutOptions, sums: Sums, written: Written) -> Copied:
        """DONE, with its proof. Raises BodyMismatch, and ObjectChanged where the source holds another one by now."""
        proof = await self._proof(head, sent, sums, written)
        if not etags_decide(head, written.etag):
            await assert_unchanged(self._key, head.generation, self._ctx)
        return Copied(Outcome.DONE, head.generation.size, head.generation.etag, written.etag, proof)

    async def _proof(self, head: ObjectHead, sent: PutOptions, sums: Sums, written: Written) -> VerifiedBy:
        """What proves the copy, after whatever the job's `verify` asks for. Raises BodyMismatch."""
        if not self._believes_md5:
            head = replace(head, md5="")
        if suspicious(sent, written, self._destination.capabilities):
            if self._destination.capabilities.assumed:
                return await self._proof_against_etag(head, sent, written)
            seen = await self._destination.head(self._dest_key)
            if seen.md5 and seen.md5 != sent.content_md5:
                raise BodyMismatch(f"{self._dest_key!r} holds MD5 {seen.md5}, the source {sent.content_md5}")
        proof = put_proof(head, sent, sums, written)
        if self._options.verify is not Verify.FULL or proof not in {VerifiedBy.PART_CRC, VerifiedBy.NOT_VERIFIABLE}:
            return proof
        return await read_back(self._key, self._dest_key, written.etag, head, self._ctx)

    async def _proof_against_etag(self, head: ObjectHead, sent: PutOptions, written: Written) -> VerifiedBy:
        """A store of which nobody knows anything took the bytes with their MD5, and tells an ETag that is another. It ignores the
        header and holds damaged bytes, or its ETags are made of other stuff, or the source's are: reading back tells, once.
        From then on the ETags of that side say nothing. Raises BodyMismatch."""
        trust, size = self._ctx.job.trust, head.generation.size
        if trust.destination_made_otherwise:
            if self._options.verify is Verify.FULL:
                return await read_back(self._key, self._dest_key, written.etag, head, self._ctx)
            return VerifiedBy.NOT_VERIFIABLE
        try:
            _, there = await read_hashes(
                self._destination, self._dest_key, Generation(written.etag, size), "crc64nvme", self._ctx
            )
        except AccessDenied:
            return VerifiedBy.NOT_VERIFIABLE
        if there == sent.content_md5:
            trust.destination_made_otherwise = True
            text = (
                "the destination's ETags are not MD5s of the bytes, whatever they look like: single copies cannot be "
                "verified by them (--verify full reads back)"
            )
            self._ctx.emit(Notice("warning", "etags_say_nothing", text))
            return VerifiedBy.OWN_MD5
        _, here = await read_hashes(self._source, self._key, head.generation, "crc64nvme", self._ctx)
        if here != there:
            raise BodyMismatch(f"{self._dest_key!r} read back at the destination is not what the source holds")
        trust.source_made_otherwise = True
        return VerifiedBy.READ_BACK

    @property
    def _on_retry(self) -> Callable[[DthError, int], None]:
        return slow_down(self._ctx.limiter, self._ctx.emit)

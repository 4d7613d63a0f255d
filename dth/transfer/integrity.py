"""What proves that the destination holds the source's bytes, cheapest proof first, and never more than was proven."""

from __future__ import annotations

import asyncio
import hashlib

from dth.errors import BodyMismatch, ObjectChanged, PreconditionFailed
from dth.model import ByteSpan, Generation, ObjectHead
from dth.multipart.checksum import MD5, Crc, Sums, best_algorithm, computable, is_content_etag, is_md5
from dth.multipart.context import Flow, slow_down
from dth.multipart.relay import CHUNK, STREAM_WINDOW
from dth.retry import RetryPolicy, retrying
from dth.states import VerifiedBy
from dth.stores.base import Capabilities, ObjectStream, PutOptions, Reader, Written
from dth.transfer.context import CopyContext
from dth.values import value

READ_POLICY = RetryPolicy(attempts=4, base_seconds=0.3, cap_seconds=10)
READ_SPAN = 64 << 20  # a cut connection costs at most this much reading again


def source_checksum(head: ObjectHead, capabilities: Capabilities) -> tuple[str, str] | None:
    """A checksum that the source keeps over the whole object and the destination can check, best first."""
    if head.checksum_type != "FULL_OBJECT":
        return None
    kept = dict(head.checksums)
    return next(((name, kept[name]) for name in capabilities.checksums if name in kept), None)


def kept_checksum(head: ObjectHead) -> tuple[str, str] | None:
    """A checksum that the source keeps over the whole object and that is computed here, cheapest first."""
    if head.checksum_type != "FULL_OBJECT":
        return None
    kept = dict(head.checksums)
    names = (*filter(None, [best_algorithm(list(kept))]), *kept)
    return next(((name, kept[name]) for name in names if computable(name)), None)


def answered_with(capabilities: Capabilities, computed: str) -> str:
    """What the destination answers a write with that says of which bytes it got, where our `computed` is not it: a CRC, or
    the MD5 that is its ETag. "" where `computed` is, or nothing is."""
    ours = best_algorithm(capabilities.checksums)
    if not ours:
        return MD5 if capabilities.md5_etag else ""
    declared = capabilities.declares_checksum and computed in capabilities.checksums
    return "" if declared or computed == ours else ours


def put_proof(head: ObjectHead, sent: PutOptions, sums: Sums, written: Written) -> VerifiedBy:
    """What the answer to a PutObject proves. `sums` are over the bytes sent.

    Raises BodyMismatch where the answer, or what the source said of the bytes, contradicts them. A destination that takes
    a Content-MD5 must check it (RFC 1864, and S3's own rule), so its acceptance is a proof; so is an ETag equal to the
    source's proven MD5, whoever computed it.
    """
    answered = bool(sent.content_md5) or sums.check_answer(written)
    if sent.content_md5 and sent.content_md5 == head.md5:
        return VerifiedBy.CONTENT_MD5
    if head.md5 and written.etag == head.md5:
        return VerifiedBy.ETAG
    if (sent.checksum is not None and sent.checksum in head.checksums) or (sums.check_source() and answered):
        return VerifiedBy.CRC
    if answered or sent.checksum is not None:
        return VerifiedBy.PART_CRC
    return VerifiedBy.NOT_VERIFIABLE


def suspicious(sent: PutOptions, written: Written, capabilities: Capabilities) -> bool:
    """Whether the destination took our Content-MD5 and then answered another MD5, without being known to check any:
    an ignored header and damaged bytes, or an encryption that the bucket applies by itself. Its HEAD tells which. Where
    nobody knows the kind of store, any other ETag is suspicious: it may not know the header at all."""
    if capabilities.assumed:
        return bool(sent.content_md5) and not written.opaque_etag and written.etag != sent.content_md5
    return (
        bool(sent.content_md5)
        and capabilities.md5_etag
        and not capabilities.checksums
        and not sent.sse
        and is_md5(written.etag)
        and written.etag != sent.content_md5
    )


def etags_decide(head: ObjectHead, dest_etag: str) -> bool:
    """Whether the next comparison of both sides can tell an old generation from a new one by their ETags alone."""
    if head.md5:
        return dest_etag == head.md5
    return dest_etag == head.generation.etag and is_content_etag(dest_etag, head.generation.size)


async def read_back(key: str, dest_key: str, etag: str, head: ObjectHead, ctx: CopyContext) -> VerifiedBy:
    """Read what the destination holds and compare it with the source's MD5 or CRC; where it offers neither, with the
    source, read once more: two reads are not damaged alike.

    Raises BodyMismatch; needs s3:GetObject at the destination.
    """
    kept = kept_checksum(head)
    algorithm, said = kept if kept and best_algorithm([kept[0]]) else ("crc64nvme", "")
    written = Generation(etag, head.generation.size)
    crc, md5 = await read_hashes(ctx.job.destination, dest_key, written, algorithm, ctx)
    if head.md5:
        equal = md5 == head.md5
    elif said:
        equal = crc.base64 == said
    else:
        try:
            again, source_md5 = await read_hashes(ctx.job.source, key, head.generation, algorithm, ctx)
        except PreconditionFailed as error:
            raise ObjectChanged(f"{key!r} changed at the source while it was verified") from error
        equal = (again.value, source_md5) == (crc.value, md5)
    if not equal:
        raise BodyMismatch(f"{dest_key!r} read back at the destination is not what the source holds")
    return VerifiedBy.OWN_MD5 if head.md5 else VerifiedBy.READ_BACK


async def read_hashes(reader: Reader, key: str, generation: Generation, algorithm: str, flow: Flow) -> tuple[Crc, str]:
    """CRC and hex MD5 of one whole generation. Read span by span, each under a slot and a window of the budget; a
    failed span is read again. MD5 runs in a thread."""
    hashes = _Hashes(Crc(algorithm), hashlib.md5(usedforsecurity=False))
    for start in range(0, max(generation.size, 1), READ_SPAN):
        stop = min(start + READ_SPAN, generation.size)
        span = None if stop - start == generation.size else ByteSpan(start, stop)

        async def read_span(span: ByteSpan | None = span, before: _Hashes = hashes) -> _Hashes:
            async with flow.limiter.slot(), flow.budget.reserve(STREAM_WINDOW):
                return await _hash_stream(await reader.get(key, pinned=generation, span=span), before)

        hashes = await retrying(read_span, READ_POLICY, on_retry=slow_down(flow.limiter))
    return hashes.crc, hashes.md5.hexdigest()


@value
class _Hashes:
    crc: Crc
    md5: hashlib._Hash

    def add(self, data: bytes) -> None:
        self.crc.update(data)
        self.md5.update(data)


async def _hash_stream(stream: ObjectStream, before: _Hashes) -> _Hashes:
    """What the hashes are after the stream. The earlier ones stay as they are, in case the stream has to be read again."""
    after = _Hashes(before.crc.copy(), before.md5.copy())
    waiting = bytearray()
    try:
        async for chunk in stream:
            waiting += chunk
            if len(waiting) >= CHUNK:
                await asyncio.to_thread(after.add, bytes(waiting))
                waiting.clear()
    finally:
        stream.close()
    after.add(bytes(waiting))
    return after

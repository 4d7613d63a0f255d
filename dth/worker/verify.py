"""What proves that the destination holds the source's bytes, cheapest proof first, and never more than was proven."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from dth.model import ByteSpan, Generation, ObjectHead
from dth.multipart.checksum import Crc, best_algorithm, is_content_etag, is_md5
from dth.multipart.context import Flow, slow_down
from dth.multipart.relay import CHUNK, STREAM_WINDOW, check_answer
from dth.retry import RetryPolicy, retrying
from dth.states import VerifiedBy
from dth.stores.base import Capabilities, ObjectStream, PutOptions, Reader, Written

READ_POLICY = RetryPolicy(attempts=4, base_seconds=0.3, cap_seconds=10)
READ_SPAN = 64 << 20  # a cut connection costs at most this much reading again


def source_checksum(head: ObjectHead, capabilities: Capabilities) -> tuple[str, str] | None:
    """A checksum that the source keeps over the whole object and the destination can check, best first."""
    if head.checksum_type != "FULL_OBJECT":
        return None
    kept = dict(head.checksums)
    return next(((name, kept[name]) for name in capabilities.checksums if name in kept), None)


def own_crc(capabilities: Capabilities, *, read_back: bool) -> Crc | None:
    """The checksum to compute over what passes: one that the destination speaks, or any where it will be read back."""
    algorithm = best_algorithm(capabilities.checksums) or ("crc64nvme" if read_back else "")
    return Crc(algorithm) if algorithm else None


def put_proof(head: ObjectHead, sent: PutOptions, own: Crc | None, written: Written) -> VerifiedBy:
    """What the answer to a PutObject proves. `own` is over the bytes sent, None where none was computed.

    Raises BodyMismatch where the answer contradicts them. A destination that takes a Content-MD5 must check it (RFC
    1864, and S3's own rule), so its acceptance is a proof; so is an ETag equal to the source's proven MD5, whoever
    computed it.
    """
    answered = check_answer(own, written)
    if sent.content_md5 and sent.content_md5 == head.md5:
        return VerifiedBy.CONTENT_MD5
    if head.md5 and written.etag == head.md5:
        return VerifiedBy.ETAG
    if sent.checksum is not None and sent.checksum in head.checksums:
        return VerifiedBy.CRC
    if answered or sent.checksum is not None:
        return VerifiedBy.PART_CRC
    return VerifiedBy.NOT_VERIFIABLE


def suspicious(sent: PutOptions, written: Written, capabilities: Capabilities) -> bool:
    """Whether the destination took our Content-MD5 and then answered another MD5, without being known to check any:
    an ignored header and damaged bytes, or an encryption that the bucket applies by itself. Its HEAD tells which."""
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
    return dest_etag == head.generation.etag and is_content_etag(dest_etag)


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


@dataclass(frozen=True, slots=True)
class _Hashes:
    crc: Crc
    md5: hashlib._Hash

    def add(self, data: bytes) -> None:
        self.crc.update(data)
        self.md5.update(data)


async def _hash_stream(stream: ObjectStream, before: _Hashes) -> _Hashes:
    """What the hashes are after the stream; those before it stay as they are, for who has to read it again."""
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

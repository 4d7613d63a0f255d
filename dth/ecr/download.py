"""Blobs out of a registry: streamed, resumed after cuts, hashed on the way.

A blob is known by its digest, so its last bytes are only handed on once the digest of all of them is right: a destination
never gets a whole body that is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import zlib
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from dth.ecr.auth import Scope
from dth.ecr.manifest import Descriptor
from dth.ecr.registry import Ask, Registry
from dth.errors import (
    AnswerInvalid,
    BodyMismatch,
    DthError,
    ManifestMissing,
    NotFound,
    ProtocolViolation,
    ServerFault,
    StoreError,
    Throttled,
)
from dth.transport.base import Response

_OK, _PARTIAL, _NOT_FOUND = 200, 206, 404
_GZIP = {"gzip", "x-gzip"}
_GZIP_BITS = 31  # zlib's window bits for a gzip container
_DECODED_BYTES = 1 << 20  # at once


class Reader:
    """Reads one blob from anywhere on, again and again if need be. What is read the first time is hashed; what is read
    again was hashed before, and the destination's own check covers it."""

    def __init__(self, registry: Registry, repository: str, blob: Descriptor) -> None:
        self._registry = registry
        self._repository = repository
        self._blob = blob
        self._hash: Any = self._new_hash()
        self._hashed = 0
        self._decodes: bool | None = None  # whether what is sent as gzip must be unpacked; None: nobody had to know yet

    @property
    def reached(self) -> int:
        """How far it was read; a resumed upload begins no later."""
        return self._hashed

    async def exists(self) -> bool:
        """Whether the registry has the blob. Where HEAD is refused, GET tells."""
        url = self._registry.url(self._repository, f"blobs/{self._blob.digest}")
        ask = Ask("HeadBlob", "HEAD", url, Scope(self._repository), self._title, frozenset({_OK, _NOT_FOUND}))
        try:
            return (await self._registry.whole(ask, kind="look at blobs")).status == _OK
        except Throttled:
            raise
        except (StoreError, ProtocolViolation):
            try:
                (await self._open(0)).close()
            except ManifestMissing:
                return False
            return True

    async def read_from(self, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `offset` to the end. Raises BodyMismatch before the last ones where the digest is wrong,
        ManifestMissing where the registry lacks the blob."""
        if not self._blob.size:
            return
        pace = self._registry.pace("read blobs")
        policy, failures = self._registry.retry, 0
        await pace.acquire()
        try:
            while offset < self._blob.size:
                began = offset
                try:
                    async with contextlib.aclosing(self._pieces(offset)) as pieces:
                        async for piece in pieces:
                            offset += len(piece)
                            yield piece
                except DthError as error:
                    failures = 1 if offset > began else failures + 1
                    if isinstance(error, Throttled):
                        pace.throttled(error.retry_after)
                    if isinstance(error, BodyMismatch) or not error.retryable or failures >= policy.attempts:
                        raise
                    await asyncio.sleep(policy.wait_seconds(failures, getattr(error, "retry_after", None)))
        finally:
            pace.release(self._blob.size)

    async def _pieces(self, offset: int) -> AsyncGenerator[bytes, None]:
        response = await self._open(offset)
        try:
            if _coded(response) and self._decodes is None and not self._fits(response, offset):
                self._decodes = await self._must_decode(response)
                response.close()
                response = await self._open(offset)
            skip = offset if response.status == _OK else 0
            at = offset - skip
            async for piece in _unpacked(response) if self._decodes and _coded(response) else response:
                if skip >= len(piece):
                    skip -= len(piece)
                    at += len(piece)
                    continue
                useful = piece[skip:] if skip else piece
                at += skip
                skip = 0
                at += len(useful)
                self._check(useful, at)
                yield useful
            if at < self._blob.size:
                raise ServerFault(f"{self._title}: the blob ended after {at} of {self._blob.size} bytes")
        finally:
            response.close()

    def _check(self, piece: bytes, at: int) -> None:
        """Hash what is new of the piece, which ends at `at`; the last one must make the digest right."""
        if at > self._blob.size:
            raise BodyMismatch(
                f"{self._title}: the blob is longer than the {self._blob.size} bytes that its manifest says"
            )
        if at > self._hashed:
            self._hash.update(memoryview(piece)[len(piece) - (at - self._hashed) :])
            self._hashed = at
        if at == self._blob.size and self._hash.hexdigest() != self._blob.digest.partition(":")[2]:
            self._hash, self._hashed = self._new_hash(), 0
            raise BodyMismatch(f"{self._title}: the bytes that the source sent have another digest")

    async def _open(self, offset: int) -> Response:
        ranged = bool(offset) and not self._decodes  # a range would be one of the packed bytes
        accepts = {_OK, _PARTIAL} if ranged else {_OK}
        headers = (("range", f"bytes={offset}-"),) if ranged else ()
        url = self._registry.url(self._repository, f"blobs/{self._blob.digest}")
        ask = Ask("GetBlob", "GET", url, Scope(self._repository), self._title, frozenset(accepts), headers)
        try:
            response = await self._registry.send(ask)
        except NotFound as exc:
            raise ManifestMissing(f"{self._title}: the image names this blob, but its registry lacks it") from exc
        if response.status == _PARTIAL and not response.headers.get("content-range", "").startswith(f"bytes {offset}-"):
            response.close()
            raise AnswerInvalid(f"{self._title}: the registry answered with another range than {offset}-")
        return response

    def _fits(self, response: Response, offset: int) -> bool:
        """Whether the body has the length that is still to come: then it is the blob itself, whatever it is labelled."""
        return response.length == self._blob.size - (offset if response.status == _PARTIAL else 0)

    async def _must_decode(self, response: Response) -> bool:
        """Read an answer that is labelled gzip and see which of the two has the blob's digest: its bytes, or what is packed in
        them. Stores put the label on layers that are gzip by themselves; proxies pack what had been no gzip."""
        if response.status == _PARTIAL:
            response.close()
            response = await self._open(0)
        plain, unpacked, packed_right = self._new_hash(), self._new_hash(), True
        unpack, size, plain_size = zlib.decompressobj(_GZIP_BITS), 0, 0
        async for piece in response:
            plain.update(piece)
            plain_size += len(piece)
            try:
                for part in _parts(unpack, piece) if packed_right else ():
                    unpacked.update(part)
                    size += len(part)
                    packed_right = size <= self._blob.size
                    if not packed_right:
                        break
            except zlib.error:
                packed_right = False
            if not packed_right and plain_size > self._blob.size:
                break
        wanted = self._blob.digest.partition(":")[2]
        if packed_right and unpacked.hexdigest() == wanted:
            return True
        if plain.hexdigest() == wanted:
            return False
        raise BodyMismatch(
            f"{self._title}: neither the bytes that the source sent as gzip nor what is in them has the digest"
        )

    def _new_hash(self) -> Any:
        return hashlib.new(self._blob.digest.partition(":")[0])

    @property
    def _title(self) -> str:
        return self._registry.title(self._repository, self._blob.digest)


def _coded(response: Response) -> bool:
    return response.headers.get("content-encoding", "").strip().lower() in _GZIP


def _parts(unpack: Any, piece: bytes) -> Iterator[bytes]:
    """What is packed in the piece, a little at a time. Raises zlib.error."""
    part = unpack.decompress(piece, _DECODED_BYTES)
    while part:
        yield part
        part = unpack.decompress(unpack.unconsumed_tail, _DECODED_BYTES)


async def _unpacked(response: Response) -> AsyncGenerator[bytes, None]:
    unpack = zlib.decompressobj(_GZIP_BITS)
    try:
        async for piece in response:
            for part in _parts(unpack, piece):
                yield part
    except zlib.error as exc:
        raise AnswerInvalid("the registry sent as gzip what is none") from exc

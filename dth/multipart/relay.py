"""A source's stream as a destination's request body, without holding more than the chunk that passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from dth.errors import BodyMismatch, DthError
from dth.multipart.checksum import Crc
from dth.stores.base import ObjectStream, Written

STREAM_WINDOW = 2 << 20  # what one streamed body may hold: a megabyte waiting on the way in, one on the way out
CHUNK = 1 << 20  # up to here a hash is computed on the loop


class Relay:
    """Iterates the stream once, counting and summing what passes, and remembers where the stream itself failed.

    No generator: a request that ends early would leave one suspended, with the connection in its hands.
    """

    __slots__ = ("_chunks", "_crc", "failure", "passed")

    def __init__(self, stream: ObjectStream, crc: Crc | None) -> None:
        self._chunks = aiter(stream)
        self._crc = crc
        self.passed = 0
        self.failure: DthError | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except DthError as error:
            self.failure = error
            raise
        self.passed += len(chunk)
        if self._crc is not None:
            self._crc.update(chunk)
        return chunk


async def relayed(stream: ObjectStream, crc: Crc | None, send: Callable[[Relay], Awaitable[Written]]) -> Written:
    """Send the stream's bytes; the stream is closed in every case.

    Where the source failed, its error is raised, not what that made of the write. An answer that came before all bytes
    were sent is no success: raises BodyMismatch.
    """
    relay = Relay(stream, crc)
    try:
        written = await send(relay)
    except DthError as error:
        if relay.failure is not None and relay.failure is not error:
            raise relay.failure from error
        raise
    finally:
        stream.close()
    if relay.passed != stream.length:
        raise BodyMismatch(f"the destination said done after {relay.passed} of {stream.length} bytes")
    return written


def check_answer(crc: Crc | None, written: Written) -> bool:
    """Whether the destination's answer holds our checksum of what was sent; False where it holds none.

    Raises BodyMismatch where it holds another. Composite values (`...-12`) are of another kind and say nothing.
    """
    if crc is None:
        return False
    answered = dict(written.checksums).get(crc.algorithm, "")
    if not answered or "-" in answered:
        return False
    if answered != crc.base64:
        raise BodyMismatch(f"sent bytes with {crc.algorithm} {crc.base64}, the destination holds {answered}")
    return True

"""A source's stream as a destination's request body, without holding more than the chunk that passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from dth.errors import BodyMismatch, DthError
from dth.multipart.checksum import Sums
from dth.stores.base import ObjectStream, Written
from dth.transport.base import Loan, Passing

STREAM_WINDOW = 2 << 20  # what one streamed body may hold: a megabyte waiting on the way in, one on the way out
CHUNK = 1 << 20  # up to here a hash is computed on the loop


class Relay:
    """Iterates the stream once, counting and summing what passes, and remembers where the stream itself failed.

    The last bytes are handed on only once the source's own checksum, where it said one, is that of all: no destination
    keeps a body that ends too early.

    No generator: a request that ends early would leave one suspended, with the connection in its hands.
    """

    __slots__ = ("_chunks", "_length", "_stream", "_sums", "failure", "passed")

    def __init__(self, stream: ObjectStream, sums: Sums) -> None:
        self._stream = stream
        self._chunks = aiter(stream)
        self._length = stream.length
        self._sums = sums
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
        self._pass(chunk)
        return chunk

    def lend(self, length: int, passing: Passing) -> Loan | None:
        """See `transport.base.Lender`."""
        lend = getattr(self._stream, "lend", None)

        def passing_here(data: bytes | memoryview) -> None:
            self._pass(data)
            passing(data)

        return lend(length, passing_here) if lend else None

    def _pass(self, chunk: bytes | memoryview) -> None:
        try:
            self.passed += len(chunk)
            self._sums.update(chunk)
            if self.passed == self._length:
                self._sums.check_source()
        except DthError as error:
            self.failure = error
            raise


async def relayed(stream: ObjectStream, sums: Sums, send: Callable[[Relay], Awaitable[Written]]) -> Written:
    """Send the stream's bytes; the stream is closed in every case.

    Where the source failed, its error is raised, not what that made of the write. An answer that came before all bytes
    were sent is no success: raises BodyMismatch.
    """
    relay = Relay(stream, sums)
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

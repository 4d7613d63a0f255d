"""One connection: writes a request, takes its answer apart as bytes arrive, and knows whether it can be used again.

Everything happens in the protocol's callbacks; a small exchange costs its caller one suspension. A connection serves one
exchange at a time and tells its owner exactly once how each ended: `release` (fit for another) or `discard`.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterable
from typing import Any, Final, Protocol, cast

from dth.errors import ConnectionLost, ProtocolViolation, TimedOut, TransportError
from dth.transport.base import Timeouts
from dth.transport.chunked import ChunkedDecoder
from dth.transport.framing import (
    CHUNKED,
    HEAD_LIMIT,
    UNTIL_CLOSE,
    Malformed,
    body_length,
    keep_alive_seconds,
    parse_head,
)
from dth.transport.response import Answer

ONE_WRITE: Final = 64 * 1024
"""Bodies up to here are copied behind their head: one system call, one TLS record more."""
PIECE: Final = 256 * 1024
"""Larger ones go out in pieces: over TLS, writes of 64 to 256 KiB were cheapest."""
INTERIM_LIMIT: Final = 32
"""Answers of 1xx before the final one."""

_HEAD, _FIXED, _CHUNKED, _UNTIL_CLOSE = range(4)


class Owner(Protocol):
    """The pool, as its connections see it. `clock` are coarse seconds in which the loop was awake."""

    clock: float
    origin_text: str
    timeouts: Timeouts
    window: int

    def release(self, connection: Connection) -> None:
        """The exchange ended and the connection is fit for another."""
        ...

    def discard(self, connection: Connection) -> None:
        """The exchange ended and the connection with it."""
        ...

    def unexpected(self, connection: Connection) -> None:
        """Between exchanges the connection was closed, or spoke out of turn."""
        ...

    def gone(self, connection: Connection) -> None:
        """Its socket is closed."""
        ...


class Connection(asyncio.Protocol):
    """See the module. `served` counts exchanges that ended well; `unanswered` is True when the last exchange died before
    a byte of its answer came."""

    __slots__ = ("_answer", "_chunks", "_drained", "_heard", "_interim", "_interrupted", "_keep", "_left", "_loop",
                 "_method", "_owner", "_partial", "_pending", "_producer", "_reading_paused", "_sending", "_since", "_state",
                 "_transport", "_waiter", "_write_paused", "closed", "idle_since", "keep_alive", "origin_text", "served",
                 "unanswered")  # fmt: skip

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self.origin_text = owner.origin_text
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.closed = False
        self.served = 0
        self.unanswered = False
        self.idle_since = 0.0
        self.keep_alive: float | None = None  # seconds, where the peer said so
        self._answer: Answer | None = None
        self._method = ""
        self._state = _HEAD
        self._partial = bytearray()  # of a head
        self._heard = False
        self._interim = 0
        self._left = 0
        self._chunks: ChunkedDecoder | None = None
        self._keep = True
        self._waiter: asyncio.Future[None] | None = None  # of the head
        self._reading_paused = False
        self._sending = False
        self._write_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._producer: asyncio.Task[Any] | None = None  # who waits for the next piece of the request's body
        self._interrupted = False
        self._since = 0.0
        self._pending = 0

    # Requests

    async def exchange(self, method: str, head: bytes, body: bytes | AsyncIterable[Any], length: int) -> Answer:
        """Send a request whose head is whole; the answer once its head is here. On any error, and on cancellation, the
        connection has been dropped."""
        owner = self._owner
        self._answer = answer = Answer(self, owner.window)
        self._method = method
        self._heard = self.unanswered = False
        self._since = owner.clock
        try:
            if isinstance(body, bytes) and length <= ONE_WRITE:
                self._transport.write(head + body if body else head)
            else:
                await self._send_large(head, body, length)
            while answer.status == 0 and answer.error is None:
                self._waiter = self._loop.create_future()
                await self._waiter
        except BaseException as exc:
            if self._answer is answer:
                error = exc if isinstance(exc, TransportError) else TransportError("the request was given up")
                self.fail(error)
            raise
        finally:
            self._waiter = None
        if answer.error is not None and answer.status == 0:
            raise answer.error
        return answer

    async def _send_large(self, head: bytes, body: bytes | AsyncIterable[Any], length: int) -> None:
        self._sending = True
        self._transport.write(head)
        if isinstance(body, bytes):
            await self._write(memoryview(body))
        else:
            await self._send_stream(body, length)
        self._sending = False
        self._since = self._owner.clock

    async def _send_stream(self, body: AsyncIterable[Any], length: int) -> None:
        """Write what `body` yields until it ends or the exchange is decided. Asks for a buffer only when the last one was
        copied or belongs to the transport."""
        left = length
        task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        iterator = body.__aiter__()
        try:
            while self._still_sending():
                self._producer = task
                try:
                    chunk = await anext(iterator)
                except StopAsyncIteration:
                    break
                finally:
                    self._producer = None
                if type(chunk) is not bytes:
                    chunk = bytes(chunk)
                left -= len(chunk)
                if left < 0:
                    raise TransportError(f"{self.origin_text}: the request's body is longer than its {length} bytes")
                await self._write(chunk if len(chunk) <= PIECE else memoryview(chunk))
            if left and self._still_sending():
                raise TransportError(f"{self.origin_text}: the request's body ended {left} bytes short of its {length}")
        except asyncio.CancelledError:
            if not self._interrupted or task.cancelling() > cancelling + 1:
                raise
        except Exception:
            if not self._interrupted:
                raise
        finally:
            if self._interrupted:
                task.uncancel()
                self._interrupted = False
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()

    def _still_sending(self) -> bool:
        return self._answer is not None and self._answer.status == 0

    async def _write(self, data: bytes | memoryview) -> None:
        """Write with back-pressure; returns early once the exchange is decided."""
        for at in range(0, len(data), PIECE):
            if not self._still_sending():
                return
            self._transport.write(data if len(data) <= PIECE else data[at : at + PIECE])
            if self._write_paused:
                await self._drain()

    async def _drain(self) -> None:
        while self._write_paused and self._still_sending():
            self._drained = self._loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None

    def _stop_sending(self) -> None:
        """The exchange is decided: wake the sender wherever it waits."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._producer is not None:
            # As asyncio.timeout does it: the sender recognises this cancellation as ours and takes it back.
            self._interrupted = True
            self._producer.cancel()
            self._producer = None

    # Answers

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        answer = self._answer
        if answer is None:
            self._owner.unexpected(self)
            return
        try:
            if self._state == _FIXED:
                self._since = self._owner.clock
                self._fixed(answer, data)
            elif self._state == _HEAD:
                self._heard = True
                self._head(answer, data)
            else:
                self._since = self._owner.clock
                self._stream(answer, data)
        except Malformed as exc:
            self.fail(ProtocolViolation(f"{self.origin_text} sent an answer that is not valid HTTP: {exc}"))

    def _head(self, answer: Answer, data: bytes) -> None:
        while True:
            if self._partial:
                scanned = max(0, len(self._partial) - 3)
                self._partial += data
                end = self._partial.find(b"\r\n\r\n", scanned)
                data = bytes(self._partial) if end >= 0 else data
            else:
                end = data.find(b"\r\n\r\n")
                if end < 0:
                    self._partial += data
            if end > HEAD_LIMIT or (end < 0 and len(self._partial) > HEAD_LIMIT):
                raise Malformed(f"a head of more than {HEAD_LIMIT} bytes")
            if end < 0:
                return
            if self._partial:
                self._partial.clear()
            head = parse_head(data[: end + 4])
            data = data[end + 4 :]
            if head.status >= 200:  # noqa: PLR2004 - final
                break
            self._interim += 1
            if head.status == 101 or self._interim > INTERIM_LIMIT:  # noqa: PLR2004 - Switching Protocols
                raise Malformed(f"status {head.status}, the {self._interim}. answer before the final one")
            self._since = self._owner.clock
            if not data:
                return
        length = body_length(self._method, head)
        self._since = self._owner.clock
        self._keep = head.keep_alive and length != UNTIL_CLOSE
        if self._keep and "keep-alive" in head.headers:
            self.keep_alive = keep_alive_seconds(head.headers)
        answer.headers = head.headers
        answer.length = length if length >= 0 else None
        answer.status = head.status
        if self._sending:
            self._keep = False
            self._stop_sending()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if length >= 0:
            self._state = _FIXED
            self._left = length
            self._fixed(answer, data)
            return
        if length == CHUNKED:
            self._state = _CHUNKED
            self._chunks = ChunkedDecoder()
        else:
            self._state = _UNTIL_CLOSE
        if data:
            self._stream(answer, data)

    def _fixed(self, answer: Answer, data: bytes) -> None:
        left = self._left - len(data)
        if left > 0:
            self._left = left
            answer.feed(data)
        elif left == 0:
            answer.feed(data)
            self._complete(answer, surplus=False)
        else:
            answer.feed(data[: self._left])
            self._complete(answer, surplus=True)

    def _stream(self, answer: Answer, data: bytes) -> None:
        if self._chunks is None:
            answer.feed(data)
            return
        content, rest = self._chunks.feed(data)
        answer.feed(content)
        if self._chunks.done:
            self._complete(answer, surplus=bool(rest))

    def _complete(self, answer: Answer, *, surplus: bool) -> None:
        """The body's last byte is here. Bytes after it belong to nothing that was asked: the connection is not trusted."""
        if self._answer is None:
            return  # `feed` found the body too long
        self._answer = None
        self._chunks = None
        self._state = _HEAD
        self._interim = 0
        answer.finish()
        self.resume()
        transport = self._transport
        fit = self._keep and not surplus and not self._sending and not transport.is_closing()
        if fit and transport.get_write_buffer_size() == 0:
            self.served += 1
            self._owner.release(self)
        else:
            self.abort()
            self._owner.discard(self)

    # Ends

    def fail(self, error: TransportError) -> None:
        """End the exchange with `error` and drop the connection."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        self.unanswered = not self._heard
        answer.break_off(error)
        self._stop_sending()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self.abort()
        self._owner.discard(self)

    def is_closing(self) -> bool:
        """True once nothing more can be sent."""
        return self.closed or self._transport.is_closing()

    def is_quiet(self) -> bool:
        """False where the idle socket has something to read: its end, or what nobody asked for. One system call."""
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def abort(self) -> None:
        """Close the socket at once. The owner is told by whoever calls."""
        self.closed = True
        self._transport.abort()

    def eof_received(self) -> None:
        """The peer will send no more. A body delimited by the close is whole now."""
        answer = self._answer
        if answer is not None and self._state == _UNTIL_CLOSE and self._chunks is None:
            self._complete(answer, surplus=False)
        else:
            self._lost("closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._lost(f"reset the connection ({exc})" if exc else "closed the connection")
        self._owner.gone(self)

    def _lost(self, what: str) -> None:
        if self._answer is None:
            if not self.closed:
                self.closed = True
                self._owner.unexpected(self)
            return
        if self._state == _HEAD:
            when = "in the middle of an answer's head" if self._heard else "before it answered"
        elif self._state == _FIXED:
            when = f"{self._left} bytes before the end of the body"
        else:
            when = "before the end of the body"
        self.fail(ConnectionLost(f"{self.origin_text} {what} {when}"))

    # Flow

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(PIECE, PIECE // 4)

    def pause_writing(self) -> None:
        """The transport holds enough."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The transport holds little again."""
        self._write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def pause(self) -> None:
        """Let the peer wait."""
        if not self._reading_paused and not self.closed:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Undo `pause`."""
        if self._reading_paused and not self.closed:
            self._reading_paused = False
            self._since = self._owner.clock
            self._transport.resume_reading()

    def check(self, clock: float) -> None:
        """Fail with TimedOut where the peer has been silent too long. Waiting for our own side is not its silence."""
        if self._answer is None or self._reading_paused:
            return
        if self._producer is not None:
            self._since = clock
            return
        if self._state == _HEAD:
            pending = self._transport.get_write_buffer_size()
            if pending != self._pending:
                self._pending = pending
                self._since = clock
            limit, what = (
                (self._owner.timeouts.idle, "took no byte of the request")
                if pending or self._sending
                else (self._owner.timeouts.first_byte, "did not answer")
            )
        else:
            limit, what = self._owner.timeouts.idle, "sent nothing more of the body"
        if clock - self._since >= limit:
            self.fail(TimedOut(f"{self.origin_text} {what} for {limit:g} s"))

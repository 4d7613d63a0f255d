"""One connection: writes a request, takes its answer apart as bytes arrive, and knows whether it can be used again.

Everything happens in the protocol's callbacks; a small exchange costs its caller one suspension. A connection serves one
exchange at a time and tells its owner exactly once how each ended: `release` (fit for another) or `discard`.
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Final, cast

from dth.errors import ConnectionLost, ProtocolViolation, TimedOut, TransportError
from dth.transport.base import Body, Fate, Loan, Passing, Receiver
from dth.transport.chunked import ChunkedDecoder
from dth.transport.framing import (
    CHUNKED,
    UNTIL_CLOSE,
    Head,
    Malformed,
    body_length,
    end_of_head,
    keep_alive_seconds,
    parse_head,
)
from dth.transport.lending import send_lent
from dth.transport.owner import Owner
from dth.transport.pump import LEAST
from dth.transport.response import Answer
from dth.transport.sending import PIECE, Sender

ONE_WRITE: Final = 64 * 1024
"""Bodies up to here are copied behind their head: one system call, one TLS record more."""
INTERIM_LIMIT: Final = 32
"""Answers of 1xx before the final one."""

FINAL: Final = 200
SWITCHING_PROTOCOLS: Final = 101

_HEAD, _FIXED, _CHUNKED, _UNTIL_CLOSE = range(4)


class Connection(asyncio.Protocol):
    """See the module. `served` counts exchanges that ended well; `unanswered` is True when the last exchange died before
    a byte of its answer came."""

    __slots__ = ("_answer", "_chunks", "_heard", "_interim", "_keep", "_left", "_loop",
                 "_method", "_owner", "_partial", "_pending", "_reading_paused", "_sender", "_since", "_state",
                 "_transport", "_waiter", "closed", "idle_since", "keep_alive", "origin_text", "served",
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
        self._answer: Receiver | None = None
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
        self._sender: Sender | None = None  # while a large body is being sent
        self._since = 0.0
        self._pending = 0

    # Requests

    def begin(self, method: str, head: bytes, body: bytes, receiver: Receiver) -> None:
        """Send a whole request; `receiver` takes the answer by callbacks."""
        self._expect(method, receiver)
        self._transport.write(head + body if body else head)

    def give_back(self) -> None:
        """Nothing was begun."""
        self._owner.give_back(self)

    def _expect(self, method: str, answer: Receiver) -> None:
        self._answer = answer
        self._method = method
        self._heard = self.unanswered = False
        self._since = self._owner.clock

    async def exchange(self, method: str, head: bytes, body: Body, length: int) -> Answer:
        """Send a request whose head is whole; the answer once its head is here. On any error, and on cancellation, the
        connection has been dropped."""
        answer = Answer(self, self._owner.window)
        self._expect(method, answer)
        waiter: asyncio.Future[None] | None = None
        try:
            if length <= ONE_WRITE and isinstance(body, bytes):
                self._transport.write(head + body if body else head)
            else:
                await self._send_large(head, body, length)
            if answer.status == 0 and answer.error is None:
                self._waiter = waiter = self._loop.create_future()
                await waiter
        except BaseException as exc:
            if self._answer is answer:
                self.fail(exc if isinstance(exc, TransportError) else TransportError("the request was given up"))
            raise
        finally:
            # A short answer is whole before we wake: by now the connection may serve another exchange, with its own waiter.
            if self._waiter is waiter:
                self._waiter = None
        if answer.status == 0 and answer.error is not None:
            raise answer.error
        return answer

    async def _send_large(self, head: bytes, body: Body, length: int) -> None:
        self._sender = sender = Sender(self._transport)
        try:
            if isinstance(body, bytes):
                self._transport.write(head)
                await sender.write(body)
            else:
                if (pumps := self._owner.pumps) is not None:
                    head, length = await send_lent(self, sender, pumps, head, body, length)
                await sender.write(head)
                await sender.send_stream(body, length)
        finally:
            # The answer may have been whole before the body's iterator ended: then another exchange may be under way.
            if self._sender is sender:
                self._sender = None
        if self._state == _HEAD:
            self._since = self._owner.clock

    def lend(self, came: list[bytes], length: int, passing: Passing) -> Loan | None:
        """See `response.Line`."""
        whole = self._state == _FIXED and sum(map(len, came)) + self._left == length
        own = self.duplicate() if whole and self._left >= LEAST and self._owner.pumps is not None else None
        if own is None:
            return None
        self.pause()
        return Loan(own, came, self._left, passing, self._take_back)

    def duplicate(self) -> socket.socket | None:
        """See `lending.Line`."""
        try:
            return socket.fromfd(self._transport.get_extra_info("socket").fileno(), socket.AF_INET, socket.SOCK_STREAM)
        except (OSError, RuntimeError):  # it is closed (uvloop says so by RuntimeError), or there is no descriptor left
            return None

    def _take_back(self, taken: int, fate: Fate) -> None:
        """A thread has read so many bytes of the answer's body."""
        answer = self._answer
        if answer is None:
            return
        self._left -= taken
        if fate is Fate.SPOILT:
            self.fail(TransportError("the answer was given up"))
        elif fate is Fate.SILENT:
            self.overdue()
        elif self._left:
            self.resume()
        else:
            self._complete(answer, surplus=fate is Fate.SURPLUS)

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

    def _head(self, answer: Receiver, data: bytes) -> None:
        """Take bytes while the final answer's head is not whole; those behind it are the body's."""
        while True:
            end = end_of_head(self._partial, data)
            if end == 0:
                return
            if self._partial:
                data = bytes(self._partial)
                self._partial.clear()
            head = parse_head(data[:end])
            data = data[end:]
            self._since = self._owner.clock
            if head.status >= FINAL:
                break
            self._interim += 1
            if head.status == SWITCHING_PROTOCOLS or self._interim > INTERIM_LIMIT:
                raise Malformed(f"status {head.status}, answer number {self._interim} before the final one")
            if not data:
                return
        self._begin_body(answer, head)
        if self._state == _FIXED:
            self._fixed(answer, data)
        elif data:
            self._stream(answer, data)

    def _begin_body(self, answer: Receiver, head: Head) -> None:
        length = body_length(self._method, head)
        self._keep = head.keep_alive and length != UNTIL_CLOSE
        if "keep-alive" in head.headers:
            self.keep_alive = keep_alive_seconds(head.headers)
        answer.headers = head.headers
        answer.length = length if length >= 0 else None
        answer.status = head.status
        if length >= 0:
            self._state = _FIXED
            self._left = length
        elif length == CHUNKED:
            self._state = _CHUNKED
            self._chunks = ChunkedDecoder()
        else:
            self._state = _UNTIL_CLOSE
        if self._sender is not None and not self._sender.whole:
            self._keep = False  # the request will not be whole, so what follows it could be read as its body
            self._sender.stop()
        self._wake()

    def _fixed(self, answer: Receiver, data: bytes) -> None:
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

    def _stream(self, answer: Receiver, data: bytes) -> None:
        if self._chunks is None:
            answer.feed(data)
            return
        content, rest = self._chunks.feed(data)
        answer.feed(content)
        if self._chunks.done:
            self._complete(answer, surplus=bool(rest))

    def _complete(self, answer: Receiver, *, surplus: bool) -> None:
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
        fit = self._keep and not surplus and not transport.is_closing()
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
        if self._sender is not None:
            self._sender.stop()
        self._wake()
        self.abort()
        self._owner.discard(self)

    @property
    def was_stale(self) -> bool:
        """Whether it had served before, and died before a byte of the last answer came: the peer had closed it."""
        return self.served > 0 and self.unanswered

    def is_closing(self) -> bool:
        """True once nothing more can be sent."""
        return self.closed or self._transport.is_closing()

    def is_quiet(self) -> bool:
        """False where the idle socket has something to read: its end, or what nobody asked for. One system call."""
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

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
        if self._sender is not None:
            self._sender.paused = True

    def resume_writing(self) -> None:
        """The transport holds little again."""
        if self._sender is not None:
            self._sender.resume()

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
        sender = self._sender
        if sender is not None and sender.awaits_producer and not sender.whole:
            self._since = clock
            return
        if self._state == _HEAD and (pending := self._transport.get_write_buffer_size()) != self._pending:
            self._pending = pending
            self._since = clock
        if clock - self._since >= self._patience()[0]:
            self.overdue()

    def overdue(self) -> None:
        """Fail with TimedOut: the peer has been silent too long."""
        seconds, what = self._patience()
        self.fail(TimedOut(f"{self.origin_text} {what} for {seconds:g} s"))

    def _patience(self) -> tuple[float, str]:
        """How long the peer may be silent now, and what it does not do then."""
        timeouts, sender = self._owner.timeouts, self._sender
        if self._state != _HEAD:
            return timeouts.idle, "sent nothing more of the body"
        if self._transport.get_write_buffer_size() or (sender is not None and not sender.whole):
            return timeouts.idle, "took no byte of the request"
        return timeouts.first_byte, "did not answer"

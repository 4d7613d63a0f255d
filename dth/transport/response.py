"""One exchange's answer: filled by the connection as bytes arrive, emptied by whoever holds it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Protocol, Self

from dth.errors import ProtocolViolation, TransportError
from dth.transport.base import Loan, Passing

UNREAD = 64 * 1024  # bytes that are taken in before anybody asks for the body, which may not pass through here at all
PIECES_LIMIT = 1024  # so that a body of tiny segments can't cost many times its size in objects


class Line(Protocol):
    """What an answer asks of the connection that it arrives on."""

    @property
    def origin_text(self) -> str:
        """For messages."""
        ...

    def pause(self) -> None:
        """Let the peer wait."""
        ...

    def resume(self) -> None:
        """Undo `pause`."""
        ...

    def fail(self, error: TransportError) -> None:
        """End the exchange with `error` and drop the connection."""
        ...

    def lend(self, came: list[bytes], length: int, passing: Passing) -> Loan | None:
        """See `transport.base.Lender`, of a body of which `came` waits here."""
        ...


class Answer:
    """`transport.base.Response`. The connection calls `feed`, `finish` and `break_off`; nobody else may."""

    __slots__ = ("_collecting", "_error", "_finished", "_held", "_line", "_loan", "_origin_text", "_paused", "_pieces", "_waiter", "_whole_window",
                 "_window", "headers", "length", "status")  # fmt: skip

    def __init__(self, line: Line, window: int) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.length: int | None = None
        self._line: Line | None = line  # None once the exchange is over
        self._origin_text = line.origin_text
        self._window = min(window, UNREAD)
        self._whole_window = window
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._finished = False
        self._collecting = False  # `read` wants everything: wake it once
        self._paused = False
        self._error: TransportError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._loan: Loan | None = None

    async def read(self, limit: int) -> bytes:
        """See `Response.read`."""
        if not self._finished:
            self._collecting = True
            self._window = limit
            if max(self._held, self.length or 0) <= limit:
                self._resume()
                await self._wait(until_finished=True)
        if self._error is not None:
            raise self._error
        if self._held > limit or (self.length or 0) > limit:
            raise self._too_long(limit)
        pieces, self._pieces, self._held = self._pieces, deque(), 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def __aiter__(self) -> Self:
        """See `Response.__aiter__`."""
        return self

    async def __anext__(self) -> bytes:
        self._window = self._whole_window
        if not self._pieces and not self._finished:
            await self._wait(until_finished=False)
        if self._error is not None:
            raise self._error
        if not self._pieces:
            raise StopAsyncIteration
        piece = self._pieces.popleft()
        self._held -= len(piece)
        if self._paused and self._held <= self._window // 2:
            self._resume()
        return piece

    def lend(self, length: int, passing: Passing) -> Loan | None:
        """See `transport.base.Lender`."""
        if self._line is None or self._collecting:
            return None
        self._loan = loan = self._line.lend(list(self._pieces), length, passing)
        if loan is not None:
            self._pieces.clear()
            self._held = 0
            self._paused = False
        return loan

    def close(self) -> None:
        """See `Response.close`."""
        self._pieces.clear()
        self._held = 0
        if self._line is not None:
            self._line.fail(TransportError("the answer was closed before its end"))

    def feed(self, data: bytes) -> None:
        """Take bytes of the body."""
        if not data:
            return
        self._pieces.append(data)
        self._held += len(data)
        if self._held > self._window or len(self._pieces) > PIECES_LIMIT:
            self._full()
        if not self._collecting and self._waiter is not None:
            self._wake()

    def finish(self) -> None:
        """The body was whole."""
        self._finished = True
        self._line = None
        if self._waiter is not None:
            self._wake()

    def break_off(self, error: TransportError) -> None:
        """The body will not be whole; what was not handed out yet never will be."""
        self._finished = True
        self._line = None
        self._error = error
        self._pieces.clear()
        self._held = 0
        if self._loan is not None and self._loan.interrupt is not None:
            self._loan.interrupt()
        if self._waiter is not None:
            self._wake()

    @property
    def error(self) -> TransportError | None:
        """Why the exchange failed, if it did."""
        return self._error

    def _full(self) -> None:
        assert self._line is not None
        if not self._collecting:
            if not self._paused:
                self._paused = True
                self._line.pause()
        elif self._held > self._window:
            self._too_long(self._window)
        else:
            joined = b"".join(self._pieces)
            self._pieces.clear()
            self._pieces.append(joined)

    def _too_long(self, limit: int) -> ProtocolViolation:
        error = ProtocolViolation(
            f"{self._origin_text}: the answer's body is longer than the {limit} bytes that make sense"
        )
        if self._line is not None:
            self._line.fail(error)
        return error

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._line is not None:
                self._line.resume()

    async def _wait(self, *, until_finished: bool) -> None:
        """Until there is something to hand out, or everything. Cancelled: the connection is dropped."""
        if self._waiter is not None:
            raise RuntimeError("an answer has one reader")
        try:
            while not (self._finished or (self._pieces and not until_finished)):
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

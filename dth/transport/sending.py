"""Sending a body that is too large for one write: with back-pressure, and only for as long as the peer wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import Any, Final

from dth.errors import TransportError
from dth.transport.pump import Pump

PIECE: Final = 256 * 1024
"""Bytes of one write, and what a transport holds before its writer waits. Over TLS, 64 to 256 KiB were cheapest."""


class Sender:
    """Sends one request's body from the task that made the request, until it is through or `stop` is called."""

    __slots__ = ("_drained", "_interrupted", "_producer", "_transport", "paused", "pump", "stopped", "whole")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.paused = False  # the transport holds enough
        self.stopped = False
        self.whole = False  # the transport has every byte, though the body may still have to end
        self._drained: asyncio.Future[None] | None = None
        self._producer: asyncio.Task[Any] | None = None  # it waits for the body's next piece
        self._interrupted = False
        self.pump: Pump | None = None  # a thread sends

    @property
    def awaits_producer(self) -> bool:
        """The next move is our own side's."""
        return self._producer is not None

    async def send_stream(self, body: AsyncIterable[Any], length: int) -> None:
        """Write what `body` yields. Raises TransportError where that is not `length` bytes, and whatever `body` raises.
        The body's iterator is always closed."""
        task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        iterator = aiter(body)
        left = length
        try:
            while not self.stopped:
                self._producer = task
                chunk = await anext(iterator, None)
                self._producer = None
                if chunk is None:
                    break
                left -= len(chunk) if isinstance(chunk, bytes) else memoryview(chunk).nbytes
                if left < 0:
                    raise TransportError(f"the request's body is longer than the {length} bytes announced")
                await self.write(chunk if isinstance(chunk, bytes) else bytes(chunk))  # the rest is only borrowed
                self.whole = left == 0
            if left and not self.stopped:
                raise TransportError(f"the request's body ended {left} bytes short of the {length} announced")
        except (asyncio.CancelledError, Exception):
            # An error of the body's own counts for nothing once `stop` has interrupted it; another's cancellation does.
            if not self._interrupted or task.cancelling() > cancelling + 1:
                raise
        finally:
            self._producer = None
            if self._interrupted:
                task.uncancel()
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()

    async def write(self, data: bytes) -> None:
        """Write `data` in pieces. A written piece is the transport's, so `data` must never change."""
        if self.stopped:
            return
        if len(data) <= PIECE:
            self._transport.write(data)
            if self.paused:
                await self._drain()
            return
        view = memoryview(data)
        for at in range(0, len(data), PIECE):
            self._transport.write(view[at : at + PIECE])
            if self.paused and not await self._drain():
                return

    def resume(self) -> None:
        """The transport holds little again."""
        self.paused = False
        self._wake()

    def stop(self) -> None:
        """Nobody wants the rest: let the task go on, wherever it waits."""
        self.stopped = True
        self._wake()
        if self.pump is not None:
            self.pump.stop()
        if self._producer is not None:
            # As asyncio.timeout does it: the task recognises this cancellation as ours and takes it back.
            self._interrupted = True
            self._producer.cancel()
            self._producer = None

    async def _drain(self) -> bool:
        """Wait until the transport holds little. False: there is nothing left to write for."""
        while self.paused and not self.stopped:
            self._drained = asyncio.get_running_loop().create_future()
            try:
                await self._drained
            finally:
                self._drained = None
        return not self.stopped

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

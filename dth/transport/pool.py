"""A bounded pool of connections to one origin: last in, first out, so that the surplus can expire; first come, first
served among those who wait; one coarse timer for all timeouts."""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict

from dth.errors import ConnectionLost
from dth.transport.base import Origin, Timeouts
from dth.transport.connect import connect
from dth.transport.connection import Connection
from dth.transport.proxy import Proxy
from dth.transport.pump import Pumps


class Pool:
    """Who takes a connection owns a slot, until the connection itself gives it back by `release` or `discard`.

    `clock` counts seconds, coarsely, and leaves out those in which the loop itself was blocked or the machine asleep: a
    peer is not late when nobody listened.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        timeouts: Timeouts,
        limit: int,
        window: int,
        keep_alive: float,
        ssl_context: ssl.SSLContext | None,
        proxy: Proxy | None = None,
    ) -> None:
        self.origin = origin
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        self.origin_text = f"{origin.scheme}://{host}:{origin.port}"
        self.timeouts = timeouts
        self.window = window
        self.clock = 0.0
        self.pumps = Pumps(timeouts.idle) if ssl_context is None and proxy is None else None
        self._limit = limit
        self._keep_alive = keep_alive
        self._ssl_context = ssl_context
        self._proxy = proxy
        self._idle: list[Connection] = []
        self._waiters: OrderedDict[asyncio.Future[Connection | None], None] = OrderedDict()
        self._slots = 0  # in use: idle, busy or connecting
        self._sockets: set[Connection] = set()  # every connection whose socket is open
        self._tick_seconds = min(1.0, max(0.01, min(timeouts.first_byte, timeouts.idle, keep_alive) / 4))
        self._timer: asyncio.TimerHandle | None = None
        self._now = 0.0  # the loop's time at the last tick
        self._closing = False
        self._all_gone: asyncio.Future[None] | None = None

    async def acquire(self) -> Connection:
        """A connection fit for an exchange: idle, handed over, or new. Waits while all are busy."""
        if self._closing:
            raise self._closed()
        if idle := self.take_idle():
            return idle
        if self._slots < self._limit:
            self._slots += 1
            return await self._open()
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            handed = await waiter
        except BaseException:
            self._waiters.pop(waiter, None)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give_back(waiter.result())
            raise
        if handed is None or handed.is_closing():
            return await self.replace(handed)
        return handed

    def take_idle(self) -> Connection | None:
        """An idle connection that is fit for an exchange; None where there is none."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closing():
                return connection
            connection.abort()
            self._slots -= 1
        return None

    async def replace(self, connection: Connection | None) -> Connection:
        """A new connection in the slot of one that its owner doesn't trust."""
        if connection is not None:
            connection.abort()
        return await self._open()

    def give_back(self, connection: Connection | None) -> None:
        """Return a slot, with the unused connection in it where there is one."""
        if connection is None:
            self._free_slot()
        elif connection.is_closing():
            connection.abort()
            self._free_slot()
        else:
            self.release(connection)

    def release(self, connection: Connection) -> None:
        """The exchange ended and the connection is fit for another."""
        if self._closing:
            connection.abort()
            self._free_slot()
        elif not self._hand_over(connection):
            connection.idle_since = self._now
            self._idle.append(connection)

    def discard(self, connection: Connection) -> None:  # noqa: ARG002 - the owner's contract
        """The exchange ended and the connection with it."""
        self._free_slot()

    def unexpected(self, connection: Connection) -> None:
        """Between exchanges the connection was closed, or spoke out of turn. One just handed over is its taker's."""
        connection.abort()
        if connection in self._idle:
            self._idle.remove(connection)
            self._free_slot()

    def gone(self, connection: Connection) -> None:
        """Its socket is closed."""
        self._sockets.discard(connection)
        if not self._sockets and self._all_gone is not None and not self._all_gone.done():
            self._all_gone.set_result(None)

    async def close(self) -> None:
        """Drop everything, and return once every socket is closed. Idempotent."""
        self._closing = True
        for connection in self._idle:
            connection.abort()
        self._slots -= len(self._idle)
        self._idle.clear()
        for connection in list(self._sockets):
            connection.fail(self._closed())
            connection.abort()
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_exception(self._closed())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sockets:
            self._all_gone = self._all_gone or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._all_gone)
        if self.pumps is not None:
            self.pumps.close()

    def _closed(self) -> ConnectionLost:
        return ConnectionLost(f"{self.origin_text}: the client was closed")

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            connection = await connect(
                self.origin, lambda: Connection(self, loop), self._ssl_context, self.timeouts.connect, self._proxy
            )
        except BaseException:
            self._free_slot()
            raise
        self._sockets.add(connection)
        if self._closing:
            connection.abort()
            self._free_slot()
            raise self._closed()
        if self._timer is None:
            self._now = loop.time()
            self._timer = loop.call_later(self._tick_seconds, self._tick)
        return connection

    def _free_slot(self) -> None:
        if self._closing or not self._hand_over(None):
            self._slots -= 1

    def _hand_over(self, connection: Connection | None) -> bool:
        """Give a connection, or the right to open one, to who has waited longest."""
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self.clock += min(now - self._now, 2 * self._tick_seconds)
        self._now = now
        for connection in list(self._sockets):
            connection.check(self.clock)
        for connection in list(self._idle):
            if now - connection.idle_since >= self._patience(connection):
                self.unexpected(connection)
        self._timer = loop.call_later(self._tick_seconds, self._tick) if self._sockets else None

    def _patience(self, connection: Connection) -> float:
        """Seconds that an idle connection is kept: less than the peer keeps it, where it says so."""
        if connection.keep_alive is None:
            return self._keep_alive
        return min(self._keep_alive, max(connection.keep_alive / 2, connection.keep_alive - 1))

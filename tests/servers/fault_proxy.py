"""A TCP proxy that spoils connections on demand: delays, throttles, cuts, resets, truncates, corrupts, stalls.

It looks into requests only to choose where a fault strikes: a fault names bytes of a request's head, which of the
requests with them, which way, and after how many bytes from there.
"""

import asyncio
import contextlib
import enum
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

CHUNK = 1 << 16


class Way(enum.Enum):
    """Which direction."""

    UP = "towards the server"
    DOWN = "towards the client"


class Action(enum.Enum):
    """What happens."""

    CUT = enum.auto()  # both sides are closed in order: a body ends early
    RESET = enum.auto()  # the client's side is reset
    CORRUPT = enum.auto()  # one bit of the next byte flips
    STALL = enum.auto()  # nothing goes that way any more, the connection stays open
    DROP = enum.auto()  # one byte is left out: everything after it shifts


@dataclass(slots=True)
class Fault:
    """Strikes at the `nth` request (from 1) whose head holds `match`, and the `times` - 1 that follow it, `after` bytes
    into that direction from there: of the request itself (UP), or of its answer (DOWN); `in_body`: of the body alone."""

    action: Action
    match: bytes = b""
    nth: int = 1
    times: int = 1
    way: Way = Way.DOWN
    after: int = 0
    in_body: bool = False
    seen: int = 0
    struck: int = 0


class _Ended(Exception):
    """This connection is over."""


@dataclass(slots=True)
class _Connection:
    """Faults that wait on it: what, which way, bytes still to pass, and the head that must end first (None: it has)."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    armed: dict[Way, tuple[Fault, int, bytes | None]] = field(default_factory=dict)


class FaultProxy:
    """`with FaultProxy(server.endpoint, [Fault(...)]) as proxy:` and talk to `proxy.endpoint`.

    `latency` holds every byte back for so many seconds each way, in order; `rate` is bytes a second, each way, over all
    connections together (0: unlimited). Runs in a thread of its own.
    """

    def __init__(self, target: str, faults: list[Fault] | None = None, *, latency: float = 0.0, rate: int = 0) -> None:
        parts = urlsplit(target)
        self.target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.faults = faults or []
        self.latency = latency
        self.rate = rate
        self.connections = 0
        self.refusing = False
        self.port = 0
        self._free_at: dict[Way, float] = {Way.UP: 0.0, Way.DOWN: 0.0}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._connection(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accepted, "127.0.0.1", 0, limit=CHUNK)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writers = [writer]
        try:
            if self.refusing:
                _reset(writer)
                return
            there, back = await asyncio.open_connection(*self.target, limit=CHUNK)
            writers.append(back)
            state = _Connection(writer, back)
            await _first(self._pump(reader, back, Way.UP, state), self._pump(there, writer, Way.DOWN, state))
        except (OSError, _Ended):
            pass
        finally:
            for each in writers:
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way, state: _Connection
    ) -> None:
        """Carry bytes one way until they end. What was read waits for its time in order, so that delay costs no rate."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)

        async def read() -> None:
            while data := await reader.read(CHUNK):
                await waiting.put((self._due(len(data), way), data))
            await waiting.put((0.0, b""))

        async def write() -> None:
            loop = asyncio.get_running_loop()
            while True:
                due, data = await waiting.get()
                if not data:
                    return
                await asyncio.sleep(due - loop.time())
                if way is Way.UP:
                    self._look(data, state)
                await self._pass(data, writer, way, state)

        await _first(read(), write(), only=1)

    def _due(self, size: int, way: Way) -> float:
        """When bytes that came now may go on."""
        now = asyncio.get_running_loop().time()
        if self.rate:
            self._free_at[way] = max(now, self._free_at[way]) + size / self.rate
            return self._free_at[way] + self.latency
        return now + self.latency

    def _look(self, data: bytes, state: _Connection) -> None:
        """Arm the faults that this request is meant for. A request's head comes in one piece from all our clients."""
        head = data.partition(b"\r\n\r\n")[0]
        if not head.split(b" ", 1)[0].isupper() or b" HTTP/1.1\r\n" not in head + b"\r\n":
            return
        state.armed.clear()
        for fault in self.faults:
            if fault.match in head:
                fault.seen += 1
                if fault.nth <= fault.seen < fault.nth + fault.times:
                    state.armed[fault.way] = fault, fault.after, b"" if fault.in_body else None

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter, way: Way, state: _Connection) -> None:
        armed = state.armed.get(way)
        if armed is not None:
            fault, left, head = armed
            if head is not None:
                ahead = len(head)
                end = (head + data).find(b"\r\n\r\n")
                if end < 0:
                    state.armed[way] = fault, left, head + data
                    writer.write(data)
                    await writer.drain()
                    return
                left += end + 4 - ahead
            if left >= len(data):
                state.armed[way] = fault, left - len(data), None
            else:
                del state.armed[way]
                fault.struck += 1
                writer.write(data[:left])
                await writer.drain()
                data = await _strike(fault.action, data[left:], state)
        writer.write(data)
        await writer.drain()


async def _strike(action: Action, data: bytes, state: _Connection) -> bytes:
    """Do it; what is then passed on of `data`."""
    if action is Action.CORRUPT:
        return bytes([data[0] ^ 1]) + data[1:]
    if action is Action.DROP:
        return data[1:]
    if action is Action.STALL:
        await asyncio.Event().wait()
    if action is Action.RESET:
        _reset(state.client)
    raise _Ended


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _first(*work: Coroutine[Any, Any, None], only: int | None = None) -> None:
    """Run them until one ends (until number `only` ends, if given, or any fails); then cancel the others."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        awaited = tasks if only is None else [tasks[only]]
        pending = set(tasks)
        while pending and not any(task.done() for task in awaited):
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        for task in awaited:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

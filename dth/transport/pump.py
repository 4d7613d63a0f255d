"""A body from one socket into another by a thread: read, summed, sent, and not copied in between.

Heads, answers and whatever is unusual stay with the two connections. A thread gets the middle of a body only, while the
loop listens to neither socket. It stops at the first thing that is not plain: a body that ends early, a destination that
speaks before it has everything, an error. Then it hands back what it has read and not sent. The loop goes on from there,
meets the same thing, and gives it its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from typing import Final

from dth.transport.base import Fate, Loan

CHUNK: Final = 1 << 20
"""Bytes that a thread reads and sends at once. 256 KiB cost a sixth more CPU, 128 KiB a quarter."""
THREADS: Final = 16
"""Threads of one client, each with a buffer of `CHUNK`. A body that finds none free goes by the loop."""
LEAST: Final = 256 << 10
"""With fewer bytes still in the socket, a thread costs more than it saves."""


class End(Enum):
    """Why a pump has stopped."""

    WHOLE = auto()  # all was sent
    HANDED_BACK = auto()  # the loop has to look at something, or nobody wants the rest
    SOURCE_SILENT = auto()
    DEST_SILENT = auto()


class Pump:
    """One body on its way. `run` is the thread's; all else belongs to the loop, before and after it.

    `dest` is the thread's own, as `loan.socket` is. Either peer may be silent for `idle` seconds at a time. At the end `taken` says how many
    bytes were read from the source's socket, and `rest` holds those that were read and not sent.
    """

    def __init__(self, loan: Loan, dest: socket.socket, idle: float, head: bytes) -> None:
        self._loan = loan
        self._dest = dest
        self._idle = idle
        loan.interrupt = self.stop
        self._head = head
        self._stopped = False
        self._surplus = False
        self._silent = False  # the source was
        self.taken = 0
        self.rest: bytes | memoryview = b""

    @property
    def left(self) -> int:
        """Bytes of the body that are still in the source's socket."""
        return self._loan.left - self.taken

    def run(self, buffer: bytearray) -> End:
        """Until all is sent, or the loop is needed. Raises what `Loan.passing` raises."""
        loan, dest = self._loan, self._dest
        arrived, sendable = select.poll(), select.poll()
        arrived.register(loan.socket, select.POLLIN)
        arrived.register(dest, select.POLLIN)
        sendable.register(dest, select.POLLIN | select.POLLOUT)
        end = self._send_first(sendable)
        while end is End.WHOLE and self.left:
            end = self._wait(arrived, loan.socket, select.POLLIN, End.SOURCE_SILENT)
            count = self._receive(buffer) if end is End.WHOLE else 0
            if count:
                data = memoryview(buffer)[:count]
                loan.passing(data)
                end = self._send(data, sendable)
            elif end is End.WHOLE:
                end = End.HANDED_BACK
        self._silent = end is End.SOURCE_SILENT
        return end

    def _send_first(self, sendable: select.poll) -> End:
        """The request's head, and what had arrived of the body before it was lent."""
        for piece in self._loan.came:
            self._loan.passing(piece)
        end = End.WHOLE
        for piece in (self._head, *self._loan.came):
            if end is End.WHOLE:
                end = self._send(memoryview(piece), sendable)
            else:
                self.rest = bytes(self.rest) + piece
        return end

    def _receive(self, buffer: bytearray) -> int:
        """Read what is there; 0 where the connection has ended. One byte more than the body has is asked for: a connection on
        which such a byte comes is not to be used again."""
        left = self.left
        try:
            count = self._loan.socket.recv_into(buffer, min(left + 1, len(buffer)))
        except OSError:
            return 0
        self._surplus = count > left
        count = min(count, left)
        self.taken += count
        return count

    def _send(self, data: memoryview, sendable: select.poll) -> End:
        """What can't be sent becomes `rest`."""
        end = End.WHOLE
        while data and end is End.WHOLE:
            end = self._wait(sendable, self._dest, select.POLLOUT, End.DEST_SILENT)
            if end is End.WHOLE:
                try:
                    data = data[self._dest.send(data) :]
                except OSError:
                    end = End.HANDED_BACK
        self.rest = data
        return end

    def _wait(self, poll: select.poll, one: socket.socket, event: int, silent: End) -> End:
        """WHOLE once there is that `event` on the socket and nothing else on either."""
        happened = poll.poll(self._idle * 1000)
        if self._stopped:
            return End.HANDED_BACK
        if not happened:
            return silent
        return End.WHOLE if happened == [(one.fileno(), event)] else End.HANDED_BACK

    def stop(self) -> None:
        """Let the thread end, wherever it waits. Neither connection is of any use after that."""
        self._stopped = True
        for each in (self._loan.socket, self._dest):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The thread has ended: close its sockets, and keep nothing of its buffer."""
        self.rest = bytes(self.rest)
        self._loan.socket.close()
        self._dest.close()

    def give_back(self) -> None:
        """Hand what is left of the body, and the connection that it comes on, to their owner. It is closed by then."""
        fate = Fate.SURPLUS if self._surplus else Fate.SOUND
        if self._silent:
            fate = Fate.SILENT
        if self._stopped:
            fate = Fate.SPOILT
        self._loan.interrupt = None
        self._loan.came.clear()
        self._loan.give_back(self.taken, fate)


class Pumps:
    """The threads of one client, started when they are needed. Peers may be silent for `idle` seconds. The loop alone uses this."""

    def __init__(self, idle: float) -> None:
        self.idle = idle
        self._executor: ThreadPoolExecutor | None = None
        self._buffers: list[bytearray] = []
        self._busy = 0

    @property
    def are_busy(self) -> bool:
        """Whether there is no thread for another body."""
        return self._busy >= THREADS

    async def run(self, pump: Pump) -> End:
        """See `Pump.run`. However this ends, the thread has ended, and `pump` is closed."""
        self._executor = self._executor or ThreadPoolExecutor(THREADS, "pump")
        buffer = self._buffers.pop() if self._buffers else bytearray(CHUNK)
        self._busy += 1
        try:
            return await _ended(pump, asyncio.get_running_loop().run_in_executor(self._executor, pump.run, buffer))
        finally:
            pump.close()
            self._busy -= 1
            self._buffers.append(buffer)

    def close(self) -> None:
        """End the threads. Those that are still at work have been stopped."""
        if self._executor is not None:
            self._executor.shutdown()
        self._buffers.clear()


async def _ended(pump: Pump, running: asyncio.Future[End]) -> End:
    """What the thread returned. Cancelled, it is stopped, and waited for: it still holds a buffer and two sockets."""
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        pump.stop()
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        running.exception()
        raise

"""A request whose body is another answer's body: a thread carries it over, where both connections are plain TCP."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterable
from typing import Any, Protocol

from dth.transport.base import Loan
from dth.transport.pump import End, Pump, Pumps
from dth.transport.sending import Sender


class Line(Protocol):
    """The connection that sends the request."""

    def pause(self) -> None:
        """Listen to nothing."""
        ...

    def resume(self) -> None:
        """Undo `pause`."""
        ...

    def duplicate(self) -> socket.socket | None:
        """The socket once more, for a thread; None where there can be none."""
        ...

    def overdue(self) -> None:
        """End the exchange: the peer has been silent for too long."""
        ...


async def send_lent(
    line: Line, sender: Sender, pumps: Pumps, head: bytes, body: AsyncIterable[Any], length: int
) -> tuple[bytes, int]:
    """Send head and body by a thread. Returns what is still to be written, and how many bytes of `body` come after that:
    all of both where no thread can do it.

    Raises what `body` says of its bytes. What happens on the connections is not raised here: each tells it, by itself, as soon
    as the loop listens to it again.
    """
    pump = _borrow(line, pumps, head, body, length)
    if pump is None:
        return head, length
    end = End.HANDED_BACK
    line.pause()
    sender.pump = pump
    try:
        end = await pumps.run(pump)
    finally:
        sender.pump = None
        sender.whole = end is End.WHOLE
        pump.give_back()
        line.resume()
    if end is End.DEST_SILENT:
        line.overdue()
    return bytes(pump.rest), pump.left


def _borrow(line: Line, pumps: Pumps, head: bytes, body: AsyncIterable[Any], length: int) -> Pump | None:
    """By its method's name: to ask whether the body is a `Lender` would cost as much as a small request."""
    lend = getattr(body, "lend", None)
    own = line.duplicate() if lend is not None and not pumps.are_busy else None
    if lend is None or own is None:
        return None
    loan: Loan | None = lend(length, _nobody)
    if loan is None:
        own.close()
        return None
    return Pump(loan, own, pumps.idle, head)


def _nobody(_: bytes | memoryview) -> None:
    """Hears of the bytes at this end of the chain."""

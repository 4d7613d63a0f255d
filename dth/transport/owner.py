"""What a connection asks of whoever owns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dth.transport.base import Timeouts
from dth.transport.pump import Pumps

if TYPE_CHECKING:
    from dth.transport.connection import Connection


class Owner(Protocol):
    """The pool, as its connections see it. `clock` are coarse seconds in which the loop was awake; `pumps` is None where
    bodies must not pass the connections by."""

    clock: float
    origin_text: str
    timeouts: Timeouts
    window: int
    pumps: Pumps | None

    def give_back(self, connection: Connection) -> None:
        """It was taken, and nothing begun."""
        ...

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

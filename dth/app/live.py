"""What a running worker process may be told anew, by lines of its parent's: `rate BYTES`, `number OBJECTS`."""

from __future__ import annotations

from dth.flow.limiter import Limiter
from dth.transport.pace import Pace


class Live:
    """Orders may come before there is anything that they concern: then they hold from its beginning."""

    def __init__(self) -> None:
        self.pace: Pace | None = None
        self._limiter: Limiter | None = None
        self._rate: int | None = None
        self._number: int | None = None

    def order(self, line: str) -> None:
        """Follow one. A line that is no order is passed over: parents and children are of one version."""
        word, _, rest = line.partition(" ")
        if not rest.isascii() or not rest.isdigit():
            return
        if word == "rate":
            self._rate = int(rest)
        elif word == "number":
            self._number = int(rest)
        self._apply()

    def bind(self, pace: Pace, limiter: Limiter) -> None:
        """Now there is something."""
        self.pace, self._limiter = pace, limiter
        self._apply()

    def _apply(self) -> None:
        if self.pace and self._rate is not None:
            self.pace.change(self._rate)
        if self._limiter and self._number is not None:
            self._limiter.hold(self._number)

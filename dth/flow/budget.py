"""Memory for bodies on their way, shared fairly by everything that a worker process moves."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType


class ByteBudget:
    """At most `total` bytes are reserved at any time; who came first is served first.

    Strictly first in, first out: a large request at the head holds back the small ones behind it, or it would starve.
    A request of more than `total` counts as `total`, so that one huge part still runs, alone. Whoever holds a
    reservation must not wait for a second one: two such holders could wait for each other for ever.
    Cancelling a waiter frees its place and passes on what it may just have been given.
    """

    def __init__(self, total: int) -> None:
        if total < 1:
            raise ValueError("a budget holds at least one byte")
        self._total = total
        self._in_use = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def total(self) -> int:
        """The bound in bytes."""
        return self._total

    @property
    def in_use(self) -> int:
        """Bytes reserved now."""
        return self._in_use

    def reserve(self, size: int) -> Reservation:
        """`async with budget.reserve(size):` holds `size` bytes while the block runs."""
        return Reservation(self, size)

    async def acquire(self, size: int) -> None:
        """Reserve `size` bytes; give them back with `release` of the same `size`."""
        if self.take(size):
            return
        size = self._clamp(size)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (size, turn)
        self._waiting.append(place)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._in_use -= size  # granted in the same instant as cancelled: pass it on
            elif place in self._waiting:
                self._waiting.remove(place)
            self._admit()
            raise

    def take(self, size: int) -> bool:
        """Reserve `size` bytes if they are free now and nobody waits for them."""
        size = self._clamp(size)
        if self._waiting or self._in_use + size > self._total:
            return False
        self._in_use += size
        return True

    def release(self, size: int) -> None:
        """Give back what `acquire(size)` or `take(size)` reserved."""
        self._in_use -= self._clamp(size)
        assert self._in_use >= 0, "more was released than reserved"
        if self._waiting:
            self._admit()

    def _clamp(self, size: int) -> int:
        return size if 0 <= size <= self._total else min(max(size, 0), self._total)

    def _admit(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():  # else its task has not run yet to take its place out
                if self._in_use + size > self._total:
                    return
                self._in_use += size
                turn.set_result(None)
            self._waiting.popleft()


class Reservation:
    """Bytes held for the length of an `async with` block."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: ByteBudget, size: int) -> None:
        self._budget = budget
        self._size = size

    async def __aenter__(self) -> None:
        await self._budget.acquire(self._size)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.release(self._size)

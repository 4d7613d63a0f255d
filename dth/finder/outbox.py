"""Sending messages beside the listing, never more than the workers can take: waits while the queue is above its high water."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dth.events import Emit, Notice
from dth.queues.base import Queue
from dth.signing import signed

_WAITING_MESSAGES = 32  # packed and not sent yet; 8 MB at the largest message size
_BATCH_MESSAGES = 16
_POLL_SECONDS = 1.0


class Outbox:
    """`put` fills it, `run` empties it into the queue. Bounded: a full outbox holds up the listing. Messages are signed with
    `key`, their run's.

    Messages are numbered as they are put, so that `sent` can say of any moment whether the queue has since taken
    everything that was put before it.
    """

    def __init__(self, queue: Queue, high_water: int, emit: Emit, key: bytes) -> None:
        self._queue = queue
        self._key = key
        self._high_water = high_water
        self._emit = emit
        self._waiting: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue(_WAITING_MESSAGES)
        self._unsent: set[int] = set()  # of those that were put; bounded as what waits is
        self.number = 0
        """Of the last message that was put."""
        self._depth: int | None = None  # at most: as last asked, and what was sent since
        self._said = False

    async def put(self, bodies: Sequence[str]) -> None:
        """Hand over bodies, waiting for room. They are numbered at once."""
        for one in self._numbered(bodies):
            await self._waiting.put(one)

    def put_now(self, body: str) -> None:
        """Hand over a body; there is room (not `full`)."""
        for one in self._numbered([body]):
            self._waiting.put_nowait(one)

    @property
    def full(self) -> bool:
        """Whether `put` of one body would wait."""
        return self._waiting.full()

    def _numbered(self, bodies: Sequence[str]) -> list[tuple[int, str]]:
        first = self.number + 1
        self.number += len(bodies)
        self._unsent.update(range(first, self.number + 1))
        return list(enumerate(bodies, first))

    def sent(self, number: int) -> bool:
        """Whether the queue has taken every message up to this one."""
        return not self._unsent or min(self._unsent) > number

    async def close(self) -> None:
        """Nothing more comes: `run` ends when everything was sent."""
        await self._waiting.put(None)

    async def run(self) -> None:
        """Send until closed. Raises QueueError, and then what was not sent is lost to this run: it must not be sealed."""
        ended = False
        while not ended:
            taken = [await self._waiting.get()]
            while len(taken) < _BATCH_MESSAGES and not self._waiting.empty():
                taken.append(self._waiting.get_nowait())
            ready = [one for one in taken if one is not None]
            ended = len(ready) < len(taken)
            if ready:
                await self._below_high_water()
                await self._queue.send([signed(body, self._key) for _, body in ready])
                self._unsent.difference_update(number for number, _ in ready)
                self._depth = (self._depth or 0) + len(ready)

    async def _below_high_water(self) -> None:
        """Ask the queue only when what is known could be above: workers only take away."""
        while self._depth is None or self._depth > self._high_water:
            self._depth = (await self._queue.depth()).visible
            if self._depth <= self._high_water:
                return
            if not self._said:
                self._said = True
                self._emit(
                    Notice(
                        "info",
                        "high_water",
                        f"the queue holds {self._depth} messages, more than high_water={self._high_water}: "
                        "the finder waits for the workers",
                    )
                )
            await asyncio.sleep(_POLL_SECONDS)

"""Sending messages beside the listing, never more than the workers can take: waits while the queue is above its high water."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dth.events import Emit, Notice
from dth.queues.base import Queue

_WAITING_MESSAGES = 32  # packed and not sent yet; 8 MB at the largest message size
_BATCH_MESSAGES = 16
_POLL_SECONDS = 1.0


class Outbox:
    """`put` fills it, `run` empties it into the queue. Bounded: a full outbox holds up the listing."""

    def __init__(self, queue: Queue, high_water: int, emit: Emit) -> None:
        self._queue = queue
        self._high_water = high_water
        self._emit = emit
        self._waiting: asyncio.Queue[str | None] = asyncio.Queue(_WAITING_MESSAGES)
        self._depth: int | None = None  # at most: as last asked, and what was sent since
        self._said = False

    async def put(self, bodies: Sequence[str]) -> None:
        """Hand over bodies, waiting for room."""
        for body in bodies:
            await self._waiting.put(body)

    async def close(self) -> None:
        """Nothing more comes: `run` ends when everything was sent."""
        await self._waiting.put(None)

    async def run(self) -> None:
        """Send until closed. Raises QueueError, and then what was not sent is lost to this run: it must not be sealed."""
        ended = False
        while not ended:
            bodies = [await self._waiting.get()]
            while len(bodies) < _BATCH_MESSAGES and not self._waiting.empty():
                bodies.append(self._waiting.get_nowait())
            ready = [body for body in bodies if body is not None]
            ended = len(ready) < len(bodies)
            if ready:
                await self._below_high_water()
                await self._queue.send(ready)
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

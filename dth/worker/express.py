"""A message's plain objects, copied by callbacks (`transfer.express`), under the same bounds as all others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial

from dth.errors import DthError
from dth.messages import ObjectEntry
from dth.model import Generation
from dth.stores.base import Express, Trip, Written
from dth.transfer.context import CopyContext
from dth.transfer.express import plain_copy, plain_options
from dth.transfer.result import Copied
from dth.worker.process import WorkerProcess

GIVEN_BACK = 8
"""So many objects in a row that were not plain after all, and the rest of the message goes the ordinary way."""

Entry = tuple[int, ObjectEntry, str]
"""Its position in the message, itself, and its key at the destination."""


class ExpressLane:
    """One message's. `copied` hears of each copy and how many seconds it took; `ordinary` takes the positions of those that must be
    copied in the ordinary way, or, where they were written but answered with another ETag, proven so: then with the answer. Each
    entry comes to one of them, once, unless `run` is cancelled or the worker drains.

    The first trip waits in line for a slot, as every copy does. Those that end make room for the next ones, which set out from
    a callback as long as nobody else waits: no task wakes up for each object."""

    def __init__(
        self,
        express: Express,
        process: WorkerProcess,
        context: CopyContext,
        copied: Callable[[int, Copied, float], None],
        ordinary: Callable[[int, Written | None], None],
    ) -> None:
        self._express = express
        self._process = process
        self._context = context
        self._options = plain_options(context)
        self._copied = copied
        self._ordinary = ordinary
        self._left: deque[Entry] = deque()
        self._trips: dict[int, Trip] = {}
        self._in_a_row = 0
        self._idle = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._goes_on = False  # is about to
        self._closed = False
        # Callbacks of a connection run in the context of the task that opened it, which may have held a slot.
        self._here = copy_context()

    async def run(self, entries: Sequence[Entry]) -> None:
        """Returns when all trips have ended; what is under way when this is cancelled is given up."""
        self._left.extend(entries)
        try:
            while self._left or self._trips:
                if not self._trips:
                    await self._wait_in_line()
                    self._go_on()
                if self._trips:
                    self._idle.clear()
                    await self._idle.wait()
        finally:
            self._closed = True
            for trip in list(self._trips.values()):
                trip.cancel()

    async def _wait_in_line(self) -> None:
        """Set out with the next entry as soon as there is a slot, and room in memory."""
        limiter, budget = self._process.limiter, self._process.budget
        await limiter.acquire()
        size = self._left[0][1].size
        try:
            await budget.acquire(size)
        except BaseException:
            limiter.release(succeeded=False)
            raise
        self._set_out()

    def _go_on(self) -> None:
        """Set out with as many more as there is room for now."""
        self._goes_on = False
        limiter, budget = self._process.limiter, self._process.budget
        while self._left and not self._closed and limiter.take():
            if not budget.take(self._left[0][1].size):
                limiter.release(succeeded=False)
                return
            self._set_out()

    def _set_out(self) -> None:
        """With the next entry, for which a slot and memory are taken; where the worker drains, with none any more."""
        position, listed, dest_key = self._left.popleft()
        limiter, trip = self._process.limiter, None
        draining = self._process.draining.is_set()
        if draining:
            self._left.clear()
        elif self._in_a_row < GIVEN_BACK:
            done = partial(self._ended, position, listed, limiter.now())
            generation = Generation(listed.etag, listed.size)
            trip = self._express.begin(listed.key, generation, dest_key, self._options, done)
        if trip is not None:
            self._trips[position] = trip
            return
        self._process.budget.release(listed.size)
        limiter.release(succeeded=False)
        if not draining:
            self._ordinary(position, None)

    def _ended(self, position: int, listed: ObjectEntry, since: float, written: Written | DthError | None) -> None:
        del self._trips[position]
        if not self._trips:
            self._idle.set()
        copied = plain_copy(listed, written, self._context)
        process = self._process
        process.budget.release(listed.size)
        process.limiter.release(listed.size, succeeded=copied is not None, since=since)
        if copied is not None:
            self._in_a_row = 0
            process.breaker.succeeded()
            self._copied(position, copied, process.limiter.now() - since)
        elif not self._closed:
            self._in_a_row += 1
            self._here.copy().run(self._ordinary, position, written if isinstance(written, Written) else None)
        if self._left and not self._goes_on and not self._closed:
            self._goes_on = True  # once the connection that has brought this end is free
            self._loop.call_soon(self._go_on, context=self._here)

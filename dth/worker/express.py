"""A message's plain objects, copied by callbacks (`transfer.express`), under the same bounds as all others."""

from __future__ import annotations

import asyncio
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
    copied in the ordinary way, or, where they were written but answered with another ETag, proven so: then with the answer. Each entry comes to one of them, once, unless `run` is cancelled or the worker drains."""

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
        self._trips: dict[int, Trip] = {}
        self._in_a_row = 0
        self._idle = asyncio.Event()
        self._closed = False
        # Callbacks of a connection run in the context of the task that opened it, which may have held a slot.
        self._here = copy_context()

    async def run(self, entries: Sequence[Entry]) -> None:
        """Returns when all trips have ended; what is under way when this is cancelled is given up."""
        try:
            for entry in entries:
                if self._in_a_row >= GIVEN_BACK:
                    self._ordinary(entry[0], None)
                elif not await self._set_out(entry):
                    break
            while self._trips:
                self._idle.clear()
                await self._idle.wait()
        finally:
            self._closed = True
            for trip in list(self._trips.values()):
                trip.cancel()

    async def _set_out(self, entry: Entry) -> bool:
        """False where the worker drains: nothing more is begun."""
        position, listed, dest_key = entry
        limiter, budget = self._process.limiter, self._process.budget
        await limiter.acquire()
        trip = None
        try:
            if self._process.draining.is_set():
                return False
            await budget.acquire(listed.size)
            try:
                done = partial(self._ended, position, listed, limiter.now())
                generation = Generation(listed.etag, listed.size)
                trip = self._express.begin(listed.key, generation, dest_key, self._options, done)
            finally:
                if trip is None:
                    budget.release(listed.size)
        finally:
            if trip is None:
                limiter.release(succeeded=False)
        if trip is None:
            self._ordinary(position, None)
        else:
            self._trips[position] = trip
        return True

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

"""Warns where a job that follows events hears nothing for longer than its owner thinks possible.

An event source that was taken away, or a subscription that never worked, looks like a bucket in which nothing happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from dth.errors import LedgerError
from dth.events import Notice
from dth.worker.events import FindRules
from dth.worker.process import WorkerProcess

LOOKS = 10  # in the time after which it warns


class Silence:
    """Watches for one worker process; what other processes have heard is read from the ledger before a warning."""

    def __init__(self, process: WorkerProcess, rules: FindRules, clock: Callable[[], float] = time.time) -> None:
        self._process = process
        self._rules = rules
        self._clock = clock
        self._heard_at = clock()
        self._warned = False

    def heard(self) -> None:
        """An event came."""
        self._heard_at = self._clock()
        self._warned = False

    async def watch(self) -> None:
        """Until cancelled, where a time was set."""
        longest = self._process.settings.event_silence_seconds
        if not longest:
            return
        while True:
            await asyncio.sleep(longest / LOOKS)
            with contextlib.suppress(LedgerError):  # it is asked again soon
                await self.look(longest)

    async def look(self, longest: float) -> None:
        """Warn where it is time to."""
        silent = self._clock() - self._heard_at
        if silent < longest or self._warned:
            return
        rules = await self._rules()
        if rules is None:
            return
        rows = await self._process.ledger.processes(rules.job_id, rules.run_id)
        latest = max((row.lag.last_at for row in rows if row.lag), default=0.0)
        if self._clock() - latest < longest:
            self._heard_at = max(self._heard_at, latest)
            return
        self._warned = True
        text = (
            f"no event of bucket {rules.bucket} came for {silent:,.0f} s: look whether its notifications still lead to this "
            "queue (see event_silence_seconds)"
        )
        self._process.emit(Notice("warning", "events_silent", text))

"""Warns when a job that follows events has heard nothing for longer than its owner expects.

Without the warning, a notification that somebody removed, or that never worked, looks like a bucket in which nothing happens.
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
    """Watches on behalf of one worker process. Before it warns, it reads from the ledger what other processes have heard."""

    def __init__(self, process: WorkerProcess, rules: FindRules, clock: Callable[[], float] = time.time) -> None:
        self._process = process
        self._rules = rules
        self._clock = clock
        self._heard_at = clock()
        self._warned = False
        self._ended = -1  # entries of the standing run when last looked at

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
        """Warn where it is time to: once for each silence."""
        rules = await self._rules()
        run = await self._process.ledger.run(rules.run_id) if rules else None
        if rules is None or run is None:
            return
        if run.counts.ended != self._ended:  # somebody has heard something, perhaps of an event that tells no time
            if self._ended >= 0:
                self.heard()
            self._ended = run.counts.ended
        if self._warned or self._clock() - self._heard_at < longest:
            return
        self._warned = True
        rows = await self._process.ledger.processes(rules.job_id, rules.run_id)
        latest = max((row.lag.last_at for row in rows if row.lag), default=0.0)
        # All processes name the same time, unless the last event told none: then each says when it noticed.
        at = latest if latest > self._heard_at - 2 * longest / LOOKS else self._heard_at
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
        text = (
            f"no event of bucket {rules.bucket} has come since {since}: check that its notifications still lead to this "
            f"queue (--event-silence-seconds is {longest:,.0f})"
        )
        self._process.emit(Notice("warning", "events_silent", text))

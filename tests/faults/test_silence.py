"""A job that follows events warns when it hears none: told by a clock of the test's own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dth.events import Event, Notice
from dth.ledgers.base import OutcomeRow
from dth.ledgers.sqlite import SqliteLedger
from dth.model import Counts
from dth.queues.sqlite import SqliteQueue
from dth.stats import Lag, ProcessRow, ProcessState
from dth.transfer.context import Job
from dth.worker.events import EventRules
from dth.worker.process import WorkerProcess
from dth.worker.silence import Silence
from tests.faults.worker_stage import JOB, RUN, Kept, settings, standing_run

LONGEST = 3600.0


async def no_job(run_id: str) -> Job:
    """Nothing is moved here."""
    raise AssertionError(run_id)


class Heard:
    """One process that watches, and what it said."""

    def __init__(self, ledger: SqliteLedger, queue: SqliteQueue) -> None:
        self.now = time.time()
        self.ledger = ledger
        self.said: list[Event] = []
        self.events = 0
        process = WorkerProcess(no_job, queue, ledger, settings(), self.said.append, Kept())
        self.silence = Silence(process, self.rules, lambda: self.now)

    async def rules(self) -> EventRules:
        return EventRules(JOB, RUN, "bucket", "", creations=True, removals=False, takes_key=lambda _: True)

    async def after(self, seconds: float) -> list[str]:
        """What it has warned of once so much more time has passed."""
        self.said.clear()
        self.now += seconds
        await self.silence.look(LONGEST)
        return [event.text for event in self.said if isinstance(event, Notice) and event.code == "events_silent"]

    async def another_hears(self, *, tells_time: bool = True) -> None:
        """A process elsewhere is done with an event now."""
        self.events += 1
        await self.ledger.record(OutcomeRow(f"event-{self.events}", RUN, Counts(done=1), "", ""), "other")
        if tells_time:
            lag = Lag(1, self.now, {})
            row = ProcessRow(JOB, RUN, "other", "worker", "h", 1, ProcessState.WORKING, self.now, self.now, lag=lag)
            await self.ledger.put_process(row)


@pytest.fixture
async def heard(tmp_path: Path) -> AsyncIterator[Heard]:
    async with standing_run(tmp_path, RUN) as (queue, ledger):
        yield Heard(ledger, queue)


async def test_it_warns_once_for_each_silence(heard: Heard) -> None:
    began = heard.now
    assert await heard.after(LONGEST - 1) == []
    (text,) = await heard.after(2)
    assert time.strftime("no event of bucket bucket has come since %Y-%m-%d %H:%M:%S UTC", time.gmtime(began)) in text
    assert await heard.after(LONGEST) == []
    heard.silence.heard()
    assert await heard.after(LONGEST - 1) == []
    assert len(await heard.after(2)) == 1


@pytest.mark.parametrize("tells_time", [True, False])
async def test_what_another_process_heard_counts(heard: Heard, *, tells_time: bool) -> None:
    assert await heard.after(LONGEST / 2) == []
    await heard.another_hears(tells_time=tells_time)
    assert await heard.after(1) == []
    assert await heard.after(LONGEST / 2) == []
    assert len(await heard.after(LONGEST / 2)) == 1
    await heard.another_hears(tells_time=tells_time)
    assert await heard.after(1) == []
    assert await heard.after(LONGEST / 2) == []
    assert len(await heard.after(LONGEST / 2)) == 1

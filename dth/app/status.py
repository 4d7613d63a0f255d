"""`dth find`, `dth work`, `dth status`: the halves of a sync, for who runs them apart."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from dth.app.build import Embedded, Lock, finder_connections, open_embedded, open_report, open_sides
from dth.app.find import find_once, preview_only
from dth.app.heartbeat import beating
from dth.app.record import Record
from dth.app.stopping import unless_stopped
from dth.app.sync import LocalWorkers
from dth.embedded import is_dead_here
from dth.events import Emit, RunAbandoned
from dth.ledgers.base import Run
from dth.queues.base import QueueDepth
from dth.settings import TransferJob
from dth.states import RunState
from dth.summary import Summary

RUNS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Status:
    """What the ledger and the queue say of a job, the newest run first."""

    runs: list[Run]
    depth: QueueDepth


async def find(job: TransferJob, emit: Emit, stop: asyncio.Event, *, dry_run: bool) -> Summary:
    """List both sides, send the differences to the queue, seal the run. Raises RunUnderWay where one is not over yet."""
    record = Record(emit)
    async with open_sides(job, connections=finder_connections(job)) as sides:
        await sides.check(job)
        if dry_run:
            await unless_stopped(preview_only(job, sides, record), stop)
        else:
            async with open_embedded(job, lock=Lock.SHARED) as here:
                await bury_dead_finders(here, record)
                await unless_stopped(find_once(job, sides, here, record, alone=False), stop)
                await record.read_runs(here.ledger)
        record.note(sides.requests("finder"))
    return record.summary(interrupted=stop.is_set())


async def bury_dead_finders(here: Embedded, record: Record) -> None:
    """A run whose finder ran on this machine and is gone needs no lease to end before the next may start."""
    for run in await here.ledger.runs(here.job_id, RUNS_SHOWN):
        dead = run.state is RunState.LISTING and is_dead_here(run.finder)
        if dead and await here.ledger.abandon_run(run.run_id):
            record.note(RunAbandoned(run.run_id, "its finder died"))


async def work(
    job: TransferJob, emit: Emit, stop: asyncio.Event, *, until_empty: bool, health_file: str = ""
) -> Summary:
    """Consume the queue with one process a core until stopped, or until all runs of the job are over. Signs of life go to
    `health_file` and to systemd (see `app.heartbeat`)."""
    record = Record(emit)
    async with open_embedded(job, lock=Lock.SHARED) as here, beating(health_file, stop):
        open_report(job, here.folder).check()
        workers = LocalWorkers(job, here, record.note, strict=True)
        await workers.run_until_stopped(stop, until_empty=until_empty)
        await record.read_runs(here.ledger)
    return record.summary(interrupted=False)


async def status(job: TransferJob) -> Status:
    """The job's latest runs and its queue's depth, without touching either."""
    async with open_embedded(job, lock=Lock.NONE) as here:
        return Status(await here.ledger.runs(here.job_id, RUNS_SHOWN), await here.queue.depth())

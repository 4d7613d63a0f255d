"""`dth sync`: finder and workers in one go on one machine, over an embedded queue and ledger; resumable by running it again."""

from __future__ import annotations

import asyncio
import time

from dth import settings
from dth.app.build import Lock, make_job, open_embedded, open_report
from dth.app.find import find_once, preview_only
from dth.app.measured import measured
from dth.app.ports import is_shared
from dth.app.record import Record
from dth.app.sides import finder_connections, open_sides
from dth.app.stopping import unless_stopped
from dth.app.work import LocalWorkers
from dth.children import Start, spawn
from dth.errors import SettingsError
from dth.events import Emit, Notice
from dth.multipart.complete import sweep_uploads
from dth.settings import TransferJob, on_one_machine
from dth.summary import Summary
from dth.worker.dead_letters import count_dead_letters


async def sync(job: TransferJob, emit: Emit, stop: asyncio.Event, *, dry_run: bool, start: Start = spawn) -> Summary:
    """Make the destination equal to the source as the job says. What an earlier, interrupted sync left is finished first.

    Nothing is started before both sides have answered. `stop` ends it gracefully: what is in flight is finished or given
    back, and the next sync goes on from there. `start` makes worker processes.
    """
    if is_shared(job):
        raise SettingsError(
            "dth sync keeps its queue and ledger on this machine: for a fleet's (queue, table) use dth find and dth work"
        )
    job = on_one_machine(job)
    async with (
        measured(job, settings.job_id(job), emit) as measures,
        open_sides(job, connections=finder_connections(job)) as sides,
    ):
        record = Record(measures.emit)
        await sides.check(job, record.note)
        if dry_run:
            await unless_stopped(preview_only(job, sides, record), stop)
            return record.summary(interrupted=stop.is_set())
        async with open_embedded(job, lock=Lock.ALONE) as here, measures.watching(here.ledger, here.queue):
            open_report(job, here.folder).check()
            workers = LocalWorkers(job, here, record.note, strict=False, start=start)
            if not await here.over():
                record.note(Notice("info", "resuming", "finishing what an earlier sync left"))
                await workers.run_until_over(None, stop)
            found_all = False
            if not stop.is_set():
                await count_dead_letters(here.queue, here.ledger, here.process, record.note)
                found_all = await workers.run_until_over(lambda: find_once(job, sides, here, record, alone=True), stop)
            await count_dead_letters(here.queue, here.ledger, here.process, record.note)
            if await here.over():
                await sweep_uploads(make_job(job, sides), here.ledger, now=time.time(), emit=record.note)
            await record.read_runs(here.ledger)
        record.note(sides.requests(here.process))
        sides.tell(job, record.note)
    return record.summary(interrupted=not found_all, newest_speaks=True)

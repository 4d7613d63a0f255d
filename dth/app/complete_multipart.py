"""`dth complete-multipart`: the net below finders and workers, for a scheduler to call."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter

from dth import settings
from dth.app.build import Embedded, JobOpener, Lock, logged, open_embedded, open_report, worker_settings
from dth.app.measured import measured
from dth.app.object_rows import with_rows
from dth.app.record import Record
from dth.events import Emit, Notice
from dth.multipart.complete import sweep_uploads
from dth.settings import TransferJob
from dth.states import RunState
from dth.summary import Summary
from dth.worker.dead_letters import count_dead_letters
from dth.worker.process import WorkerProcess
from dth.worker.shared.mend import Mended, Mender


async def complete_multipart(
    job: TransferJob, emit: Emit, stop: asyncio.Event, *, every: float, older_than: float = 0.0
) -> Summary:
    """Count dead letters that nobody counted, finish or mend shared uploads that nobody is at, and end uploads that nobody
    will go on with; once, or each `every` seconds until stopped. `older_than` (seconds, 0: none): also those that are
    under way for longer, where they have no owner."""
    async with (
        measured(job, settings.job_id(job), emit) as measures,
        open_embedded(job, lock=Lock.SHARED) as here,
        measures.watching(here.ledger, here.queue),
    ):
        record = Record(measures.emit)
        open_job = JobOpener(job, here.ledger, strict=True)
        own = worker_settings(job, here.process, until_empty=False, poll_seconds=here.ports.poll_seconds)
        try:
            report_or_log = logged(job, open_report(job, here.folder), here.job_id, here.process)
            async with with_rows(job, here.folder, report_or_log) as report:
                process = WorkerProcess(open_job, here.queue, here.ledger, own, record.note, report)
                async with process.usage.kept():
                    while True:
                        await _mend(here, process, record, older_than)
                        if not every or stop.is_set():
                            break
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(stop.wait(), every)
        finally:
            await open_job.close(record.note)
    return record.summary(interrupted=False)


async def _mend(here: Embedded, process: WorkerProcess, record: Record, older_than: float) -> None:
    depth = await here.queue.depth()
    mender = Mender(process, depth, older_than=older_than)
    counted = await count_dead_letters(here.queue, here.ledger, here.process, record.note, give_up=mender.give_up)
    if counted:
        record.note(Notice("info", "letters_counted", f"{counted} objects of dead letters are counted as failed"))
    await _mend_shared(here, mender, record)
    spared: set[str] = set()
    newest = ""
    for run_id in sorted({row.run_id async for row in here.ledger.uploads(here.job_id) if row.sharing is None}):
        run = await here.ledger.run(run_id)
        if run is None:
            continue
        newest = run_id
        waits = depth.visible or depth.leased
        if not run.counted and (waits or run.state is RunState.LISTING):
            spared.add(run_id)  # its message comes again and goes on with the parts that are there
    if not newest and [row async for row in here.ledger.uploads(here.job_id) if row.sharing is None]:
        newest = next((run.run_id for run in await here.ledger.runs(here.job_id, 1)), "")  # theirs are forgotten
    if newest:
        swept = await sweep_uploads(
            await process.open_job(newest),
            here.ledger,
            now=time.time(),
            emit=record.note,
            spared=frozenset(spared),
            older_than=older_than,
        )
        record.note(Notice("info", "uploads_ended", f"{swept} uploads that nobody owned were aborted"))


async def _mend_shared(here: Embedded, mender: Mender, record: Record) -> None:
    mended = Counter([await mender.mend(row) async for row in here.ledger.uploads(here.job_id) if row.sharing])
    if mended[Mended.ENDED]:
        record.note(Notice("info", "uploads_ended", f"{mended[Mended.ENDED]} shared uploads were finished or given up"))
    if mended[Mended.SENT_AGAIN]:
        text = f"lost messages of {mended[Mended.SENT_AGAIN]} shared uploads were sent again"
        record.note(Notice("info", "parts_sent_again", text))
    if mended[Mended.LEFT]:
        record.note(Notice("info", "uploads_open", f"{mended[Mended.LEFT]} shared uploads are under way"))

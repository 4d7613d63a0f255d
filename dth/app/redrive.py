"""`dth redrive`."""

from __future__ import annotations

import asyncio

from dth.app.build import Lock, open_embedded
from dth.app.record import Record
from dth.events import Emit, Notice
from dth.settings import TransferJob
from dth.summary import Summary
from dth.worker.redrive import Redrive, Wanted


async def redrive(
    job: TransferJob, emit: Emit, stop: asyncio.Event, *, run_id: str, prefix: str, reason: str, rate: float
) -> Summary:
    """Send dead letters again, as a new run for each run that they are of: those of a run, of keys with a prefix, with a
    text in their reason; empty takes all."""
    record = Record(emit)
    async with open_embedded(job, lock=Lock.SHARED) as here:
        again = Redrive(
            here.queue,
            here.ledger,
            here.process,
            wanted=Wanted(run_id, prefix, reason),
            rate=rate,
            lease_seconds=job.lease_seconds,
            emit=record.note,
        )
        done = await again.run(stop.is_set)
        if done.left:
            text = (
                f"{done.left} dead letters stay: they are no messages of dth, deletes (which a next run decides anew), or of "
                "runs that the ledger does not know"
            )
            record.note(Notice("warning", "letters_left", text))
    return record.summary(interrupted=False)

"""`dth status`."""

from __future__ import annotations

from dataclasses import dataclass

from dth.app.build import Lock, open_embedded
from dth.ledgers.base import Run
from dth.queues.base import QueueDepth
from dth.settings import TransferJob

RUNS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Status:
    """What the ledger and the queue say of a job, the newest run first."""

    runs: list[Run]
    depth: QueueDepth


async def status(job: TransferJob) -> Status:
    """The job's latest runs and its queue's depth, without touching either."""
    async with open_embedded(job, lock=Lock.NONE) as here:
        return Status(await here.ledger.runs(here.job_id, RUNS_SHOWN), await here.queue.depth())

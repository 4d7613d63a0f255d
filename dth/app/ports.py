"""Queue and ledger of a job: SQLite files in its state folder, or SQS and DynamoDB where settings name them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dth.embedded import StateFolder
from dth.ledgers import base as ledgers
from dth.ledgers.sqlite import SqliteLedger
from dth.queues import base as queues
from dth.queues.sqlite import SqliteQueue
from dth.settings import JobBase, TransferJob
from dth.values import value

POLL_SECONDS = 0.1  # how long a worker waits before it asks an empty embedded queue again
LONG_POLL_SECONDS = 20.0  # SQS's longest: an idle worker costs three requests a minute


@value
class Ports:
    """Both, open. `poll_seconds`: how long one receive waits."""

    queue: queues.Queue
    ledger: ledgers.Ledger
    poll_seconds: float
    leases: tuple[queues.Reclaimable, ledgers.Reclaimable] | None

    async def reclaim(self, owner: str | None = None) -> None:
        """End the leases of a process that is known to be dead (of all: None), where the ports know whose they are."""
        if self.leases:
            for each in self.leases:
                await each.reclaim(owner)

    async def owners(self) -> set[str]:
        """The processes that hold leases, where the ports know whose they are."""
        return {owner for each in self.leases or () for owner in await each.owners()}


def is_shared(job: JobBase) -> bool:
    """Whether other machines work on the same state: then no lock of this one says who lives, only leases do."""
    return bool(job.queue and job.table)


@asynccontextmanager
async def open_ports(job: JobBase, folder: StateFolder, owner: str) -> AsyncIterator[Ports]:
    """The ports that the settings mean, closed at the end."""
    if is_shared(job):
        async with _services(job) as ports:
            yield ports
        return
    queue = await SqliteQueue.open(
        folder.queue,
        owner=owner,
        lease_seconds=job.lease_seconds,
        message_bytes=job.message_bytes,
        receive_limit=job.receive_limit,
    )
    try:
        ledger = await SqliteLedger.open(folder.ledger)
        try:
            yield Ports(queue, ledger, poll_seconds=POLL_SECONDS, leases=(queue, ledger))
        finally:
            await ledger.close()
    finally:
        await queue.close()


@asynccontextmanager
async def open_event_queue(job: TransferJob) -> AsyncIterator[queues.Queue]:
    """The queue of events that the settings name, closed at the end."""
    from dth.queues.sqs import SqsQueue  # noqa: PLC0415 - 0.3 s of CPU that workers without one do without

    queue = await SqsQueue.open(
        job.event_queue,
        lease_seconds=job.lease_seconds,
        message_bytes=job.message_bytes,
        receive_limit=job.receive_limit,
    )
    try:
        yield queue
    finally:
        await queue.close()


@asynccontextmanager
async def _services(job: JobBase) -> AsyncIterator[Ports]:
    from dth.ledgers.dynamodb import DynamoLedger  # noqa: PLC0415 - 0.3 s of CPU that embedded runs do without
    from dth.queues.sqs import SqsQueue  # noqa: PLC0415

    queue = await SqsQueue.open(
        job.queue, lease_seconds=job.lease_seconds, message_bytes=job.message_bytes, receive_limit=job.receive_limit
    )
    try:
        ledger = await DynamoLedger.open(job.table, region=queue.region)
        try:
            yield Ports(queue, ledger, poll_seconds=LONG_POLL_SECONDS, leases=None)
        finally:
            await ledger.close()
    finally:
        await queue.close()

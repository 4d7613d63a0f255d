"""The worker's stage on a fleet's services: SQS and DynamoDB, a queue and a table of its own for each stage."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from dth.ledgers.dynamodb import DynamoLedger
from dth.queues.base import Delivery
from dth.queues.sqs import SqsQueue
from tests.faults.worker_stage import Stage
from tests.servers.aws import Aws, queue_url, table_name

LEASE_SECONDS = 60.0
MESSAGE_BYTES = 262_144


class OwnQueue(SqsQueue):
    """What the dead still held is given back at once, as their leases' ends would: no test waits for those.

    A receive that its caller gave up is seen to its end, because the service may have leased a message for it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taken: list[Delivery] = []
        self._under_way: set[asyncio.Task[list[Delivery]]] = set()

    async def receive(self, limit: int, wait_seconds: float) -> list[Delivery]:
        """Without waiting at the service: stages look again often."""
        receiving = asyncio.create_task(super().receive(limit, 0))
        self._under_way.add(receiving)
        receiving.add_done_callback(self._note)
        deliveries = await asyncio.shield(receiving)
        if not deliveries:
            await asyncio.sleep(wait_seconds)
        return deliveries

    def _note(self, receiving: asyncio.Task[list[Delivery]]) -> None:
        self._under_way.discard(receiving)
        if not receiving.cancelled() and not receiving.exception():
            self._taken += receiving.result()

    async def reclaim(self, owner: str | None = None) -> int:
        """End all leases (there is one owner on a stage)."""
        assert owner is None
        while self._under_way:
            await asyncio.wait(self._under_way)
        taken, self._taken = self._taken, []
        await self.release(taken)  # those that were acknowledged are known to be gone
        return len(taken)


@contextlib.asynccontextmanager
async def on_services(aws: Aws) -> AsyncIterator[Stage]:
    """A stage whose queue and ledger are services."""
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(aws.ambient())
        queue = await OwnQueue.open(
            await queue_url(lease_seconds=LEASE_SECONDS),
            lease_seconds=LEASE_SECONDS,
            message_bytes=MESSAGE_BYTES,
            receive_limit=20,
        )
        stack.push_async_callback(queue.close)
        ledger = await DynamoLedger.open(await table_name())
        stack.push_async_callback(ledger.close)
        yield Stage(queue, ledger)

"""A queue of events alone: what it holds is checked, and goes on into the work queue as messages of the job.

So whoever announces events needs no right on the work queue. Send, then acknowledge: a death in between sends the message
twice, under one id.
"""

from __future__ import annotations

import asyncio

from dth.errors import LedgerError, QueueError
from dth.events import Buried, Emit, Notice
from dth.ledgers.base import Ledger
from dth.messages import MessageInvalid, encode
from dth.queues.base import Delivery, Queue
from dth.stats import Breakdown
from dth.worker.admission import Admission
from dth.worker.consume import BATCH, TROUBLE_DELAY_SECONDS, TROUBLES_IN_A_ROW
from dth.worker.events import FindRules, translated

NO_EVENT = MessageInvalid("no event: messages of dth do not come by the queue of events")
EMPTY_RECEIVES = 3


class EventInbox:
    """Forwards events. `rules` says which ones the job follows; `process` counts those that ask for nothing."""

    def __init__(
        self,
        inbox: Queue,
        queue: Queue,
        ledger: Ledger,
        process: str,
        rules: FindRules,
        emit: Emit,
        poll_seconds: float,
    ) -> None:
        self._inbox = inbox
        self._queue = queue
        self._ledger = ledger
        self._process = process
        self._rules = rules
        self._emit = emit
        self._poll_seconds = poll_seconds
        self._admission = Admission(ledger)

    async def run(self, *, until_empty: bool) -> None:
        """Until cancelled, or with `until_empty` until nothing came several times in a row. Raises QueueError or LedgerError
        where they would not go away."""
        empty = troubles = 0
        while not (until_empty and empty >= EMPTY_RECEIVES):
            try:
                deliveries = await self._inbox.receive(
                    BATCH, min(self._poll_seconds, 1.0) if until_empty else self._poll_seconds
                )
                empty = 0 if deliveries else empty + 1
                for delivery in deliveries:
                    await self._forward(delivery)
                troubles = 0
            except (QueueError, LedgerError) as error:
                troubles += 1
                self._emit(Notice("warning", error.code, f"events wait: {error}"))
                if troubles >= TROUBLES_IN_A_ROW:
                    raise
                await asyncio.sleep(TROUBLE_DELAY_SECONDS)

    async def _forward(self, delivery: Delivery) -> None:
        meant = await translated(delivery, NO_EVENT, self._rules)
        if letters := [(delivery.body, meant.garbage)] if meant.garbage else list(meant.strange):
            await self._inbox.bury(letters)
            for _, reason in letters:
                self._emit(Buried(reason))
        if meant.ignored:
            ignored = Breakdown(skips={"event_ignored": meant.ignored.counts.skipped})
            await self._ledger.record(meant.ignored, self._process, ignored)
        if meant.message:
            texts = await self._admission.signed(meant.message.run_id, [encode(meant.message)])
            await self._queue.send(texts)
        await self._inbox.ack([delivery])

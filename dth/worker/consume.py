"""The life of a worker process: receive, hand each message to who works its kind, give back what was not finished.

| message | who works it |
|---|---|
| `objects`, `delete`, and events of the source once they are understood | `entries.EntriesWorker` |
| `image` | `images.ImageWorker` |
| `parts` | `parts.PartsWorker` |
| garbage | the dead letters, with its reason |
"""

from __future__ import annotations

import asyncio
import math
from typing import assert_never

from dth.errors import DthError, QueueError
from dth.events import InFlight, Notice
from dth.messages import (
    DeleteMessage,
    ImageMessage,
    MessageInvalid,
    ObjectsMessage,
    PartsMessage,
    decode,
)
from dth.model import Counts
from dth.stats import Breakdown
from dth.worker import outcomes
from dth.worker.entries import EntriesWorker
from dth.worker.events import FindRules, translated
from dth.worker.images import ImageWorker
from dth.worker.leases import Held
from dth.worker.process import TROUBLES, WorkerProcess
from dth.worker.shared.parts import PartsWorker
from dth.worker.silence import Silence

BATCH = 10  # messages per receive: what SQS gives at most
TROUBLES_IN_A_ROW = 5  # so many messages whose surroundings failed, and the worker gives up
TROUBLE_DELAY_SECONDS = 5.0
LAST_RECEIVE_SECONDS = 1.0
GIVE_BACK_SECONDS = 5.0  # for the last release, when the process is ending anyway


class Consumer:
    """Works a queue until drained. One per process.

    Leased messages are bounded by `max_in_flight` and by four times the limit; none are received while what is in hand
    fills the limit twice. Raises, within an exception group, WrongJob, the breaker's error, or trouble with queue, ledger or
    report that would not go away; messages in hand have been given back then.
    """

    def __init__(
        self,
        process: WorkerProcess,
        entries: EntriesWorker,
        parts: PartsWorker,
        images: ImageWorker,
        event_rules: FindRules,
    ) -> None:
        self._process = process
        self._queue = process.queue
        self._leases = process.leases
        self._load = process.load
        self._entries = entries
        self._images = images
        self._parts = parts
        self._event_rules = event_rules
        self._silence = Silence(process, event_rules)
        self._over = False
        self._troubles = 0
        self.empty_receives = 0
        """Receives that found nothing, since the last that found something."""
        self.quiet = asyncio.Event()
        """Set while no message is in hand."""
        self.quiet.set()

    def drain(self, *, over: bool) -> None:
        """Receive no more; finish within the grace period what has begun, give back the rest. `over`: nobody
        waits for this end, so that a receive under way may run out whole."""
        self._over = over
        self._process.draining.set()
        self._load.room.set()

    async def run(self) -> Counts:
        """Work until drained; what this process recorded."""
        try:
            async with asyncio.TaskGroup() as side:
                beside = [
                    side.create_task(each)
                    for each in (self._leases.keep(), self._tell(), self._process.usage.keep(), self._silence.watch())
                ]
                async with asyncio.TaskGroup() as messages:
                    receiving = messages.create_task(self._receive(messages))
                    await self._process.draining.wait()
                    self._leases.drain(self._process.settings.grace_seconds)
                    # A receive that is cut off may strand a message until its lease ends: at the service it goes on, and
                    # may meet the first message of a run that begins just then. A short poll runs out.
                    whole = self._process.settings.poll_seconds if self._over else 0.0
                    await asyncio.wait([receiving], timeout=LAST_RECEIVE_SECONDS + whole)
                    receiving.cancel()
                for task in beside:
                    task.cancel()
        finally:
            await self._give_back_all()
            await self._process.usage.end()
        return self._process.counts

    async def _receive(self, messages: asyncio.TaskGroup) -> None:
        while not self._process.draining.is_set():
            wanted = self._wanted()
            if wanted < 1:
                self._load.room.clear()
                await self._load.room.wait()
                continue
            try:
                deliveries = await self._queue.receive(wanted, self._process.settings.poll_seconds)
            except QueueError as error:
                self._trouble(error, "nothing could be received")
                await asyncio.sleep(TROUBLE_DELAY_SECONDS)
                continue
            # No await until the messages have their tasks: a cancellation in between would strand them.
            self.empty_receives = 0 if deliveries else self.empty_receives + 1
            for held in self._leases.take(deliveries):
                if held.delivery.sent_at:
                    self._process.usage.waited(held.delivery.sent_at)
                self.quiet.clear()
                messages.create_task(self._message(held))
            await asyncio.sleep(0)  # they decode now, so that what is in hand is known before more is asked for

    def _wanted(self) -> int:
        """How many messages the next receive asks for: what fills the limit twice, by the packing seen so far."""
        # Messages whose entries have ended wait for the ledger; that must not hold up copying, nor pile up without end.
        limit, load = self._process.limiter.limit, self._load
        free = min(self._process.settings.max_in_flight, 4 * limit) - len(self._leases)
        missing = 2 * limit - load.left
        if missing <= 0 or free <= 0:
            return 0
        packed = max(1.0, load.seen / max(1, load.messages))
        # The first message tells how they are packed; ten unseen ones might starve the other processes.
        return min(math.ceil(missing / packed), free, BATCH if load.messages else 1)

    async def _message(self, held: Held) -> None:
        try:
            await self._work(held)
            self._troubles = 0
        except TROUBLES as error:
            self._trouble(error, "a message is given back")
            await self._queue.release([held.delivery], TROUBLE_DELAY_SECONDS)
        except MessageInvalid as error:
            await self._process.bury_whole(held, str(error))
        except DthError:
            raise  # of the process: its job, its stores, its registries
        except Exception as error:  # noqa: BLE001 - a message that sets off a defect must not take the worker along
            await self._process.bury_whole(held, f"it set off a defect of dth: {outcomes.error_text(error)}")
        self._leases.drop(held)  # after an error it stays, and is given back with the others
        self._load.ended(held, held.entries_left)
        if not len(self._leases):
            self.quiet.set()

    def _trouble(self, error: DthError, text: str) -> None:
        self._troubles += 1
        self._process.emit(Notice("warning", error.code, f"{text}: {error}"))
        if self._troubles >= TROUBLES_IN_A_ROW:
            raise error

    async def _work(self, held: Held) -> None:
        try:
            message = decode(held.delivery.body)
        except MessageInvalid as error:
            return await self._foreign(held, error)
        if why := await self._process.admission.refusal(held.delivery.body, message):
            return await self._process.bury_whole(held, why)
        match message:
            case ObjectsMessage() | DeleteMessage():
                await self._entries.work(held, message)
            case ImageMessage():
                await self._images.work(held, message)
            case PartsMessage():
                await self._parts.work(held, message)
            case _:
                assert_never(message)
        return None

    async def _foreign(self, held: Held, invalid: MessageInvalid) -> None:
        """An event of the source, or garbage."""
        meant = await translated(held.delivery, invalid, self._event_rules)
        if meant.garbage:
            return await self._process.bury_whole(held, meant.garbage)
        self._silence.heard()
        if meant.strange:
            await self._process.bury_records(meant.strange)
        if meant.ignored:
            ignored = Breakdown(skips={"event_ignored": meant.ignored.counts.skipped})
            await self._process.record(meant.ignored, ignored)
        if meant.message is None:
            return await self._queue.ack([held.delivery])
        return await self._entries.work(held, meant.message)

    # Beside the work

    async def _tell(self) -> None:
        process = self._process
        while True:
            await asyncio.sleep(1)
            process.emit(InFlight(process.settings.process, process.limiter.in_flight, process.budget.in_use))

    async def _give_back_all(self) -> None:
        if not (left := self._leases.deliveries):
            return
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await self._queue.release(left)
        except (DthError, TimeoutError) as error:  # they come back when their leases end
            self._process.emit(
                Notice("warning", "not_given_back", f"{len(left)} messages wait for their leases to end: {error}")
            )

"""From messages to outcomes: receive, copy, record, send what remains, acknowledge - in this order.

What a death between any two of these steps leaves is mended by whoever receives the message again:

- before the row: nothing is recorded, the entries are copied again (the destination is looked at first);
- after the row: the row in force says which entries are dead and what remains; burying, sending and acknowledging are
  repeated from it. A remainder sent twice carries one id, so its second copy finds a row too. A dead letter buried twice
  carries one id as well.

Dead letters come after the row, not before it, so that only the first writer's word buries an entry: of two workers
with the same message, one may have copied what failed for the other. The report comes before the row: a death then
repeats a line instead of losing it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import assert_never

from dth.errors import DthError, LedgerError, QueueError, StoreError, Throttled, TimedOut
from dth.events import Emit, InFlight, Moved, Notice, ObjectFailed
from dth.ledgers.base import Ledger, OutcomeRow
from dth.messages import (
    DeleteMessage,
    Entries,
    ImageMessage,
    Message,
    MessageInvalid,
    ObjectEntry,
    ObjectsMessage,
    PartsMessage,
    decode,
)
from dth.model import Counts
from dth.queues.base import Queue
from dth.retry import RetryPolicy
from dth.states import Outcome, Reason
from dth.worker import outcomes
from dth.worker.breaker import Breaker
from dth.worker.budget import ByteBudget
from dth.worker.context import CopyContext
from dth.worker.copy import abandon_upload
from dth.worker.delete import delete_object
from dth.worker.happenings import FindRules, follow_event, translated
from dth.worker.job import Copied, Job, OpenJob
from dth.worker.leases import Held, Leases
from dth.worker.limiter import Limiter
from dth.worker.outcomes import Ended
from dth.worker.process import WorkerSettings
from dth.worker.report import Report, ReportFailed

CopyObject = Callable[[ObjectEntry, CopyContext], Awaitable[Copied]]

BACK_OFF = RetryPolicy(attempts=0, base_seconds=1.0, cap_seconds=15.0)
"""The wait before an entry is tried again, in this process, beside other work; its number of attempts is not used."""

TROUBLES = (QueueError, LedgerError, ReportFailed)
"""What stands around the copying failed: no entry's fault, so its message is given back as it is."""

BATCH = 10  # messages per receive: what SQS gives at most
TROUBLES_IN_A_ROW = 5  # so many messages whose surroundings failed, and the worker gives up
TROUBLE_DELAY_SECONDS = 5.0
LAST_RECEIVE_SECONDS = 1.0
GIVE_BACK_SECONDS = 5.0  # for the last release, when the process is ending anyway


def leading(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a group of them is about: the first of ours, else the first."""
    leaves = [leading(error) if isinstance(error, BaseExceptionGroup) else error for error in group.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, DthError)), leaves[0])


class Consumer:
    """Works a queue until drained. One per process.

    Leased messages are bounded by `max_in_flight` and by four times the limit; none are received while the entries in hand
    fill the limit twice. Raises, within an exception group, WrongJob, the breaker's error, or trouble with queue, ledger or
    report that would not go away; messages in hand have been given back then.
    """

    def __init__(
        self,
        open_job: OpenJob,
        queue: Queue,
        ledger: Ledger,
        settings: WorkerSettings,
        emit: Emit,
        report: Report,
        copy: CopyObject,
        back_off: RetryPolicy,
        event_rules: FindRules,
    ) -> None:
        self._open_job = open_job
        self._event_rules = event_rules
        self._queue = queue
        self._ledger = ledger
        self._settings = settings
        self._emit = emit
        self._report = report
        self._copy = copy
        self._back_off = back_off
        self._limiter = Limiter(fixed=settings.worker_number, upper=settings.max_in_flight)
        self._budget = ByteBudget(settings.memory_budget)
        self._leases = Leases(queue, settings.lease_seconds, settings.lease_cap_seconds, emit)
        self._breaker = Breaker()
        self._draining = asyncio.Event()
        self._over = False
        self._room = asyncio.Event()
        self._entries_left = 0
        self._entries_seen = 0
        self._messages_seen = 0
        self._troubles = 0
        self.counts = Counts()
        self.empty_receives = 0
        """Receives that found nothing, since the last that found something."""
        self.quiet = asyncio.Event()
        """Set while no message is in hand."""
        self.quiet.set()

    def drain(self, *, over: bool) -> None:
        """Receive no more; finish within the grace period what has begun, give back the rest. `over`: no message can
        matter any more, so a receive that is under way need not be waited for."""
        self._over = over
        self._draining.set()
        self._room.set()

    async def run(self) -> Counts:
        """Work until drained; what this process recorded."""
        try:
            async with asyncio.TaskGroup() as side:
                beside = [side.create_task(self._leases.keep()), side.create_task(self._tell())]
                async with asyncio.TaskGroup() as messages:
                    receiving = messages.create_task(self._receive(messages))
                    await self._draining.wait()
                    self._leases.drain(self._settings.grace_seconds)
                    if not self._over:
                        # A receive that is cut off may strand a message until its lease ends; a short poll runs out.
                        await asyncio.wait([receiving], timeout=LAST_RECEIVE_SECONDS)
                    receiving.cancel()
                for task in beside:
                    task.cancel()
        finally:
            await self._give_back_all()
        return self.counts

    async def _receive(self, messages: asyncio.TaskGroup) -> None:
        while not self._draining.is_set():
            wanted = self._wanted()
            if wanted < 1:
                self._room.clear()
                await self._room.wait()
                continue
            try:
                deliveries = await self._queue.receive(wanted, self._settings.poll_seconds)
            except QueueError as error:
                self._trouble(error, "nothing could be received")
                await asyncio.sleep(TROUBLE_DELAY_SECONDS)
                continue
            # No await until the messages have their tasks: a cancellation in between would strand them.
            self.empty_receives = 0 if deliveries else self.empty_receives + 1
            for held in self._leases.take(deliveries):
                self.quiet.clear()
                messages.create_task(self._message(held))
            await asyncio.sleep(0)  # they decode now, so that what is in hand is known before more is asked for

    def _wanted(self) -> int:
        """How many messages the next receive asks for: what fills the limit twice, by the packing seen so far."""
        # Messages whose entries have ended wait for the ledger; that must not hold up copying, nor pile up without end.
        free = min(self._settings.max_in_flight, 4 * self._limiter.limit) - len(self._leases)
        missing = 2 * self._limiter.limit - self._entries_left
        if missing <= 0 or free <= 0:
            return 0
        packed = max(1.0, self._entries_seen / max(1, self._messages_seen))
        # The first message tells how they are packed; ten unseen ones might starve the other processes.
        return min(math.ceil(missing / packed), free, BATCH if self._messages_seen else 1)

    async def _message(self, held: Held) -> None:
        try:
            await self._work(held)
            self._troubles = 0
        except TROUBLES as error:
            self._trouble(error, "a message is given back")
            await self._queue.release([held.delivery], TROUBLE_DELAY_SECONDS)
        self._leases.drop(held)  # after an error it stays, and is given back with the others
        self._entries_left -= held.entries_left
        if not len(self._leases):
            self.quiet.set()
        self._room.set()

    def _trouble(self, error: DthError, text: str) -> None:
        self._troubles += 1
        self._emit(Notice("warning", error.code, f"{text}: {error}"))
        if self._troubles >= TROUBLES_IN_A_ROW:
            raise error

    async def _work(self, held: Held) -> None:
        try:
            message = decode(held.delivery.body)
        except MessageInvalid as error:
            return await self._foreign(held, error)
        self._messages_seen += 1
        match message:
            case ObjectsMessage() | DeleteMessage():
                await self._entries(held, message)
            case ImageMessage() | PartsMessage():
                await self._refuse(held, message)
            case _:
                assert_never(message)
        return None

    async def _foreign(self, held: Held, invalid: MessageInvalid) -> None:
        """An event of the source, or garbage."""
        meant = await translated(held.delivery, invalid, self._event_rules)
        if meant.garbage:
            return await self._bury_whole(held, meant.garbage)
        if meant.ignored:
            await self._record(meant.ignored)
        if meant.message is None:
            return await self._queue.ack([held.delivery])
        self._messages_seen += 1
        return await self._entries(held, meant.message)

    async def _bury_whole(self, held: Held, reason: str) -> None:
        await self._queue.bury([(held.delivery.body, reason)])
        await self._queue.ack([held.delivery])

    async def _refuse(self, held: Held, message: Message) -> None:
        """A kind that this version cannot work: its entries are FAILED, so that the run ends and says so."""
        await self._open_job(message.run_id)
        if entries := int(isinstance(message, ImageMessage)):  # parts never count
            await self._record(outcomes.refused_row(message, entries))
        await self._bury_whole(held, f"this version of dth cannot work `{message.kind}` messages")

    # One message of entries

    async def _entries(self, held: Held, message: Entries) -> None:
        held.entries_left = len(message.objects)
        self._entries_left += held.entries_left
        self._entries_seen += held.entries_left
        job = await self._job(message)
        if job is None:
            return await self._bury_whole(held, f"the ledger knows no run {message.run_id!r}")
        # A remainder is looked up at its first delivery as well: it is what may have been sent twice.
        known = held.delivery.deliveries > 1 or outcomes.is_remainder(message.message_id)
        if known and (row := await self._ledger.outcome(message.message_id)):
            return await self._finish(held, message, row, {})
        ended = await self._copy_entries(held, message, job)
        if outcomes.nothing_happened(message, ended) and self._draining.is_set():
            return await self._queue.release([held.delivery])
        await self._report.write(
            [
                outcomes.record_of(message, entry, end, job.mapping.dest_key(entry.key))
                for entry, end in zip(message.objects, ended, strict=True)
                if end and end.outcome and end.outcome is not Outcome.SPLIT
            ]
        )
        row = await self._record(outcomes.row_of(message, ended), deletes=isinstance(message, DeleteMessage))
        reasons = {index: f"{end.error_code}: {end.error}" for index, end in enumerate(ended) if end and end.error}
        return await self._finish(held, message, row, reasons)

    async def _job(self, message: Entries) -> Job | None:
        try:
            return await self._open_job(message.run_id)
        except LedgerError:
            if await self._ledger.run(message.run_id) is None:
                return None
            raise

    async def _record(self, mine: OutcomeRow, *, deletes: bool = False) -> OutcomeRow:
        row = await self._ledger.record(mine, self._settings.process)
        if row == mine:
            counts = row.counts
            self.counts += counts
            ends = counts.done, counts.skipped, counts.failed, counts.bytes
            self._emit(Moved(row.run_id, *ends, deleted=counts.done if deletes else 0))
        return row

    async def _finish(self, held: Held, message: Entries, row: OutcomeRow, reasons: dict[int, str]) -> None:
        """Do what the row in force says; every step may be a repetition."""
        if letters := outcomes.letters_of(message, row.bitmap, reasons):
            await self._queue.bury(letters)
        if row.remainder:
            await self._queue.send([row.remainder])
        await self._queue.ack([held.delivery])

    async def _copy_entries(self, held: Held, message: Entries, job: Job) -> Sequence[Ended | None]:
        """Each entry's end; None for those cut off by hand-over or drain."""
        context = CopyContext(
            job=job,
            run_id=message.run_id,
            process=self._settings.process,
            budget=self._budget,
            limiter=self._limiter,
            ledger=self._ledger,
            emit=self._emit,
            lease_until=held.lease_until,
            redelivered=held.delivery.deliveries > 1,
        )
        work = partial(delete_object, copy=self._copy) if isinstance(message, DeleteMessage) else self._copy
        follow = partial(follow_event, copy=self._copy)
        ended: list[Ended | None] = [None] * len(message.objects)

        async def one(index: int, entry: ObjectEntry) -> None:
            ended[index] = await self._entry(
                entry, outcomes.attempt_of(entry, message), context, follow if entry.reason is Reason.EVENT else work
            )
            held.entries_left -= 1
            self._entries_left -= 1
            self._room.set()

        try:
            async with self._leases.window(held), asyncio.TaskGroup() as entries:
                for index, entry in enumerate(message.objects):
                    entries.create_task(one(index, entry))
        except TimeoutError:
            pass  # what has not ended by now leaves as the remainder
        except BaseExceptionGroup as group:
            raise leading(group) from None
        finally:
            held.window = None
        return ended

    async def _entry(self, entry: ObjectEntry, attempt: int, context: CopyContext, work: CopyObject) -> Ended | None:
        """Copy (or delete) one entry: again and again while the fault is not its own. None where draining came first."""
        if attempt > 1 and await self._drained_within(self._back_off.wait_seconds(attempt - 1, None)):
            return None
        waits = 0
        while True:
            try:
                async with self._limiter.slot(entry.size):
                    if self._draining.is_set():
                        return None
                    copied = await work(entry, context)
                self._breaker.succeeded()
                return outcomes.after_copy(copied, attempt)
            except TROUBLES:
                raise
            except Exception as error:  # noqa: BLE001 - what one entry sets off must not stop the others; judged by type
                ended = self._failed(error, entry, attempt, context)
                if ended.outcome is Outcome.FAILED and work is self._copy:
                    await self._abandon_upload(entry, context)
                wished = error.retry_after if isinstance(error, StoreError) else None
            if ended.outcome or ended.attempt > attempt:
                return ended
            waits += 1
            if await self._drained_within(self._back_off.wait_seconds(waits, wished)):
                return None

    def _failed(self, error: Exception, entry: ObjectEntry, attempt: int, context: CopyContext) -> Ended:
        if isinstance(error, Throttled | TimedOut):
            self._limiter.throttled(error.retry_after if isinstance(error, StoreError) else None)
        self._breaker.failed(error)
        ended = outcomes.after_error(
            error, attempt, self._settings.max_attempts, patient=not self._breaker.ever_succeeded
        )
        if ended.outcome is Outcome.FAILED or ended.attempt > attempt:
            final = ended.outcome is Outcome.FAILED
            self._emit(ObjectFailed(context.run_id, entry.key, ended.error_code, ended.error, attempt, final))
        return ended

    async def _abandon_upload(self, entry: ObjectEntry, context: CopyContext) -> None:
        """Nobody will go on with its parts. What cannot be aborted now is the sweep's."""
        try:
            if entry.size > context.job.options.multipart_threshold:
                await abandon_upload(entry.key, context)
        except DthError as error:
            self._emit(Notice("warning", error.code, f"the upload of {entry.key!r} was not aborted yet: {error}"))

    async def _drained_within(self, seconds: float) -> bool:
        """Wait; True, early, where draining begins."""
        try:
            async with asyncio.timeout(seconds):
                await self._draining.wait()
        except TimeoutError:
            return False
        return True

    # Beside the work

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._emit(InFlight(self._settings.process, self._limiter.in_flight, self._budget.in_use))

    async def _give_back_all(self) -> None:
        if not (left := self._leases.deliveries):
            return
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await self._queue.release(left)
        except (DthError, TimeoutError) as error:  # they come back when their leases end
            self._emit(
                Notice("warning", "not_given_back", f"{len(left)} messages wait for their leases to end: {error}")
            )

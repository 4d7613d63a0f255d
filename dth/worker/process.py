"""What one worker process is told, and what everything that it does shares."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from dth.errors import LedgerError, QueueError, StoreError, Throttled, TimedOut
from dth.events import Buried, Emit, Moved
from dth.flow.breaker import Breaker
from dth.flow.budget import ByteBudget
from dth.flow.limiter import Limiter
from dth.ledgers.base import Ledger, OutcomeRow
from dth.messages import DeleteMessage, Entries, ObjectsMessage, PartsMessage
from dth.model import Counts
from dth.queues.base import Queue
from dth.report import Report, ReportFailed
from dth.stats import NOTHING, Breakdown, Failure
from dth.text import printable
from dth.transfer.context import CopyContext, Job
from dth.usage import Hands, Usage
from dth.values import value
from dth.worker import outcomes
from dth.worker.admission import Admission, forbidden
from dth.worker.leases import Held, Leases
from dth.worker.outcomes import Ended

T = TypeVar("T")

REASON_CHARACTERS = 2000

TROUBLES = (QueueError, LedgerError, ReportFailed)
"""What stands around the copying failed: no entry's fault, so its message is given back as it is."""

OpenJob = Callable[[str], Awaitable[Job]]
"""The job of a run id. Raises WrongJob where this process was started for another; LedgerError for an unknown run."""


@value
class WorkerSettings:
    """Settings of one worker process. `worker_number` 0 adapts what is in flight, up to `max_in_flight`; bytes and
    seconds otherwise. `until_empty`: return when the job's runs are over; `stall_seconds`: how long an empty queue is
    watched for a run whose messages are lost to the dead letters. `event_silence_seconds`: a warning comes after so long
    without an event, 0 for never."""

    process: str
    job_id: str
    worker_number: int
    max_in_flight: int
    memory_budget: int
    lease_seconds: float
    lease_cap_seconds: float
    grace_seconds: float
    max_attempts: int
    until_empty: bool
    poll_seconds: float
    stall_seconds: float
    event_silence_seconds: float = 0.0


@dataclass(slots=True)
class Load:
    """How much is in hand, in entries and parts; `room` is set whenever some of it ended."""

    left: int
    seen: int
    messages: int
    room: asyncio.Event

    def begin(self, held: Held, count: int) -> None:
        """A message of so many was understood."""
        held.entries_left = count
        self.left += count
        self.seen += count
        self.messages += 1

    def ended(self, held: Held, count: int = 1) -> None:
        """So many of its entries or parts have ended."""
        count = min(count, held.entries_left)
        held.entries_left -= count
        self.left -= count
        self.room.set()


class WorkerProcess:
    """The ports, bounds and counts of one worker process, for those who work its messages."""

    def __init__(
        self,
        open_job: OpenJob,
        queue: Queue,
        ledger: Ledger,
        settings: WorkerSettings,
        emit: Emit,
        report: Report,
        limiter: Limiter | None = None,
    ) -> None:
        self.open_job = open_job
        self.queue = queue
        self.ledger = ledger
        self.settings = settings
        self.report = report
        self.limiter = limiter or Limiter(fixed=settings.worker_number, upper=settings.max_in_flight)
        self.budget = ByteBudget(settings.memory_budget)
        self.admission = Admission(ledger)
        self.leases = Leases(queue, settings.lease_seconds, settings.lease_cap_seconds, emit)
        self.breaker = Breaker()
        self.draining = asyncio.Event()
        self.load = Load(0, 0, 0, asyncio.Event())
        self.counts = Counts()
        self.usage = Usage(
            ledger, job_id=settings.job_id, process=settings.process, role="worker", emit=emit, hands=self._hands
        )
        self.emit = self.usage.heard

    def _hands(self) -> Hands:
        limiter = self.limiter
        return Hands(
            limiter.in_flight, self.budget.in_use, self.draining.is_set(), limiter.limit, throttles=limiter.throttles
        )

    async def job(self, run_id: str) -> Job | None:
        """The job of a run; None where the ledger knows no such run. Raises as `OpenJob`."""
        job = await self.opened(self.open_job, run_id)
        if job:
            self.limiter.store_is_here = self.limiter.store_is_here or job.store_is_here
            self.usage.meets(run_id, job.source, job.destination, job.options.storage_class)
        return job

    async def opened(self, opener: Callable[[str], Awaitable[T]], run_id: str) -> T | None:
        """What `opener` makes of a run; None where the ledger knows no such run."""
        try:
            return await opener(run_id)
        except LedgerError:
            if await self.ledger.run(run_id) is None:
                return None
            raise

    async def job_of(self, held: Held, message: ObjectsMessage | DeleteMessage | PartsMessage) -> Job | None:
        """The job of the message's run. None where the message is buried: nobody knows the run, or its job does not allow
        what the message asks for."""
        job = await self.job(message.run_id)
        why = f"the ledger knows no run {message.run_id!r}"
        if job:
            why = forbidden(message, job, selected=await self.admission.is_unsigned(message.run_id))
        if why:
            await self.bury_whole(held, why)
        return None if why else job

    def context(self, job: Job, run_id: str, lease_until: Callable[[], float], *, redelivered: bool) -> CopyContext:
        """What a copy runs with, for a message that is held until `lease_until` says."""
        return CopyContext(
            job=job,
            run_id=run_id,
            process=self.settings.process,
            budget=self.budget,
            limiter=self.limiter,
            ledger=self.ledger,
            emit=self.emit,
            lease_until=lease_until,
            redelivered=redelivered,
        )

    async def recorded(self, held: Held, message_id: str) -> OutcomeRow | None:
        """The row of a message that somebody may have worked before. A remainder is looked up at its first delivery as
        well: it is what may have been sent twice."""
        known = held.redelivered or outcomes.is_remainder(message_id)
        return await self.ledger.outcome(message_id) if known else None

    async def record(
        self,
        mine: OutcomeRow,
        breakdown: Breakdown = NOTHING,
        failures: Sequence[Failure] = (),
        *,
        deletes: bool = False,
        gone: int = 0,
        untrue: int = 0,
    ) -> OutcomeRow:
        """Write the row; the one in force, which may be another's. Own ones are counted, and told. The entries of a dead
        letter were counted when it was written: whoever puts one back into the queue by hand adds no outcome to its run."""
        if outcomes.BURIED in mine.message_id:
            mine, breakdown, failures = replace(mine, counts=Counts()), NOTHING, ()
        row = await self.ledger.record(mine, self.settings.process, breakdown, failures)
        if row == mine:
            counts = row.counts
            self.counts += counts
            self.usage.recorded()
            ends = counts.done, counts.skipped, counts.failed, counts.bytes
            self.emit(Moved(row.run_id, *ends, deleted=counts.done if deletes else 0, gone=gone, untrue=untrue))
        return row

    def judged(self, error: Exception, attempt: int, key: str = "") -> Ended:
        """What the error means for what it met (the copy of `key`), after limiter and breaker have heard of it. Raises where
        the breaker trips."""
        self.slow_down(error)
        self.breaker.failed(error, key)
        return outcomes.after_error(error, attempt, self.settings.max_attempts, patient=not self.breaker.ever_succeeded)

    def slow_down(self, error: Exception) -> None:
        """Tell the limiter of an answer, or a silence, that asks for less."""
        if isinstance(error, Throttled | TimedOut):
            self.limiter.throttled(error.retry_after if isinstance(error, StoreError) else None)

    async def finish(self, message: Entries, row: OutcomeRow, reasons: Mapping[int, str]) -> None:
        """Do what the row in force says, short of acknowledging; every step may be a repetition."""
        await self.bury(message.run_id, outcomes.letters_of(message, row.bitmap, reasons))
        await self.send_remainder(row)

    async def send(self, run_id: str, texts: Sequence[str]) -> None:
        """Send messages of a run, signed."""
        await self.queue.send(await self.admission.signed(run_id, texts))

    async def send_remainder(self, row: OutcomeRow) -> None:
        """Send what must follow the row's message, where there is something."""
        if row.remainder:
            await self.send(row.run_id, [row.remainder])

    async def bury(self, run_id: str, letters: Sequence[tuple[str, str]]) -> None:
        """Put (message, reason) pairs of a run into the dead letters, signed: a redrive must be able to believe them."""
        if letters:
            bodies = await self.admission.signed(run_id, [text for text, _ in letters])
            await self.queue.bury([(body, reason) for body, (_, reason) in zip(bodies, letters, strict=True)])

    async def bury_whole(self, held: Held, reason: str) -> None:
        """Into the dead letters as it came, and told: nobody will do what it asks for."""
        reason = printable(reason, limit=REASON_CHARACTERS)
        await self.queue.bury([(held.delivery.body, reason)])
        await self.queue.ack([held.delivery])
        self.emit(Buried(reason))

    async def bury_records(self, records: Sequence[tuple[str, str]]) -> None:
        """Foreign records (body, reason) that nobody can make anything of, into the dead letters as they came, and told: they are
        no run's entries, so nobody else counts them."""
        letters = [(body, printable(reason, limit=REASON_CHARACTERS)) for body, reason in records]
        await self.queue.bury(letters)
        for _, reason in letters:
            self.emit(Buried(reason))

    async def drained_within(self, seconds: float) -> bool:
        """Wait; True, early, where draining begins."""
        try:
            async with asyncio.timeout(seconds):
                await self.draining.wait()
        except TimeoutError:
            return False
        return True

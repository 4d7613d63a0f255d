"""From messages to outcomes: copy, record, send what remains, acknowledge - in this order.

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
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic

from dth.error_groups import first_error
from dth.errors import BadCredentials, DthError, NoSuchBucket, StoreError, TransportError, WrongRegion
from dth.events import Notice, ObjectFailed
from dth.ledgers.base import OutcomeRow
from dth.messages import DeleteMessage, Entries, ObjectEntry
from dth.retry import RetryPolicy
from dth.states import Outcome, Reason, Side
from dth.stores.base import Written
from dth.transfer.context import CopyContext, Job
from dth.transfer.copy import abandon_upload, prove_object
from dth.transfer.delete import delete_object
from dth.transfer.express import express_for, takes
from dth.transfer.gone import GONE
from dth.transfer.listed import UNTRUE
from dth.transfer.result import Copied
from dth.worker import outcomes
from dth.worker.breakdown import breakdown_of, failures_of
from dth.worker.events import follow_event
from dth.worker.express import Entry, ExpressLane
from dth.worker.leases import Held
from dth.worker.outcomes import Ended
from dth.worker.process import TROUBLES, WorkerProcess
from dth.worker.shared.finish import SharedUploads
from dth.worker.shared.open import MessageSharing

CopyObject = Callable[[ObjectEntry, CopyContext], Awaitable[Copied]]

ALONE_AFTER = 2
"""Refusals of one entry before it is asked whether they are about that entry alone."""

REPORTED_FAILURES = (Outcome.FAILED,)
REPORTED = (Outcome.DONE, Outcome.SKIPPED, Outcome.FAILED)

BACK_OFF = RetryPolicy(attempts=0, base_seconds=1.0, cap_seconds=15.0)
"""The wait before an entry is tried again, in this process, beside other work; its number of attempts is not used."""


class EntriesWorker:
    """Works messages of entries, each entry by itself: to its end, or to the remainder of its message."""

    def __init__(self, process: WorkerProcess, shared: SharedUploads, copy: CopyObject, back_off: RetryPolicy) -> None:
        self._process = process
        self._shared = shared
        self._copy = copy
        self._back_off = back_off

    async def work(self, held: Held, message: Entries) -> None:
        """When this returns, the message is acknowledged, or given back where nothing of it was begun. Raises `TROUBLES`,
        with the message still leased."""
        process = self._process
        process.load.begin(held, len(message.objects))
        job = await process.job_of(held, message)
        if job is None:
            return None
        if row := await process.recorded(held, message.message_id):
            return await self._finish(held, message, row, {})
        ended = await self._copy_entries(held, message, job)
        if outcomes.nothing_happened(message, ended) and process.draining.is_set():
            return await process.queue.release([held.delivery])
        reported = REPORTED_FAILURES if process.report.only_failed else REPORTED
        await process.report.write(
            [
                outcomes.record_of(message, entry, end, job.mapping.dest_key(entry.key))
                for entry, end in zip(message.objects, ended, strict=True)
                if end and end.outcome in reported
            ]
        )
        mine = outcomes.row_of(message, ended)
        breakdown = breakdown_of(message, ended)
        row = await process.record(
            mine,
            breakdown,
            failures_of(message, ended),
            deletes=isinstance(message, DeleteMessage),
            gone=breakdown.skips.get(GONE, 0),
            untrue=outcomes.coded(ended, UNTRUE),
        )
        if row.remainder != mine.remainder and (parts := outcomes.split_in(ended)):
            await self._shared.drop(
                parts, process.context(job, message.run_id, held.lease_until, redelivered=held.redelivered)
            )
        if row is mine and message.objects[0].reason is Reason.EVENT:
            self._tell_lag(message, ended)
        reasons = {index: f"{end.error_code}: {end.error}" for index, end in enumerate(ended) if end and end.error}
        return await self._finish(held, message, row, reasons)

    def _tell_lag(self, message: Entries, ended: Sequence[Ended | None]) -> None:
        for entry, end in zip(message.objects, ended, strict=True):
            if end and end.outcome and entry.event_time:
                self._process.usage.lagged(message.run_id, entry.event_time)

    async def _finish(self, held: Held, message: Entries, row: OutcomeRow, reasons: dict[int, str]) -> None:
        await self._process.finish(message, row, reasons)
        await self._process.queue.ack([held.delivery])

    async def _copy_entries(self, held: Held, message: Entries, job: Job) -> Sequence[Ended | None]:
        """Each entry's end; None for those cut off by hand-over or drain."""
        context = self._process.context(job, message.run_id, held.lease_until, redelivered=held.redelivered)
        context = replace(context, sharing=MessageSharing(outcomes.sharable(message)))
        work = partial(delete_object, copy=self._copy) if isinstance(message, DeleteMessage) else self._copy
        follow = partial(follow_event, copy=self._copy)
        ended: list[Ended | None] = [None] * len(message.objects)

        async def one(index: int, entry: ObjectEntry, written: Written | None) -> None:
            first = follow if entry.reason is Reason.EVENT else _prove_first(written, work)
            ended[index] = await self._entry(entry, outcomes.attempt_of(entry, message), context, first)
            self._process.load.ended(held)

        def express(position: int, copied: Copied, seconds: float) -> None:
            ended[position] = outcomes.after_copy(copied, 1, seconds)
            self._process.load.ended(held)

        try:
            async with self._process.leases.window(held), asyncio.TaskGroup() as entries:

                def ordinary(position: int, written: Written | None = None) -> None:
                    copying = one(position, message.objects[position], written)
                    try:
                        entries.create_task(copying)
                    except RuntimeError:  # another entry has ended them all: this one leaves with the remainder
                        copying.close()

                way = await express_for(context) if work is self._copy else None
                plain: list[Entry] = []
                for index, entry in enumerate(message.objects):
                    dest_key = job.mapping.dest_key(entry.key) if way else ""
                    if way and takes(entry, dest_key, outcomes.attempt_of(entry, message), context):
                        plain.append((index, entry, dest_key))
                    else:
                        ordinary(index)
                if way and plain:
                    await ExpressLane(way, self._process, context, express, ordinary).run(plain)
        except TimeoutError:
            pass  # what has not ended by now leaves as the remainder
        except BaseExceptionGroup as group:
            raise first_error(group) from None
        finally:
            held.window = None
        return ended

    async def _entry(self, entry: ObjectEntry, attempt: int, context: CopyContext, work: CopyObject) -> Ended | None:
        """Copy (or delete) one entry: again and again while the fault is not its own. None where draining came first."""
        process = self._process
        if attempt > 1 and await process.drained_within(self._back_off.wait_seconds(attempt - 1, None)):
            return None
        waits, before, began = 0, process.breaker.successes, 0.0
        while True:
            try:
                async with process.limiter.slot(entry.size):
                    if process.draining.is_set():
                        return None
                    began = began or monotonic()
                    copied = await work(entry, context)
                process.breaker.succeeded()
                return outcomes.after_copy(copied, attempt, monotonic() - began)
            except TROUBLES:
                raise
            except Exception as error:  # noqa: BLE001 - what one entry sets off must not stop the others; judged by type
                ended = self._failed(error, entry, attempt, context)
                if not ended.outcome and await self._is_alone(error, waits, before, context):
                    ended = self._ended(outcomes.refused(error, attempt), entry, attempt, context)
                if ended.outcome is Outcome.FAILED and work is self._copy:
                    await self._abandon_upload(entry, context)
                wished = error.retry_after if isinstance(error, StoreError) else None
            if ended.outcome or ended.attempt > attempt:
                return replace(ended, seconds=monotonic() - began)
            waits += 1
            if await process.drained_within(self._back_off.wait_seconds(waits, wished)):
                return None

    def _failed(self, error: Exception, entry: ObjectEntry, attempt: int, context: CopyContext) -> Ended:
        return self._ended(self._process.judged(error, attempt, entry.key), entry, attempt, context)

    def _ended(self, ended: Ended, entry: ObjectEntry, attempt: int, context: CopyContext) -> Ended:
        if ended.outcome is Outcome.FAILED or ended.attempt > attempt:
            final = ended.outcome is Outcome.FAILED
            self._process.emit(ObjectFailed(context.run_id, entry.key, ended.error_code, ended.error, attempt, final))
        return ended

    async def _is_alone(self, error: Exception, waits: int, before: int, context: CopyContext) -> bool:
        """Whether a refusal that names the credentials, the bucket or the region is about one entry: others have ended
        well since, or the store lets the same credentials list. AWS says SignatureDoesNotMatch to a PUT whose headers it
        does not like. The first two refusals are waited out: they may be everyone's, and over soon."""
        if waits < ALONE_AFTER or not isinstance(error, BadCredentials | NoSuchBucket | WrongRegion):
            return False
        if self._process.breaker.successes > before or await _lets_us_in(error.side, context.job):
            return True
        self._process.breaker.failed(error)  # of no key: it is everyone's
        return False

    async def _abandon_upload(self, entry: ObjectEntry, context: CopyContext) -> None:
        """Nobody will go on with its parts. What cannot be aborted now is the sweep's."""
        try:
            if entry.size > context.job.options.multipart_threshold:
                await abandon_upload(entry.key, context)
        except DthError as error:
            self._process.emit(
                Notice("warning", error.code, f"the upload of {entry.key!r} was not aborted yet: {error}")
            )


def _prove_first(written: Written | None, copy: CopyObject) -> CopyObject:
    """Prove what the express has written; where it has written nothing, or the proof fails and is tried again, copy."""
    if written is None:
        return copy
    left = [written]

    async def work(entry: ObjectEntry, context: CopyContext) -> Copied:
        return await (prove_object(entry, left.pop(), context) if left else copy(entry, context))

    return work


async def _lets_us_in(side: str, job: Job) -> bool:
    """Whether that store answers a listing, for these credentials: to be refused the listing alone is to be known."""
    if not side:
        return False
    mapping = job.mapping
    if side == Side.SOURCE:
        pages = job.source.pages(mapping.source_prefix)
    else:
        pages = job.destination.pages(mapping.dest_listing_prefix)
    try:
        async for _ in pages:
            break
    except (BadCredentials, NoSuchBucket, WrongRegion, TransportError):
        return False
    except DthError:
        pass
    return True

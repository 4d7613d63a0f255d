"""Moves parts of uploads that all workers share: a stretch of parts, then its row. The worker that sees all rows completes.

What a death leaves is mended by whoever receives the message again: before its row, its parts are moved again; after it, the
upload is looked at again, because the dead one may have been the last who would.
"""

from __future__ import annotations

from dth.errors import LeaseLost, NoSuchUpload
from dth.events import ObjectFailed
from dth.ledgers.base import OutcomeRow, UploadRow
from dth.messages import PartsMessage, encode
from dth.model import Attributes, Counts, ObjectHead
from dth.multipart.context import UploadTask
from dth.multipart.parts import send_parts
from dth.multipart.sharing import missing, moved_before, parts_row, plan_of, stretches, whole
from dth.retry import RetryPolicy
from dth.stores.base import PutOptions
from dth.transfer.context import CopyContext
from dth.transfer.large import upload_context
from dth.worker import outcomes
from dth.worker.leases import Held
from dth.worker.outcomes import Ended
from dth.worker.process import TROUBLES, WorkerProcess
from dth.worker.shared.finish import ENDS, SharedUploads
from dth.worker.shared.messages import is_whole, parts_message
from dth.worker.shared.open import upload_of


class PartsWorker:
    """Works `parts` messages: one of a whole upload becomes one of each stretch, one of a stretch is moved."""

    def __init__(self, process: WorkerProcess, shared: SharedUploads, back_off: RetryPolicy) -> None:
        self._process = process
        self._shared = shared
        self._back_off = back_off

    async def work(self, held: Held, message: PartsMessage) -> None:
        """When this returns, the message is acknowledged or given back. Raises `TROUBLES`, with it still leased."""
        process = self._process
        process.load.begin(held, 1 if is_whole(message) else message.stop - message.first)
        job = await process.job_of(held, message)
        if job is None:
            return None
        if not is_whole(message) and (row := await process.recorded(held, message.message_id)):
            return await self._again(held, row)
        context = process.context(job, message.run_id, held.lease_until, redelivered=held.redelivered)
        waits = message.attempt - 1
        while not (
            process.draining.is_set()
            or (waits and await process.drained_within(self._back_off.wait_seconds(waits, None)))
        ):
            waits += 1
            error = await self._try(held, message, context)
            if error is None:
                return await process.queue.ack([held.delivery])
            if isinstance(error, TimeoutError):
                break  # handed over, or draining
            ended = process.judged(error, message.attempt)
            if is_whole(message):
                continue  # nothing of it can fail but by others' doing
            if ended.outcome and await self._given_up(message, error, context):
                return await process.queue.ack([held.delivery])
            if ended.outcome is None and ended.attempt > message.attempt:
                return await self._again(held, await self._next_try(message, ended))
        return await process.queue.release([held.delivery])

    async def _try(self, held: Held, message: PartsMessage, ctx: CopyContext) -> Exception | None:
        try:
            async with self._process.leases.window(held):
                await self._look(message, ctx)
        except TROUBLES:
            raise
        except Exception as error:  # noqa: BLE001 - what one upload sets off must not stop the others; judged by type
            return error
        finally:
            held.window = None
        return None

    async def _next_try(self, message: PartsMessage, ended: Ended) -> OutcomeRow:
        """The row that says how the message goes on after a failed attempt; another worker's may be in force."""
        self._process.emit(
            ObjectFailed(message.run_id, message.key, ended.error_code, ended.error, message.attempt, final=False)
        )
        again = message.model_copy(
            update={"message_id": outcomes.next_id(message.message_id), "attempt": ended.attempt}
        )
        return await self._process.record(
            OutcomeRow(message.message_id, message.run_id, Counts(), outcomes.bitmap_of([None]), encode(again))
        )

    async def _again(self, held: Held, row: OutcomeRow) -> None:
        await self._process.send_remainder(row)
        await self._process.queue.ack([held.delivery])

    async def _given_up(self, message: PartsMessage, error: Exception, ctx: CopyContext) -> bool:
        """The object has failed. False where somebody else is ending its upload: look again."""
        row = await upload_of(message, self._process.ledger)
        if row is None:
            return True
        assert row.sharing
        try:
            if ended := await self._process.ledger.outcome(row.sharing.message_id):
                await self._shared.settle(row, ended, ctx)
            else:
                await self._shared.end(row, error, ctx, final=True)
        except LeaseLost:
            return False
        return True

    async def _look(self, message: PartsMessage, ctx: CopyContext) -> None:
        """Do what is to be done for the message as things stand; nothing, where its upload has ended."""
        ledger = self._process.ledger
        row = await upload_of(message, ledger)
        if row is None:
            return await self._shared.orphaned(message, redelivered=ctx.redelivered)
        assert row.sharing
        if ended := await ledger.outcome(row.sharing.message_id):
            return await self._shared.settle(row, ended, ctx)
        if is_whole(message):
            return await self._hand_out(message, row)
        return await self._move(message, row, ctx)

    async def _hand_out(self, message: PartsMessage, row: UploadRow) -> None:
        """A message for each stretch that is not there. Where all are, the last one again: its worker ends the upload."""
        assert row.sharing
        left = await missing(row, self._process.ledger)
        left = left or list(stretches(plan_of(row), row.sharing.parts_a_message))[-1:]
        await self._process.send(message.run_id, [encode(parts_message(message, numbers)) for numbers in left])

    async def _move(self, message: PartsMessage, row: UploadRow, ctx: CopyContext) -> None:
        ledger = self._process.ledger
        try:
            if not await moved_before(row, message.first, ledger):
                await self._send(message, row, ctx)
        except NoSuchUpload:
            return await self._shared.complete(row, None, ctx)
        except ENDS as error:
            return await self._shared.end(row, error, ctx)
        if rows := await whole(row, message.first, ledger):
            await self._shared.complete(row, rows, ctx)
        return None

    async def _send(self, message: PartsMessage, row: UploadRow, ctx: CopyContext) -> None:
        assert row.sharing
        task = UploadTask(
            source_key=row.source_key,
            dest_key=row.dest_key,
            head=ObjectHead(row.generation, "", Attributes()),
            options=PutOptions(),
            part_size=row.part_size,
            crc=row.sharing.crc,
            answer=row.sharing.answer,
            digest=row.sharing.digest,
        )
        numbers = range(message.first, message.stop)
        sent = await send_parts(row.upload_id, task, plan_of(row), {}, upload_context(ctx), numbers=numbers)
        self._process.breaker.succeeded()  # only here and at the end do stores say that they let this process do its work
        await self._process.ledger.put_parts(parts_row(row.job_id, row.upload_id, sent))

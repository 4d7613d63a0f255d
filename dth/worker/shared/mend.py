"""What nobody is at any more: ends uploads that all workers shared and whose messages are lost, or whose ends were not
finished. Needs no state of its own: everything is in the ledger, so it may be run at any time, by anyone, and repeated.

| a shared upload without a living owner | what becomes of it |
|---|---|
| its run is forgotten | an ordinary upload, which the sweep aborts |
| its message has an outcome | what must follow it is done |
| the message that it came from was recorded otherwise | aborted: nobody will send for its parts |
| all parts are there | completed |
| parts are missing, their messages may still be in the queue | left alone |
| parts are missing, their messages are lost | planned again where the source changed, SKIPPED where it is gone, else the messages are sent again, up to the number of attempts without one arriving; then FAILED |
| it began longer ago than `older_than` | FAILED, aborted |
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from enum import Enum, auto

from dth.errors import DthError, LeaseLost, TransferError
from dth.events import Notice
from dth.ledgers.base import UploadRow
from dth.messages import ObjectsMessage, PartsMessage, decode, encode
from dth.multipart.claim import take
from dth.multipart.sharing import all_rows, missing, resent, vain_resends
from dth.queues.base import QueueDepth
from dth.transfer.context import CopyContext, Job
from dth.transfer.large import pinned_head, upload_context
from dth.worker.process import TROUBLES, WorkerProcess, WorkerSettings
from dth.worker.shared.finish import ENDS, SharedUploads
from dth.worker.shared.messages import parts_message, whole_message
from dth.worker.shared.open import called_for, upload_of

QUEUE_KEEPS_SECONDS = 14 * 86_400.0  # SQS's longest retention: then a message is lost, however full the queue is


class PartsLost(TransferError):
    """Messages of its parts vanish again and again, or it took longer than a sweep allows."""

    code = "parts_lost"


class Mended(Enum):
    """What was done about an upload."""

    LEFT = auto()  # somebody is at it, or will be
    ENDED = auto()
    SENT_AGAIN = auto()


def _patience(depth: QueueDepth, settings: WorkerSettings) -> float:
    """Seconds after which messages that this queue does not show are lost. An empty one holds none. What is only leased
    comes back, or is handed over, before the cap on leases: later, none of it can be of then (and a message of the same key
    may wait in a worker for the very upload). Any queue forgets in the end."""
    if depth.visible:
        return QUEUE_KEEPS_SECONDS
    return settings.lease_cap_seconds if depth.leased else settings.lease_seconds


class Mender:
    """Looks at shared uploads, one at a time."""

    def __init__(
        self,
        process: WorkerProcess,
        depth: QueueDepth,
        *,
        older_than: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._process = process
        self._shared = SharedUploads(process)
        self._patience_seconds = _patience(depth, process.settings)
        self._older_than = older_than
        self._clock = clock

    async def mend(self, row: UploadRow) -> Mended:
        """See the table above. Raises `TROUBLES`; what a store refuses is said as a Notice, and left for the next time."""
        if row.sharing is None or row.owned_until > self._clock():
            return Mended.LEFT
        job = await self._process.job(row.run_id)
        if job is None:
            return await self._left_to_sweep(row)
        try:
            return await self._mend(row, self._context(job, row))
        except LeaseLost:
            return Mended.LEFT
        except TROUBLES:
            raise
        except DthError as error:
            self._process.emit(
                Notice("warning", error.code, f"the upload of {row.dest_key!r} was left as it is: {error}")
            )
            return Mended.LEFT

    async def give_up(self, letter: PartsMessage, reason: str) -> bool:
        """Messages of these parts have killed or outlived every worker that received them: the object has FAILED, unless
        its upload has ended, or has all its parts, by now. Another job's letter is left to that job."""
        if letter.job_id != self._process.settings.job_id:
            return False
        job = await self._process.job(letter.run_id)
        row = await upload_of(letter, self._process.ledger)
        if job is None or row is None:
            return True
        assert row.sharing
        if await self._process.ledger.outcome(row.sharing.message_id) or await all_rows(row, self._process.ledger):
            return True  # which `mend` finishes
        error = PartsLost(f"its parts could not be moved: {reason}")
        try:
            await self._shared.end(row, error, self._context(job, row), final=True)
        except LeaseLost:
            return False
        return True

    def _context(self, job: Job, row: UploadRow) -> CopyContext:
        """No message is held here: leases are given from now on."""
        lease_seconds = self._process.settings.lease_seconds
        return self._process.context(job, row.run_id, lambda: self._clock() + lease_seconds, redelivered=True)

    async def _left_to_sweep(self, row: UploadRow) -> Mended:
        """It has outlived the ledger's memory of its run, and with it whoever would count its object."""
        with suppress(LeaseLost):
            await self._process.ledger.update_upload(replace(row, sharing=None))
        return Mended.LEFT

    async def _mend(self, row: UploadRow, ctx: CopyContext) -> Mended:
        assert row.sharing
        ledger = self._process.ledger
        if ended := await ledger.outcome(row.sharing.message_id):
            await self._shared.settle(row, ended, ctx)
            return Mended.ENDED
        if (called := await called_for(row.sharing.message_id, row.upload_id, ledger)) is not True:
            if called is None:
                return Mended.LEFT
            await (await take(row, upload_context(ctx))).discard()
            return Mended.ENDED
        if rows := await all_rows(row, ledger):
            await self._shared.complete(row, rows, ctx)
            return Mended.ENDED
        return await self._unfinished(row, ctx)

    async def _unfinished(self, row: UploadRow, ctx: CopyContext) -> Mended:
        """Parts are missing."""
        if self._older_than and row.created_at <= self._clock() - self._older_than:
            await self._shared.end(row, PartsLost("it was swept: its upload began too long ago"), ctx, final=True)
            return Mended.ENDED
        return await self._send_again(row, ctx) if self._lost(row) else Mended.LEFT

    def _lost(self, row: UploadRow) -> bool:
        """Whether no message of its parts can be under way."""
        assert row.sharing
        return self._clock() - max(row.created_at, row.sharing.resent_at) > self._patience_seconds

    async def _send_again(self, row: UploadRow, ctx: CopyContext) -> Mended:
        assert row.sharing
        message = decode(row.sharing.message)
        assert isinstance(message, ObjectsMessage)
        try:
            await pinned_head(row.source_key, row.generation, ctx)
        except ENDS as error:
            await self._shared.end(row, error, ctx)
            return Mended.ENDED
        left = await missing(row, self._process.ledger)
        resends = vain_resends(row, len(left))
        if resends >= self._process.settings.max_attempts:
            text = f"messages of its parts were sent {resends} times and vanished; look at the queue's dead letters"
            await self._shared.end(row, PartsLost(text), ctx, final=True)
            return Mended.ENDED
        await self._process.ledger.update_upload(resent(row, len(left), self._clock()))
        first = whole_message(message, row)
        await self._process.send(first.run_id, [encode(parts_message(first, numbers)) for numbers in left])
        return Mended.SENT_AGAIN

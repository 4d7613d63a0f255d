"""Ends uploads that all workers move: completes them, plans them again, gives them up. Whoever is at it owns the row.

The outcome row of the message that an upload stands for is the commit point: what must follow it (a dead letter, the entry
again, the upload's own end) is repeated from it by whoever finds both rows; the upload's row goes last. So an upload without
an outcome is under way, and one that has an outcome is nobody's work any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from dth.errors import (
    Archived,
    BodyMismatch,
    ConditionConflict,
    LeaseLost,
    NoSuchKey,
    NoSuchUpload,
    ObjectChanged,
    RequestRefused,
)
from dth.events import ObjectFailed
from dth.ledgers.base import OutcomeRow, PartsRow, UploadRow
from dth.messages import ObjectsMessage, PartsMessage, decode
from dth.model import ObjectHead, Tags
from dth.multipart.claim import Claim, take
from dth.multipart.complete import complete, completed_before, forget_completing, note_name
from dth.multipart.context import DestinationExists, PartsDiffer, UploadContext, Uploaded, UploadTask
from dth.multipart.parts import kept_parts
from dth.multipart.sharing import plan_of, sent_parts
from dth.states import Outcome
from dth.transfer.context import CopyContext
from dth.transfer.large import pinned_head, proven, upload_context, upload_task
from dth.transfer.result import Copied
from dth.transfer.single import skipped
from dth.values import value
from dth.worker import outcomes
from dth.worker.breakdown import breakdown_of, failures_of
from dth.worker.outcomes import Ended
from dth.worker.process import WorkerProcess
from dth.worker.shared.messages import object_message
from dth.worker.shared.open import called_for, upload_of

GONE = (NoSuchKey, Archived)
ENDS = (*GONE, ObjectChanged, NoSuchUpload, ConditionConflict, DestinationExists)
"""What ends the upload, not the try: there is nothing to move, or not by these parts."""


def ended_by(error: Exception, attempt: int, max_attempts: int) -> Ended:
    """What one of ENDS, or a contradiction between checksums of the whole, means for the entry. It is planned again as a
    further attempt, so that an object which changes for ever comes to an end."""
    code, text = outcomes.error_code(error), outcomes.error_text(error)
    if isinstance(error, GONE):
        return Ended(Outcome.SKIPPED, attempt, None, code, text)
    if isinstance(error, DestinationExists):
        return outcomes.after_copy(skipped("", "exists at the destination"), attempt)
    if attempt >= max_attempts:
        return Ended(Outcome.FAILED, attempt, None, code, text)
    return Ended(None, attempt + 1, None, code, text)


@value
class _Ending:
    """An upload in our hands, and the message that it stands for."""

    row: UploadRow
    message: ObjectsMessage
    claim: Claim
    ctx: CopyContext
    upload_ctx: UploadContext


def _doubted(dest_key: str) -> str:
    """Where it is kept what parts made that the source's ETag contradicted."""
    return note_name(dest_key).replace("completing", "doubted")


class SharedUploads:
    """Ends them. Every call raises UploadOwned or LeaseLost where somebody else is at it: look again."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process

    async def complete(self, row: UploadRow, rows: Sequence[PartsRow] | None, ctx: CopyContext) -> None:
        """Make the object of its parts and record its end, or that it must be moved again. `rows` None: some parts are
        not known, because the store says that there is no such upload: perhaps somebody completed it.

        Raises what another try may mend; nothing has ended then.
        """
        async with self._ending(row, ctx) as ending:
            try:
                copied = await ending.claim.holding(self._object(ending, rows))
                self._process.breaker.succeeded()
                ended = outcomes.after_copy(copied, ending.message.attempt)
            except (*ENDS, BodyMismatch) as error:  # whole parts of it are wrong, and nobody can say which
                if isinstance(error, PartsDiffer):
                    await self._process.ledger.put_note(row.job_id, _doubted(row.dest_key), error.made)
                ended = ended_by(error, ending.message.attempt, self._process.settings.max_attempts)
            await self._end(ending, ended)

    async def end(self, row: UploadRow, error: Exception, ctx: CopyContext, *, final: bool = False) -> None:
        """Give these parts up: for one of ENDS, or for good (`final`)."""
        async with self._ending(row, ctx) as ending:
            attempt = ending.message.attempt
            ended = ended_by(error, attempt, self._process.settings.max_attempts)
            if final:
                ended = Ended(Outcome.FAILED, attempt, None, outcomes.error_code(error), outcomes.error_text(error))
            await self._end(ending, ended)

    async def settle(self, row: UploadRow, outcome: OutcomeRow, ctx: CopyContext) -> None:
        """Somebody recorded the end and died: do what must follow."""
        async with self._ending(row, ctx) as ending:
            await self._settle(ending, outcome, {})

    async def orphaned(self, parts: PartsMessage, *, redelivered: bool) -> None:
        """The upload's row is gone. Where that was no end of it, nobody would ever count its object: it is planned again, as a
        further attempt. So it goes where its message came twice at once: who held the second found another generation at the
        source, and aborted the upload of the first, which was then recorded."""
        message, process = object_message(parts), self._process
        if outcome := await process.ledger.outcome(message.message_id):
            if redelivered and outcome.remainder:  # its recorder may have died before it sent it; twice does no harm
                await process.send_remainder(outcome)
        elif await called_for(message.message_id, parts.upload_id, process.ledger):
            error = NoSuchUpload(f"the upload of {parts.dest_key!r} was aborted by a second delivery of its message")
            ended = ended_by(error, message.attempt, process.settings.max_attempts)
            outcome, reasons = await self._record(message, ended, parts.dest_key)
            await process.finish(message, outcome, reasons)

    async def drop(self, parts: PartsMessage, ctx: CopyContext) -> None:
        """Another worker has recorded something else about the message: nobody will send for this upload's parts."""
        row = await upload_of(parts, self._process.ledger)
        if row is None:
            return
        try:
            await (await take(row, upload_context(ctx))).discard()
        except LeaseLost:
            return  # somebody is at it, or will be: `dth complete-multipart` drops what nobody calls for

    @asynccontextmanager
    async def _ending(self, row: UploadRow, ctx: CopyContext) -> AsyncIterator[_Ending]:
        """The upload is ours while the block runs; where that fails, it is given back."""
        assert row.sharing
        upload_ctx = upload_context(ctx)
        message = decode(row.sharing.message)
        assert isinstance(message, ObjectsMessage)
        ending = _Ending(row, message, await take(row, upload_ctx), ctx, upload_ctx)
        try:
            yield ending
        except BaseException:
            await ending.claim.release()
            raise

    async def _object(self, ending: _Ending, rows: Sequence[PartsRow] | None) -> Copied:
        row, ctx = ending.row, ending.ctx
        head = await pinned_head(row.source_key, row.generation, ctx)
        tags = await ctx.job.tags_of(row.source_key, head)
        task = await self._task(ending, head, tags)
        uploaded = await completed_before(row.upload_id, task, ending.upload_ctx)
        if uploaded is None:
            if rows is None:
                raise NoSuchUpload(f"the destination has lost the upload of {row.dest_key!r}")
            uploaded = await self._complete(row, rows, task, ending.upload_ctx)
        return await proven(row.source_key, row.dest_key, head, tags, uploaded, ctx)

    async def _task(self, ending: _Ending, head: ObjectHead, tags: Tags) -> UploadTask:
        """As the upload was opened with; and what an earlier one of this object made, where the source contradicted it."""
        row, sharing = ending.row, ending.row.sharing
        assert sharing
        task = await upload_task(row.source_key, row.dest_key, head, tags, ending.upload_ctx, ending.ctx)
        doubted = ""
        if ending.message.attempt > 1:
            doubted = await self._process.ledger.get_note(row.job_id, _doubted(row.dest_key)) or ""
        return replace(task, crc=sharing.crc, answer=sharing.answer, digest=sharing.digest, doubted=doubted)

    async def _complete(
        self, row: UploadRow, rows: Sequence[PartsRow], task: UploadTask, ctx: UploadContext
    ) -> Uploaded:
        sent = sent_parts(rows, row)
        if sum(part.part.size for part in sent) != row.generation.size:
            raise BodyMismatch(
                f"the known parts of {row.dest_key!r} are not the {row.generation.size} bytes of the source"
            )
        try:
            return await complete(row.upload_id, sent, task, ctx)
        except RequestRefused as error:
            if error.store_code != "InvalidPart":
                raise
        # Two workers moved a part, and the store keeps the later one; under KMS its ETag is another one for equal bytes.
        kept = await kept_parts(row.upload_id, task, plan_of(row), ctx)
        if any(part.part.number not in kept for part in sent):
            raise NoSuchUpload(f"the destination has lost parts of the upload of {row.dest_key!r}")
        latest = [part if part.part == kept[part.part.number].part else kept[part.part.number] for part in sent]
        return await complete(row.upload_id, latest, task, ctx)

    async def _end(self, ending: _Ending, ended: Ended) -> None:
        """Record, then do what the row in force says."""
        outcome, reasons = await self._record(ending.message, ended, ending.row.dest_key)
        await self._settle(ending, outcome, reasons)

    async def _record(
        self, message: ObjectsMessage, ended: Ended, dest_key: str
    ) -> tuple[OutcomeRow, Mapping[int, str]]:
        """The row in force, and why its entry failed."""
        process, entry = self._process, message.objects[0]
        if ended.outcome:
            await process.report.write([outcomes.record_of(message, entry, ended, dest_key)])
        if ended.outcome is Outcome.FAILED or ended.outcome is None:
            final = ended.outcome is not None
            process.emit(
                ObjectFailed(message.run_id, entry.key, ended.error_code, ended.error, message.attempt, final=final)
            )
        outcome = await process.record(
            outcomes.row_of(message, [ended]), breakdown_of(message, [ended]), failures_of(message, [ended])
        )
        return outcome, {0: f"{ended.error_code}: {ended.error}"} if ended.error else {}

    async def _settle(self, ending: _Ending, outcome: OutcomeRow, reasons: Mapping[int, str]) -> None:
        await self._process.finish(ending.message, outcome, reasons)
        if outcome.counts.done:
            if ending.message.attempt > 1:
                await self._process.ledger.put_note(ending.row.job_id, _doubted(ending.row.dest_key), "")
            await ending.claim.close()
        else:
            await ending.claim.discard()
        await forget_completing(ending.row.dest_key, ending.upload_ctx)

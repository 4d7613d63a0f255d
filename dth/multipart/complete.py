"""Ends uploads: completes them, also when the answer gets lost, and aborts those that nobody will complete."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Protocol

from dth.errors import (
    AnswerInvalid,
    BodyMismatch,
    DthError,
    LeaseLost,
    NoSuchUpload,
    PreconditionFailed,
    ServerFault,
    StoreError,
    TlsFailed,
    TransportError,
)
from dth.events import Emit, Notice
from dth.ledgers.base import Ledger, UploadRow
from dth.model import Generation
from dth.multipart.checksum import Crc, check_answer, composite, is_content_etag, joined, multipart_etag
from dth.multipart.claim import abort_row
from dth.multipart.context import DestinationExists, PartsDiffer, UploadContext, Uploaded, UploadTask
from dth.multipart.destination import Seen, look
from dth.multipart.parts import SentPart
from dth.retry import RetryPolicy
from dth.states import VerifiedBy
from dth.stores.base import UploadedPart, Writer, Written
from dth.values import value

COMPLETE_POLICY = RetryPolicy(attempts=4, base_seconds=0.5, cap_seconds=20)
COMES_ABOUT_SECONDS = 300.0
"""How long an upload is waited for that the store was asked to complete and that it does not know any more, or never answers."""
FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 1.0, 15.0
LEFT_ALONE_SECONDS = 3600.0
"""How long nobody aborts an upload that the store was asked to complete."""
_GATEWAYS = {502, 504}  # the word of somebody in front of the store
SWEEP_SECONDS = 60.0  # how long a sweep holds a row


@value
class _Completing:
    """Written before Complete is asked for, so that whoever comes after a lost answer, or a death, can tell by looking
    whether this upload became the object: by the ETag that it must get, or, where that can't be known, because the
    object is another one than before (`before` is its ETag and time, "" where there was none)."""

    upload_id: str
    etag: str
    before: str
    unanswered_at: float = 0.0  # epoch seconds, of when it was asked for in vain, and never refused; 0 else

    def became(self, seen: Seen | None, size: int) -> bool:
        if seen is None or seen.size != size:
            return False
        return seen.etag == self.etag if self.etag else _mark(seen) != self.before


async def complete(upload_id: str, sent: Sequence[SentPart], task: UploadTask, ctx: UploadContext) -> Uploaded:
    """The object, made of its parts, and what is proven of it.

    Raises DestinationExists (no_clobber), ConditionConflict and NoSuchUpload where a new upload is needed,
    BodyMismatch where a checksum of either store contradicts ours; the source's is looked at before the object is made.
    """
    parts = [part.part for part in sent]
    whole = _whole(sent, task)
    kept = _kept(whole, task) or _kept_in_parts(sent, task)
    made = multipart_etag([part.etag for part in parts])
    equal = _equal_parts(made, sent, task, ctx)
    opaque = any(part.opaque_etag for part in sent)  # such parts say nothing of the ETag that the object will have
    completing = await _announce(upload_id, "" if opaque else made, task, ctx)

    written = await _completed(completing, parts, task, ctx)
    answered = check_answer(whole, written) or all(part.answered for part in sent)
    if equal or _same_layout(task, written.etag):
        return Uploaded(written.etag, whole, VerifiedBy.ETAG)
    if not answered:
        return Uploaded(written.etag, whole, VerifiedBy.NOT_VERIFIABLE)
    return Uploaded(written.etag, whole, VerifiedBy.CRC if kept else VerifiedBy.PART_CRC)


async def _completed(
    completing: _Completing, parts: Sequence[UploadedPart], task: UploadTask, ctx: UploadContext
) -> Written:
    """Ask for it until it is there. A store may take minutes, and answer meanwhile that it knows no such upload: what was asked
    for once and never answered is waited for before it is given up."""
    unanswered, tried = False, 0
    while True:
        tried += 1
        try:
            return await ctx.destination.complete_upload(
                task.dest_key, completing.upload_id, parts, if_none_match=task.options.if_none_match
            )
        except (NoSuchUpload, PreconditionFailed, TransportError, ServerFault, AnswerInvalid) as error:
            if made := await _made(completing, task, ctx):
                return made
            if isinstance(error, PreconditionFailed) and task.options.if_none_match:
                raise DestinationExists(f"{task.dest_key!r} exists at the destination") from error
            unanswered = unanswered or _is_lost(error)
            if isinstance(error, NoSuchUpload | PreconditionFailed | TlsFailed) or tried >= COMPLETE_POLICY.attempts:
                if unanswered and (made := await _comes_about(completing, task, ctx)):
                    return made
                await _note_end(completing, task, ctx, unanswered=unanswered)
                raise
            wished = error.retry_after if isinstance(error, StoreError) else None
            await asyncio.sleep(COMPLETE_POLICY.wait_seconds(tried, wished))
        except StoreError:
            await _note_end(completing, task, ctx, unanswered=unanswered)
            raise


def _is_lost(error: TransportError | StoreError) -> bool:
    """Whether it says nothing of what the store does with the request."""
    if isinstance(error, StoreError):
        return error.status in _GATEWAYS or (isinstance(error, AnswerInvalid) and not error.store_code)
    return error.sent


async def _note_end(completing: _Completing, task: UploadTask, ctx: UploadContext, *, unanswered: bool) -> None:
    """For who would abort the upload: whether the store may be completing it still."""
    text = json.dumps(asdict(replace(completing, unanswered_at=time.time()))) if unanswered else ""
    await ctx.ledger.put_note(ctx.job_id, note_name(task.dest_key), text)


async def _made(completing: _Completing, task: UploadTask, ctx: UploadContext) -> Written | None:
    """The object, where this upload has become it."""
    seen = await look(ctx.destination, task.dest_key)
    return Written(seen.etag) if seen and completing.became(seen, task.head.generation.size) else None


async def _comes_about(completing: _Completing, task: UploadTask, ctx: UploadContext) -> Written | None:
    """Look again and again, for a while, whether the store has finished by itself."""
    pause, waited = FIRST_LOOK_SECONDS, 0.0
    while waited < COMES_ABOUT_SECONDS:
        await asyncio.sleep(pause)
        waited += pause
        if made := await _made(completing, task, ctx):
            return made
        pause = min(2 * pause, LAST_LOOK_SECONDS)
    return None


def _whole(sent: Sequence[SentPart], task: UploadTask) -> Crc | None:
    """Our checksum over the whole object, None where some part was not read here."""
    crcs = [part.crc for part in sent if part.crc is not None]
    return joined(task.crc, crcs) if task.crc and len(crcs) == len(sent) else None


def _kept(whole: Crc | None, task: UploadTask) -> bool:
    """Whether the source keeps the same. Raises BodyMismatch where it keeps another: then what was read is not what it
    holds."""
    if whole is None or task.head.checksum_type != "FULL_OBJECT":
        return False
    kept = dict(task.head.checksums).get(whole.algorithm)
    if kept is not None and kept != whole.base64:
        raise BodyMismatch(f"read {task.source_key!r} with {task.crc} {whole.base64}, the source keeps {kept}")
    return kept is not None


def _kept_in_parts(sent: Sequence[SentPart], task: UploadTask) -> bool:
    """Whether the checksums of the parts make the source's composite one. Raises PartsDiffer as `_equal_parts`."""
    kept = dict(task.head.checksums).get(task.digest)
    if kept is None or not _cut_alike(sent, task) or not all(part.digest for part in sent):
        return False
    return _held_against(kept, composite(task.digest, [part.digest for part in sent]), task)


def _equal_parts(made: str, sent: Sequence[SentPart], task: UploadTask, ctx: UploadContext) -> bool:
    """Whether the MD5s of the parts, as the destination computed them over what arrived, make the source's ETag. That
    proves the bytes however the parts were chosen, and whatever the destination's own ETag will be.

    Raises PartsDiffer where they don't although they should: the source told its parts, and both sides' ETags are made of
    the bytes.
    """
    if made == task.head.generation.etag:
        return made != ""
    binds = (
        task.etag_binds
        and _cut_alike(sent, task)
        and ctx.destination.capabilities.md5_etag
        and not task.options.sse.startswith("aws:kms")
        and not any(part.opaque_etag for part in sent)
    )
    assumed = ctx.destination.capabilities.assumed
    return bool(made) and binds and _held_against(task.head.generation.etag, made, task, assumed=assumed)


def _held_against(kept: str, made: str, task: UploadTask, *, assumed: bool = False) -> bool:
    """Whether they are the same. Raises PartsDiffer where they are not, unless the parts of another attempt made the very
    same: two transfers are not damaged alike, so the source's is not made of these parts and says nothing."""
    if task.doubted and assumed:
        return (
            kept == made
        )  # two attempts: the ETags of this store, of which nobody knows anything, are made of other stuff
    if made not in (kept, task.doubted):
        raise PartsDiffer(f"the parts that arrived of {task.source_key!r} make {made}, the source has {kept}", made)
    return kept == made


def _cut_alike(sent: Sequence[SentPart], task: UploadTask) -> bool:
    """Whether the parts are those that the source told."""
    *firsts, last = [part.part.size for part in sent]
    return 0 < last <= task.source_part and all(size == task.source_part for size in firsts)


async def completed_before(upload_id: str, task: UploadTask, ctx: UploadContext) -> Uploaded | None:
    """The object, where an earlier owner completed this upload and died before it could say so."""
    text = await ctx.ledger.get_note(ctx.job_id, note_name(task.dest_key))
    completing = _Completing(**json.loads(text)) if text else None
    if completing is None or completing.upload_id != upload_id:
        return None
    seen = await look(ctx.destination, task.dest_key)
    if not completing.became(seen, task.head.generation.size):
        return None
    assert seen is not None
    equal = _same_layout(task, seen.etag)
    return Uploaded(seen.etag, None, VerifiedBy.ETAG if equal else VerifiedBy.NOT_VERIFIABLE)


async def forget_completing(dest_key: str, ctx: UploadContext) -> None:
    """After the row was closed."""
    await ctx.ledger.put_note(ctx.job_id, note_name(dest_key), "")


async def _announce(upload_id: str, etag: str, task: UploadTask, ctx: UploadContext) -> _Completing:
    capabilities = ctx.destination.capabilities
    certain = capabilities.multipart_etag and etag != "" and not task.options.sse.startswith("aws:kms")
    before = "" if certain else _mark(await look(ctx.destination, task.dest_key))
    completing = _Completing(upload_id, etag if certain else "", before)
    text = json.dumps(asdict(completing))
    await ctx.ledger.put_note(ctx.job_id, note_name(task.dest_key), text)
    return completing


def _same_layout(task: UploadTask, etag: str) -> bool:
    return etag == task.head.generation.etag and is_content_etag(etag, task.head.generation.size)


def _mark(seen: Seen | None) -> str:
    return "" if seen is None else f"{seen.etag} {seen.last_modified}"


def note_name(dest_key: str) -> str:
    """Where a completion is announced: short and ASCII, whatever the key."""
    return "completing/" + hashlib.sha256(dest_key.encode("utf-8", "surrogateescape")).hexdigest()[:32]


class UploadingJob(Protocol):
    """What a sweep needs of a job."""

    @property
    def job_id(self) -> str:
        """The job's."""
        ...

    @property
    def destination(self) -> Writer:
        """Where its uploads are."""
        ...


async def sweep_uploads(
    job: UploadingJob,
    ledger: Ledger,
    *,
    now: float,
    emit: Emit,
    spared: frozenset[str] = frozenset(),
    older_than: float = 0.0,
) -> int:
    """Abort the uploads of this job that have no living owner at `now` (epoch seconds), and remove their rows; returns
    how many. Uploads of the runs `spared` may still be resumed, unless they began `older_than` seconds ago (0: never); shared ones have messages under way. Touches no key without an intent of the job's, and no upload that somebody takes over meanwhile. One that
    cannot be aborted keeps its row, and a Notice says so."""
    swept = 0
    lapsed = [
        row
        async for row in ledger.uploads(job.job_id)
        if row.owned_until <= now
        and row.sharing is None
        and (row.run_id not in spared or 0 < older_than <= now - row.created_at)
    ]
    for row in lapsed:
        if await _left_alone(job.job_id, row, ledger, now):
            continue
        with suppress(LeaseLost):
            held = await ledger.update_upload(replace(row, owner="sweep", owned_until=now + SWEEP_SECONDS))
            try:
                await abort_row(held, job.destination, emit)
            except DthError as error:
                emit(Notice("warning", "upload_left_open", f"{row.dest_key!r}: {error}"))
                await ledger.update_upload(replace(held, owned_until=0.0))
                continue
            await ledger.close_upload(held)
            await ledger.put_note(job.job_id, note_name(row.dest_key), "")
            swept += 1
    return swept


async def _left_alone(job_id: str, row: UploadRow, ledger: Ledger, now: float) -> bool:
    """Whether the store was asked to complete this upload so lately that it may be at it."""
    text = await ledger.get_note(job_id, note_name(row.dest_key)) if row.upload_id else ""
    completing = _Completing(**json.loads(text)) if text else None
    if completing is None or completing.upload_id != row.upload_id:
        return False
    return now - completing.unanswered_at < LEFT_ALONE_SECONDS


async def abandon(source_key: str, dest_key: str, ctx: UploadContext) -> None:
    """No open upload of this key is left behind, unless another worker is at it. For who gives the object up."""
    now = time.time()
    row = await ctx.ledger.claim_upload(
        UploadRow(
            ctx.job_id,
            ctx.run_id,
            dest_key,
            source_key,
            Generation("", 0),
            0,
            "",
            ctx.owner,
            now + SWEEP_SECONDS,
            0,
            now,
        )
    )
    if row.owner != ctx.owner:
        return
    if await _left_alone(ctx.job_id, row, ctx.ledger, now):
        ctx.emit(Notice("warning", "upload_left_open", f"{dest_key!r}: the store may still be completing its upload"))
        await ctx.ledger.update_upload(replace(row, owned_until=0.0))
        return
    if row.upload_id or row.part_size:  # else it is the row just made
        try:
            await abort_row(row, ctx.destination, ctx.emit)
        except DthError:
            await ctx.ledger.update_upload(replace(row, owned_until=0.0))
            raise
    await ctx.ledger.close_upload(row)
    await ctx.ledger.put_note(ctx.job_id, note_name(dest_key), "")

"""Large objects: an upload whose parts move in parallel."""

from __future__ import annotations

import secrets
from dataclasses import replace

from dth.errors import NoSuchKey, ObjectChanged, PreconditionFailed
from dth.events import Notice
from dth.model import ByteSpan, Generation, ObjectHead, Tags
from dth.multipart.checksum import MD5, best_algorithm, computable, is_content_etag
from dth.multipart.complete import abandon
from dth.multipart.context import DestinationExists, PartsDiffer, UploadContext, Uploaded, UploadTask
from dth.multipart.plan import takes_parts
from dth.multipart.upload import upload_object
from dth.states import Outcome, VerifiedBy
from dth.transfer.context import CopyContext
from dth.transfer.integrity import answered_with, etags_decide, kept_checksum, read_back
from dth.transfer.options import Verify
from dth.transfer.result import Copied
from dth.transfer.single import assert_unchanged, put_options, skipped


async def copy_large(key: str, dest_key: str, generation: Generation, ctx: CopyContext) -> Copied:
    """Raises ObjectChanged where the source is not, or after the copy no longer, of this generation; UploadOwned where
    another worker is at it."""
    head = await pinned_head(key, generation, ctx)
    uploading = upload_context(ctx)
    tags = await ctx.job.tags_of(key, head)
    task = await upload_task(key, dest_key, head, tags, uploading, ctx)
    try:
        uploaded = await _upload(task, uploading)
    except DestinationExists:
        return skipped(generation.etag, "exists at the destination")
    return await proven(key, dest_key, head, tags, uploaded, ctx)


async def proven(key: str, dest_key: str, head: ObjectHead, tags: Tags, uploaded: Uploaded, ctx: CopyContext) -> Copied:
    """DONE, with what proves it. Raises BodyMismatch where the bytes are others, ObjectChanged where the source holds
    another generation by now and no later comparison could tell."""
    proof = await _proof(key, dest_key, head, uploaded, ctx)
    if ctx.job.tags:
        await ctx.job.tags.confirm_upload(dest_key, tags)
    if not etags_decide(head, uploaded.etag):
        await assert_unchanged(key, head.generation, ctx)
    return Copied(Outcome.DONE, head.generation.size, head.generation.etag, uploaded.etag, proof)


async def _upload(task: UploadTask, ctx: UploadContext) -> Uploaded:
    """Once more from the beginning where the parts that arrived contradict the source's ETag. If those of both attempts
    agree with each other, the ETag is not made of such parts, and proves nothing."""
    try:
        return await upload_object(task, ctx)
    except PartsDiffer as error:
        ctx.emit(Notice("warning", "sent_again", str(error)))
        return await upload_object(replace(task, doubted=error.made), ctx)


async def abandon_upload(key: str, ctx: CopyContext) -> None:
    """For who gives the object `key` up: no open upload of it stays, unless another worker is at it."""
    await abandon(key, ctx.job.mapping.dest_key(key), upload_context(ctx))


async def pinned_head(key: str, generation: Generation, ctx: CopyContext) -> ObjectHead:
    """The attributes, of this very generation."""
    try:
        head = await ctx.job.source.head(key, if_match=generation.etag)
    except PreconditionFailed as error:
        raise ObjectChanged(f"{key!r} changed at the source") from error
    except NoSuchKey:
        # A HEAD has no body to say what is missing; if it is the bucket, the object must not count as deleted.
        stream = await ctx.job.source.get(key, pinned=None, span=ByteSpan(0, 1))
        stream.close()
        raise ObjectChanged(f"{key!r} was away for a moment at the source") from None
    if head.generation.size != generation.size or (generation.etag and head.generation.etag != generation.etag):
        raise ObjectChanged(f"{key!r} is not the object that was listed")
    return head


async def upload_task(
    key: str, dest_key: str, head: ObjectHead, tags: Tags, uploading: UploadContext, ctx: CopyContext
) -> UploadTask:
    """What the upload of this generation is made with; a request to the source where it can tell its parts."""
    options, capabilities = ctx.job.options, ctx.job.destination.capabilities
    exclusive = options.no_clobber and capabilities.conditional_put
    task = UploadTask(
        source_key=key,
        dest_key=dest_key,
        head=head,
        options=put_options(head.attributes, options, if_none_match=exclusive, tags=tags),
        part_size=options.part_size,
        crc="",
    )
    told = await _source_part(key, head, uploading, ctx)
    if told:
        task = replace(task, part_size=told)
    return task if options.verify is Verify.OFF else _with_sums(task, told, ctx)


async def _source_part(key: str, head: ObjectHead, uploading: UploadContext, ctx: CopyContext) -> int:
    """The size of the source's own parts, where it tells it and the destination takes such; 0 else."""
    wanted, source = ctx.job.options.part_size, ctx.job.source
    if not source.capabilities.tells_parts or "-" not in head.generation.etag:
        return 0
    told = await source.part_size(key, head.generation)
    fits = told and takes_parts(told, head.generation.size, uploading.limits)
    return told if fits and wanted in {0, told} else 0


def _with_sums(task: UploadTask, told: int, ctx: CopyContext) -> UploadTask:
    """What to compute over the parts, cheapest first, so that both legs are covered where they can be.

    The source's leg: its checksum of the whole; the ETag or the composite checksum made of its parts, where ours are the
    same. The destination's leg: a CRC that it answers with; its ETags, which are MD5s, where they make the source's, or
    else, if the source's leg is covered by a checksum, our own MD5 of each part.
    """
    head, capabilities = task.head, ctx.job.destination.capabilities
    kept = best_algorithm([name for name, _ in filter(None, [kept_checksum(head)])])
    crc = kept or best_algorithm(capabilities.checksums)
    binds = told > 0 and not head.opaque_etag and is_content_etag(head.generation.etag)
    in_parts = told > 0 and not binds and head.checksum_type == "COMPOSITE"
    digest = next((name for name, _ in head.checksums if computable(name)), "") if in_parts else ""
    answer = answered_with(capabilities, crc)
    if answer == MD5 and (binds or not (kept or digest)):
        answer = ""
    return replace(task, crc=crc, answer=answer, digest=digest, source_part=told, etag_binds=binds)


def upload_context(ctx: CopyContext) -> UploadContext:
    """What an upload of this delivery runs with, under an owner's name of its own."""
    return UploadContext(
        job_id=ctx.job.job_id,
        run_id=ctx.run_id,
        owner=f"{ctx.process}#{secrets.token_hex(4)}",
        lease_until=ctx.lease_until,
        source=ctx.job.source,
        destination=ctx.job.destination,
        budget=ctx.budget,
        limiter=ctx.limiter,
        ledger=ctx.ledger,
        emit=ctx.emit,
    )


async def _proof(key: str, dest_key: str, head: ObjectHead, uploaded: Uploaded, ctx: CopyContext) -> VerifiedBy:
    proof = uploaded.verified_by
    if ctx.job.options.verify is not Verify.FULL or proof not in {VerifiedBy.PART_CRC, VerifiedBy.NOT_VERIFIABLE}:
        return proof
    return await read_back(key, dest_key, uploaded.etag, head, ctx)

"""Large objects: an upload whose parts move in parallel."""

from __future__ import annotations

import secrets

from dth.errors import NoSuchKey, ObjectChanged, PreconditionFailed
from dth.model import ByteSpan, Generation, ObjectHead, Tags
from dth.multipart.checksum import best_algorithm
from dth.multipart.complete import abandon
from dth.multipart.context import DestinationExists, UploadContext, Uploaded, UploadTask
from dth.multipart.upload import upload_object
from dth.states import Outcome, VerifiedBy
from dth.worker.context import CopyContext
from dth.worker.job import Copied, Verify
from dth.worker.single import assert_unchanged, put_options, read_back, skipped
from dth.worker.verify import etags_decide, own_crc, read_hashes, source_checksum


async def copy_large(key: str, dest_key: str, generation: Generation, ctx: CopyContext) -> Copied:
    """Raises ObjectChanged where the source is not, or after the copy no longer, of this generation; UploadOwned where
    another worker is at it."""
    head = await _head(key, generation, ctx)
    tags = await ctx.job.tags_of(key, head)
    try:
        uploaded = await upload_object(_task(key, dest_key, head, tags, ctx), _upload_context(ctx))
    except DestinationExists:
        return skipped(generation.etag, "exists at the destination")
    proof = await _proof(key, dest_key, head, uploaded, ctx)
    if ctx.job.tags:
        await ctx.job.tags.confirm_upload(dest_key, tags)
    if not etags_decide(head, uploaded.etag):
        await assert_unchanged(key, head.generation, ctx)
    return Copied(Outcome.DONE, head.generation.size, head.generation.etag, uploaded.etag, proof)


async def abandon_upload(key: str, ctx: CopyContext) -> None:
    """For who gives the object `key` up: no open upload of it stays, unless another worker is at it."""
    await abandon(key, ctx.job.mapping.dest_key(key), _upload_context(ctx))


async def _head(key: str, generation: Generation, ctx: CopyContext) -> ObjectHead:
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


def _task(key: str, dest_key: str, head: ObjectHead, tags: Tags, ctx: CopyContext) -> UploadTask:
    options, capabilities = ctx.job.options, ctx.job.destination.capabilities
    exclusive = options.no_clobber and capabilities.conditional_put
    return UploadTask(
        source_key=key,
        dest_key=dest_key,
        head=head,
        options=put_options(head.attributes, options, if_none_match=exclusive, tags=tags),
        part_size=options.part_size,
        crc=_crc_algorithm(head, ctx),
    )


def _crc_algorithm(head: ObjectHead, ctx: CopyContext) -> str:
    """The one that the source keeps, so that both ends can be compared; else the destination's best."""
    verify, capabilities = ctx.job.options.verify, ctx.job.destination.capabilities
    if verify is Verify.OFF:
        return ""
    kept = source_checksum(head, capabilities)
    if kept is not None and best_algorithm([kept[0]]):
        return kept[0]
    own = own_crc(capabilities, read_back=verify is Verify.FULL)
    return own.algorithm if own is not None else ""


def _upload_context(ctx: CopyContext) -> UploadContext:
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
    own = uploaded.crc
    if own is None:  # parts were kept from an earlier attempt: what was read then is not known here
        own, _ = await read_hashes(ctx.job.source, key, head.generation, "crc64nvme", ctx)
    return await read_back(dest_key, uploaded.etag, head, own, ctx)

"""Copies that the store makes by itself, where one store with one signer holds both sides: no byte passes here.

Up to what one PUT may hold, one CopyObject; above, an upload like any other, whose parts the store copies. Attributes,
storage class, ACL, encryption and tags are said anew, so that they are those of an ordinary copy.
"""

from __future__ import annotations

from dth.errors import (
    AccessDenied,
    AnswerInvalid,
    NoSuchBucket,
    NoSuchKey,
    NotFound,
    ObjectChanged,
    PreconditionFailed,
    RequestRefused,
    ServerFault,
    TransportError,
)
from dth.events import Notice
from dth.model import Generation, ObjectHead
from dth.multipart.checksum import is_md5
from dth.multipart.context import UploadTask
from dth.multipart.plan import takes_parts
from dth.multipart.upload import upload_object
from dth.states import Outcome, VerifiedBy
from dth.stores.base import PutOptions
from dth.transfer.context import CopyContext, OneStore
from dth.transfer.integrity import etags_decide, read_back
from dth.transfer.large import pinned_head, upload_context
from dth.transfer.options import Verify
from dth.transfer.result import Copied
from dth.transfer.single import assert_unchanged, put_options

PART = 512 << 20  # bytes of a part where nothing else says: a store copies it well within any time-out

_REFUSALS = (RequestRefused, AccessDenied, AnswerInvalid, ServerFault)
"""What says that this store does not copy, or not for us, after the repetitions that are due. An answer that does not add up
is among them: who ignores the header has just written an empty object, and the ordinary copy that follows sets it right."""

_TOO_LONG = {502, 504}
"""A gateway's word that the store was silent for too long. It may be, for as long as it copies."""


async def copy_by_store(
    key: str, dest_key: str, generation: Generation, one: OneStore, ctx: CopyContext
) -> Copied | None:
    """None where the object must go the ordinary way. Raises ObjectChanged where the source is not, or after the copy no
    longer, of this generation; NoSuchKey, Archived, and what the store may still do later (Throttled).

    That an object is gone or another is believed of a GET or HEAD alone: SeaweedFS 4.48 answers NoSuchKey to the copy of a
    marker that it holds.
    """
    capabilities = ctx.job.destination.capabilities
    too_large = generation.size > capabilities.put_max and not capabilities.copies_parts
    if too_large or not await one.copies():
        return None
    try:
        head = await pinned_head(key, generation, ctx)
        copied = await _copy(key, dest_key, head, ctx)
        one.copied()
        return copied
    except _Doubtful:
        return None
    except (*_REFUSALS, TransportError) as error:
        silent = isinstance(error, TransportError) or error.status in _TOO_LONG
        if not silent and one.refused():
            why = f"the store does not copy by itself, so objects are read and written here: {error}"
            ctx.emit(Notice("info", "no_server_side_copy", why))
        else:  # nothing is lost by moving this one object ourselves
            ctx.emit(Notice("info", "no_server_side_copy", f"{key!r} is read and written here: {error}"))
    return None


class _Doubtful(Exception):
    """The store says that there is no such object, or another one than was looked at just before."""


async def _copy(key: str, dest_key: str, head: ObjectHead, ctx: CopyContext) -> Copied:
    job, generation = ctx.job, head.generation
    tags = await job.tags_of(key, head)
    options = put_options(head.attributes, job.options, if_none_match=False, tags=tags)
    if generation.size > job.destination.capabilities.put_max:
        etag = await _in_parts(key, dest_key, head, options, ctx)
    else:
        etag = await _at_once(key, dest_key, head, options, ctx)
    proof = VerifiedBy.STORE
    if job.options.verify is Verify.FULL and etag != generation.etag:
        proof = await read_back(key, dest_key, etag, head, ctx)
    if job.tags:
        await job.tags.confirm_upload(dest_key, tags)  # who drops those of uploads drops those of copies (Ceph 16.2)
    if not etags_decide(head, etag):
        await assert_unchanged(key, generation, ctx)
    return Copied(Outcome.DONE, generation.size, generation.etag, etag, proof)


async def _at_once(key: str, dest_key: str, head: ObjectHead, options: PutOptions, ctx: CopyContext) -> str:
    """The ETag is looked at, too, where it is an MD5: Ceph 16.2 copies whatever is there, and takes no notice of If-Match."""
    async with ctx.limiter.slot():
        try:
            written = await ctx.job.destination.copy(ctx.job.source, key, head.generation, dest_key, options)
        except NoSuchBucket:
            raise
        except (PreconditionFailed, NotFound) as error:
            raise _Doubtful from error
    if head.md5 and is_md5(written.etag) and written.etag != head.md5 and not written.opaque_etag:
        raise _Doubtful
    return written.etag


async def _in_parts(key: str, dest_key: str, head: ObjectHead, options: PutOptions, ctx: CopyContext) -> str:
    """In the source's own parts where it tells them, so that the ETags come out equal."""
    uploading, size = upload_context(ctx), head.generation.size
    told = ctx.job.options.part_size or await ctx.job.source.part_size(key, head.generation)
    part_size = told if told and takes_parts(told, size, uploading.limits) else PART
    task = UploadTask(key, dest_key, head, options, part_size, crc="", by_store=True)
    try:
        return (await upload_object(task, uploading)).etag
    except (ObjectChanged, NoSuchKey) as error:
        raise _Doubtful from error

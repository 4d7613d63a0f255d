"""Copies one object, whichever way fits its size, and says what proved it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dth.errors import AccessDenied, Archived, KeyRefused, NoSuchKey, NotFound, ObjectChanged
from dth.messages import ObjectEntry
from dth.model import Generation
from dth.multipart.checksum import is_content_etag
from dth.multipart.context import UploadOwned
from dth.multipart.destination import look
from dth.states import Outcome, Reason, Side, VerifiedBy
from dth.stores.base import Written
from dth.transfer.context import CopyContext
from dth.transfer.gone import GONE, assert_gone
from dth.transfer.large import abandon_upload, copy_large
from dth.transfer.listed import UNTRUE, equal_by_now, listed_wrongly
from dth.transfer.result import Copied
from dth.transfer.server_side import copy_by_store
from dth.transfer.single import copy_single, prove_single, skipped

__all__ = ["REPLANS", "CopyContext", "abandon_upload", "copy_object", "prove_object"]

REPLANS: Final = 3  # an object that changes faster than it can be read is left to the next run

# Where the finder decided by the bytes, equal bytes at the destination mean that somebody has copied them since.
_COMPARED = frozenset({Reason.SIZE, Reason.ETAG, Reason.NEWER, Reason.MTIME})
_DECIDED_BY_BYTES = frozenset({Reason.MISSING, Reason.SIZE, Reason.ETAG})


async def copy_object(entry: ObjectEntry, ctx: CopyContext) -> Copied:
    """The destination holds a whole generation of the object when this returns DONE: the listed one, or the newest where
    it changed meanwhile.

    SPLIT: it has an upload that all workers will move once `parts` is sent; only where `ctx.sharing` allows it.
    SKIPPED: the source is gone or archived, or the destination must not be overwritten. Safe to run any number of
    times, and at the same time as another. Takes limiter slots and memory itself, slot first: one for a small object,
    one per part of a large one; the caller may hold a slot, but no memory. Raises a DthError otherwise: KeyRefused
    before any request, UploadOwned (a LeaseLost) where another worker moves the same large object, ObjectChanged where
    it changed too often.
    """
    dest_key = ctx.job.mapping.dest_key(entry.key)
    rules = ctx.job.destination.capabilities.key_rules
    if refusal := rules.refusal(dest_key, entry.size):
        raise KeyRefused(f"{dest_key!r}: {refusal}")
    if rules.markers_yield and entry.key.endswith("/") and await _has(entry.key[:-1], ctx):
        raise KeyRefused(f"{dest_key!r}: the destination cannot hold both this marker and an object of the same name")
    generation = Generation(entry.etag, entry.size, entry.version_id)
    try:
        if ctx.redelivered and (copied := await _already_there(entry, dest_key, ctx)):
            return copied
        return await _newest(entry, dest_key, generation, ctx)
    except (NoSuchKey, Archived) as error:
        if error.side == Side.DESTINATION and ctx.job.source is not ctx.job.destination:
            raise  # it says nothing of the source
        if isinstance(error, Archived):
            return skipped(entry.etag, "needs_restore", error.code)
    if entry.reason is not Reason.EVENT:
        await assert_gone(ctx.job.source, entry.key, "source")
    return skipped(entry.etag, "source gone", GONE)


async def prove_object(entry: ObjectEntry, written: Written, ctx: CopyContext) -> Copied:
    """What `copy_object` says of an object that the express has just written so: it is looked at and not sent again, unless
    the source has changed or is gone. Raises what `copy_object` raises."""
    try:
        generation = Generation(entry.etag, entry.size)
        return await prove_single(entry.key, ctx.job.mapping.dest_key(entry.key), generation, written, ctx)
    except (ObjectChanged, NoSuchKey):
        return await copy_object(entry, ctx)


async def _has(key: str, ctx: CopyContext) -> bool:
    """Whether the source holds the key."""
    try:
        await ctx.job.source.head(key)
    except NotFound:
        return False
    return True


async def _newest(entry: ObjectEntry, dest_key: str, generation: Generation, ctx: CopyContext) -> Copied:
    """Copy this generation; where it is no longer the current one, plan again with the one that is. Where that one has not
    been written since it was listed, the listing was wrong about it, and the two sides may have been equal all the time."""
    key, code = entry.key, ""
    changes = 0
    while True:
        try:
            copied = await _copy_generation(key, dest_key, generation, ctx)
            return replace(copied, code=copied.code or code) if code else copied
        except UploadOwned:
            if ctx.sharing is None or not await ctx.sharing.release(dest_key, ctx):
                raise
            continue
        except ObjectChanged:
            changes += 1
            if changes > REPLANS:
                raise
        except AccessDenied:
            # s3:GetObjectVersion is a permission of its own; the current generation needs only s3:GetObject.
            if generation.etag or generation.version_id is None:
                raise
        head = await ctx.job.source.head(key)
        if listed_wrongly(entry, head):
            code = UNTRUE
            if entry.reason in _COMPARED and await equal_by_now(dest_key, head, ctx.job.destination):
                return skipped(head.generation.etag, "equal: what was listed of it is not true", code)
        generation = replace(head.generation, version_id=None)


async def _copy_generation(key: str, dest_key: str, generation: Generation, ctx: CopyContext) -> Copied:
    """One way or the other; raises ObjectChanged where it is not, or no longer, the current generation."""
    options, destination = ctx.job.options, ctx.job.destination
    multipart = generation.size > min(options.multipart_threshold, destination.capabilities.put_max)
    asks_first = options.no_clobber and (multipart or not destination.capabilities.conditional_put)
    if asks_first and await look(destination, dest_key) is not None:
        return skipped(generation.etag, "exists at the destination")
    # Stores don't agree on conditions of a copy's own destination.
    one = None if options.no_clobber else ctx.job.one_store
    if one and (copied := await copy_by_store(key, dest_key, generation, one, ctx)):
        return copied
    if multipart and ctx.sharing and ctx.sharing.allowed and generation.size > options.giant_threshold:
        return await ctx.sharing.open(key, dest_key, generation, ctx)
    if multipart:
        return await copy_large(key, dest_key, generation, ctx)
    return await copy_single(key, dest_key, generation, ctx)


async def _already_there(entry: ObjectEntry, dest_key: str, ctx: CopyContext) -> Copied | None:
    """DONE where an earlier delivery has certainly copied this very generation; None in every doubtful case.

    Certain: an ETag made of the bytes alone, equal on both sides, where the finder saw other bytes or none.
    """
    if entry.reason not in _DECIDED_BY_BYTES or not is_content_etag(entry.etag, entry.size):
        return None
    if ctx.job.tags and not ctx.job.tags.by_upload and entry.size > ctx.job.options.multipart_threshold:
        return None  # its tags may have been still to come
    seen = await look(ctx.job.destination, dest_key)
    if seen is None or (seen.etag, seen.size) != (entry.etag, entry.size):
        return None
    return Copied(Outcome.DONE, entry.size, entry.etag, seen.etag, VerifiedBy.ETAG, note="already there")

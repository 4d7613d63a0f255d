"""Deletes one object of the destination that the source lacks, after asking the source again.

The order is what makes it safe, whatever dies in between:

1. The source says that it lacks the key: HEAD answers 404, and a GET names the key as what is missing. A HEAD's 404 alone
   could be a bucket's; a 403 is not absence.
2. The destination still holds what the finder saw: by If-Match where the store takes one, by a look just before elsewhere.
3. Delete, or move first where the job keeps what it deletes.
4. Ask the source again: a key that has come back is copied before the message is acknowledged.

A message that is delivered again begins at 1. Where the source has the key by then, and the destination lacks it, an earlier
delivery may have died between 3 and 4: then it is copied as well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from dth.errors import LeftOut, NoSuchKey, PreconditionFailed
from dth.messages import ObjectEntry
from dth.model import KeyMapping, ObjectHead
from dth.multipart.destination import Seen, look
from dth.states import Outcome, Reason
from dth.stores.base import ObjectStore
from dth.transfer.context import CopyContext, Job, OneStore
from dth.transfer.gone import GONE, assert_gone
from dth.transfer.listed import instant
from dth.transfer.result import Copied
from dth.transfer.tags import TagCarrier

CLOCK_SECONDS = 900.0  # how far the store's clock may be from ours: S3 refuses signatures beyond this
_CHANGED = "changed at the destination since it was listed"

Copy = Callable[[ObjectEntry, CopyContext], Awaitable[Copied]]


async def delete_object(entry: ObjectEntry, ctx: CopyContext, copy: Copy) -> Copied:
    """The destination lacks the object when this returns DONE, or holds the source's again where the key has come back.

    `entry` has the source's name of the key, and size and ETag as the destination listed them. SKIPPED says why it was left
    alone. Raises a DthError otherwise, AccessDenied among them: whoever may not ask the source may not delete.
    """
    job = ctx.job
    dest_key = job.mapping.dest_key(entry.key)
    if ctx.run_id in job.trust.misled and entry.reason is not Reason.EVENT:
        raise LeftOut(f"{dest_key!r} is not deleted: the source's listing left out objects that the source holds")
    seen = await look(job.destination, dest_key)
    head = await at_source(job.source, entry.key)
    if head and seen is None:
        return await copy(_as_listed(entry.key, head), ctx)
    if head:
        await _assert_new(entry, head, ctx)
        return _left("the source has it")
    if seen is None:
        return await _absent(entry, dest_key, ctx)
    if why := await _delete(entry, dest_key, seen, ctx, copy):
        return _left(why)
    if head := await at_source(job.source, entry.key):
        again = await copy(_as_listed(entry.key, head), ctx)
        if again.outcome is not Outcome.SKIPPED:
            return replace(again, note="came back at the source while it was deleted: copied")
    return _gone(f"moved to {job.delete_to}" if job.delete_to else "deleted")


async def _assert_new(entry: ObjectEntry, head: ObjectHead, ctx: CopyContext) -> None:
    """The source has come to hold the key since it was listed. Raises LeftOut where it held it all the time."""
    run = await ctx.ledger.run(ctx.run_id) if entry.reason is not Reason.EVENT else None
    written = instant(head.last_modified)
    if run is None or (written and written.timestamp() > run.started_at - CLOCK_SECONDS):
        return
    ctx.job.trust.misled.add(ctx.run_id)
    raise LeftOut(
        f"{entry.key!r} is at the source, and was when the source was listed without it: the listing cannot be trusted, so nothing "
        "more of it is deleted"
    )


async def _absent(entry: ObjectEntry, dest_key: str, ctx: CopyContext) -> Copied:
    """The destination lacks it by now, and so does the source."""
    if ctx.redelivered:
        return _gone("gone already")
    if entry.reason is not Reason.EVENT:
        await assert_gone(ctx.job.destination, dest_key, "destination")
    return _left("gone already", GONE)


async def _delete(entry: ObjectEntry, dest_key: str, seen: Seen, ctx: CopyContext, copy: Copy) -> str:
    """Delete what the finder saw, and nothing else; why it was left alone, "" where it was not."""
    destination = ctx.job.destination
    if (entry.etag and seen.etag != entry.etag) or seen.size != entry.size:
        return _CHANGED
    if ctx.job.delete_to and (why := await _move(entry, dest_key, ctx, copy)):
        return why
    conditional = destination.capabilities.conditional_delete
    try:
        await destination.delete(dest_key, if_match=seen.etag if conditional else "")
    except PreconditionFailed:
        if await look(destination, dest_key) != seen:
            return _CHANGED
        await destination.delete(dest_key)  # it refuses the very ETag that it tells
    return ""


async def at_source(source: ObjectStore, key: str) -> ObjectHead | None:
    """What the source holds at the key; None only where it names this very key as missing."""
    try:
        return await source.head(key)
    except NoSuchKey:
        pass
    try:
        stream = await source.get(key, pinned=None)  # its 404 has a body, which tells a key from a bucket
    except NoSuchKey:
        return None
    stream.close()
    return stream.head


async def _move(entry: ObjectEntry, dest_key: str, ctx: CopyContext, copy: Copy) -> str:
    """Keep a verified copy below `delete_to`; why there is none, "" where there is."""
    job = ctx.job
    aside = Job(
        job_id=job.job_id,
        source=job.destination,
        destination=job.destination,
        mapping=KeyMapping(job.mapping.dest_listing_prefix, job.delete_to, strip=True),
        options=replace(job.options, no_clobber=False),
        tags=TagCarrier(job.destination, job.destination) if job.tags else None,
        one_store=OneStore(job.destination, job.destination) if job.one_store else None,
    )
    wanted = entry.model_copy(update={"key": dest_key, "reason": Reason.UNCOMPARED})
    moved = await copy(wanted, replace(ctx, job=aside))
    if moved.outcome is not Outcome.DONE:
        return f"could not be moved to {job.delete_to}: {moved.note or moved.outcome}"
    if entry.etag and moved.source_etag != entry.etag:
        return _CHANGED
    return ""


def _as_listed(key: str, head: ObjectHead) -> ObjectEntry:
    generation = head.generation
    return ObjectEntry(
        key=key, size=generation.size, etag=generation.etag, last_modified=head.last_modified, reason=Reason.MISSING
    )


def _left(why: str, code: str = "") -> Copied:
    return Copied(Outcome.SKIPPED, 0, "", "", None, note=why, code=code)


def _gone(note: str) -> Copied:
    return Copied(Outcome.DONE, 0, "", "", None, note=note)

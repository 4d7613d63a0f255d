"""Who owns an upload: its row in the ledger, written before the store is asked to open it.

no row ──claim──▶ intent (no id) ──CreateMultipartUpload──▶ open (id) ──Complete, Abort──▶ no row
                    ▲     │ owner dies: whoever claims next aborts         │ owner dies: whoever claims next
                    └─────┘ what was opened since, and opens anew          ▼ goes on with the parts that are there
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from dth.errors import AccessDenied, DthError, LeaseLost, LedgerError, RequestRefused
from dth.events import Emit, Notice
from dth.ledgers.base import Sharing, UploadRow
from dth.model import Generation
from dth.multipart.context import UploadContext, UploadOwned, UploadTask
from dth.multipart.plan import PartPlan
from dth.stores.base import Writer

T = TypeVar("T")

CLOCK_SLACK_SECONDS = 900.0  # how far the store's clock may be from ours: S3 refuses signatures beyond this
RELEASE_SECONDS = 10.0  # how long a worker that stops waits for the ledger; the lease ends by itself


async def claim_upload(task: UploadTask, plan: PartPlan, ctx: UploadContext, sharing: Sharing | None = None) -> Claim:
    """The upload of this very generation and plan, open and ours: a new one, or one that another has left. `sharing`: it
    is to be shared like that.

    What was left for another generation or plan is aborted, and so is what a create whose answer was lost has left.
    Raises UploadOwned where another worker is at it.
    """
    wanted = UploadRow(
        job_id=ctx.job_id,
        run_id=ctx.run_id,
        dest_key=task.dest_key,
        source_key=task.source_key,
        generation=task.head.generation,
        part_size=plan.part_size,
        upload_id="",
        owner=ctx.owner,
        owned_until=ctx.lease_until(),
        revision=0,
        created_at=time.time(),
        sharing=sharing,
    )
    row = await _owned(wanted, ctx)
    earlier = row.upload_id != "" or row.created_at != wanted.created_at  # not the intent just written
    claim = Claim(row, ctx, row.sharing if earlier else None)
    try:
        if row.upload_id and _continues(row, wanted):
            claim.resumed = True
            return claim
        if earlier:
            await abort_row(row, ctx.destination, ctx.emit)
            await claim.close()
            strays_since = row.strays_since or (0.0 if row.upload_id else row.created_at)
            claim = Claim(await _owned(replace(wanted, strays_since=strays_since), ctx), ctx, None)
        await claim.open(task)
    except BaseException:
        await claim.release()
        raise
    return claim


async def _owned(wanted: UploadRow, ctx: UploadContext) -> UploadRow:
    row = await ctx.ledger.claim_upload(wanted)
    if row.owner != ctx.owner:
        raise UploadOwned(f"{row.dest_key!r} is being uploaded by another worker", row.owned_until)
    return row


async def take(row: UploadRow, ctx: UploadContext) -> Claim:
    """A shared upload, ours from now on, to be ended. Raises UploadOwned where another is at it, LeaseLost where the row
    has changed."""
    if row.owned_until > time.time():
        raise UploadOwned(f"the upload of {row.dest_key!r} is being ended by another worker", row.owned_until)
    taken = await ctx.ledger.update_upload(replace(row, owner=ctx.owner, owned_until=ctx.lease_until()))
    return Claim(taken, ctx, row.sharing)


def _continues(row: UploadRow, wanted: UploadRow) -> bool:
    """Whether the row's parts are parts of what is wanted. A generation without an ETag is none."""
    left, right = row.generation, wanted.generation
    return (
        left.etag != ""
        and (left.etag, left.size) == (right.etag, right.size)
        and row.part_size == wanted.part_size
        and row.source_key == wanted.source_key
    )


class Claim:
    """An upload's row while it is ours; every change goes through here, one at a time. `found` is the sharing with which it
    is given back: None where it was opened here, for what was not shared yet must not wait for who would share it."""

    def __init__(self, row: UploadRow, ctx: UploadContext, found: Sharing | None) -> None:
        self._row = row
        self._ctx = ctx
        self._found = found
        self._lock = asyncio.Lock()
        self.resumed = False  # parts may be there already

    @property
    def upload_id(self) -> str:
        """The store's; "" until it is open."""
        return self._row.upload_id

    async def open(self, task: UploadTask) -> None:
        """Create the upload and note its id. The loser of a race aborts its own."""
        destination = self._ctx.destination
        capabilities = destination.capabilities
        spoken = [name for name in (task.crc, task.answer) if name in capabilities.checksums]
        declared = spoken[0] if spoken and capabilities.declares_checksum else ""
        upload_id = await destination.create_upload(task.dest_key, task.options, declared)
        try:
            await self._change(upload_id=upload_id)
        except LeaseLost:
            await destination.abort_upload(task.dest_key, upload_id)
            raise

    async def share(self, sharing: Sharing) -> UploadRow:
        """Let all workers move it; it is nobody's then."""
        await self._change(sharing=sharing, owned_until=0.0)
        return self._row

    async def holding(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, while the lease is extended. Raises LeaseLost, and cancels `work`, once another owns
        the upload."""
        try:
            async with asyncio.TaskGroup() as group:
                beat = group.create_task(self._beat())
                try:
                    return await work
                finally:
                    beat.cancel()
        except BaseExceptionGroup as failures:
            raise first_leaf(failures) from None

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(max(1.0, (self._row.owned_until - time.time()) / 3))
            until = self._ctx.lease_until()
            if until <= self._row.owned_until:
                continue
            try:
                await self._change(owned_until=until)
            except LedgerError:
                if time.time() >= self._row.owned_until:
                    raise

    async def release(self) -> None:
        """Let the next one have it at once. Whatever fails here, the lease ends by itself."""
        await self._give_back(sharing=self._found)

    async def close(self) -> None:
        """The upload is completed or aborted: remove the row. Where another has taken it over, that one will see; where
        the store refuses to say what else was begun, the row stays as `discard` leaves it."""
        if self._row.strays_since:
            begun = abort_begun(self._row, self._row.strays_since, self._ctx.destination, self._ctx.emit)
            if not await self._aborted(begun):
                return
        async with self._lock:
            with suppress(LeaseLost):
                await self._ctx.ledger.close_upload(self._row)

    async def discard(self) -> None:
        """Abort the upload and remove the row. Where the store refuses, the row stays, for the sweep or whoever wants the
        key next to abort: it is nobody's to wait for, and its parts, which may be wrong, are nobody's to go on with."""
        if await self._aborted(abort_row(self._row, self._ctx.destination, self._ctx.emit)):
            await self.close()

    async def _aborted(self, aborting: Coroutine[Any, Any, None]) -> bool:
        try:
            await aborting
        except DthError as error:
            text = f"{self._row.dest_key!r}: {error}; the next worker at this key, or `dth complete-multipart`, tries again"
            self._ctx.emit(Notice("warning", "upload_left_open", text))
            await self._give_back(sharing=None, generation=Generation("", self._row.generation.size))
            return False
        return True

    async def _give_back(self, **fields: Any) -> None:
        with suppress(DthError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._change(owned_until=0.0, **fields)

    async def _change(self, **fields: Any) -> None:
        async with self._lock:
            writing = asyncio.ensure_future(self._ctx.ledger.update_upload(replace(self._row, **fields)))
            try:
                self._row = await asyncio.shield(writing)
            except asyncio.CancelledError:
                # It may be written all the same, and without the new revision the row would be nobody's to close.
                with suppress(DthError):
                    self._row = await writing
                raise


async def abort_row(row: UploadRow, destination: Writer, emit: Emit) -> None:
    """Abort what the row opened: its upload, or, where the answer to the create never reached the row, every upload of
    exactly this key that began after the intent."""
    if row.upload_id:
        await destination.abort_upload(row.dest_key, row.upload_id)
        return
    await abort_begun(row, row.created_at, destination, emit)


async def abort_begun(row: UploadRow, since: float, destination: Writer, emit: Emit) -> None:
    """Abort every upload of exactly the row's key that began after `since`. A request to create one may arrive after its
    sender's death and after a first look; whoever ends the upload that took its place looks again."""
    try:
        lost = [
            upload.upload_id
            async for upload in destination.open_uploads(row.dest_key)
            if upload.key == row.dest_key and _seconds(upload.initiated) >= since - CLOCK_SLACK_SECONDS
        ]
    except (AccessDenied, RequestRefused) as error:
        emit(Notice("warning", "uploads_not_listed", f"an upload of {row.dest_key!r} may have been left open: {error}"))
        return
    for upload_id in lost:
        await destination.abort_upload(row.dest_key, upload_id)


def _seconds(initiated: str) -> float:
    """Epoch seconds of the store's text; 0 (never aborted) where it makes no sense."""
    try:
        return datetime.fromisoformat(initiated).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


def first_leaf(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that ended a task group: the others were cancelled for it."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure

"""Sends the parts of one upload in parallel: each a ranged GET, pinned to the generation, streamed into UploadPart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from dth.errors import BodyMismatch, ObjectChanged, PreconditionFailed
from dth.events import BytesMoved
from dth.multipart.checksum import Crc, Sums
from dth.multipart.claim import first_leaf
from dth.multipart.context import UploadContext, UploadTask, slow_down
from dth.multipart.plan import PartPlan
from dth.multipart.relay import STREAM_WINDOW, relayed
from dth.retry import RetryPolicy, retrying
from dth.stores.base import ObjectStream, PutOptions, UploadedPart, Written
from dth.values import value

PARTS_AT_ONCE = 32  # tasks per object, whatever its number of parts; the limiter says how many really move
PART_POLICY = RetryPolicy(attempts=6, base_seconds=0.5, cap_seconds=20)


@value
class SentPart:
    """A part that the store holds. `crc` is ours over its bytes, None where it was kept from an earlier attempt;
    `answered`: the store's answer holds a checksum of ours. `digest` is what the source's composite checksum is made of,
    where that is wanted; `opaque_etag`: the store's ETag of it is not made of its bytes."""

    part: UploadedPart
    crc: Crc | None
    answered: bool
    digest: bytes = b""
    opaque_etag: bool = False


async def kept_parts(upload_id: str, task: UploadTask, plan: PartPlan, ctx: UploadContext) -> dict[int, SentPart]:
    """What an earlier attempt has sent, by number: parts that fit the plan. Others are sent again, over them.

    Raises NoSuchUpload.
    """
    kept = {}
    async for part in ctx.destination.uploaded_parts(task.dest_key, upload_id):
        if 1 <= part.number <= plan.count and part.size == plan.span(part.number).length and part.etag:
            kept[part.number] = SentPart(part, None, answered=False)
    return kept


async def send_parts(
    upload_id: str,
    task: UploadTask,
    plan: PartPlan,
    kept: Mapping[int, SentPart],
    ctx: UploadContext,
    *,
    numbers: range | None = None,
) -> list[SentPart]:
    """All parts in order (those of `numbers`, where given), once the store holds each. The first part that can't be sent
    ends it, with its error."""
    numbers = numbers or range(1, plan.count + 1)
    sent = dict(kept)
    missing = (number for number in numbers if number not in kept)
    sender = _Sender(upload_id, task, plan, ctx)

    async def send_some() -> None:
        for number in missing:
            sent[number] = await sender.send(number)
            ctx.emit(BytesMoved(ctx.run_id, plan.span(number).length))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(PARTS_AT_ONCE, len(numbers) - len(kept))):
                group.create_task(send_some())
    except BaseExceptionGroup as failures:
        raise first_leaf(failures) from None
    return [sent[number] for number in numbers]


class _Sender:
    """Sends single parts of one upload. Slot first, then memory; both are given back before waiting to try again."""

    def __init__(self, upload_id: str, task: UploadTask, plan: PartPlan, ctx: UploadContext) -> None:
        self._upload_id = upload_id
        self._task = task
        self._plan = plan
        self._ctx = ctx
        self._doubted: set[int] = set()
        self._vouched = not ctx.destination.capabilities.assumed  # an ETag was the MD5 of its part

    async def send(self, number: int) -> SentPart:
        """Read and write until the store holds the part; each try reads the source again."""
        whole = self._ctx.destination.capabilities.needs_payload_hash

        async def attempt() -> SentPart:
            length = self._plan.span(number).length
            if self._task.by_store:
                async with self._ctx.limiter.slot(length):
                    return await self._copy(number)
            memory = length if whole else min(length, STREAM_WINDOW)
            async with self._ctx.limiter.slot(length), self._ctx.budget.reserve(memory):
                stream = await self._open(number)
                return await (self._send_whole(number, stream) if whole else self._send_streamed(number, stream))

        return await retrying(attempt, PART_POLICY, on_retry=slow_down(self._ctx.limiter, self._ctx.emit))

    async def _open(self, number: int) -> ObjectStream:
        task = self._task
        try:
            return await self._ctx.source.get(
                task.source_key, pinned=task.head.generation, span=self._plan.span(number)
            )
        except PreconditionFailed as error:
            raise _changed(task) from error

    async def _copy(self, number: int) -> SentPart:
        """By the store itself: no byte passes here, so there is nothing to sum."""
        task, span = self._task, self._plan.span(number)
        try:
            written = await self._ctx.destination.copy_part(
                self._ctx.source, task.source_key, task.head.generation, span, task.dest_key, self._upload_id, number
            )
        except PreconditionFailed as error:
            raise _changed(task) from error
        return SentPart(
            UploadedPart(number, span.length, written.etag), None, answered=False, opaque_etag=written.opaque_etag
        )

    async def _send_streamed(self, number: int, stream: ObjectStream) -> SentPart:
        sums = Sums(self._task.sums)
        length = stream.length
        written = await relayed(
            stream,
            sums,
            lambda body: self._ctx.destination.upload_part(
                self._task.dest_key, self._upload_id, number, body, length, PutOptions()
            ),
        )
        return self._sent(number, length, sums, written)

    async def _send_whole(self, number: int, stream: ObjectStream) -> SentPart:
        """Where a hash of the body must precede it. The store repeats this write by itself."""
        sums = Sums(self._task.sums)
        try:
            body = await stream.read()
        finally:
            stream.close()
        if self._task.sums:
            await asyncio.to_thread(sums.update, body)
        written = await self._ctx.destination.upload_part(
            self._task.dest_key, self._upload_id, number, body, len(body), PutOptions()
        )
        return self._sent(number, len(body), sums, written)

    def _sent(self, number: int, length: int, sums: Sums, written: Written) -> SentPart:
        answered = self._answered(number, sums, written)
        return SentPart(
            UploadedPart(number, length, written.etag),
            sums.crc(self._task.crc),
            answered,
            sums.raw(self._task.digest),
            written.opaque_etag,
        )

    def _answered(self, number: int, sums: Sums, written: Written) -> bool:
        """Whether the answer holds what was sent. Raises BodyMismatch where it holds another; where nobody knows the store and
        no ETag of a part was an MD5 yet, once for each part: two transfers are not damaged alike."""
        try:
            answered = sums.check_answer(written)
        except BodyMismatch:
            if self._vouched or number not in self._doubted:
                self._doubted.add(number)
                raise
            return False
        self._vouched = self._vouched or answered
        return answered


def _changed(task: UploadTask) -> ObjectChanged:
    return ObjectChanged(f"{task.source_key!r} changed at the source while it was copied")

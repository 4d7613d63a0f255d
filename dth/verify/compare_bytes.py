"""Comparing the bytes of two objects, read side by side: no hash is cheaper, and none is as strong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterator
from dataclasses import dataclass

from dth.error_groups import first_error
from dth.errors import NoSuchKey
from dth.model import ByteSpan, Generation, ObjectHead
from dth.multipart.context import Flow, slow_down
from dth.multipart.relay import STREAM_WINDOW
from dth.retry import retrying
from dth.states import Side
from dth.stores.base import ObjectStream, Reader
from dth.transfer.integrity import READ_POLICY, READ_SPAN

LANES = 4  # spans of one large object that are read at the same time


class Gone(Exception):
    """One side does not hold the object any more."""

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self.side = side


@dataclass(frozen=True, slots=True)
class Held:
    """One side's object, of one generation."""

    side: Side
    reader: Reader
    key: str
    generation: Generation

    async def open(self, span: ByteSpan | None) -> ObjectStream:
        """Its bytes, pinned. Raises Gone."""
        try:
            return await self.reader.get(self.key, pinned=self.generation, span=span)
        except NoSuchKey as error:
            raise Gone(self.side) from error


@dataclass(frozen=True, slots=True)
class Read:
    """What reading both sides gave: the first byte that differs (None: there is none), and both heads."""

    offset: int | None
    ours: ObjectHead
    theirs: ObjectHead


async def compare_bytes(ours: Held, theirs: Held, flow: Flow, passed: Callable[[int], None]) -> Read:
    """Read both, of equal size, as far as the first difference. `passed` is told of bytes as they are compared.

    Memory is two windows a span in flight, under the budget; a span that fails is read again. Raises Gone,
    PreconditionFailed or ObjectChanged where a side holds another generation by now, Archived, and what reading raises.
    """
    spans = _spans(ours.generation.size)
    reads: list[Read] = []

    async def lane() -> None:
        for span in spans:
            if any(read.offset is not None for read in reads):
                return  # spans are begun in order, so the first difference is among those that have begun
            reads.append(await _compare_span(ours, theirs, span, flow, passed))

    try:
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(LANES, -(-ours.generation.size // READ_SPAN) or 1)):
                lanes.create_task(lane())
    except BaseExceptionGroup as group:
        error = next((one for one in group.exceptions if isinstance(one, Gone)), None) or first_error(group)
        raise error from error.__cause__
    offsets = [read.offset for read in reads if read.offset is not None]
    return Read(min(offsets, default=None), reads[0].ours, reads[0].theirs)


def _spans(size: int) -> Iterator[ByteSpan | None]:
    if size <= READ_SPAN:
        yield None
        return
    for start in range(0, size, READ_SPAN):
        yield ByteSpan(start, min(start + READ_SPAN, size))


async def _compare_span(
    ours: Held, theirs: Held, span: ByteSpan | None, flow: Flow, passed: Callable[[int], None]
) -> Read:
    length = span.length if span else ours.generation.size

    async def attempt() -> Read:
        async with flow.limiter.slot(length), flow.budget.reserve(2 * min(length, STREAM_WINDOW)):
            first = await ours.open(span)
            try:
                second = await theirs.open(span)
                try:
                    offset = await first_difference(first, second, passed)
                finally:
                    second.close()
            finally:
                first.close()
        start = span.start if span else 0
        return Read(None if offset is None else start + offset, first.head, second.head)

    return await retrying(attempt, READ_POLICY, on_retry=slow_down(flow.limiter))


async def first_difference(
    ours: AsyncIterable[bytes], theirs: AsyncIterable[bytes], passed: Callable[[int], None]
) -> int | None:
    """Where two streams of one length first differ, however their chunks are cut; None where they don't."""
    first, second = _Chunks(ours), _Chunks(theirs)
    at = 0
    while True:
        more, their_more = await first.fill(), await second.fill()
        if not (more and their_more):
            return None if more == their_more else at
        length = min(first.left, second.left)
        one, other = first.take(length), second.take(length)
        if one != other:
            return at + _first_index(one, other)
        at += length
        passed(length)


class _Chunks:
    """A stream's bytes in pieces of any length, up to what has come."""

    __slots__ = ("_at", "_chunk", "_chunks")

    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._chunks = aiter(stream)
        self._chunk = b""
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes in hand."""
        return len(self._chunk) - self._at

    async def fill(self) -> bool:
        """Have at least one byte in hand; False at the end."""
        while not self.left:
            try:
                self._chunk, self._at = await anext(self._chunks), 0
            except StopAsyncIteration:
                return False
        return True

    def take(self, length: int) -> bytes:
        """The next `length` of the bytes in hand; a whole chunk is not copied."""
        piece = self._chunk[self._at : self._at + length]
        self._at += length
        return piece


def _first_index(one: bytes, other: bytes) -> int:
    """Where two different pieces of one length first differ. Halving compares at memory speed."""
    low, high = 0, len(one)  # they are equal before `low` and differ before `high`
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low

"""From an image's message to its outcome: copy, record, send it again or bury it, acknowledge - in this order.

The order, and what a death between two of these steps leaves, is that of `entries`; an image is one entry. Two things differ:

- The message says which image, the source says what it is now: a tag is asked for when the work begins, so that a message
  that comes late, or twice, never puts back an older image.
- Sources are many (one list names images of several registries), so an error that speaks of an endpoint or a login is this
  image's own, and uses up its attempts, unless the destination or the job's own registry answers nobody: then it waits,
  and a worker that meets nothing else gives up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from dth.errors import NoSuchImage, StoreError
from dth.events import Notice, ObjectFailed
from dth.flow.breaker import SYSTEMIC
from dth.ledgers.base import OutcomeRow
from dth.messages import ImageMessage
from dth.model import ImageEnd, ImageRecord
from dth.retry import RetryPolicy
from dth.states import Outcome
from dth.transfer.gone import GONE
from dth.usage import Asked
from dth.values import value
from dth.worker import outcomes
from dth.worker.breakdown import failed_image, of_image
from dth.worker.leases import Held
from dth.worker.outcomes import Ended
from dth.worker.process import TROUBLES, WorkerProcess


class Images(Protocol):
    """The images of one run, as one worker process copies them. Made once per run by `app`."""

    @property
    def at_once(self) -> int:
        """How many may be in flight in this process."""
        ...

    @property
    def sides(self) -> tuple[Asked, Asked]:
        """Source and destination; their requests are counted."""
        ...

    def refusal(self, message: ImageMessage) -> str:
        """Why the run's settings do not allow what the message asks for, "" where they do."""
        ...

    async def copy(self, message: ImageMessage, attempt: int) -> ImageEnd:
        """Bring the image and what refers to it. Raises NoSuchImage where the source has it no longer; any other DthError
        where it failed."""
        ...

    async def answers_nobody(self, message: ImageMessage) -> bool:
        """Whether the destination, or the job's own registry where the image is of it, can't be reached or lets nobody in."""
        ...

    def record(self, message: ImageMessage, ended: Ended) -> ImageRecord:
        """The report's line of an image that was not copied."""
        ...


OpenImages = Callable[[str], Awaitable[Images]]
"""The images of a run id; raises as `OpenJob`."""


@value
class _Turn:
    """One image after its turn; `end` where it was copied."""

    ended: Ended
    end: ImageEnd | None = None


class ImageWorker:
    """Works `image` messages. No more at once than the run's settings say, whatever the limit for objects."""

    def __init__(self, process: WorkerProcess, open_images: OpenImages, back_off: RetryPolicy) -> None:
        self._process = process
        self._open = open_images
        self._back_off = back_off
        self._in_hand = 0
        self._free = asyncio.Condition()

    async def work(self, held: Held, message: ImageMessage) -> None:
        """As `EntriesWorker.work`."""
        process = self._process
        process.load.begin(held, 1)
        images = await process.opened(self._open, message.run_id)
        if images:
            process.usage.meets(message.run_id, *images.sides)
        if images is None:
            return await process.bury_whole(held, f"the ledger knows no run {message.run_id!r}")
        if reason := images.refusal(message):  # not recorded: who forges a message may have taken another's id
            return await process.bury_whole(held, reason)
        if row := await process.recorded(held, message.message_id):
            return await self._finish(held, message, row, "")
        turn = await self._turn(held, message, images)
        ended = turn.ended if turn else None
        untouched = ended is None or (ended.outcome is None and ended.attempt == message.attempt)
        if untouched and process.draining.is_set():
            return await process.queue.release([held.delivery])
        if turn and turn.end:
            await process.report.write_images(turn.end.records)
        breakdown = of_image(ended.outcome if ended else None, ended.error_code if ended else "", message.reason.value)
        row = await process.record(
            outcomes.image_row(message, ended, turn.end.bytes if turn and turn.end else 0),
            breakdown,
            failed_image(turn.end.records[0], message) if turn and turn.end else (),
            gone=breakdown.skips.get(GONE, 0),
        )
        reason = f"{ended.error_code}: {ended.error}" if ended and ended.error else ""
        return await self._finish(held, message, row, reason)

    async def _finish(self, held: Held, message: ImageMessage, row: OutcomeRow, reason: str) -> None:
        """Do what the row in force says; every step may be a repetition."""
        process = self._process
        if letter := outcomes.image_letter(message, row.bitmap, reason):
            await process.bury(message.run_id, [letter])
        await process.send_remainder(row)
        await process.queue.ack([held.delivery])

    async def _turn(self, held: Held, message: ImageMessage, images: Images) -> _Turn | None:
        """None where hand-over or drain cut it off."""
        try:
            async with self._process.leases.window(held):
                return await self._until_ended(message, images)
        except TimeoutError:
            return None
        finally:
            held.window = None

    async def _until_ended(self, message: ImageMessage, images: Images) -> _Turn | None:
        """Copy it: again and again while the fault is not its own. None where draining came first."""
        process, attempt = self._process, message.attempt
        if attempt > 1 and await process.drained_within(self._back_off.wait_seconds(attempt - 1, None)):
            return None
        waits = 0
        while True:
            try:
                async with self._slot(images.at_once):
                    if process.draining.is_set():
                        return None
                    end = await images.copy(message, attempt)
                process.breaker.succeeded()
                return _Turn(Ended(end.outcome, attempt), end)
            except TROUBLES:
                raise
            except Exception as error:  # noqa: BLE001 - what one image sets off must not stop the others; judged by type
                turn = await self._failed(error, message, images)
                wished = error.retry_after if isinstance(error, StoreError) else None
            if turn.ended.outcome or turn.ended.attempt > attempt:
                return turn
            waits += 1
            if await process.drained_within(self._back_off.wait_seconds(waits, wished)):
                return None

    async def _failed(self, error: Exception, message: ImageMessage, images: Images) -> _Turn:
        process, attempt = self._process, message.attempt
        process.slow_down(error)
        everyones = isinstance(error, SYSTEMIC) and await images.answers_nobody(message)
        if everyones:
            process.breaker.failed(error)
        gone = isinstance(error, NoSuchImage) and bool(message.digest)
        ended = outcomes.after_image_error(
            error, attempt, process.settings.max_attempts, everyones=everyones, gone=gone
        )
        record = images.record(message, ended)
        if ended.outcome is Outcome.SKIPPED:
            text = f"{record.source} was there when it was planned, and is no longer: it was not copied"
            process.emit(Notice("warning", "gone", text))
        if ended.outcome is Outcome.FAILED or ended.attempt > attempt:
            final = ended.outcome is Outcome.FAILED
            process.emit(ObjectFailed(message.run_id, record.source, ended.error_code, ended.error, attempt, final))
        return _Turn(ended, ImageEnd(ended.outcome, 0, (record,)) if ended.outcome else None)

    @contextlib.asynccontextmanager
    async def _slot(self, at_once: int) -> AsyncIterator[None]:
        """A place among the images in flight, then one among all that is."""
        async with self._free:
            await self._free.wait_for(lambda: self._in_hand < at_once)
            self._in_hand += 1
        try:
            async with self._process.limiter.slot(0):
                yield
        finally:
            async with self._free:
                self._in_hand -= 1
                self._free.notify()

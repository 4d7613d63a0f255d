"""One worker process, from start to end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

from dth.error_groups import first_error
from dth.errors import LedgerError, QueueError
from dth.events import Emit, Event, Moved, Notice, ObjectFailed, RunAbandoned, WorkerStarted
from dth.flow.limiter import Limiter
from dth.ledgers.base import Ledger
from dth.model import Counts
from dth.queues.base import Queue, QueueDepth
from dth.report import Report
from dth.retry import RetryPolicy
from dth.states import RunState
from dth.transfer.copy import copy_object
from dth.worker.consume import TROUBLES_IN_A_ROW, Consumer
from dth.worker.dead_letters import GiveUp, count_dead_letters
from dth.worker.entries import BACK_OFF, CopyObject, EntriesWorker
from dth.worker.events import FindRules
from dth.worker.images import ImageWorker, OpenImages
from dth.worker.process import OpenJob, WorkerProcess, WorkerSettings
from dth.worker.shared.finish import SharedUploads
from dth.worker.shared.mend import Mender
from dth.worker.shared.parts import PartsWorker

__all__ = ["WorkerSettings", "work"]

NEWEST_RUNS = 20  # looked at to see whether the job is over; older ones cannot be under way
EMPTY = QueueDepth(visible=0, leased=0, dead=0, exact=True)
EMPTY_RECEIVES = 3  # in a row, where the queue's depth is only an estimate
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 2.0  # between two looks at the ledger


async def no_rules() -> None:
    """A worker that knows of no events."""
    return


async def work(
    open_job: OpenJob,
    queue: Queue,
    ledger: Ledger,
    settings: WorkerSettings,
    emit: Emit,
    report: Report,
    stop: asyncio.Event,
    *,
    open_images: OpenImages,
    copy: CopyObject = copy_object,
    back_off: RetryPolicy = BACK_OFF,
    event_rules: FindRules = no_rules,
    limiter: Limiter | None = None,
) -> Counts:
    """Work the queue until `stop` is set or, with `until_empty`, until the job's runs are over; what this process
    recorded.

    On `stop`: receives no more, finishes what has begun within `grace_seconds`, gives back the rest. Raises WrongJob
    where the queue holds another job's messages; the error of a breaker that tripped (exit code 4); QueueError,
    LedgerError or ReportFailed where they would not go away. Messages in hand are given back in every case. `back_off`
    is the wait before an entry is tried again; `limiter` bounds what is in flight, in the place of one as the settings say.
    """
    process = WorkerProcess(open_job, queue, ledger, settings, emit, report, limiter)
    shared = SharedUploads(process)
    entries, parts = EntriesWorker(process, shared, copy, back_off), PartsWorker(process, shared, back_off)
    images = ImageWorker(process, open_images, back_off)
    consumer = Consumer(process, entries, parts, images, event_rules)
    emit(WorkerStarted(settings.process, os.getpid()))
    try:
        async with asyncio.TaskGroup() as watchers:
            watching = [watchers.create_task(_drain_on(stop, consumer))]
            if settings.until_empty:
                ending = Ending(consumer, queue, ledger, settings, emit, Mender(process, EMPTY).give_up)
                watching.append(watchers.create_task(ending.drain_when_over()))
            await consumer.run()
            for watcher in watching:
                watcher.cancel()
    except BaseExceptionGroup as group:
        raise first_error(group) from None
    return process.counts


async def _drain_on(stop: asyncio.Event, consumer: Consumer) -> None:
    await stop.wait()
    consumer.drain(over=False)


class Ending:
    """Sees when a job's runs are over.

    A run is over when it is sealed and counted, or ABANDONED (also by this very call, where its finder's lease has
    lapsed) with nothing visible or leased in the queue. Never while a finder's lease lives. Messages that the queue gave
    up are counted as FAILED here. A sealed run that stays short even so, although the queue is empty for
    `stall_seconds`, has lost messages: then this says so and ends as well. Once all are counted, what the dead still hold (a message that
    came twice, or was recorded and not acknowledged) is waited for, one lease at most, so that the queue is left empty.
    """

    def __init__(
        self,
        consumer: Consumer,
        queue: Queue,
        ledger: Ledger,
        settings: WorkerSettings,
        emit: Emit,
        give_up: GiveUp,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._give_up = give_up
        self._consumer = consumer
        self._queue = queue
        self._ledger = ledger
        self._settings = settings
        self._emit = emit
        self._clock = clock
        self._empty_since: float | None = None
        self._counted_since: float | None = None
        self._letters_seen = 0

    async def drain_when_over(self) -> None:
        """Look whenever this process has nothing in hand; drain the consumer once all is over."""
        pause = min(max(self._settings.poll_seconds, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        failures = 0
        while True:
            await self._consumer.quiet.wait()
            try:
                if await self.over():
                    self._consumer.drain(over=True)
                    return
                failures = 0
            except (QueueError, LedgerError) as error:
                failures += 1
                self._emit(Notice("warning", error.code, f"cannot see whether the runs are over: {error}"))
                if failures >= TROUBLES_IN_A_ROW:
                    raise
            await asyncio.sleep(pause)

    async def over(self) -> bool:
        """True where no run of the job can need a worker any more."""
        short: list[str] = []
        runs = await self._ledger.runs(self._settings.job_id, NEWEST_RUNS)
        for run in runs:
            if run.state is RunState.LISTING:
                if not await self._abandoned(run.run_id):
                    return False
            elif run.state is RunState.SEALED and not run.counted:
                short.append(run.run_id)
        if runs and not short and all(run.state is RunState.SEALED for run in runs):
            return await self._cleared()
        self._counted_since = None
        depth = await self._queue.depth()
        if not self._is_empty(depth):
            self._empty_since = None
            return False
        if depth.dead != self._letters_seen and (short or depth.exact):
            self._letters_seen = depth.dead
            await count_dead_letters(
                self._queue, self._ledger, self._settings.process, self._tell, give_up=self._give_up
            )
            return False
        return not short or self._stalled(short)

    def _tell(self, event: Event) -> None:
        """What is counted here belongs to this worker's totals."""
        self._emit(event)
        if isinstance(event, ObjectFailed):
            self._emit(Moved(event.run_id, 0, 0, 1, 0))

    async def _cleared(self) -> bool:
        depth = await self._queue.depth()
        if not depth.visible and not depth.leased:
            return True
        if self._counted_since is None:
            self._counted_since = self._clock()
        patience = self._settings.lease_seconds + self._settings.poll_seconds
        return self._clock() - self._counted_since > patience

    async def _abandoned(self, run_id: str) -> bool:
        if not await self._ledger.abandon_run(run_id, expired_before=self._clock()):
            return False
        self._emit(RunAbandoned(run_id, "its finder's lease ended; what it sent is still worked"))
        return True

    def _is_empty(self, depth: QueueDepth) -> bool:
        if depth.visible or depth.leased:
            return False
        return depth.exact or self._consumer.empty_receives >= EMPTY_RECEIVES

    def _stalled(self, short: list[str]) -> bool:
        now = self._clock()
        if self._empty_since is None:
            self._empty_since = now
        if now - self._empty_since < self._settings.stall_seconds:
            return False
        text = (
            f"the queue is empty, but not every entry of {', '.join(short)} has an outcome: messages got lost, or are "
            "dead letters that the queue does not show yet; `dth complete-multipart` counts those, `dth redrive` sends "
            "them again"
        )
        self._emit(Notice("warning", "run_short", text))
        return True

"""`dth work`: the worker processes of one machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from dth import settings
from dth.app.build import Embedded, Lock, open_embedded, open_report
from dth.app.heartbeat import beating
from dth.app.instance import heeding_notices
from dth.app.live_limits import LiveLimits
from dth.app.measured import measured
from dth.app.ports import LONG_POLL_SECONDS, open_event_queue
from dth.app.record import Record
from dth.children import Children, ChildTask, Start, spawn
from dth.error_groups import first_error
from dth.errors import DthError
from dth.events import Emit, Event
from dth.settings import TransferJob
from dth.summary import Summary
from dth.worker.event_inbox import EventInbox

Finder = Callable[[], Coroutine[Any, Any, None]]

WATCH_SECONDS = 0.05  # how often the parent looks whether more workers are wanted,
BUSY_SECONDS = 0.5  # and while all of them are at work: until one of them ends, at most


async def work(
    job: TransferJob,
    emit: Emit,
    stop: asyncio.Event,
    *,
    until_empty: bool,
    health_file: str = "",
    instance_notices: str = "off",
    start: Start = spawn,
) -> Summary:
    """Consume the queue with one process a core until stopped, or until all runs of the job are over. Signs of life go to
    `health_file` and to systemd (see `app.heartbeat`); `start` makes worker processes. With `instance_notices` (see
    `app.instance`) EC2's notices of this machine's end stop it as well."""
    async with measured(job, settings.job_id(job), emit) as measures:
        record = Record(measures.emit)
        async with (
            open_embedded(job, lock=Lock.SHARED) as here,
            beating(health_file, stop),
            heeding_notices(instance_notices, stop, record.note),
            measures.watching(here.ledger, here.queue),
        ):
            open_report(job, here.folder).check()
            workers = LocalWorkers(job, here, record.note, strict=True, start=start)
            async with _events(job, here, record.note, until_empty=until_empty):
                await workers.run_until_stopped(stop, until_empty=until_empty)
            await record.read_runs(here.ledger)
    return record.summary(interrupted=False)


@contextlib.asynccontextmanager
async def _events(job: TransferJob, here: Embedded, emit: Emit, *, until_empty: bool) -> AsyncIterator[None]:
    """Events of the job's own queue for them go into its work queue meanwhile; with `until_empty`, all of them before."""
    if not job.event_queue:
        yield
        return
    from dth.app.standing_run import StandingRun  # noqa: PLC0415 - only jobs with events need it

    async with open_event_queue(job) as queue:
        inbox = EventInbox(
            queue, here.queue, here.ledger, here.process, StandingRun(job, here.ledger), emit, LONG_POLL_SECONDS
        )
        if until_empty:
            await inbox.run(until_empty=True)
            yield
            return
        try:
            async with asyncio.TaskGroup() as group:
                forwarding = group.create_task(inbox.run(until_empty=False))
                yield
                forwarding.cancel()
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors


class LocalWorkers:
    """The worker processes of a sync, started as the queue fills: a run that finds nothing starts none."""

    def __init__(self, job: TransferJob, here: Embedded, emit: Emit, *, strict: bool, start: Start) -> None:
        self._job = job
        self._here = here
        self._strict = strict
        self._start = start
        self._most = job.processes or len(os.sched_getaffinity(0))
        self._tell = emit
        self._limits = LiveLimits(
            here.ledger,
            here.job_id,
            here.process,
            emit,
            most=self._most,
            bandwidth=job.bandwidth,
            number=job.worker_number,
        )

    def _emit(self, event: Event) -> None:
        self._limits.heard(event)
        self._tell(event)

    def children(self, *, until_empty: bool) -> Children:
        """The set of children, none of them started yet."""
        text = share_of(self._job, self._most).model_dump_json(exclude_unset=True)

        def task(number: int) -> ChildTask:
            name = f"{self._here.process}/{number}"
            return ChildTask(name, text, strict=self._strict, until_empty=until_empty)

        return Children(
            task,
            most=self._most,
            lock=self._here.lock,
            emit=self._emit,
            bereaved=self._here.free_the_dead,
            start=self._start,
            stall_seconds=self._job.stall_seconds,
        )

    async def run_until_over(self, finder: Finder | None, stop: asyncio.Event) -> bool:
        """Run the finder (if any) and workers until every run of the job is over, or `stop`; whether the finder ended.

        A finder that fails leaves what it has sent to the workers; its error is raised when they are done. A worker's own
        failure (not an object's) ends everything at once.
        """
        children = self.children(until_empty=True)
        await self._limits.look(children)
        try:
            async with asyncio.TaskGroup() as group:
                limiting = group.create_task(self._limits.keep(children))
                finding = group.create_task(_contained(finder)) if finder else None
                while not stop.is_set():
                    found_all = finding is None or finding.done()
                    depth = await self._here.queue.depth()
                    left = depth.visible + depth.leased
                    if found_all and not left and not children.alive:
                        break
                    await children.ensure(left, group)
                    await _wait(stop, children)
                else:
                    if finding:
                        finding.cancel()
                    children.drain()
                await children.ended()
                limiting.cancel()
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors
        if finding is None or finding.cancelled():
            return finding is None
        if failure := finding.result():
            raise failure
        return True

    async def run_until_stopped(self, stop: asyncio.Event, *, until_empty: bool) -> None:
        """Keep one worker a core until `stop`, replacing the dead; with `until_empty` until all have ended by themselves."""
        children = self.children(until_empty=until_empty)
        await self._limits.look(children)
        try:
            async with asyncio.TaskGroup() as group:
                limiting = group.create_task(self._limits.keep(children))
                while not stop.is_set():
                    if until_empty and not children.alive and (children.finished or await self._here.over()):
                        break
                    if not children.finished:  # one that ended by itself has seen that all is over
                        await children.ensure(children.most, group)
                    await _wait(stop, children)
                else:
                    children.drain()
                await children.ended()
                limiting.cancel()
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors


def share_of(job: TransferJob, processes: int) -> TransferJob:
    """The settings of one of so many workers: an equal share of what is meant for all."""
    return job.model_copy(update={"bandwidth": max(1, job.bandwidth // processes)}) if job.bandwidth else job


async def _contained(finder: Finder) -> DthError | None:
    """The finder's failure as a value, so that it doesn't tear down the workers."""
    try:
        await finder()
    except DthError as error:
        return error
    return None


async def _wait(stop: asyncio.Event, children: Children) -> None:
    """Until it is time for another look."""
    stopping = asyncio.create_task(stop.wait())
    seconds = BUSY_SECONDS if children.alive >= children.most else WATCH_SECONDS
    try:
        await asyncio.wait({stopping, *children.watches}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()

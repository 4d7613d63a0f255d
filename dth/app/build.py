"""Settings into ports: which adapters stand behind the contracts is decided here."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from dth import settings
from dth.app.live import Live
from dth.app.object_rows import with_rows
from dth.app.ports import Ports, is_shared, open_ports
from dth.app.selection import choice_of
from dth.app.sides import MOVING_CONNECTIONS, Sides, is_here, open_pace, sides_of
from dth.embedded import StateFolder, is_dead_here, process_name
from dth.errors import LedgerError, WrongJob
from dth.events import Emit
from dth.flow.limiter import Limiter
from dth.ledgers.base import Ledger, Run
from dth.messages import MessageInvalid
from dth.model import Counts
from dth.queues.base import Queue
from dth.report import JsonlReport, Report, ReportLevel
from dth.settings import ImageJob, JobBase, TransferJob
from dth.states import RunState
from dth.stores.express import Express
from dth.transfer.context import Job, OneStore
from dth.transfer.options import CopyOptions, Verify
from dth.transfer.tags import TagCarrier
from dth.transport.pace import Pace
from dth.values import value
from dth.worker.events import FindRules
from dth.worker.images import Images
from dth.worker.run import WorkerSettings, work

if TYPE_CHECKING:
    from dth.app.images.work import ImagesOpener

LOCK_PATIENCE_SECONDS = 20.0  # how long children of a killed parent may take to end
ENDING_POLL_SECONDS = 2.0  # of a worker that ends by itself
RUNS_LOOKED_AT = 20  # newest first; older ones cannot be under way


def make_job(job: TransferJob, sides: Sides) -> Job:
    """What moving an object of this job needs."""
    return Job(
        job_id=settings.job_id(job),
        source=sides.source,
        destination=sides.destination,
        mapping=settings.mapping(job),
        options=CopyOptions(
            include_metadata=job.include_metadata,
            storage_class=job.dest_storage_class,
            acl=job.dest_acl,
            sse=settings.sse_header(job),
            sse_kms_key_id=job.dest_sse_kms_key_id,
            verify=Verify(job.verify),
            no_clobber=job.no_clobber,
            multipart_threshold=job.multipart_threshold,
            part_size=job.part_size,
            giant_threshold=job.giant_threshold,
        ),
        delete_to=settings.folder(job.delete_to),
        follows_removals=job.src_event == "CreateAndDelete",
        deletes=job.delete or job.src_event == "CreateAndDelete",
        choice=choice_of(job),
        tags=TagCarrier(sides.source, sides.destination) if job.tags else None,
        one_store=OneStore(sides.source, sides.destination) if job.server_side_copy else None,
        express=Express(sides.source, sides.destination),
        store_is_here=any(is_here(one) for one in (settings.source_location(job), settings.dest_location(job))),
    )


@value
class Embedded:
    """A job's queue and ledger, and its folder on this machine; `lock` is -1 where no lock is held."""

    folder: StateFolder
    job_id: str
    ports: Ports
    lock: int
    process: str

    @property
    def queue(self) -> Queue:
        """The job's."""
        return self.ports.queue

    @property
    def ledger(self) -> Ledger:
        """The job's."""
        return self.ports.ledger

    async def free_the_dead(self, owner: str | None = None) -> None:
        """End the leases of a process that is known to be dead (of all: None, and then their runs are ABANDONED)."""
        await self.ports.reclaim(owner)
        if owner is None:
            for run in await self.ledger.runs(self.job_id, RUNS_LOOKED_AT):
                if run.state is RunState.LISTING:
                    await self.ledger.abandon_run(run.run_id)

    async def over(self) -> bool:
        """Whether nothing is left to do for any run of the job."""
        runs = await self.ledger.runs(self.job_id, RUNS_LOOKED_AT)
        if any(run.state is RunState.LISTING or (run.state is RunState.SEALED and not run.counted) for run in runs):
            return False
        depth = await self.queue.depth()
        return not depth.visible and not depth.leased

    async def free_who_died_here(self) -> None:
        """End the leases of processes of this machine that are gone: nobody need wait for those to run out."""
        for owner in await self.ports.owners():
            if is_dead_here(owner):
                await self.ports.reclaim(owner)


class Lock(Enum):
    """How a verb holds a job's state."""

    ALONE = "alone"  # nobody else works on it, so all leases in it are the dead's
    SHARED = "shared"
    NONE = "none"  # only looks


@contextlib.asynccontextmanager
async def open_embedded(job: TransferJob | ImageJob, *, lock: Lock) -> AsyncIterator[Embedded]:
    """Lock the job's state and open it. State that machines share has no lock: there, leases say who lives."""
    job_id = settings.image_job_id(job) if isinstance(job, ImageJob) else settings.job_id(job)
    folder = StateFolder(job.state, job_id)
    folder.make()
    process = process_name()
    async with contextlib.AsyncExitStack() as stack:
        descriptor = -1
        if lock is not Lock.NONE and not is_shared(job):
            descriptor = await folder.lock(alone=lock is Lock.ALONE, patience_seconds=LOCK_PATIENCE_SECONDS)
            stack.callback(os.close, descriptor)
        ports = await stack.enter_async_context(open_ports(job, folder, process))
        here = Embedded(folder, job_id, ports, descriptor, process)
        if lock is Lock.ALONE:
            await here.free_the_dead()
        elif lock is Lock.SHARED:
            await here.free_who_died_here()
        yield here


async def refuse_another_jobs(job: TransferJob, run: Run, ledger: Ledger) -> None:
    """Raises MessageInvalid where the run is another job's, and this process was started for one job which the ledger
    knows: then the message is wrong here, not the process."""
    own = settings.job_id(job)
    named = bool(job.job_id) or bool(job.src_bucket and job.dest_bucket)
    if named and run.job_id != own and await ledger.runs(own, 1):
        raise MessageInvalid(f"a message of job {run.job_id}; this worker was started for job {own}")


class JobOpener:
    """Opens the jobs of run ids for one worker process, each distinct job once."""

    def __init__(self, job: TransferJob, ledger: Ledger, *, strict: bool, pace: Pace | None = None) -> None:
        self._job = job
        self._ledger = ledger
        self._strict = strict
        self._pace = pace or open_pace(job)  # one for all jobs of the process
        self._by_run: dict[str, Job] = {}
        self._by_settings: dict[str, tuple[Job, Sides]] = {}
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, run_id: str) -> Job:
        """See `worker.process.OpenJob`."""
        if found := self._by_run.get(run_id):
            return found
        async with self._one_at_a_time:
            run = await self._ledger.run(run_id)
            if run is None:
                raise LedgerError(f"the ledger knows no run {run_id!r}")
            if self._strict and (names := settings.contradicted(self._job, run.job_settings)):
                await refuse_another_jobs(self._job, run, self._ledger)
                raise WrongJob(
                    f"run {run_id} was made with other settings than this worker was given ({', '.join(names)}); start "
                    "the worker without job settings, or with the run's"
                )
            if run.job_settings not in self._by_settings:
                stored = settings.from_run_settings(run.job_settings, process=self._job)
                if not self._strict:
                    stored = settings.reached_as(stored, self._job)
                sides = sides_of(stored, MOVING_CONNECTIONS, self._pace)
                try:
                    if why := sides.beyond(self._job.allow):
                        raise MessageInvalid(f"run {run_id} {why}")
                    await sides.check(stored)  # also lets a store that names itself take its own profile
                except BaseException:
                    await sides.close()
                    raise
                self._by_settings[run.job_settings] = make_job(stored, sides), sides
            self._by_run[run_id] = self._by_settings[run.job_settings][0]
            return self._by_run[run_id]

    async def close(self, emit: Emit) -> None:
        """Close the stores, and say how they were reached."""
        for text, (_, sides) in self._by_settings.items():
            sides.tell(settings.from_run_settings(text), emit)
            await sides.close()


def worker_settings(job: TransferJob, process: str, *, until_empty: bool, poll_seconds: float) -> WorkerSettings:
    """The process's share of the settings."""
    return WorkerSettings(
        process=process,
        job_id=settings.job_id(job),
        worker_number=job.worker_number,
        max_in_flight=1000,
        memory_budget=job.memory_budget,
        lease_seconds=job.lease_seconds,
        lease_cap_seconds=job.lease_cap_seconds,
        grace_seconds=job.grace_seconds,
        max_attempts=job.max_attempts,
        until_empty=until_empty,
        poll_seconds=poll_seconds,
        stall_seconds=job.stall_seconds,
        event_silence_seconds=job.event_silence_seconds if job.src_event != "No" else 0.0,
    )


async def run_child(
    job_settings: str,
    process: str,
    *,
    strict: bool,
    until_empty: bool,
    emit: Emit,
    stop: asyncio.Event,
    live: Live | None = None,
) -> Counts:
    """One worker process's whole life, over the state that its parent has opened (and locked, where it can). Its limits
    follow `live`."""
    job = TransferJob.model_validate_json(job_settings)
    folder = StateFolder(job.state, settings.job_id(job))
    pace = Pace(job.bandwidth)
    async with open_ports(job, folder, process) as ports:
        open_job = JobOpener(job, ports.ledger, strict=strict, pace=pace)
        images = LateImages(job, ports.ledger, emit, pace, strict=strict)
        # A poll outlives the worker that ends meanwhile, at the service, and may take a message with it.
        poll_seconds = min(ports.poll_seconds, ENDING_POLL_SECONDS) if until_empty else ports.poll_seconds
        own = worker_settings(job, process, until_empty=until_empty, poll_seconds=poll_seconds)
        limiter = Limiter(fixed=own.worker_number, upper=own.max_in_flight)
        if live:
            live.bind(pace, limiter)
        try:
            rules = _event_rules(job, ports.ledger)
            report_or_log = logged(job, open_report(job, folder), own.job_id, process)
            async with with_rows(job, folder, report_or_log) as report:
                return await work(
                    open_job,
                    ports.queue,
                    ports.ledger,
                    own,
                    emit,
                    report,
                    stop,
                    open_images=images,
                    event_rules=rules,
                    limiter=limiter,
                )
        finally:
            await open_job.close(emit)
            await images.close()
            await ports.reclaim(process)  # a receive that was cut off at the end may hold messages


class LateImages:
    """An `ImagesOpener` that is made when the first image comes: workers of objects do without the code of registries."""

    def __init__(self, job: TransferJob, ledger: Ledger, emit: Emit, pace: Pace, *, strict: bool) -> None:
        self._job = job
        self._ledger = ledger
        self._emit = emit
        self._pace = pace
        self._strict = strict
        self._opener: ImagesOpener | None = None

    async def __call__(self, run_id: str) -> Images:
        """See `worker.images.OpenImages`."""
        if self._opener is None:
            from dth.app.images.work import ImagesOpener  # noqa: PLC0415

            self._opener = ImagesOpener(self._job, self._ledger, self._emit, strict=self._strict, pace=self._pace)
        return await self._opener(run_id)

    async def close(self) -> None:
        """Close what was opened."""
        if self._opener is not None:
            await self._opener.close()


def _event_rules(job: TransferJob, ledger: Ledger) -> FindRules:
    from dth.app.standing_run import StandingRun  # noqa: PLC0415

    return StandingRun(job, ledger)


def logged(job: JobBase, report: Report, job_id: str, process: str) -> Report:
    """The report; where logs are JSON, with a line of them for each transfer."""
    if job.log == "text":
        return report
    from dth.logs import TransferLog  # noqa: PLC0415

    return TransferLog(report, job_id=job_id, process=process)


def open_report(job: TransferJob, folder: StateFolder) -> JsonlReport:
    """The job's report: the file that was asked for, of all objects; else one beside its state, of those that failed."""
    level = job.report_level or (ReportLevel.ALL if job.report else ReportLevel.FAILED)
    return JsonlReport(Path(job.report) if job.report else folder.path / "report.jsonl", ReportLevel(level))

"""`dth ecr-sync`: an image job's settings into registries, a run, a ledger and a report."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dth import settings
from dth.app.build import logged
from dth.app.images.build import (
    forget,
    keep_run,
    new_run,
    nothing_to_prepare,
    open_sources,
    repository_maker,
    run_options,
)
from dth.app.images.registries import Opener, Place, open_registries
from dth.app.measured import Measured, measured
from dth.app.ports import is_shared
from dth.app.record import Record
from dth.ecr.plan import ImagePlan
from dth.ecr.prune import Stale, Untagger, confirm, find_stale
from dth.ecr.records import removal_of
from dth.ecr.run import Done, ImageRun, Source
from dth.embedded import StateFolder, process_name
from dth.errors import DthError, RequestRefused, SettingsError
from dth.events import Emit, Moved, Notice, ObjectFailed, Planned, Requests, RunSealed, RunStarted
from dth.ledgers.base import OutcomeRow
from dth.ledgers.sqlite import SqliteLedger
from dth.model import Counts, ImageRecord
from dth.report import JsonlReport, Report, ReportLevel
from dth.settings import ImageJob
from dth.states import Outcome, Reason, Side
from dth.summary import ExitCode, Summary
from dth.worker.breakdown import failure_of, of_image

LOCK_PATIENCE_SECONDS = 20.0
RUNS_LOOKED_AT = 20
_ASKING = "images"  # who asks, whenever it is said: a command has one process that copies images


async def list_images(job: ImageJob, emit: Emit, stop: asyncio.Event) -> Summary:
    """Emit every image that the job's selection means, as `Planned` events. Nothing is asked of the destination."""
    del stop
    record = Record(emit)
    async with open_registries(job) as opener:
        sources = await open_sources(job, opener)
        run = ImageRun(sources, sources[0].registry, nothing_to_prepare, run_options(job, "list"), forget, record.note)
        async for source, image, _ in run.plan():
            title = source.registry.title(image.source, image.reference)
            record.note(Planned("list", title, title, 0, image.digest or "by tag"))
    return _judged(record.summary(interrupted=False), failed=bool(run.broken_listings))


async def ecr_sync(job: ImageJob, emit: Emit, stop: asyncio.Event, *, dry_run: bool) -> Summary:
    """Bring every chosen image to the destination, as digests say. Nothing is started before both sides have answered.

    `stop` ends it gracefully; what is not over then is found again by the next run.
    """
    if is_shared(job) and not dry_run:
        raise SettingsError(
            "dth ecr-sync keeps its ledger on this machine: for a fleet's (queue, table) use --enqueue and dth work"
        )
    async with (
        measured(job, settings.image_job_id(job), emit) as measures,
        open_registries(job) as opener,
    ):
        record = Record(measures.emit)
        sources = await open_sources(job, opener)
        place = await opener.destination()
        await place.registry.check()
        if dry_run:
            run = ImageRun(
                sources, place.registry, nothing_to_prepare, run_options(job, "dry-run"), forget, record.note,
                place.catalog,
            )  # fmt: skip
            await ImagePlan(run, place.registry, run.options, record.note).preview(stop)
            end = _End(failed=bool(run.broken_listings), cut_short=stop.is_set())
        else:
            end = await _run(job, opener, sources, place, record, stop, measures)
        record.note(_requests(opener))
    return _judged(record.summary(interrupted=end.cut_short), failed=end.failed)


def _requests(opener: Opener) -> Requests:
    return Requests(_ASKING, opener.requests(Side.SOURCE), opener.requests(Side.DESTINATION))


def _judged(summary: Summary, *, failed: bool) -> Summary:
    """The summary of images, whose exit code also tells what no image's own end does."""
    code = summary.exit_code
    if (failed or summary.failure_codes) and code == ExitCode.COMPLETE:
        code = ExitCode.SOME_FAILED
    return dataclasses.replace(summary, noun="image", exit_code=code)


@dataclass(frozen=True, slots=True)
class _End:
    """What the images' own ends don't tell: a listing or a removal failed; the run was stopped before its end."""

    failed: bool
    cut_short: bool


async def _run(
    job: ImageJob,
    opener: Opener,
    sources: Sequence[Source],
    place: Place,
    record: Record,
    stop: asyncio.Event,
    measures: Measured,
) -> _End:
    """The run with ledger and report."""
    async with (
        _open_state(job) as (folder, ledger),
        measures.watching(ledger, None, lambda: _requests(opener)),
    ):
        level = job.report_level or (ReportLevel.ALL if job.report else ReportLevel.FAILED)
        report = JsonlReport(Path(job.report) if job.report else folder.path / "report.jsonl", ReportLevel(level))
        report.check()
        books = _Books(job, ledger, logged(job, report, settings.image_job_id(job), process_name()))
        await books.start(sources[0].registry.name, place.registry.name, record)
        home = next((one for one in opener.places if one.registry is sources[0].registry), None)
        maker = repository_maker(job, place, home)
        prepare = maker.prepare if maker else nothing_to_prepare
        run = ImageRun(
            sources, place.registry, prepare, run_options(job, books.run_id), books.record, record.note, place.catalog
        )
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(keep_run(ledger, books.run_id, books.process, job.lease_seconds))
            try:
                await run.run(stop)
            finally:
                beating.cancel()
        pruned_badly = False
        if not run.cut_short:
            if run.failure is None:
                pruning = _Pruning(place, books, record)
                if job.prune:
                    await pruning.run(run.repositories, job.max_delete)
                pruned_badly = pruning.failed
                await books.seal(run.found + pruning.ended, run.found, record)
            else:
                await ledger.abandon_run(books.run_id)
        for name in maker.made if maker else ():
            record.note(Notice("info", "repository_made", f"made the repository {name}"))
        record.note(Notice("info", "blobs", _told(run.landed)))
        await record.read_runs(ledger)
        if run.failure is not None:
            raise run.failure
        return _End(failed=bool(run.broken_listings) or pruned_badly, cut_short=run.cut_short)


def _told(landed: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in landed.items())


class _Books:
    """The ledger's and the report's share of a run."""

    def __init__(self, job: ImageJob, ledger: SqliteLedger, report: Report) -> None:
        self._job = job
        self._ledger = ledger
        self._report = report
        self.process = process_name()
        self._number = 0
        self.run_id = uuid.uuid4().hex[:16]

    async def start(self, source: str, destination: str, record: Record) -> None:
        """Open the run. Raises RunUnderWay."""
        run = new_run(self._job, self.run_id, self.process, settings.image_settings_json(self._job))
        record.note(RunStarted(self.run_id, source, destination, noun="image"))
        await self._ledger.start_run(run, overlap=self._job.overlap)

    async def record(self, one: ImageRecord, counts: Counts) -> None:
        """Keep one image's end: the report first, so that no counted end lacks its line."""
        await self._report.write_images([one])
        self._number += 1
        row = OutcomeRow(f"{self.run_id}/{self._number}", self.run_id, counts, "", "")
        counted = one.outcome if counts.ended else None
        reason = (Reason.EXTRA if one.removed else Reason.UNCOMPARED).value
        breakdown = of_image(counted, one.error_code, reason, removed=one.removed)
        failures = [failure_of(one, row.message_id, reason)] if counted is Outcome.FAILED else []
        await self._ledger.record(row, self.process, breakdown, failures)

    async def seal(self, found: int, compared: int, record: Record) -> None:
        """Fix the totals."""
        await self._ledger.seal_run(self.run_id, self.process, found, 0, {})
        record.note(RunSealed(self.run_id, found, 0, compared, {}))


@contextlib.asynccontextmanager
async def _open_state(job: ImageJob) -> AsyncIterator[tuple[StateFolder, SqliteLedger]]:
    job_id = settings.image_job_id(job)
    folder = StateFolder(job.state, job_id)
    descriptor = await folder.lock(alone=True, patience_seconds=LOCK_PATIENCE_SECONDS)
    try:
        ledger = await SqliteLedger.open(folder.ledger)
        try:
            await ledger.reclaim(None)
            for run in await ledger.runs(job_id, RUNS_LOOKED_AT):
                if not run.counted:
                    await ledger.abandon_run(run.run_id)
            yield folder, ledger
        finally:
            await ledger.close()
    finally:
        os.close(descriptor)


class _Pruning:
    """Removes stale tags. Every removal, and every one that failed, is counted and has its line in the report."""

    def __init__(self, place: Place, books: _Books, record: Record) -> None:
        self._place = place
        self._books = books
        self._note = record.note
        self._untagger = Untagger(place.registry, place.catalog)
        self.ended = 0
        self.failed = False

    async def run(self, repositories: Sequence[Done], max_delete: int) -> None:
        """Remove what the repositories' sources lack."""
        try:
            found = await find_stale(repositories, self._place.catalog, max_delete)
        except DthError as error:
            self._complain("prune", error)
            return
        for stale in found:
            try:
                await confirm(stale)
            except DthError as error:
                self._complain(stale.source.title(stale.source_repository), error)
                continue
            for tag in stale.tags:
                await self._remove(stale, tag)

    def _complain(self, what: str, error: DthError) -> None:
        self.failed = True
        self._note(ObjectFailed(self._books.run_id, what, error.code, f"prune: {error}", 1, final=True))

    async def _remove(self, stale: Stale, tag: str) -> None:
        title, failure = self._place.registry.title(stale.repository, tag), None
        try:
            await self._untag(stale, tag)
            self._note(Notice("info", "pruned", f"removed {title}"))
        except DthError as error:
            failure = error
            self._complain(title, error)
        counts = Counts(done=int(failure is None), failed=int(failure is not None))
        source = stale.source.title(stale.source_repository, tag)
        await self._books.record(removal_of(self._books.run_id, source, title, failure), counts)
        self.ended += 1
        self._note(Moved(self._books.run_id, counts.done, 0, counts.failed, 0, deleted=counts.done))

    async def _untag(self, stale: Stale, tag: str) -> None:
        place = self._place
        if place.aws is None:
            await self._untagger.untag(stale, tag)
            return
        account = {"registryId": place.account_id} if place.account_id else {}
        answer = await place.aws.call(
            "ecr", "BatchDeleteImage", repositoryName=stale.repository, imageIds=[{"imageTag": tag}], **account
        )
        for one in answer.get("failures") or ():
            if one.get("failureCode") != "ImageNotFound":
                raise RequestRefused(f"ECR does not remove it: {one.get('failureCode')}: {one.get('failureReason')}")

"""`dth ecr-sync`: an image job's settings into registries, a run, a ledger and a report."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dth import settings
from dth.app.record import Record
from dth.app.registries import Opener, Place, open_registries
from dth.ecr.aws import Aws, AwsLogin
from dth.ecr.create import RepositoryMaker, parse_template
from dth.ecr.filters import parse_filter
from dth.ecr.prune import Stale, find_stale, untag
from dth.ecr.reference import DOCKER_HUB, Reference, parse_list
from dth.ecr.run import Done, ImageRun, RunOptions, Source
from dth.ecr.select import Selection, by_registry
from dth.embedded import StateFolder, process_name
from dth.errors import DthError, SettingsError
from dth.events import Emit, Notice, Planned, Requests, RunSealed, RunStarted
from dth.ledgers.base import OutcomeRow, Run
from dth.ledgers.sqlite import SqliteLedger
from dth.model import Counts, ImageRecord
from dth.retry import RetryPolicy
from dth.settings import ImageJob
from dth.states import RunState, Side
from dth.summary import ExitCode, Summary
from dth.worker.report import JsonlReport, ReportLevel

LOCK_PATIENCE_SECONDS = 20.0
IMAGE_CAP_SECONDS = 20.0  # longest wait before an image is tried again, unless the registry wishes more
HEARTBEATS = 3  # of a lease
"""The run's lease is renewed this often before it would end."""
RUNS_LOOKED_AT = 20


async def list_images(job: ImageJob, emit: Emit, stop: asyncio.Event) -> Summary:
    """Emit every image that the job's selection means, as `Planned` events. Nothing is asked of the destination."""
    del stop
    record = Record(emit)
    async with open_registries(job) as opener:
        sources = await _sources(job, opener)
        run = ImageRun(sources, sources[0].registry, _nothing_to_prepare, _options(job, "list"), _forget, record.note)
        async for source, image in run.plan():
            title = source.registry.title(image.source, image.reference)
            record.note(Planned("list", title, title, 0, image.digest or "by tag"))
    return dataclasses.replace(record.summary(interrupted=False), noun="image")


async def ecr_sync(job: ImageJob, emit: Emit, stop: asyncio.Event, *, dry_run: bool) -> Summary:
    """Bring every chosen image to the destination, as digests say. Nothing is started before both sides have answered.

    `stop` ends it gracefully; what is not over then is found again by the next run.
    """
    record = Record(emit)
    async with open_registries(job) as opener:
        sources = await _sources(job, opener)
        place = await opener.destination()
        await place.registry.check()
        if dry_run:
            run = ImageRun(sources, place.registry, _nothing_to_prepare, _options(job, "dry-run"), _forget, record.note)
            await run.preview()
            end = _End(failed=bool(run.broken_listings), cut_short=stop.is_set())
        else:
            end = await _run(job, opener, sources, place, record, stop)
        record.note(Requests(process_name(), opener.requests(Side.SOURCE), opener.requests(Side.DESTINATION)))
    summary = dataclasses.replace(record.summary(interrupted=end.cut_short), noun="image")
    if (end.failed or summary.failure_codes) and summary.exit_code == ExitCode.COMPLETE:
        return dataclasses.replace(summary, exit_code=ExitCode.SOME_FAILED)
    return summary


@dataclass(frozen=True, slots=True)
class _End:
    """What the images' own ends don't tell: a listing or a removal failed; the run was stopped before its end."""

    failed: bool
    cut_short: bool


async def _run(
    job: ImageJob, opener: Opener, sources: Sequence[Source], place: Place, record: Record, stop: asyncio.Event
) -> _End:
    """The run with ledger and report."""
    async with _open_state(job) as (folder, ledger):
        level = job.report_level or (ReportLevel.ALL if job.report else ReportLevel.FAILED)
        report = JsonlReport(Path(job.report) if job.report else folder.path / "report.jsonl", ReportLevel(level))
        report.check()
        books = _Books(job, ledger, report)
        await books.start(sources[0].registry.name, place.registry.name, record)
        maker = _maker(job, opener, place, sources)
        prepare = maker.prepare if maker else _nothing_to_prepare
        run = ImageRun(sources, place.registry, prepare, _options(job, books.run_id), books.record, record.note)
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(books.beat())
            try:
                await run.run(stop)
            finally:
                beating.cancel()
        pruned_badly = False
        if not run.cut_short:
            if run.failure is None:
                await books.seal(run.found, record)
                if job.prune:
                    pruned_badly = await _prune(job, place, run.repositories, record)
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

    def __init__(self, job: ImageJob, ledger: SqliteLedger, report: JsonlReport) -> None:
        self._job = job
        self._ledger = ledger
        self._report = report
        self._process = process_name()
        self._number = 0
        self.run_id = uuid.uuid4().hex[:16]

    async def start(self, source: str, destination: str, record: Record) -> None:
        """Open the run. Raises RunUnderWay."""
        now = time.time()
        run = Run(
            run_id=self.run_id,
            job_id=settings.image_job_id(self._job),
            state=RunState.LISTING,
            job_settings=settings.image_settings_json(self._job),
            finder=self._process,
            lease_until=now + self._job.lease_seconds,
            started_at=now,
            found=None,
            found_bytes=0,
            reasons={},
            counts=Counts(),
        )
        record.note(RunStarted(self.run_id, source, destination, noun="image"))
        await self._ledger.start_run(run, overlap=self._job.overlap)

    async def beat(self) -> None:
        """Keep the run's lease until cancelled."""
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(self._job.lease_seconds / HEARTBEATS)
                until = time.time() + self._job.lease_seconds
                await self._ledger.extend_run(self.run_id, self._process, until)

    async def record(self, one: ImageRecord, counts: Counts) -> None:
        """Keep one image's end: the report first, so that no counted end lacks its line."""
        await self._report.write([one])
        self._number += 1
        row = OutcomeRow(f"{self.run_id}/{self._number}", self.run_id, counts, "", "")
        await self._ledger.record(row, self._process)

    async def seal(self, found: int, record: Record) -> None:
        """Fix the totals."""
        await self._ledger.seal_run(self.run_id, self._process, found, 0, {})
        record.note(RunSealed(self.run_id, found, 0, found, {}))


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


async def _sources(job: ImageJob, opener: Opener) -> list[Source]:
    """The registries to read from, with what is wanted of each."""
    tag_filter = parse_filter(job.tag_filter)
    untagged = job.include_untagged
    if job.src_list == "ALL":
        place = await opener.source("")
        whole = Selection(None, tag_filter, untagged, job.dest_repository_prefix)
        return [Source(place.registry, place.catalog, whole)]
    references = parse_list(await _image_list(job))
    if not references:
        raise SettingsError("src_image_list names no image")
    sources = []
    for registry, ones in _by_home(job, references).items():
        place = await opener.source(registry)
        selection = Selection(ones, tag_filter, untagged, job.dest_repository_prefix)
        sources.append(Source(place.registry, place.catalog, selection))
    return sources


def _by_home(job: ImageJob, references: Sequence[Reference]) -> Mapping[str, tuple[Reference, ...]]:
    """References by the registry that has them; "" is the job's own."""
    if job.src_registry or job.source_type == "Amazon_ECR":
        return by_registry(references, "")
    return by_registry(references, DOCKER_HUB)


async def _image_list(job: ImageJob) -> str:
    """The list's text: as given, from a file, or from an SSM parameter."""
    text = job.src_image_list
    if text.startswith("@"):
        return await asyncio.to_thread(_file_text, text[1:], "src_image_list")
    if text.startswith("ssm:"):
        aws = Aws(AwsLogin(), os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or job.src_region)
        try:
            return await aws.parameter(text.removeprefix("ssm:"))
        finally:
            await aws.close()
    return text


def _file_text(path: str, name: str) -> str:
    try:
        return Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise SettingsError(f"{name}: cannot read {path}: {reason}") from exc


def _maker(job: ImageJob, opener: Opener, place: Place, sources: Sequence[Source]) -> RepositoryMaker | None:
    """What makes ECR repositories; None where the destination makes them itself."""
    if place.aws is None:
        return None
    template: Mapping[str, Any] | None = None
    if job.repository_template:
        template = parse_template(_file_text(job.repository_template, "repository_template"), job.repository_template)
    home = next((one for one in opener.places if one.registry is sources[0].registry), None)
    source = (home.aws, home.account_id) if home is not None and home.aws is not None else None
    return RepositoryMaker(place.aws, place.account_id, source, template, make=job.create_repositories)


async def _prune(job: ImageJob, place: Place, repositories: Sequence[Done], record: Record) -> bool:
    """Remove stale tags; True where some could not be."""
    try:
        stale = await find_stale(repositories, place.catalog, job.max_delete)
    except DthError as error:
        record.note(Notice("warning", error.code, f"prune: {error}"))
        return True
    kept = {done.chosen.destination: done.digests for done in repositories}
    failed = False
    for one in stale:
        try:
            await _untag(place, one, kept.get(one.repository, set()))
            record.note(Notice("info", "pruned", f"removed {place.registry.title(one.repository, one.tag)}"))
        except DthError as error:
            failed = True
            record.note(Notice("warning", error.code, f"prune: {error}"))
    return failed


async def _untag(place: Place, stale: Stale, kept: set[str]) -> None:
    if place.aws is None:
        await untag(place.registry, place.catalog, stale, kept)
        return
    account = {"registryId": place.account_id} if place.account_id else {}
    await place.aws.call(
        "ecr", "BatchDeleteImage", repositoryName=stale.repository, imageIds=[{"imageTag": stale.tag}], **account
    )


def _options(job: ImageJob, run_id: str) -> RunOptions:
    return RunOptions(
        run_id=run_id,
        images_at_once=job.images_at_once,
        retry=RetryPolicy(attempts=job.retries + 1, base_seconds=0.5, cap_seconds=IMAGE_CAP_SECONDS),
        platforms=job.platforms,
        referrers=job.referrers,
        grace_seconds=job.grace_seconds,
    )


async def _nothing_to_prepare(source: str, destination: str) -> None:
    """Other registries than ECR make repositories by themselves."""


async def _forget(record: ImageRecord, counts: Counts) -> None:
    """Keeps nothing: a dry run, a list."""

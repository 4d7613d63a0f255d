"""`dth ecr-sync --enqueue`: an image job planned into the queue, for `dth work` to copy."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections import Counter
from collections.abc import Sequence
from functools import partial

from dth import settings
from dth.app.build import Embedded, Lock, open_embedded
from dth.app.find import bury_dead_finders
from dth.app.images.build import forget, keep_run, new_run, nothing_to_prepare, open_sources, run_options, template_text
from dth.app.images.registries import Place, open_registries
from dth.app.measured import measured
from dth.app.record import Record
from dth.ecr.copy import Image
from dth.ecr.plan import ImagePlan
from dth.ecr.reference import name_of
from dth.ecr.repositories import parse_template
from dth.ecr.run import ImageRun, Source
from dth.errors import SettingsError
from dth.events import Emit, Notice, Requests, RunAbandoned, RunSealed, RunStarted
from dth.finder.outbox import Outbox
from dth.messages import ImageMessage, encode
from dth.settings import ImageJob
from dth.states import Reason, Side
from dth.summary import ExitCode, Summary


async def enqueue_images(job: ImageJob, emit: Emit, stop: asyncio.Event) -> Summary:
    """Compare every chosen image with the destination and send those that differ to the queue, as one run, sealed with the
    exact number that was sent. Raises RunUnderWay where the job's last run is not over.

    A repository that can't be listed is named, and exit is 3; a registry that can't be listed, or `stop`, leaves the run
    ABANDONED: what was sent is copied all the same.
    """
    if job.prune:
        raise SettingsError(
            "prune needs to know that every image has arrived: it cannot be combined with --enqueue; "
            "run dth ecr-sync --prune without it"
        )
    template = template_text(job)
    if template:
        parse_template(template, "repository_template")  # a worker would find out too late
    async with (
        measured(job, settings.image_job_id(job), emit) as measures,
        open_registries(job) as opener,
    ):
        record = Record(measures.emit)
        sources = await open_sources(job, opener)
        destination = await opener.destination()
        await destination.registry.check()
        async with open_embedded(job, lock=Lock.SHARED) as here, measures.watching(here.ledger, here.queue):
            await bury_dead_finders(here, record)
            planning = _Planning(job, here, record)
            job_settings = settings.image_run_settings_json(job, template, [one.named for one in sources])
            broken = await planning.run(sources, destination, job_settings, stop)
            await record.read_runs(here.ledger)
        record.note(Requests(here.process, opener.requests(Side.SOURCE), opener.requests(Side.DESTINATION)))
    summary = dataclasses.replace(record.summary(interrupted=stop.is_set(), only_listed=True), noun="image")
    if broken and summary.exit_code == ExitCode.COMPLETE:
        return dataclasses.replace(summary, exit_code=ExitCode.SOME_FAILED)
    return summary


class _Planning:
    """One run: opened, planned into the queue, sealed or abandoned."""

    def __init__(self, job: ImageJob, here: Embedded, record: Record) -> None:
        self._job = job
        self._here = here
        self._record = record
        self._run_id = uuid.uuid4().hex[:16]
        self._reasons: Counter[Reason] = Counter()

    async def run(self, sources: Sequence[Source], destination: Place, job_settings: str, stop: asyncio.Event) -> bool:
        """Plan everything; True where a repository could not be listed."""
        ledger, process = self._here.ledger, self._here.process
        self._record.note(RunStarted(self._run_id, sources[0].registry.name, destination.registry.name, noun="image"))
        await ledger.start_run(new_run(self._job, self._run_id, process, job_settings), overlap=self._job.overlap)
        options = run_options(self._job, self._run_id)
        note, registry = self._record.note, destination.registry
        outbox = Outbox(self._here.queue, self._job.high_water, note, await ledger.run_key(self._run_id))
        images = ImageRun(sources, registry, nothing_to_prepare, options, forget, note, destination.catalog)
        plan = ImagePlan(images, registry, options, note)
        try:
            await self._send(plan, outbox, stop)
            if not stop.is_set():
                sent = self._reasons.total()
                reasons = {reason.value: count for reason, count in self._reasons.items()}
                await ledger.seal_run(self._run_id, process, sent, 0, reasons)
                self._record.note(RunSealed(self._run_id, sent, 0, images.found, reasons))
                text = f"dth work --job-id {self._here.job_id} copies what was sent"
                self._record.note(Notice("info", "enqueued", text))
                return bool(images.broken_listings)
        except BaseException:
            await asyncio.shield(ledger.abandon_run(self._run_id))
            raise
        await ledger.abandon_run(self._run_id)
        self._record.note(RunAbandoned(self._run_id, "it was stopped while it was planned"))
        return False

    async def _send(self, plan: ImagePlan, outbox: Outbox, stop: asyncio.Event) -> None:
        ledger, process = self._here.ledger, self._here.process
        try:
            async with asyncio.TaskGroup() as group:
                beating = group.create_task(keep_run(ledger, self._run_id, process, self._job.lease_seconds))
                sending = group.create_task(outbox.run())
                await plan.send(partial(self._put, outbox), stop)
                await outbox.close()
                await sending
                beating.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _put(self, outbox: Outbox, source: Source, image: Image, reason: Reason) -> None:
        self._reasons[reason] += 1
        number = self._reasons.total()
        message = ImageMessage(
            job_id=self._here.job_id,
            run_id=self._run_id,
            message_id=f"{self._run_id}-{number}",
            source=name_of(image.source, image.digest if image.pinned or not image.tag else image.tag),
            destination=name_of(image.destination, image.reference),
            digest=image.digest,
            registry=source.named,
            reason=reason,
        )
        await outbox.put([encode(message)])

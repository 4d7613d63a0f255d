"""`dth find`."""

from __future__ import annotations

import asyncio
import uuid

from dth import settings
from dth.app.build import RUNS_LOOKED_AT, Embedded, Lock, open_embedded
from dth.app.listers import listers
from dth.app.measured import measured
from dth.app.plan import Plan
from dth.app.record import Record
from dth.app.selection import selection_of
from dth.app.sides import Sides, finder_connections, open_sides
from dth.app.stopping import unless_stopped
from dth.embedded import is_dead_here
from dth.errors import DeletesRefused, DthError, ListingFailed, SettingsError, StoreError, TransportError
from dth.events import Emit, Event, RunAbandoned, RunStarted
from dth.finder.compare import CompareMode
from dth.finder.delete_guards import DeleteRules
from dth.finder.heads import Stores
from dth.finder.restore import RestoreRules
from dth.finder.run import FinderSettings, preview
from dth.finder.run import find as run_finder
from dth.ledgers.base import Ledger
from dth.settings import TransferJob
from dth.states import RunState
from dth.summary import Summary
from dth.usage import Hands, Usage


async def find(job: TransferJob, emit: Emit, stop: asyncio.Event, *, dry_run: bool) -> Summary:
    """List both sides, send the differences to the queue, seal the run. Raises RunUnderWay where one is not over yet."""
    async with (
        measured(job, settings.job_id(job), emit) as measures,
        open_sides(job, connections=finder_connections(job)) as sides,
    ):
        record = Record(measures.emit)
        await sides.check(job, record.note)
        if dry_run:
            process = "dry-run"
            await unless_stopped(preview_only(job, sides, record), stop)
        else:
            async with open_embedded(job, lock=Lock.SHARED) as here, measures.watching(here.ledger, here.queue):
                process = here.process
                await bury_dead_finders(here, record)
                await unless_stopped(find_once(job, sides, here, record, alone=False), stop)
                await record.read_runs(here.ledger)
        record.note(sides.requests(process))
        sides.tell(job, record.note)
    return record.summary(interrupted=stop.is_set(), only_listed=True)


async def bury_dead_finders(here: Embedded, record: Record) -> None:
    """A run whose finder ran on this machine and is gone needs no lease to end before the next may start."""
    for run in await here.ledger.runs(here.job_id, RUNS_LOOKED_AT):
        dead = run.state is RunState.LISTING and is_dead_here(run.finder)
        if dead and await here.ledger.abandon_run(run.run_id):
            record.note(RunAbandoned(run.run_id, "its finder died"))


def _finder_settings(
    job: TransferJob, run_id: str, finder: str, sort_directory: str, *, overlap: bool
) -> FinderSettings:
    return FinderSettings(
        job_id=settings.job_id(job),
        run_id=run_id,
        finder=finder,
        job_settings=settings.run_settings_json(job),
        mapping=settings.mapping(job),
        compare=CompareMode(job.compare),
        skip_compare=job.skip_compare,
        pack_objects=job.pack_objects,
        pack_bytes=min(job.pack_bytes, job.giant_threshold),  # only an object that travels alone can be shared
        high_water=job.high_water,
        sort_memory=job.sort_memory,
        sort_directory=sort_directory,
        lease_seconds=job.lease_seconds,
        overlap=overlap,
        listers=job.finder_number,
        select=selection_of(job),
        deletes=DeleteRules(job.max_delete or "", job.delete_from_empty, bool(job.delete_to)) if job.delete else None,
        resumable=not job.from_file and not job.src_prefix_list,
        restore=RestoreRules(job.restore_days, job.restore_tier) if job.restore else None,
    )


async def find_once(job: TransferJob, sides: Sides, here: Embedded, record: Record, *, alone: bool) -> None:
    """One run of the finder into the embedded queue. `alone`: the state is locked, so no other run is under way,
    whatever an old row says."""
    if job.delete:
        await _refuse_other_places(job, here.ledger)
    await refuse_beyond_most_cost(job, sides)
    run_id = uuid.uuid4().hex[:16]
    urls = settings.source_location(job).url(), settings.dest_location(job).url()
    record.note(RunStarted(run_id, *urls))
    options = _finder_settings(job, run_id, here.process, str(here.folder.scratch), overlap=alone or job.overlap)
    usage = Usage(
        here.ledger, job_id=here.job_id, process=here.process, role="finder", emit=record.note, hands=_no_hands
    )
    usage.meets(run_id, sides.source, sides.destination, job.dest_storage_class)
    stores = Stores(sides.source, sides.destination)
    listing = listers(job, sides, options.sort_directory, record.note)
    async with listing as (source, destination), usage.kept():
        try:
            await run_finder(source, destination, here.queue, here.ledger, options, usage.heard, stores)
        except (StoreError, TransportError) as error:
            if error.exit_code != DthError.exit_code:
                raise  # cannot reach, or not allowed: it says so itself
            raise ListingFailed(
                f"{error}; what was found before is copied, the run is not complete: run again"
            ) from error


def _no_hands() -> Hands:
    """A finder moves nothing."""
    return Hands(0, 0, draining=False)


async def _refuse_other_places(job: TransferJob, ledger: Ledger) -> None:
    """Deletes need a run before them that read and wrote the same places: under a new mapping, all that is at the
    destination looks like an extra. Raises DeletesRefused before anything is listed."""
    runs = [
        run for run in await ledger.runs(settings.job_id(job), RUNS_LOOKED_AT) if run.state is not RunState.STANDING
    ]
    changed = settings.remapped(job, runs[0].job_settings) if runs else []
    if changed:
        raise DeletesRefused(
            f"nothing is deleted: since the last run of job {settings.job_id(job)}, {', '.join(changed)} changed, so it "
            "reads or writes other places; run once without --delete, look at the result, then with it"
        )


async def preview_only(job: TransferJob, sides: Sides, record: Record) -> None:
    """A dry run: the plan as events, and what it would cost and take; nothing written but the sort's temporary files."""
    plan = Plan(job, sides)

    def both(event: Event) -> None:
        plan.heard(event)
        record.note(event)

    await _preview(job, sides, both)
    record.note(plan.estimated())


async def refuse_beyond_most_cost(job: TransferJob, sides: Sides) -> None:
    """List both sides once more, before anything is copied, where the job must not cost more than its owner says."""
    if not job.max_cost:
        return
    if job.from_file == "-":
        raise SettingsError("max_cost lists first and copies then: give --from-file a file, which can be read twice")
    plan = Plan(job, sides)
    await _preview(job, sides, plan.heard)
    plan.refuse_beyond(job.max_cost)


async def _preview(job: TransferJob, sides: Sides, emit: Emit) -> None:
    options = _finder_settings(job, "dry-run", "dry-run", "", overlap=True)
    async with listers(job, sides, options.sort_directory, emit) as (source, destination):
        await preview(source, destination, options, emit, Stores(sides.source, sides.destination))

"""The finder's run, from settings."""

from __future__ import annotations

import uuid

from dth import settings
from dth.app.build import Embedded, Sides
from dth.app.record import Record
from dth.app.selecting import selection_of
from dth.events import RunStarted
from dth.finder.compare import CompareMode
from dth.finder.run import FinderSettings, find, preview
from dth.settings import TransferJob


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
        pack_bytes=job.pack_bytes,
        high_water=job.high_water,
        sort_memory=job.sort_memory,
        sort_directory=sort_directory,
        lease_seconds=job.lease_seconds,
        overlap=overlap,
        listers=job.finder_number,
        select=selection_of(job),
    )


async def find_once(job: TransferJob, sides: Sides, here: Embedded, record: Record, *, alone: bool) -> None:
    """One run of the finder into the embedded queue. `alone`: the state is locked, so no other run is under way,
    whatever an old row says."""
    run_id = uuid.uuid4().hex[:16]
    urls = settings.source_location(job).url(), settings.dest_location(job).url()
    record.note(RunStarted(run_id, *urls))
    options = _finder_settings(job, run_id, here.process, str(here.folder.scratch), overlap=alone or job.overlap)
    await find(sides.source, sides.destination, here.queue, here.ledger, options, record.note)


async def preview_only(job: TransferJob, sides: Sides, record: Record) -> None:
    """A dry run: the plan as events, nothing written but the sort's temporary files."""
    options = _finder_settings(job, "dry-run", "dry-run", "", overlap=True)
    await preview(sides.source, sides.destination, options, record.note)

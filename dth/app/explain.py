"""`--explain`: what a job would do about one key."""

from __future__ import annotations

import asyncio

from dth import settings
from dth.app.record import Record
from dth.app.selection import selection_of
from dth.app.sides import LISTING_CONNECTIONS, open_sides
from dth.events import Emit
from dth.finder.compare import CompareMode, deciding
from dth.finder.explain import explain
from dth.finder.heads import Stores
from dth.finder.plan import Tally
from dth.finder.resolve import settling
from dth.finder.restore import RestoreRules, Restores
from dth.settings import TransferJob
from dth.summary import Summary


async def explain_key(job: TransferJob, key: str, emit: Emit, stop: asyncio.Event) -> Summary:
    """Say what a run would do about one key, and which rule decides so; the answer is an `Explained` event."""
    record = Record(emit)
    async with open_sides(job, connections=LISTING_CONNECTIONS) as sides:
        await sides.check(job)
        decide = deciding(
            CompareMode(job.compare), sides.source.capabilities, sides.destination.capabilities, asks=True
        )
        destination = None if job.skip_compare else sides.destination
        mapping, select = settings.mapping(job), selection_of(job)
        stores, tally = Stores(sides.source, sides.destination), Tally()
        rules = RestoreRules(job.restore_days, job.restore_tier, ask=False)
        restores = Restores(stores.source, rules, tally) if job.restore else None
        settle = settling(stores, tally, checksums=job.compare == "checksum", restores=restores)
        sides_of = sides.source, destination
        record.note(await explain(*sides_of, mapping, decide, select, key, delete=job.delete, settle=settle))
    return record.summary(interrupted=stop.is_set())

"""`--explain`: what a job would do about one key."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from dth import settings
from dth.app.record import Record
from dth.app.selection import selection_of
from dth.app.sides import LISTING_CONNECTIONS, Sides, open_sides
from dth.errors import DthError, NoSuchKey
from dth.events import Emit, Explained
from dth.finder.compare import CompareMode, deciding
from dth.finder.explain import explain
from dth.finder.heads import Stores
from dth.finder.plan import Tally
from dth.finder.resolve import settling
from dth.finder.restore import RestoreRules, Restores
from dth.model import ObjectHead
from dth.settings import TransferJob
from dth.stores.base import Reader
from dth.summary import Summary

Head = ObjectHead | DthError | None
"""What a side says of an object: its head, why that cannot be told, or (None) that there is no such object."""


@dataclass(frozen=True, slots=True)
class Story:
    """What a run would do about one key, and what both sides say of it now."""

    explained: Explained
    source: Head
    destination: Head


async def explain_key(job: TransferJob, key: str, emit: Emit, stop: asyncio.Event) -> Summary:
    """Say what a run would do about one key, and which rule decides so; the answer is an `Explained` event."""
    record = Record(emit)
    async with open_sides(job, connections=LISTING_CONNECTIONS) as sides:
        record.note(await _explained(job, sides, key))
    return record.summary(interrupted=stop.is_set())


async def story_of_key(job: TransferJob, key: str) -> Story:
    """The same, with what HEAD says at either side."""
    async with open_sides(job, connections=LISTING_CONNECTIONS) as sides:
        explained = await _explained(job, sides, key)
        heads = await asyncio.gather(_head(sides.source, explained.key), _head(sides.destination, explained.dest_key))
    return Story(explained, *heads)


async def _head(store: Reader, key: str) -> Head:
    try:
        return await store.head(key)
    except NoSuchKey:
        return None
    except DthError as error:  # refused, or not understood: that is no absence
        return error


async def _explained(job: TransferJob, sides: Sides, key: str) -> Explained:
    await sides.check(job)
    decide = deciding(CompareMode(job.compare), sides.source.capabilities, sides.destination.capabilities, asks=True)
    destination = None if job.skip_compare else sides.destination
    mapping, select = settings.mapping(job), selection_of(job)
    stores, tally = Stores(sides.source, sides.destination), Tally()
    rules = RestoreRules(job.restore_days, job.restore_tier, ask=False)
    restores = Restores(stores.source, rules, tally) if job.restore else None
    settle = settling(stores, tally, checksums=job.compare == "checksum", restores=restores)
    sides_of = sides.source, destination
    return await explain(*sides_of, mapping, decide, select, key, delete=job.delete, settle=settle)

"""Puts the demo's objects into its source, through the engine's own store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from dth import settings
from dth.app.sides import open_store
from dth.demo.objects import DemoObject
from dth.model import Attributes
from dth.settings import TransferJob
from dth.stores.base import PutOptions, Writer

WRITERS = 16


async def fill(job: TransferJob, objects: Sequence[DemoObject]) -> None:
    """Write them to the job's source."""
    store = open_store(settings.source_location(job), job, WRITERS)
    waiting = iter(objects)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(_write(store, waiting))
    finally:
        await store.close()


async def _write(store: Writer, waiting: Iterator[DemoObject]) -> None:
    kind = Attributes(headers=(("content-type", "text/plain"),), metadata=(("made-by", "dth demo"),))
    for item in waiting:
        body = b"".join(item.blocks()) if item.size <= 1 << 20 else item.stream()
        await store.put(item.key, body, item.size, PutOptions(attributes=kind))

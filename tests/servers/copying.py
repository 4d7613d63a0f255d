"""A copy's surroundings over two stores in memory."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dth.events import Event
from dth.flow.budget import ByteBudget
from dth.flow.limiter import Limiter
from dth.ledgers.base import Ledger, UploadRow
from dth.ledgers.sqlite import SqliteLedger
from dth.messages import ObjectEntry
from dth.model import Entry, Generation, KeyMapping
from dth.multipart.complete import note_name
from dth.states import Reason
from dth.stores.base import Capabilities, PutOptions
from dth.transfer.context import Job, OneStore
from dth.transfer.copy import CopyContext
from dth.transfer.options import CopyOptions, Verify
from dth.transfer.tags import TagCarrier
from tests.servers.memory_store import AWS_LIKE, MemoryStore

KIB = 1 << 10

OPTIONS = CopyOptions(
    include_metadata=True,
    storage_class="",
    acl="",
    sse="",
    sse_kms_key_id="",
    verify=Verify.TRANSFER,
    no_clobber=False,
    multipart_threshold=16 << 20,
    part_size=0,
    giant_threshold=1 << 62,
)


@dataclass
class Surroundings:
    """`context()` is what a fresh worker process would have."""

    ledger: Ledger
    source: MemoryStore = field(default_factory=MemoryStore)
    destination: MemoryStore = field(default_factory=MemoryStore)
    options: CopyOptions = OPTIONS
    events: list[Event] = field(default_factory=list)
    memory: int = 64 << 20
    slots: int = 8
    lease_seconds: float = 60.0
    job_id: str = "job"
    one_store: bool = False
    tags: bool = False

    def job(self) -> Job:
        mapping = KeyMapping("", "", strip=True)
        tags = TagCarrier(self.source, self.destination) if self.tags else None
        one = OneStore(self.source, self.destination) if self.one_store else None
        return Job(self.job_id, self.source, self.destination, mapping, self.options, tags=tags, one_store=one)

    def context(self, process: str = "one", *, redelivered: bool = False) -> CopyContext:
        return CopyContext(
            job=self.job(),
            run_id="run",
            process=process,
            budget=ByteBudget(self.memory),
            limiter=Limiter(fixed=self.slots, upper=self.slots),
            ledger=self.ledger,
            emit=self.events.append,
            lease_until=lambda: time.time() + self.lease_seconds,
            redelivered=redelivered,
        )

    def set(self, **options: Any) -> None:
        self.options = replace(self.options, **options)

    async def row(self) -> UploadRow | None:
        """The one upload in the ledger."""
        rows = [row async for row in self.ledger.uploads(self.job_id)]
        assert len(rows) <= 1
        return rows[0] if rows else None

    async def settled(self, data: bytes | None, key: str = "key") -> None:
        """The destination holds `data` (nothing: None), and nothing else is left anywhere."""
        stored = self.destination.objects.get(key)
        assert (stored.data if stored else None) == data
        assert not self.destination.uploads
        assert await self.row() is None
        assert await self.ledger.get_note(self.job_id, note_name(key)) is None
        assert self.source.open_streams == 0


def entry_of(listed: Entry, reason: Reason = Reason.MISSING) -> ObjectEntry:
    return ObjectEntry(
        key=listed.key, size=listed.size, etag=listed.etag, last_modified=listed.last_modified, reason=reason
    )


async def leave_upload(
    here: Surroundings, data: bytes, *, part_size: int, parts: int = 2, known: bool = True, until: float = 0.0
) -> str:
    """An upload of `key` as a worker that died would leave it: `parts` sent, its id known to the ledger or not."""
    listed = here.source.seed("key", data)
    generation = Generation(listed.etag, listed.size)
    row = await here.ledger.claim_upload(
        UploadRow(here.job_id, "old", "key", "key", generation, part_size, "", "dead", until, 0, time.time() - 5)
    )
    upload_id = await here.destination.create_upload("key", PutOptions())
    if known:
        await here.ledger.update_upload(replace(row, upload_id=upload_id))
    for number in range(1, parts + 1):
        piece = data[(number - 1) * part_size : number * part_size]
        await here.destination.upload_part("key", upload_id, number, piece, len(piece), PutOptions())
    here.destination.parts_received.clear()
    return upload_id


Make = Callable[..., Surroundings]


@asynccontextmanager
async def large_objects(folder: Path) -> AsyncIterator[Make]:
    """Makes surroundings in which objects above 100 KiB move in parts of 64 KiB."""
    ledger = await SqliteLedger.open(folder / "ledger.db")

    def make(capabilities: Capabilities = AWS_LIKE) -> Surroundings:
        here = Surroundings(ledger, destination=MemoryStore(capabilities))
        here.set(multipart_threshold=100 * KIB, part_size=64 * KIB)
        here.source.chunk = 16 * KIB
        return here

    try:
        yield make
    finally:
        await ledger.close()

"""A copy's surroundings over two stores in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from dth.events import Event
from dth.ledgers.base import Ledger
from dth.messages import ObjectEntry
from dth.model import Entry, KeyMapping
from dth.states import Reason
from dth.worker.budget import ByteBudget
from dth.worker.copy import CopyContext
from dth.worker.job import CopyOptions, Job, Verify
from dth.worker.limiter import Limiter
from tests.servers.memory_ledger import MemoryLedger
from tests.servers.memory_store import MemoryStore

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
)


@dataclass
class Surroundings:
    """`context()` is what a fresh worker process would have."""

    source: MemoryStore = field(default_factory=MemoryStore)
    destination: MemoryStore = field(default_factory=MemoryStore)
    ledger: Ledger = field(default_factory=MemoryLedger)
    options: CopyOptions = OPTIONS
    events: list[Event] = field(default_factory=list)
    memory: int = 64 << 20
    slots: int = 8
    lease_seconds: float = 60.0
    dest_prefix: str = ""

    def job(self) -> Job:
        mapping = KeyMapping("", self.dest_prefix, strip=True)
        return Job("job", self.source, self.destination, mapping, self.options)

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


def entry_of(listed: Entry, reason: Reason = Reason.MISSING) -> ObjectEntry:
    return ObjectEntry(
        key=listed.key, size=listed.size, etag=listed.etag, last_modified=listed.last_modified, reason=reason
    )

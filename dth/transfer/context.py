"""What a transfer runs with: the job that it belongs to, and the process that it runs in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from dth.events import Emit
from dth.flow.budget import ByteBudget
from dth.flow.limiter import Limiter
from dth.ledgers.base import Ledger
from dth.model import Entry, Generation, KeyMapping, ObjectHead, Tags
from dth.stores.base import Express, ObjectStore
from dth.transfer.options import CopyOptions
from dth.transfer.result import Copied
from dth.transfer.tags import TagCarrier
from dth.values import value

NEVER_WORKED, WORKED_BEFORE = 1, 10
"""Refusals in a row after which a store is not asked any more to copy by itself: at once where it has copied nothing yet; where
it has, a single refusal is about that object."""


class OneStore:
    """Whether one store holds both sides of a job, so that it can be asked to copy by itself. The first object finds out;
    refusals end it, and the rest of the job is read and written here."""

    def __init__(self, source: ObjectStore, destination: ObjectStore) -> None:
        self._source = source
        self._destination = destination
        self._copies: bool | None = None
        self._worked = False
        self._refusals = 0

    async def copies(self) -> bool:
        """Whether it may be asked."""
        if self._copies is None:
            self._copies = await self._destination.copies_from(self._source)
        return self._copies

    def copied(self) -> None:
        """It did."""
        self._worked, self._refusals = True, 0

    def refused(self) -> bool:
        """Count a refusal. True once: when it makes the store one that is not asked any more."""
        self._refusals += 1
        if self._copies is False or self._refusals < (WORKED_BEFORE if self._worked else NEVER_WORKED):
            return False
        self._copies = False
        return True


@dataclass(slots=True)
class Trust:
    """What is no longer believed of a job's stores, found out by this process. ETags of a store whose kind nobody knows look like
    MD5s and are none; the source's listing of the runs in `misled` left out what the source holds."""

    source_made_otherwise: bool = False
    destination_made_otherwise: bool = False
    misled: set[str] = field(default_factory=set)


class Choice(Protocol):
    """Which objects a job is about, by their keys at the source. Finders apply it before they send; events need it here."""

    def takes_key(self, key: str) -> bool:
        """Whether the patterns take the source's key; the other rules need the object."""
        ...

    def takes(self, entry: Entry) -> bool:
        """Whether the source's object is chosen."""
        ...

    def may_delete(self, entry: Entry) -> bool:
        """Whether the destination's object, under the source's key, is the job's to delete."""
        ...


@value
class Job:
    """Everything that moving an object of one job needs; made once per job by `app`, from the run's stored settings.
    `delete_to` is the destination's prefix to which objects are moved instead of being deleted, "" where they are deleted.
    `follows_removals`: events of removals delete at the destination. `deletes`: messages may ask for deletes there. `tags` is
    None where tags are left behind; `choice`, where all objects are chosen; `one_store`, where no store is to copy by
    itself; `express`, where every object goes the ordinary way. `store_is_here`: one of the stores runs on this machine."""

    job_id: str
    source: ObjectStore
    destination: ObjectStore
    mapping: KeyMapping
    options: CopyOptions
    delete_to: str = ""
    follows_removals: bool = False
    deletes: bool = False
    tags: TagCarrier | None = None
    choice: Choice | None = None
    one_store: OneStore | None = None
    express: Express | None = None
    store_is_here: bool = False
    trust: Trust = field(default_factory=Trust)

    async def tags_of(self, key: str, head: ObjectHead) -> Tags:
        """What the copy of the source's `key` is to carry."""
        return await self.tags.read(key, head) if self.tags else ()


class Sharing(Protocol):
    """How a large object can be moved by all workers together. See `worker.shared.open`."""

    @property
    def allowed(self) -> bool:
        """Whether the object in hand may be shared."""
        ...

    async def open(self, key: str, dest_key: str, generation: Generation, ctx: CopyContext) -> Copied:
        """Open an upload that all workers will move: SPLIT. Raises as `copy_large`."""
        ...

    async def release(self, dest_key: str, ctx: CopyContext) -> bool:
        """Whether the key's upload was a shared one that nobody works on any more, and may be claimed now."""
        ...


@value
class CopyContext:
    """One delivery's surroundings. `process` names this worker process; `lease_until` says (epoch seconds) until when the
    message is held, extensions included; `redelivered`: somebody may have copied the object already. `sharing` is None where every object
    is moved by the process that has its message."""

    job: Job
    run_id: str
    process: str
    budget: ByteBudget
    limiter: Limiter
    ledger: Ledger
    emit: Emit
    lease_until: Callable[[], float]
    redelivered: bool
    sharing: Sharing | None = None

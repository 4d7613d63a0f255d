"""What a worker knows of a job, and what a copy says when it has ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dth.messages import ImageMessage, PartsMessage
from dth.model import Entry, ImageEnd, ImageRecord, KeyMapping, ObjectHead, Tags
from dth.states import Outcome, VerifiedBy
from dth.stores.base import ObjectStore
from dth.transfer.one_store import OneStore
from dth.transfer.tags import TagCarrier
from dth.values import value


class Verify(StrEnum):
    """How much proof is asked for: lengths only; whatever costs next to nothing; everything."""

    OFF = "off"
    TRANSFER = "transfer"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """The job's settings that shape a copy. Empty text means: not sent. Sizes in bytes; `part_size` 0 lets the plan
    choose; objects above `giant_threshold` are shared among all workers."""

    include_metadata: bool
    storage_class: str
    acl: str
    sse: str
    sse_kms_key_id: str
    verify: Verify
    no_clobber: bool
    multipart_threshold: int
    part_size: int
    giant_threshold: int


class Choice(Protocol):
    """Which objects a job is about, by their keys at the source. Finders apply it before they send; events need it here."""

    def takes(self, entry: Entry) -> bool:
        """Whether the source's object is chosen."""
        ...

    def may_delete(self, entry: Entry) -> bool:
        """Whether the destination's object, under the source's key, is the job's to delete."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that moving an object of one job needs; made once per job by `app`, from the run's stored settings.
    `delete_to` is the destination's prefix to which objects are moved instead of being deleted, "" where they are deleted.
    `follows_removals`: events of removals delete at the destination. `tags` is None where tags are left behind; `choice`, where
    all objects are chosen; `one_store`, where no store is to copy by itself."""

    job_id: str
    source: ObjectStore
    destination: ObjectStore
    mapping: KeyMapping
    options: CopyOptions
    delete_to: str = ""
    follows_removals: bool = False
    tags: TagCarrier | None = None
    choice: Choice | None = None
    one_store: OneStore | None = None

    async def tags_of(self, key: str, head: ObjectHead) -> Tags:
        """What the copy of the source's `key` is to carry."""
        return await self.tags.read(key, head) if self.tags else ()


OpenJob = Callable[[str], Awaitable[Job]]
"""The job of a run id. Raises WrongJob where this process was started for another; LedgerError for an unknown run."""


class Images(Protocol):
    """The images of one run, as one worker process copies them. Made once per run by `app`."""

    @property
    def at_once(self) -> int:
        """How many may be in flight in this process."""
        ...

    def refusal(self, message: ImageMessage) -> str:
        """Why the run's settings do not allow what the message asks for, "" where they do."""
        ...

    async def copy(self, message: ImageMessage, attempt: int) -> ImageEnd:
        """Bring the image and what refers to it. Raises NoSuchImage where the source has it no longer; any other DthError
        where it failed."""
        ...

    async def answers_nobody(self, message: ImageMessage) -> bool:
        """Whether the destination, or the job's own registry where the image is of it, can't be reached or lets nobody in."""
        ...

    def record(self, message: ImageMessage, ended: Ended) -> ImageRecord:
        """The report's line of an image that was not copied."""
        ...


OpenImages = Callable[[str], Awaitable[Images]]
"""The images of a run id; raises as `OpenJob`."""


@value
class Copied:
    """How a copy ended. FAILED never appears here: a copy that fails raises. SKIPPED says why in `note`. SPLIT has not
    ended: `parts` is the message that must be sent, once it is recorded, for all workers to move the object."""

    outcome: Outcome
    bytes: int
    source_etag: str
    dest_etag: str
    verified_by: VerifiedBy | None
    note: str = ""
    parts: PartsMessage | None = None


@value
class Ended:
    """One entry after its turn. `outcome` None means not final: `attempt` is the one that comes next. `copied` is None
    where the copy raised; SPLIT doesn't count here: its upload's end counts it, and its parts are what remains."""

    outcome: Outcome | None
    attempt: int
    copied: Copied | None = None
    error_code: str = ""
    error: str = ""

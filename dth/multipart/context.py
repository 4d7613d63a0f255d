"""What moving a large object needs from whoever wants it moved."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Protocol

from dth.errors import BodyMismatch, DigestRefused, DthError, LeaseLost, Throttled, TimedOut, TransferError
from dth.events import Emit, Notice
from dth.ledgers.base import Ledger
from dth.model import ObjectHead
from dth.multipart.checksum import Crc
from dth.states import VerifiedBy
from dth.stores.base import Capabilities, ObjectStore, PutOptions, Reader
from dth.values import value


class Budget(Protocol):
    """Memory for bodies; see `flow.budget`."""

    @property
    def total(self) -> int:
        """All there is, in bytes."""
        ...

    def reserve(self, size: int) -> AbstractAsyncContextManager[Any]:
        """Hold `size` bytes while the block runs. Never two at once by one task."""
        ...


class Slots(Protocol):
    """Requests in flight; see `flow.limiter`."""

    def slot(self, size: int = 0) -> AbstractAsyncContextManager[Any]:
        """One object or part in flight while the block runs."""
        ...

    def throttled(self, retry_after: float | None = None) -> None:
        """A store asked to slow down."""
        ...


class Flow(Protocol):
    """The two bounds. They are taken in this order everywhere, slot then budget, so that none waits in a ring."""

    @property
    def limiter(self) -> Slots:
        """Requests in flight."""
        ...

    @property
    def budget(self) -> Budget:
        """Memory."""
        ...


@value
class UploadContext:
    """Where an upload runs. `owner` is unique to this attempt, so that two deliveries of one message, be it in one
    process, never share an upload; `lease_until` says (epoch seconds) how long it may be held from now."""

    job_id: str
    run_id: str
    owner: str
    lease_until: Callable[[], float]
    source: Reader
    destination: ObjectStore
    budget: Budget
    limiter: Slots
    ledger: Ledger
    emit: Emit

    @property
    def limits(self) -> Capabilities:
        """The destination's, with parts no larger than the memory where a part must be held whole (its chunks and their
        sum stand side by side for a moment)."""
        theirs = self.destination.capabilities
        if not theirs.needs_payload_hash:
            return theirs
        return replace(theirs, part_max=min(theirs.part_max, max(theirs.part_min, self.budget.total // 2)))


@value
class UploadTask:
    """One large object: which generation of it (`head`, from a HEAD pinned to it), where to, and with what.

    `part_size` 0 lets the plan choose. `crc` names the checksum to compute over every part and to join to the whole's,
    "" for none; `answer` one more that the destination answers with (`md5`: as its ETag); `digest` the one of which the
    source's composite checksum is made. `source_part` is the size of the source's own parts, as the source told, 0 where
    it is not known; `etag_binds`: its ETag is made of the MD5s of those. `doubted` is an ETag that the parts of an earlier
    attempt gave, and that the source contradicted. `by_store`: the destination copies each part by itself.
    """

    source_key: str
    dest_key: str
    head: ObjectHead
    options: PutOptions
    part_size: int
    crc: str
    answer: str = ""
    digest: str = ""
    source_part: int = 0
    etag_binds: bool = False
    doubted: str = ""
    by_store: bool = False

    @property
    def sums(self) -> tuple[str, ...]:
        """All checksums to compute over each part."""
        return tuple(name for name in (self.crc, self.answer, self.digest) if name)


@value
class Uploaded:
    """A completed upload: the destination's ETag, our checksum over all that was sent (None where some parts were kept
    from an earlier attempt, or none was asked for), and what is proven so far."""

    etag: str
    crc: Crc | None
    verified_by: VerifiedBy


class UploadOwned(LeaseLost):
    """Another worker is at this very upload. Give the entry back, without counting a failure, until `until`."""

    code = "upload_owned"

    def __init__(self, message: str, until: float) -> None:
        super().__init__(message)
        self.until = until


def slow_down(limiter: Slots, emit: Emit | None = None) -> Callable[[DthError, int], None]:
    """For `retrying`: tells the limiter of an answer, or a silence, that asks for less, and people of bytes that did not
    arrive as they were."""

    def on_retry(error: DthError, _tried: int) -> None:
        if isinstance(error, Throttled):
            limiter.throttled(error.retry_after)
        elif isinstance(error, TimedOut):
            limiter.throttled()
        elif isinstance(error, BodyMismatch | DigestRefused) and emit is not None:
            emit(Notice("warning", "sent_again", str(error)))

    return on_retry


class PartsDiffer(BodyMismatch):
    """The parts arrived, and are not those that the source's own ETag or checksum of parts is made of. `made` is what the
    arrived ones make."""

    code = "parts_differ"

    def __init__(self, message: str, made: str) -> None:
        super().__init__(message)
        self.made = made


class DestinationExists(TransferError):
    """no_clobber: the destination holds the key already."""

    code = "destination_exists"

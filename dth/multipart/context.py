"""What moving a large object needs from whoever wants it moved."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from dth.errors import DthError, LeaseLost, Throttled, TimedOut, TransferError
from dth.events import Emit
from dth.ledgers.base import Ledger
from dth.model import ObjectHead
from dth.multipart.checksum import Crc
from dth.states import VerifiedBy
from dth.stores.base import ObjectStore, PutOptions, Reader


class Budget(Protocol):
    """Memory for bodies; see `worker.budget`."""

    def reserve(self, size: int) -> AbstractAsyncContextManager[Any]:
        """Hold `size` bytes while the block runs. Never two at once by one task."""
        ...


class Slots(Protocol):
    """Requests in flight; see `worker.limiter`."""

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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class UploadTask:
    """One large object: which generation of it (`head`, from a HEAD pinned to it), where to, and with what.

    `part_size` 0 lets the plan choose. `crc` names the checksum to compute over every part, "" for none.
    """

    source_key: str
    dest_key: str
    head: ObjectHead
    options: PutOptions
    part_size: int
    crc: str


@dataclass(frozen=True, slots=True)
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


def slow_down(limiter: Slots) -> Callable[[DthError, int], None]:
    """For `retrying`: tells the limiter of an answer, or a silence, that asks for less."""

    def on_retry(error: DthError, _tried: int) -> None:
        if isinstance(error, Throttled):
            limiter.throttled(error.retry_after)
        elif isinstance(error, TimedOut):
            limiter.throttled()

    return on_retry


class DestinationExists(TransferError):
    """no_clobber: the destination holds the key already."""

    code = "destination_exists"

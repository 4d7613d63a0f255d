"""What a copy runs with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dth.events import Emit
from dth.flow.budget import ByteBudget
from dth.flow.limiter import Limiter
from dth.ledgers.base import Ledger
from dth.messages import ObjectsMessage
from dth.transfer.job import Job


@dataclass(frozen=True, slots=True)
class CopyContext:
    """One delivery's surroundings. `process` names this worker process; `lease_until` says (epoch seconds) until when the
    message is held, extensions included; `redelivered`: somebody may have copied the object already. `stands_for`: the
    object may be shared among all workers, and its upload will then stand for this message of one entry."""

    job: Job
    run_id: str
    process: str
    budget: ByteBudget
    limiter: Limiter
    ledger: Ledger
    emit: Emit
    lease_until: Callable[[], float]
    redelivered: bool
    stands_for: ObjectsMessage | None = None

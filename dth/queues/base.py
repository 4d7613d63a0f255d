"""What the engine asks of a queue: at-least-once delivery under leases. Written so that SQS fits as well as SQLite.

A queue delivers a message again whenever its lease ends unacknowledged; it may deliver it twice at any time, in any
order. Bodies are ASCII text of at most `message_bytes`. A queue may hold messages of several jobs and foreign ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dth.values import value


@value
class Delivery:
    """One message under lease. `receipt` proves the lease and is new with every delivery; `deliveries` counts them,
    this one included; `leased_at` is `time.monotonic()` at receipt, from which the lease runs.
    `name` is the queue's own of the message, the same at every delivery; `sent_at` is when it was sent, in seconds since the
    epoch, 0 where the queue does not tell."""

    body: str
    receipt: str
    deliveries: int
    leased_at: float
    lease_seconds: float
    name: str = ""
    sent_at: float = 0.0


@value
class QueueDepth:
    """Messages waiting, under lease, and in the dead letters. `exact` is False where the service only estimates;
    `oldest_seconds` is how long the oldest of those waiting has done so, None where there is none, or nobody can know."""

    visible: int
    leased: int
    dead: int
    exact: bool
    oldest_seconds: float | None = None


@value
class DeadLetter:
    """A message that was given up, with the reason. `receipt` removes it."""

    body: str
    reason: str
    receipt: str


def worn_out(receive_limit: int) -> str:
    """Why a message that was delivered so often is a dead letter."""
    return f"delivered {receive_limit} times and never finished"


class Queue(Protocol):
    """A queue and its dead letters. Every call is safe from several tasks of one process.

    A message that has been delivered as often as its receive limit says is not delivered again: it goes to the dead letters.
    """

    @property
    def message_bytes(self) -> int:
        """Largest body, and largest sum of a batch."""
        ...

    async def send(self, bodies: Sequence[str]) -> None:
        """Send all, in batches as the service takes them; entries that a batch call refuses are sent again a bounded
        number of times. Raises QueueError naming what was not sent; the rest was."""
        ...

    async def receive(self, limit: int, wait_seconds: float) -> list[Delivery]:
        """Up to `limit` messages, waiting up to `wait_seconds` for the first; [] where none came. Their leases run
        from now for the queue's lease time. Cancelling loses nothing: what was leased comes back when its lease ends."""
        ...

    async def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> list[Delivery]:
        """Let the leases run `lease_seconds` from now. Returns those that are lost."""
        ...

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Done for good. Acknowledging a lost lease is no error and removes nothing that another holds."""
        ...

    async def release(self, deliveries: Sequence[Delivery], delay_seconds: float = 0.0) -> None:
        """Give back, visible again after `delay_seconds`. A lost lease is no error."""
        ...

    async def bury(self, bodies: Sequence[tuple[str, str]]) -> None:
        """Put (body, reason) pairs into the dead letters."""
        ...

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Look at up to `limit` dead letters, without losing them if the caller dies."""
        ...

    async def forget(self, letters: Sequence[DeadLetter]) -> None:
        """Remove dead letters."""
        ...

    async def depth(self) -> QueueDepth:
        """How much is there."""
        ...

    async def close(self) -> None:
        """Release files and connections."""
        ...


class Reclaimable(Protocol):
    """An embedded queue knows who holds a lease, so that the leases of a process known to be dead end at once."""

    async def reclaim(self, owner: str | None = None) -> int:
        """End the leases of `owner` (of everyone: None); returns how many."""
        ...

    async def owners(self) -> set[str]:
        """Who holds a lease."""
        ...

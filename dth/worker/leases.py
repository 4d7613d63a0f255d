"""The messages that a worker process has in its hands, and the heartbeat that keeps them there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dth.errors import QueueError
from dth.events import Emit, Notice
from dth.queues.base import Delivery, Queue


@dataclass(slots=True, eq=False)
class Held:
    """One leased message. `until` is when its lease ends and `hand_over_at` when it must have left us, both in
    `time.monotonic()` seconds; `entries_left` have not ended here; `window`, while its entries are copied, is the timeout that cuts them off."""

    delivery: Delivery
    until: float
    hand_over_at: float
    entries_left: int = 0
    window: asyncio.Timeout | None = None
    lost: bool = False

    @property
    def redelivered(self) -> bool:
        """Whether somebody may have worked on it before."""
        return self.delivery.deliveries > 1

    def lease_until(self) -> float:
        """When the lease ends, in epoch seconds, extensions so far included."""
        return time.time() + self.until - time.monotonic()


class Leases:
    """Extends every held lease from receipt on, each time by the same constant.

    The beat comes every third of a lease, so one that fails is made up for; a growing extension would hide a dead
    worker's messages for hours. After `cap_seconds` a queue refuses extensions (SQS: 12 hours since receipt); one lease
    before that is `Held.hand_over_at`. A lost lease isn't extended again; its work goes on, because whoever records
    first decides.
    """

    def __init__(self, queue: Queue, lease_seconds: float, cap_seconds: float, emit: Emit) -> None:
        self._queue = queue
        self._lease_seconds = lease_seconds
        self._hold_seconds = max(cap_seconds - lease_seconds, cap_seconds / 2)
        self._emit = emit
        self._held: dict[str, Held] = {}
        self._shortest = lease_seconds
        self._hurry = asyncio.Event()
        self._drain_at: float | None = None

    def __len__(self) -> int:
        return len(self._held)

    @property
    def deliveries(self) -> list[Delivery]:
        """All that is held."""
        return [held.delivery for held in self._held.values()]

    def take(self, deliveries: Sequence[Delivery]) -> list[Held]:
        """Hold these from now on."""
        taken = [
            Held(d, until=d.leased_at + d.lease_seconds, hand_over_at=d.leased_at + self._hold_seconds)
            for d in deliveries
        ]
        for held in taken:
            self._held[held.delivery.receipt] = held
            if held.delivery.lease_seconds < self._shortest:  # the queue's own lease is shorter than ours
                self._shortest = held.delivery.lease_seconds
                self._hurry.set()
        return taken

    def drop(self, held: Held) -> None:
        """It has been acknowledged or given back."""
        self._held.pop(held.delivery.receipt, None)

    def window(self, held: Held) -> asyncio.Timeout:
        """The time that copying this message's entries may take: until hand-over, or until the drain ends."""
        when = self._loop_time(held.hand_over_at)
        if self._drain_at is not None:
            when = min(when, self._drain_at)
        held.window = asyncio.timeout_at(when)
        return held.window

    def drain(self, grace_seconds: float) -> None:
        """Cut off what has not ended after `grace_seconds`."""
        self._drain_at = asyncio.get_running_loop().time() + grace_seconds
        for held in self._held.values():
            window = held.window
            if window is not None and (when := window.when()) is not None and when > self._drain_at:
                window.reschedule(self._drain_at)

    async def keep(self) -> None:
        """The heartbeat; runs until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._shortest / 3):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._hurry.clear()
            await self._beat()

    async def _beat(self) -> None:
        beating = [held for held in self._held.values() if not held.lost]
        if not beating:
            return
        now = time.monotonic()
        try:
            lost = await self._queue.extend([held.delivery for held in beating], self._lease_seconds)
        except QueueError as error:
            self._emit(Notice("warning", "heartbeat_failed", f"leases were not extended, next try follows: {error}"))
            return
        gone = {delivery.receipt for delivery in lost}
        for held in beating:
            if held.delivery.receipt in gone:
                held.lost = True
            else:
                held.until = now + self._lease_seconds

    @staticmethod
    def _loop_time(monotonic: float) -> float:
        # The loop's clock is its own (uvloop rounds to milliseconds), so only distances are carried over.
        return asyncio.get_running_loop().time() + monotonic - time.monotonic()

"""Planning one range: list both sides, join them, hand on each change once, whatever the listings turn out to be.

**When a listing turns out to be unordered in the middle**, what was joined until then may be wrong in two ways only. A key
of the destination that comes late was taken for missing: it was handed on and will be copied once too often. A key of the
source that comes late was not seen yet. Neither loses anything: a pair that was found equal was equal. So the range starts
again, with that side sorted, and its changes pass by the keys handed on already (`Accepted`): each key is handed on, and
counted, once. What was counted of the listings themselves (objects, extras) is counted anew, so no extra is reported, or
later deleted, on the word of a listing that is not whole. A side can turn out unordered once, so there are three attempts
at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from dth.errors import DthError
from dth.finder.accepted import Accepted
from dth.finder.compare import Decide
from dth.finder.diff import Batch, diff, uncompared
from dth.finder.listing import Disorder, Feed, Listing
from dth.model import Change, KeyMapping
from dth.states import Reason


@dataclass(slots=True)
class Tally:
    """What a range gave so far. `found` and `reasons` count what was handed on for sending; the rest counts the listings
    and `needs_restore` what would be sent were it not archived."""

    found: int = 0
    found_bytes: int = 0
    reasons: dict[Reason, int] = field(default_factory=dict)
    compared: int = 0
    dest_objects: int = 0
    extra: int = 0
    needs_restore: int = 0

    def list_anew(self) -> None:
        """The listings begin again; what was handed on stays handed on."""
        self.compared = self.dest_objects = self.extra = self.needs_restore = 0

    def count(self, changes: Sequence[Change]) -> None:
        """Add changes that are handed on for sending."""
        for change in changes:
            self.found_bytes += change.entry.size
            self.reasons[change.reason] = self.reasons.get(change.reason, 0) + 1
        self.found += len(changes)


Accept = Callable[[Sequence[Change]], Awaitable[None]]
"""Takes changes in key order, called for each batch, also with none. ARCHIVED ones are to be reported, not sent."""


@dataclass(frozen=True, slots=True)
class RangePlan:
    """One range of both sides. `destination` None compares with nothing: every object is a change."""

    source: Listing
    destination: Listing | None
    mapping: KeyMapping
    decide: Decide
    accepted: Accepted
    tally: Tally
    accept: Accept

    async def run(self) -> None:
        """Hand on every change of the range, each key once. Raises the first error of a listing or of `accept`."""
        try:
            while not await self._attempt():
                self.tally.list_anew()
                await self.accepted.restart()
        finally:
            self.accepted.close()
            self.source.close()
            if self.destination:
                self.destination.close()

    async def _attempt(self) -> bool:
        """False where a side turned out to be unordered: start again."""
        try:
            async with asyncio.TaskGroup() as tasks:
                pumps = []
                source = Feed()
                pumps.append(tasks.create_task(source.fill(self.source.pages())))
                if self.destination:
                    destination = Feed()
                    pumps.append(tasks.create_task(destination.fill(self.destination.pages())))
                    batches = diff(source, destination, self.mapping, self.decide)
                else:
                    batches = uncompared(source)
                await self._hand_on(batches)
                for pump in pumps:
                    pump.cancel()  # ended by now, or not needed any more
        except BaseExceptionGroup as group:
            error = first_error(group)
            if isinstance(error, Disorder):
                return False
            raise error from error.__cause__
        return True

    async def _hand_on(self, batches: AsyncIterator[Batch]) -> None:
        tally = self.tally
        remember = self.source.ordered or (self.destination is not None and self.destination.ordered)
        async for batch in batches:
            tally.compared += batch.source_objects
            tally.dest_objects += batch.destination_objects
            tally.extra += len(batch.extras)
            tally.needs_restore += sum(change.reason is Reason.ARCHIVED for change in batch.changes)
            fresh = await self.accepted.fresh(batch.changes, remember=remember)
            tally.count([change for change in fresh if change.reason is not Reason.ARCHIVED])
            await self.accept(fresh)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error in a group that a person should read: the first of ours, else the first."""
    leaves = list(_leaves(group))
    return next((leaf for leaf in leaves if isinstance(leaf, DthError)), leaves[0])


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]

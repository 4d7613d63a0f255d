"""Planning one range: join both sides' listings, and hand on each change once.

**When a listing turns out to be unordered in the middle**, what was joined until then may be wrong in two ways only. A key
of the destination that comes late was taken for missing: it was handed on and will be copied once too often. A key of the
source that comes late was not seen yet. Neither loses anything: a pair that was found equal was equal. So everything starts
again (`finder.attempts`), with that side sorted, and changes pass by the keys handed on already (`Accepted`): each key is
handed on, and counted, once. What was counted of the listings themselves (objects, extras) is counted anew, so no extra is
reported, or later deleted, on the word of a listing that is not whole.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from dth.columns import Uniform
from dth.error_groups import first_error
from dth.finder.compare import Alike, Decide
from dth.finder.dedup import Accepted
from dth.finder.diff import Batch, diff, uncompared
from dth.finder.listing import Feed, Listing
from dth.finder.select import Selection
from dth.model import Change, Entry, KeyMapping
from dth.states import Reason, Side
from dth.values import value


@dataclass(slots=True)
class Tally:
    """What a run gave so far. `found` and `reasons` count what was handed on for sending; the rest counts the listings
    and `needs_restore` what would be sent were it not archived; `needs_restore_behind` those of them that lie behind what
    ranges have reached. `undecided` pairs were kept although nothing proves them equal; of what needs to be restored,
    `restores_asked` were asked for now, the others before (`restores_under_way`), or could not be (`restores_failed`)."""

    found: int = 0
    found_bytes: int = 0
    reasons: dict[Reason, int] = field(default_factory=dict)
    compared: int = 0
    dest_objects: int = 0
    extra: int = 0
    needs_restore: int = 0
    not_selected: int = 0
    needs_restore_behind: int = 0
    undecided: int = 0
    restores_asked: int = 0
    restores_under_way: int = 0
    restores_failed: int = 0

    def list_anew(self) -> None:
        """The listings begin again; what was handed on stays handed on."""
        self.compared = self.dest_objects = self.extra = self.not_selected = 0
        self.needs_restore = self.needs_restore_behind = self.undecided = 0
        self.restores_asked = self.restores_under_way = self.restores_failed = 0

    def count(self, changes: Sequence[Change]) -> None:
        """Add changes that are handed on for sending."""
        if isinstance(changes, Uniform):
            self.found_bytes += sum(map(int, changes.page.sizes))
            self.reasons[changes.reason] = self.reasons.get(changes.reason, 0) + len(changes)
            self.found += len(changes)
            return
        self.found_bytes += sum([change.entry[1] for change in changes])
        for reason, count in Counter([change.reason for change in changes]).items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count
        self.found += len(changes)


Accept = Callable[[Sequence[Change]], Awaitable[None]]
"""Takes changes in key order of one range, called for each batch, also with none; for several ranges at the same time.
ARCHIVED ones are to be reported, not sent."""


Settle = Callable[[Sequence[Change]], Awaitable[Sequence[Change]]]
"""Takes the changes of a batch in key order and returns those that stay, with their reasons. May see a key twice, where a
listing begins again."""


class Extras:
    """Where entries go that only the destination holds. This one keeps none: they are counted, nothing more.

    They come by range, named by the key after which it begins, in key order. A range's are certain only once it `ended`
    and every other range did too: until then `list_anew` may take all of them back.
    """

    async def take(self, after: str, entries: Sequence[Entry]) -> None:
        """Some more of a range."""

    async def ended(self, after: str) -> None:
        """The range is whole."""

    async def list_anew(self) -> None:
        """Nothing that was taken counts: the listings begin again."""


@value
class Decisions:
    """What all ranges of a run share: how keys map, what decides, where decisions go, and what is left out of them."""

    mapping: KeyMapping
    decide: Decide
    accepted: Accepted
    tally: Tally
    accept: Accept
    extras: Extras
    select: Selection | None = None
    settle: Settle | None = None
    alike: Alike | None = None


class RangePlan:
    """One range of both sides, once. Without a destination every object is a change. `ended` is called for each side as
    soon as it has listed its last page."""

    def __init__(
        self, decisions: Decisions, after: str, listings: Mapping[Side, Listing], ended: Callable[[Side], None]
    ) -> None:
        self._to = decisions
        self._after = after
        self._listings = listings
        self._ended = ended
        self._feeds = {side: Feed() for side in listings}
        self.reached = after
        """Without its side's prefix: every change up to here was accepted."""

    def shorten(self, until: Mapping[Side, str]) -> None:
        """End the range earlier; a bound for each side, beyond everything that was fetched."""
        for side, listing in self._listings.items():
            listing.shorten(until[side])

    def break_off(self, error: Exception) -> None:
        """End `run` with this error at the next point between two batches: nothing that was taken up is left half sent."""
        for feed in self._feeds.values():
            feed.break_off(error)

    async def run(self) -> None:
        """Hand on every change of the range, except those that earlier attempts handed on. Raises the first error of a
        listing or of `accept`; Disorder where a listing cannot be relied on."""
        try:
            async with asyncio.TaskGroup() as tasks:
                pumps = [
                    tasks.create_task(self._feeds[side].fill(listing.pages(), partial(self._ended, side)))
                    for side, listing in self._listings.items()
                ]
                await self._hand_on(self._batches())
                for pump in pumps:
                    pump.cancel()  # ended by now, or not needed any more
        except BaseExceptionGroup as group:
            error = first_error(group)
            raise error from error.__cause__
        await self._to.accepted.ended(self._after)
        await self._to.extras.ended(self._after)

    def _batches(self) -> AsyncIterator[Batch]:
        source, destination = self._feeds[Side.SOURCE], self._feeds.get(Side.DESTINATION)
        to = self._to
        if destination is None:
            return uncompared(source, to.mapping, to.select)
        return diff(source, destination, to.mapping, to.decide, to.select, to.alike)

    async def _hand_on(self, batches: AsyncIterator[Batch]) -> None:
        to, tally = self._to, self._to.tally
        remember = any(listing.ordered for listing in self._listings.values())
        async for batch in batches:
            tally.compared += batch.source_objects
            tally.dest_objects += batch.destination_objects
            tally.not_selected += batch.not_selected
            if batch.extras:
                tally.extra += len(batch.extras)
                await to.extras.take(self._after, batch.extras)
            changes: Sequence[Change] = batch.changes
            archived = 0
            one_by_one = not isinstance(changes, Uniform)  # else none of them is open or archived
            if changes and to.settle and one_by_one:
                changes = await to.settle(changes)
            if changes:
                archived = [change.reason for change in changes].count(Reason.ARCHIVED) if one_by_one else 0
                tally.needs_restore += archived
                changes = await to.accepted.fresh(changes, remember=remember, after=self._after)
                tally.count([one for one in changes if one.reason is not Reason.ARCHIVED] if archived else changes)
            await to.accept(changes)
            tally.needs_restore_behind += archived
            self.reached = batch.last

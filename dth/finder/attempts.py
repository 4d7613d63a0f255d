"""Planning everything: in many ranges where both stores can, in one where they cannot, again where one of them misled us.

Ranges need a store that lists in order and begins where it is told to; both its profile's word and what is seen count. The
first listing that belies the word ends the attempt in ranges, because what other ranges have seen of that store is worth no
more: from then on everything is one range, with the unordered side sorted on disk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from dth.error_groups import first_error
from dth.events import Emit
from dth.finder.listing import Disorder, Fetched, Listing
from dth.finder.parallel import Parallel
from dth.finder.plan import Decisions, RangePlan
from dth.finder.ranges import EVERYTHING, KeyRange, Share, on_side
from dth.states import Side
from dth.stores.base import Lister


class Attempts:
    """Plans all of `bounds`. `destination` None compares with nothing. `misled` is awaited before everything starts again."""

    def __init__(
        self,
        source: Lister,
        destination: Lister | None,
        decisions: Decisions,
        *,
        listers: int,
        sort_memory: int,
        sort_directory: str,
        emit: Emit,
        bounds: KeyRange = EVERYTHING,
        misled: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        mapping = decisions.mapping
        self._sides = {Side.SOURCE: (source, mapping.source_prefix)}
        if destination:
            self._sides[Side.DESTINATION] = (destination, mapping.dest_listing_prefix)
        self._decisions = decisions
        self._listers = listers
        self._sort_memory = sort_memory
        self._sort_directory = sort_directory
        self._emit = emit
        self._bounds = bounds
        self._unordered: set[Side] = set()
        self._whole: dict[Side, Listing] = {}
        self._misled = misled
        self._begin: Sequence[KeyRange] = (bounds,)
        self._parallel: Parallel | None = None
        self.in_ranges = listers > 1 and all(
            lister.capabilities.ordered and lister.capabilities.start_after for lister, _ in self._sides.values()
        )
        """Whether both stores vouch for what ranges need, and none has been seen to break its word."""

    def begin_at(self, ranges: Sequence[KeyRange]) -> None:
        """Plan only these, which don't overlap; but all of `bounds` once a listing has misled us."""
        self._begin = ranges

    def left(self) -> list[KeyRange]:
        """While `in_ranges`: ranges that hold every key that was not handed on yet, and few besides."""
        return self._parallel.left() if self._parallel else list(self._begin)

    async def run(self) -> None:
        """Hand on every change, each key once. Raises the first error of a listing or of `accept`."""
        try:
            while not await self._attempt():
                self.in_ranges = False
                if self._misled:
                    await self._misled()
                self._decisions.tally.list_anew()
                await self._decisions.extras.list_anew()
                await self._decisions.accepted.restart()
        finally:
            self._decisions.accepted.close()
            for listing in self._whole.values():
                listing.close()

    async def _attempt(self) -> bool:
        """False where a side misled us: start again."""
        try:
            if self.in_ranges:
                prefixes = {side: prefix for side, (_, prefix) in self._sides.items()}
                self._parallel = Parallel(self._listers, prefixes, self._open)
                await self._parallel.run(self._begin)
            else:
                await self._in_one()
        except BaseExceptionGroup as group:
            error = first_error(group)
            raise error from error.__cause__
        except Disorder as disorder:
            if disorder.unordered:
                self._unordered.add(disorder.unordered)
            return False
        return True

    async def _in_one(self) -> None:
        """One range. Its listings are kept: what was sorted once is not listed and sorted again."""
        if not self._whole:
            self._whole = {side: self._listing(side, self._bounds, None) for side in self._sides}
        for side in self._unordered:
            self._whole[side].ordered = False
        plan = RangePlan(self._decisions, self._bounds.after, self._whole, lambda _: None)
        await plan.run()

    def _open(self, share: Share, fetched: dict[Side, Fetched], ended: Callable[[Side], None]) -> RangePlan:
        listings = {side: self._listing(side, share.bounds, fetched[side]) for side in self._sides}
        return RangePlan(self._decisions, share.after, listings, ended)

    def _listing(self, side: Side, bounds: KeyRange, fetched: Fetched | None) -> Listing:
        lister, prefix = self._sides[side]
        own = on_side(bounds, prefix)
        return Listing(lister, side, prefix, own, self._sort_memory, self._sort_directory, self._emit, fetched)

"""Listing one range with several listers: whoever has nothing to do takes a part of the range that has most left.

Parent and child change in one step of the event loop: the parent's bound comes down and the child exists, or neither. The
new bound lies beyond every key that either side has fetched of the parent, so no key was taken up by the parent that the
child will take up again; a page of the parent that is on its way is cut at the new bound when it arrives.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from dth.finder.listing import Disorder, Fetched
from dth.finder.plan import RangePlan
from dth.finder.ranges import FULL_PAGE, KeyRange, Letters, Share, on_side, resting_place
from dth.states import Side

Open = Callable[[Share, dict[Side, Fetched], Callable[[Side], None]], RangePlan]
"""The plan of a range; its listings are to tell of each page (by side), and of each side's end."""


class Parallel:
    """All ranges of one attempt. `prefixes` are the sides' own, cut off from keys here.

    `run` returns when every key of the ranges was handed on. Where one range's listing raises Disorder, all others stop
    between two batches, and `run` raises it; any other error cancels them.
    """

    def __init__(self, listers: int, prefixes: dict[Side, str], open_range: Open) -> None:
        self._listers = listers
        self._prefixes = prefixes
        self._open = open_range
        self._room = 1024 - max(len(prefix.encode("utf-8", "surrogateescape")) for prefix in prefixes.values())
        self._letters = Letters()
        self._full = dict.fromkeys(Side, FULL_PAGE)
        self._plans: dict[Share, RangePlan] = {}  # never more than listers
        self._later: deque[KeyRange] = deque()  # begun as listers get free
        self._waiting: asyncio.Queue[Share | None] = asyncio.Queue(2 * listers)
        self._broken: Disorder | None = None

    async def run(self, ranges: Sequence[KeyRange]) -> None:
        """Hand on all of them; they don't overlap."""
        self._later.extend(ranges)
        while self._later and len(self._plans) < self._listers:
            self._add(self._later.popleft())
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._listers):
                tasks.create_task(self._lister())
        if self._broken:
            raise self._broken

    async def _lister(self) -> None:
        while share := await self._waiting.get():
            try:
                if not self._broken:
                    await self._plans[share].run()
            except Disorder as error:
                self._broken = self._broken or error
                for plan in self._plans.values():
                    plan.break_off(error)
            del self._plans[share]
            if self._later and not self._broken:
                self._add(self._later.popleft())
            if self._plans:
                self._hand_out()
            else:
                for _ in range(self._listers):
                    self._waiting.put_nowait(None)

    def left(self) -> list[KeyRange]:
        """Ranges that hold every key that was not handed on yet, and few besides."""
        begun = [
            KeyRange(max(share.after, resting_place(plan.reached, self._room)), share.until)
            for share, plan in self._plans.items()
        ]
        return begun + list(self._later)

    def _add(self, bounds: KeyRange) -> None:
        share = Share(bounds, self._room)
        for side in Side:
            if side not in self._prefixes:
                share.ended(side)
        fetched = {side: self._fetched(share, side, prefix) for side, prefix in self._prefixes.items()}
        self._plans[share] = self._open(share, fetched, share.ended)
        self._waiting.put_nowait(share)

    def _fetched(self, share: Share, side: Side, prefix: str) -> Fetched:
        cut, before = len(prefix), 0

        def fetched(first: str, last: str, count: int) -> None:
            nonlocal before
            if before:
                self._full[side] = min(self._full[side], before)  # such a page was followed by another
            before = count
            first, last = first[cut:], last[cut:]
            share.fetched(side, first, last, full=count >= self._full[side])
            self._letters.learn(first)
            self._letters.learn(last)
            self._hand_out()

        return fetched

    def _hand_out(self) -> None:
        """Give every idle lister a range, as long as there is one worth cutting."""
        shares = list(self._plans)
        while len(self._plans) < self._listers and shares and not self._broken:
            share = max(shares, key=self._urgency)
            parts = share.cut(self._letters, self._listers - len(self._plans))
            if not parts:
                shares.remove(share)
                continue
            self._plans[share].shorten(
                {side: on_side(share.bounds, prefix).until for side, prefix in self._prefixes.items()}
            )
            for part in parts:
                self._add(part)

    def _urgency(self, share: Share) -> float:
        return share.left(self._letters)

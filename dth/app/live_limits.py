"""Keeps the limits of one machine's workers as the job's row says, and its part of the bandwidth as the fleet divides it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from dth.children import Children
from dth.errors import LedgerError, SettingsError
from dth.events import Emit, Event, InFlight, Notice
from dth.flow.limits import ROW, Limits
from dth.flow.shares import Rates, Shares
from dth.ledgers.base import Ledger
from dth.text import printable

LOOK_SECONDS = 2.0
SHARE = "share/"
"""How the names of the notes begin that hold the words of machines (`flow.shares`)."""

BUSY_SECONDS = 5.0  # a process counts as at work for so long after it last held something, or began


class LiveLimits:
    """`machine` names this command in the ledger. `most`, `bandwidth` (0: no limit) and `number` (objects in flight) are what
    the command was given."""

    def __init__(
        self,
        ledger: Ledger,
        job_id: str,
        machine: str,
        emit: Emit,
        *,
        most: int,
        bandwidth: int,
        number: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._job_id = job_id
        self._machine = machine
        self._emit = emit
        self._own = (most, bandwidth, number)
        self._clock = clock
        self._shares = Shares(machine)
        self._limits = Limits()
        self._rates: Rates | None = None
        self._text = ""
        self._bad = ""
        self._busy: dict[str, float] = {}
        self._told: dict[str, tuple[str, ...]] = {}
        self._has_share = False

    def heard(self, event: Event) -> None:
        """Which processes hold something."""
        if isinstance(event, InFlight) and event.objects:
            self._busy[event.process] = time.monotonic()

    @property
    def most(self) -> int:
        """How many workers may run here now."""
        return 0 if self._limits.paused else self._limits.processes or self._own[0]

    def orders(self, name: str = "") -> tuple[str, ...]:
        """What a worker is told now; one without a name has not begun."""
        _, bandwidth, number = self._own
        rate = max(1, bandwidth // max(1, self.most)) if bandwidth else 0
        if self._rates:
            rate = self._rates.busy if self._is_busy(name) else self._rates.idle
        wanted = self._limits.worker_number
        return f"rate {rate}", f"number {number if wanted is None else wanted}"

    async def keep(self, children: Children) -> None:
        """Look every `LOOK_SECONDS` until cancelled; at the end this machine's part is given back."""
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                await self.look(children)
        finally:
            if self._has_share:
                await asyncio.shield(self._give_back())

    async def look(self, children: Children) -> None:
        """Read the row, renew this machine's word, and tell the workers what changed. Without an answer of the ledger, what
        held before holds."""
        try:
            await self._read()
            await self._divide(children)
        except LedgerError as error:
            self._note("warning", error.code, f"the limits of job {self._job_id} cannot be read: {error}")
        children.most = self.most
        children.orders = self.orders
        told, self._told = self._told, {child.name: self.orders(child.name) for child in children.staying}
        for child in children.staying:
            for order in self._told[child.name]:
                if order not in told.get(child.name, ()):
                    child.order(order)

    async def _read(self) -> None:
        text = await self._ledger.get_note(self._job_id, ROW) or ""
        if text == self._text:
            return
        try:
            limits = Limits.from_json(text) if text else Limits()
        except SettingsError as error:
            if text != self._bad:
                self._bad = text
                why = printable(str(error), limit=300)
                self._note(
                    "warning",
                    "limits_unreadable",
                    f"the limits of job {self._job_id} cannot be read, so those before stay: {why}; `dth limit --reset` "
                    "writes them anew",
                )
            return
        if limits.paused != self._limits.paused:
            text_ = "paused: what is in flight is finished, nothing new begins; go on with `dth limit --resume`"
            self._note("info", "paused" if limits.paused else "resumed", text_ if limits.paused else "resumed")
        self._text, self._bad, self._limits = text, "", limits

    async def _divide(self, children: Children) -> None:
        """Renew this machine's part of the bandwidth, where there is one to divide."""
        timetable = self._limits.timetable()
        rate = timetable.rate_at(self._clock()) if timetable else 0
        if not rate:
            self._rates = Rates(0, 0) if timetable else None  # off: no limit, whatever the command was given
            if self._has_share:
                await self._give_back()
            return
        busy, idle = self._count(children)
        self._has_share = True
        await self._ledger.put_note(self._job_id, SHARE + self._machine, self._shares.say(busy, idle).to_json())
        for dead in self._shares.hear(await self._ledger.notes(self._job_id, SHARE)):
            await self._ledger.put_note(self._job_id, SHARE + dead, "")
        self._rates = self._shares.divide(rate, busy, idle)

    def _count(self, children: Children) -> tuple[int, int]:
        """Workers at work, and others: those too that have yet to begin."""
        names = [child.name for child in children.staying]
        self._busy = {name: self._busy.get(name, time.monotonic()) for name in names}
        busy = sum(map(self._is_busy, names))
        return busy, max(self.most, len(names)) - busy

    def _is_busy(self, name: str) -> bool:
        return time.monotonic() - self._busy.get(name, 0.0) < BUSY_SECONDS

    async def _give_back(self) -> None:
        self._has_share = False
        try:
            await self._ledger.put_note(self._job_id, SHARE + self._machine, "")
        except LedgerError as error:
            self._note("info", error.code, f"this machine's part of the bandwidth ends by itself: {error}")

    def _note(self, level: str, code: str, text: str) -> None:
        self._emit(Notice(level, code, text))

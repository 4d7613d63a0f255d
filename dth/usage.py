"""What one process tells the ledger of itself every few seconds, so that who looks from outside knows it: `stats.ProcessRow`.

Requests are counted by store, and a store serves all runs of the same settings: what was asked since the last look belongs
to the run that this process met last.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dth.errors import LedgerError
from dth.events import BytesMoved, Emit, Event, ListingProgress, Moved, Requests, RunSealed, Vitals
from dth.ledgers.base import Ledger
from dth.states import Side
from dth.stats import Lag, ProcessRow, ProcessState, bucket_of
from dth.values import value

BEAT_SECONDS = 5.0  # between two rows while something changes
BEAT_MESSAGES = (
    3  # or after so many recorded ones, each of which writes more than a row does: what a killed process loses
)
SHORTEST_SECONDS = 0.1
SAID_SECONDS = 2.0  # between two events of requests
ENDING_SECONDS = 5.0  # at the end nobody waits for a ledger that does not answer
IDLE_BEATS = 6  # while nothing changes, one of so many beats is written
LOST_SECONDS = 2.5 * IDLE_BEATS * BEAT_SECONDS  # a process that has been silent for so long is taken for dead
RATE_SECONDS = 15.0  # rates are means over so long
LAG_SLOTS, LAG_SLOT_SECONDS = 12, 300.0  # event lags are of the last hour, forgotten five minutes at a time
RUNS_KEPT = 20  # of each process; what it has said of older ones stays in the ledger


class Asked(Protocol):
    """A side that counts what is asked of it."""

    @property
    def requests(self) -> Mapping[str, int]:
        """By operation."""
        ...

    @property
    def retries(self) -> Mapping[str, int]:
        """By cause."""
        ...

    @property
    def priced_region(self) -> str:
        """AWS's region, "" elsewhere."""
        ...


@value
class Hands:
    """What a process has in its hands at the moment, how much its limiter lets it have, and how often a store made it slow
    down so far."""

    objects: int
    bytes: int
    draining: bool
    limit: int = 0
    throttles: int = 0


class _Lags:
    """Event lags of the last hour."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slots: deque[tuple[float, Counter[int]]] = deque(maxlen=LAG_SLOTS)
        self._last = (0.0, 0.0)

    def note(self, seconds: float) -> None:
        now = self._clock()
        if not self._slots or now >= self._slots[-1][0] + LAG_SLOT_SECONDS:
            self._slots.append((now, Counter()))
        self._slots[-1][1][bucket_of(seconds)] += 1
        self._last = (seconds, now)

    def lag(self) -> Lag | None:
        if not self._slots:
            return None
        oldest = self._clock() - LAG_SLOTS * LAG_SLOT_SECONDS
        sketch: Counter[int] = Counter()
        for began, counts in self._slots:
            if began >= oldest:
                sketch += counts
        return Lag(*self._last, dict(sketch))


def _by_side() -> dict[str, Counter[str]]:
    return {side.value: Counter() for side in (Side.SOURCE, Side.DESTINATION)}


@dataclass(slots=True)
class _Run:
    """What this process has done for one run."""

    began: float
    lags: _Lags
    requests: dict[str, Counter[str]] = field(default_factory=_by_side)
    retries: dict[str, Counter[str]] = field(default_factory=_by_side)
    regions: dict[str, str] = field(default_factory=dict)
    moved: int = 0
    bytes: int = 0
    parts: int = 0  # bytes of objects still under way
    listed: tuple[int, int] = (0, 0)
    found: int = 0
    found_bytes: int = 0
    not_selected: int = 0


@dataclass(slots=True)
class _Stores:
    """The two sides of a job, with what they had been asked when last looked at, and for which run that was."""

    sides: tuple[Asked, Asked]
    run_id: str
    seen: tuple[tuple[Counter[str], Counter[str]], ...] = ()


class Usage:
    """Counts for one process. `role` is `worker` or `finder`."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        job_id: str,
        process: str,
        role: str,
        emit: Emit,
        hands: Callable[[], Hands],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._job_id = job_id
        self._process = process
        self._role = role
        self._emit = emit
        self._hands = hands
        self._clock = clock
        self._began = clock()
        self._runs: dict[str, _Run] = {}
        self._current = ""
        self._stores: dict[int, _Stores] = {}
        self._storage_class = ""
        self._rates: deque[tuple[float, int, int]] = deque([(clock(), 0, 0)])
        self._waited = (0.0, 0.0)  # seconds, and when that was
        self._written: dict[str, ProcessRow] = {}
        self._beats = 0
        self._recorded = 0
        self._hurry = asyncio.Event()
        self._said_at = 0.0

    # What happens

    def meets(self, run_id: str, source: Asked, destination: Asked, storage_class: str = "") -> None:
        """Work of a run begins, on these sides."""
        self._current = run_id
        if run_id not in self._runs:
            self._runs[run_id] = _Run(self._clock(), _Lags(self._clock))
            for old in list(self._runs)[:-RUNS_KEPT]:
                del self._runs[old]
        stores = self._stores.get(id(source))
        if stores is None:
            self._storage_class = storage_class
            self._stores[id(source)] = _Stores((source, destination), run_id)
        elif stores.run_id != run_id:
            self._collect(stores)
            stores.run_id = run_id

    def heard(self, event: Event) -> None:
        """Pass an event on, and count what it says."""
        match event:
            case Moved():
                if run := self._runs.get(event.run_id):
                    run.moved += event.done + event.skipped + event.failed
                    run.bytes += event.bytes
                    # A large object travels alone: its end counts the bytes of its parts once more.
                    run.parts -= min(run.parts, event.bytes) if event.done == 1 else 0
            case BytesMoved():
                if run := self._runs.get(event.run_id):
                    run.parts += event.bytes
            case ListingProgress():
                if run := self._runs.get(event.run_id):
                    run.listed = (event.source_objects, event.destination_objects)
                    run.found, run.found_bytes, run.not_selected = event.found, event.found_bytes, event.not_selected
            case RunSealed():
                if run := self._runs.get(event.run_id):
                    run.found, run.found_bytes, run.not_selected = event.found, event.found_bytes, event.not_selected
            case _:
                pass
        self._emit(event)

    def recorded(self) -> None:
        """A message's outcome is in the ledger."""
        self._recorded += 1
        if self._recorded >= BEAT_MESSAGES:
            self._hurry.set()

    def lagged(self, run_id: str, event_time: float) -> None:
        """An event of that time, in seconds since the epoch, was done with now."""
        if run := self._runs.get(run_id):
            run.lags.note(max(self._clock() - event_time, 0.0))

    def waited(self, sent_at: float) -> None:
        """A message came that had been sent then."""
        now = self._clock()
        seconds, at = self._waited
        if now - sent_at >= seconds or now - at > RATE_SECONDS:
            self._waited = max(now - sent_at, 0.0), now

    # What is told

    async def keep(self) -> None:
        """Tell the ledger until cancelled. One that is away for a moment is told later."""
        while True:
            await asyncio.sleep(SHORTEST_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._hurry.wait()
            await self.tell()

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Tell the ledger while the block runs, and once more at its end."""
        keeping = asyncio.create_task(self.keep())
        try:
            yield
        finally:
            keeping.cancel()
            await self.end()

    async def end(self) -> None:
        """Tell for the last time. A ledger that does not answer holds up nobody's end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING_SECONDS):
                await self.tell(ended=True)

    async def tell(self, *, ended: bool = False) -> None:
        """Write what changed since the last time, and say by an event what was asked of the sides."""
        for stores in self._stores.values():
            self._collect(stores)
        self._rate()
        self._beats += not self._hurry.is_set()
        self._recorded = 0
        self._hurry.clear()
        for run_id in {self._current, *self._runs}:
            row = self._row(run_id, ended=ended)
            before = self._written.get(run_id)
            current = run_id == self._current
            if self._same(row, before) and not (current and (ended or self._beats % IDLE_BEATS == 0)):
                continue
            with contextlib.suppress(LedgerError):
                await self._ledger.put_process(row)
                self._written[run_id] = row
        if self._stores and (ended or self._clock() - self._said_at >= SAID_SECONDS):
            self._said_at = self._clock()
            self._emit(self._requests())
            self._emit(self._vitals())

    def _collect(self, stores: _Stores) -> None:
        """What was asked since the last look is the run's."""
        run = self._runs.get(stores.run_id)
        now = tuple((Counter(each.requests), Counter(each.retries)) for each in stores.sides)
        if run is not None:
            before = stores.seen or ((Counter(), Counter()),) * 2
            for side, asked, new, old in zip(run.requests, stores.sides, now, before, strict=True):
                run.requests[side] += new[0] - old[0]
                run.retries[side] += new[1] - old[1]
                run.regions[side] = asked.priced_region
        stores.seen = now

    def _rate(self) -> None:
        now = self._clock()
        moved = sum(run.moved for run in self._runs.values())
        self._rates.append((now, moved, sum(run.bytes + run.parts for run in self._runs.values())))
        while len(self._rates) > 2 and now - self._rates[1][0] >= RATE_SECONDS:  # noqa: PLR2004 - a rate needs two
            self._rates.popleft()

    def _row(self, run_id: str, *, ended: bool) -> ProcessRow:
        run = self._runs.get(run_id) or _Run(self._began, _Lags(self._clock))
        hands = self._hands()
        current = run_id == self._current
        (first, moved, size), (last, moved_now, size_now) = self._rates[0], self._rates[-1]
        seconds = max(last - first, 1.0)
        return ProcessRow(
            job_id=self._job_id,
            run_id=run_id,
            process=self._process,
            role=self._role,
            host=socket.gethostname(),
            pid=os.getpid(),
            state=self._state(hands, ended=ended or not current),
            started_at=run.began,
            seen_at=self._clock(),
            in_flight=hands.objects if current else 0,
            in_flight_bytes=hands.bytes if current else 0,
            moved=run.moved,
            moved_bytes=run.bytes + run.parts,
            objects_rate=round((moved_now - moved) / seconds, 3) if current and not ended else 0.0,
            bytes_rate=round(max(size_now - size, 0) / seconds, 1) if current and not ended else 0.0,
            requests={side: dict(counts) for side, counts in run.requests.items() if counts},
            retries={side: dict(counts) for side, counts in run.retries.items() if counts},
            regions=dict(run.regions),
            lag=run.lags.lag(),
            oldest_seconds=self._waited_lately() if current else None,
            listed=run.listed,
            found=run.found,
            found_bytes=run.found_bytes,
            not_selected=run.not_selected,
        )

    def _state(self, hands: Hands, *, ended: bool) -> ProcessState:
        if ended:
            return ProcessState.ENDED
        if hands.draining:
            return ProcessState.DRAINING
        return ProcessState.WORKING if hands.objects or self._role == "finder" else ProcessState.IDLE

    @staticmethod
    def _same(row: ProcessRow, before: ProcessRow | None) -> bool:
        """Whether nothing has happened since."""
        return before is not None and (
            (row.state, row.moved, row.moved_bytes, row.requests, row.listed, row.found, row.in_flight, row.bytes_rate)
            == (
                *(before.state, before.moved, before.moved_bytes, before.requests, before.listed, before.found),
                *(before.in_flight, before.bytes_rate),
            )
        )

    def _vitals(self) -> Vitals:
        hands = self._hands()
        lags = [lag for run in self._runs.values() if (lag := run.lags.lag())]
        together = dataclasses.asdict(sum(lags[1:], lags[0])) if lags else None
        return Vitals(self._process, hands.limit, hands.throttles, together, self._waited_lately())

    def _waited_lately(self) -> float | None:
        seconds, at = self._waited
        return round(seconds, 1) if self._clock() - at < RATE_SECONDS else None

    def _requests(self) -> Requests:
        """All that this process has asked, for whichever run."""
        requests, retries, regions = _by_side(), _by_side(), {}
        for stores in self._stores.values():
            for side, asked in zip(requests, stores.sides, strict=True):
                requests[side].update(asked.requests)
                retries[side].update(asked.retries)
                regions[side] = asked.priced_region
        return Requests(
            process=self._process,
            source=dict(requests[Side.SOURCE]),
            destination=dict(requests[Side.DESTINATION]),
            retries={side: dict(counts) for side, counts in retries.items() if counts},
            regions=regions,
            storage_class=self._storage_class,
        )

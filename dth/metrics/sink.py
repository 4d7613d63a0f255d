"""Adds up a command's events, and those of its worker processes, to samples of the metrics in `table`.

Everything comes from events that are there anyway, a few for each message of many objects, and from figures that each
process says of itself every few seconds. Nothing is counted twice: a process that ends, however it ends, leaves its last
figures behind, so counters never fall while the command lives.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dth.events import (
    Buried,
    BytesMoved,
    Event,
    InFlight,
    ListingProgress,
    Moved,
    ObjectFailed,
    Requests,
    RunSealed,
    Vitals,
    WorkerStarted,
    WorkerStopped,
)
from dth.ledgers.base import Run
from dth.metrics import table
from dth.metrics.table import Metric
from dth.queues.base import QueueDepth
from dth.states import Side
from dth.stats import Lag

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_ANY_SIDE = "any"  # of what has no side of its own: CloudWatch takes no empty value


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of a metric for these labels, in the order of its `labels`."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


class Sink:
    """Give it every event of a command, then ask for `samples` at any time and from any thread."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Metric, tuple[str, ...]]] = Counter(
            {(one, ()): 0 for one in table.ALL if one.kind is table.Kind.COUNTER and not one.labels}
        )
        self._counts.update({(table.OBJECTS, (outcome,)): 0 for outcome in ("done", "skipped", "failed")})
        self._parts = 0  # bytes of objects under way
        self._said: dict[str, Counter[tuple[Metric, tuple[str, ...]]]] = {}  # what a process has said of itself so far
        self._hands: dict[str, InFlight] = {}
        self._vitals: dict[str, Vitals] = {}
        self._pids: dict[str, int] = {}
        self._runs: tuple[Run, ...] = ()
        self._depth: QueueDepth | None = None

    def __call__(self, event: Event) -> None:  # noqa: C901, PLR0912 - one flat case for each kind
        """Take one event; kinds that say nothing of a metric are let pass."""
        match event:
            case Moved():
                self._moved(event)
            case BytesMoved():
                self._parts += event.bytes
                self._count(table.MOVED_BYTES, event.bytes)
            case InFlight():
                self._hands[event.process] = event
            case ObjectFailed(final=True):
                self._count(table.FAILURES, 1, event.error_code)
            case ObjectFailed():
                self._count(table.RETRIES, 1, "object", _ANY_SIDE, event.error_code)
            case Requests():
                self._say(event.process, _asked(event))
            case Vitals():
                self._vitals[event.process] = event
                self._say(event.process, [(table.THROTTLES, (), event.throttles)])
            case ListingProgress():
                self._found(event, {Side.SOURCE: event.source_objects, Side.DESTINATION: event.destination_objects})
            case RunSealed():
                self._found(event, {})
            case Buried():
                self._count(table.BURIED, 1)
            case WorkerStarted():
                self._pids[event.process] = event.pid
            case WorkerStopped():
                self._ended(event)
            case _:
                pass

    def look(self, runs: Iterable[Run], depth: QueueDepth | None) -> None:
        """What ledger and queue say now; None where there is no queue."""
        self._runs, self._depth = tuple(runs), depth

    def _count(self, metric: Metric, count: int, *labels: str) -> None:
        self._counts[metric, labels] += count

    def _moved(self, event: Moved) -> None:
        for outcome, count in (("done", event.done), ("skipped", event.skipped), ("failed", event.failed)):
            self._count(table.OBJECTS, count, outcome)
        self._count(table.BYTES, event.bytes)
        # A large object travels alone; the bytes of its parts were counted as they moved.
        known = min(self._parts, event.bytes) if event.done == 1 else 0
        self._parts -= known
        self._count(table.MOVED_BYTES, event.bytes - known)

    def _found(self, event: ListingProgress | RunSealed, listed: Mapping[Side, int]) -> None:
        totals = [(table.LISTED, (side.value,), count) for side, count in listed.items()]
        self._say(event.run_id, [*totals, (table.FOUND, (), event.found), (table.FOUND_BYTES, (), event.found_bytes)])

    def _say(self, whose: str, totals: Iterable[tuple[Metric, tuple[str, ...], int]]) -> None:
        """Totals that a process, or the finder of a run, has reached: what they grew by is counted."""
        said = self._said.setdefault(whose, Counter())
        for metric, labels, total in totals:
            self._counts[metric, labels] += max(total - said[metric, labels], 0)
            said[metric, labels] = max(total, said[metric, labels])

    def _ended(self, event: WorkerStopped) -> None:
        for known in (self._hands, self._vitals, self._pids, self._said):
            known.pop(event.process, None)
        self._count(table.DEATHS, int(event.exit_code != 0))

    def samples(self) -> Iterator[Sample]:
        """Everything as it is now."""
        for (metric, labels), value in list(self._counts.items()):
            yield Sample(metric, labels, value)
        yield from self._alive()
        if self._depth is not None:
            for state in ("visible", "leased", "dead"):
                yield Sample(table.QUEUE, (state,), getattr(self._depth, state))
        for run in self._runs:
            yield from _of_run(run)

    def _alive(self) -> Iterator[Sample]:
        hands, vitals = list(self._hands.values()), list(self._vitals.values())
        pids = list(self._pids.values())
        yield Sample(table.IN_FLIGHT, (), sum(one.objects for one in hands))
        yield Sample(table.IN_FLIGHT_BYTES, (), sum(one.bytes for one in hands))
        yield Sample(table.LIMIT, (), sum(one.limit for one in vitals))
        yield Sample(table.WORKERS, (), len(pids))
        yield Sample(table.MEMORY, (), sum(map(resident_bytes, {os.getpid(), *pids})))
        waits = [one.oldest_seconds for one in (self._depth, *vitals) if one and one.oldest_seconds is not None]
        if waits:
            yield Sample(table.OLDEST, (), max(waits))
        lags = [Lag.of(one.lag) for one in vitals if one.lag]
        if lags:
            lag = sum(lags[1:], lags[0])
            for stat, seconds in (("last", lag.last_seconds), ("p50", lag.quantile(0.5)), ("p99", lag.quantile(0.99))):
                yield Sample(table.LAG, (stat,), seconds)


def _asked(event: Requests) -> Iterator[tuple[Metric, tuple[str, ...], int]]:
    for side, counts in ((Side.SOURCE, event.source), (Side.DESTINATION, event.destination)):
        for operation, count in counts.items():
            yield table.REQUESTS, (side.value, operation), count
    for named, causes in event.retries.items():
        for cause, count in causes.items():
            yield table.RETRIES, ("request", named, cause), count


def _of_run(run: Run) -> Iterator[Sample]:
    counts = run.counts
    if run.found is not None:
        yield Sample(table.RUN_FOUND, (run.run_id,), run.found)
    for outcome, count in (("done", counts.done), ("skipped", counts.skipped), ("failed", counts.failed)):
        yield Sample(table.RUN_OBJECTS, (run.run_id, outcome), count)
    yield Sample(table.RUN_BYTES, (run.run_id,), counts.bytes)
    for code, count in run.breakdown.causes.items():
        yield Sample(table.RUN_FAILURES, (run.run_id, code), count)
    yield Sample(table.RUN_OVER, (run.run_id,), int(run.counted))


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 where it is gone, or where this is not Linux."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0

"""Rates of runs, and their figures over time, rolled up as they are written.

Each value goes into one bucket of every width; a question is answered from the finest width that gives few enough points.
What was not watched (the hub was off) is spread evenly over the time that it may have happened in.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from dth.database import Database
from dth.hub.base import Drawn
from dth.hub.here.runs import Active
from dth.hub.here.usage import usage
from dth.hub.states import SeriesName

WIDTHS = (5, 60, 600, 7200, 86_400)  # seconds
KEPT = 260  # buckets of each width but the last: twice what one chart shows
MAX_POINTS = 120
WINDOW_SECONDS = 10.0
_SUMS = {
    SeriesName.BYTES: "bytes/s",
    SeriesName.OBJECTS: "objects/s",
    SeriesName.REQUESTS: "requests/s",
    SeriesName.THROTTLED: "requests/s",
}
_COUNTS = {SeriesName.FAILED: "objects"}
_GAUGES = {
    SeriesName.WAITING: "objects",
    SeriesName.IN_HAND: "objects",
    SeriesName.WORKERS: "processes",
    SeriesName.LAG: "seconds",
    SeriesName.COST: "usd",
    SeriesName.CPU: "cores",
    SeriesName.MEMORY: "bytes",
}

Point = tuple[SeriesName, float, float, float]  # name, value, from, to


class Rates:
    """What runs did of late."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[tuple[float, int, int, int, int, int]]] = {}
        self._pruned: dict[str, float] = {}
        self._cpu: dict[str, tuple[float, float]] = {}

    def keep(self, run_ids: set[str]) -> None:
        """Forget runs that are none of these."""
        for run_id in set(self._samples) - run_ids:
            del self._samples[run_id]
            self._cpu.pop(run_id, None)

    def forget(self, run: Active) -> None:
        """Its process ended: nothing moves any more."""
        self._samples.pop(run.id, None)
        run.figures.bytes_per_second = run.figures.objects_per_second = 0.0

    def sample(self, run: Active, now: float) -> list[Point]:
        """Note the sums of now; sets the run's rates; what has to be written of its series."""
        figures = run.figures
        ended = figures.sum("done") + figures.sum("skipped") + figures.sum("failed")
        moved = figures.sum("bytes") + figures.under_way
        asked = sum(sum(side.values()) for side in figures.requests.values())
        sums = (now, ended, moved, figures.sum("failed"), asked, figures.throttled)
        samples = self._samples.setdefault(run.id, deque())
        last = samples[-1] if samples else (min(run.seen_at, now - 0.001), *_written(run))
        samples.append(sums)
        while len(samples) > 2 and now - samples[1][0] >= WINDOW_SECONDS:  # noqa: PLR2004 - a rate needs two
            samples.popleft()
        began = samples[0]
        seconds = max(now - began[0], 0.5)
        figures.objects_per_second = max(ended - began[1], 0) / seconds
        figures.bytes_per_second = max(moved - began[2], 0) / seconds
        figures.written = [*sums[1:]]
        return self._points(run, last, sums)

    def _points(self, run: Active, last: tuple[float, ...], now: tuple[float, ...]) -> list[Point]:
        figures = run.figures
        start, stop = last[0], now[0]
        sums = (SeriesName.OBJECTS, SeriesName.BYTES, SeriesName.FAILED, SeriesName.REQUESTS, SeriesName.THROTTLED)
        points: list[Point] = [
            (name, max(now[place] - last[place], 0), start, stop) for place, name in enumerate(sums, start=1)
        ]
        cpu, memory = usage(figures.workers)
        before = self._cpu.get(run.id)
        self._cpu[run.id] = (stop, cpu)
        gauges: dict[SeriesName, float | None] = {
            SeriesName.WAITING: max((figures.found or 0) - now[1] - figures.in_hand, 0),
            SeriesName.IN_HAND: figures.in_hand,
            SeriesName.WORKERS: len(figures.workers),
            SeriesName.LAG: figures.lag_seconds,
            SeriesName.COST: figures.usd,
            SeriesName.CPU: max(cpu - before[1], 0) / max(stop - before[0], 0.1) if before else None,
            SeriesName.MEMORY: memory,
        }
        points += [(name, value, stop, stop) for name, value in gauges.items() if value is not None]
        return points

    def write(self, db: sqlite3.Connection, run: Active, points: Sequence[Point]) -> None:
        """Add points to the buckets of all widths."""
        rows = [
            (run.task_id, name.value, width, t, v)
            for name, value, start, stop in points
            if value or name not in _SUMS
            for width in WIDTHS
            for t, v in spread(value, start, stop, width)
        ]
        db.executemany(
            "INSERT INTO series VALUES (?, ?, ?, ?, ?, 1) "
            "ON CONFLICT (task_id, name, width, t) DO UPDATE SET v = v + excluded.v, n = n + 1",
            rows,
        )
        now = time.time()
        if now - self._pruned.get(run.task_id, 0.0) > KEPT * WIDTHS[0] / 4:
            self._pruned[run.task_id] = now
            for width in WIDTHS[:-1]:
                oldest = now - KEPT * width
                db.execute("DELETE FROM series WHERE task_id = ? AND width = ? AND t < ?", (run.task_id, width, oldest))


def _written(run: Active) -> tuple[int, ...]:
    """The sums when the run was last sampled, by this hub or one before it."""
    return tuple(run.figures.written) or (0, 0, 0, 0, 0)


def spread(value: float, start: float, stop: float, width: int) -> list[tuple[int, float]]:
    """A value in buckets: each gets the share of the time that lies in it. The oldest of very many are left out."""
    first, last = int(start // width) * width, int(stop // width) * width
    if first == last or stop <= start:
        return [(last, value)]
    shares = []
    for t in range(max(first, last - KEPT * width), last + width, width):
        part = min(stop, t + width) - max(start, t)
        if part > 0:
            shares.append((t, value * part / (stop - start)))
    return shares


class SqliteSamples:
    """See `base.Samples`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def series(
        self, task_id: str, names: Sequence[SeriesName], start: float | None, end: float | None, points: int
    ) -> Sequence[Drawn]:
        """See `base.Samples`. Without a start and an end, all that is known, or the last hour of it."""
        return await self._database.read(lambda db: _series(db, task_id, names, start, end, points))


def _series(
    db: sqlite3.Connection,
    task_id: str,
    names: Sequence[SeriesName],
    start: float | None,
    end: float | None,
    points: int,
) -> list[Drawn]:
    points = max(1, min(points, MAX_POINTS))
    now = time.time()
    known = "SELECT min(t), max(t) + width FROM series WHERE task_id = ? AND width = 5"
    oldest, newest = db.execute(known, (task_id,)).fetchone()
    newest = min(newest or now, now)
    stop = min(end or now, now)
    if start is None:
        stop = min(end or newest, newest)  # a chart of a run that is over ends with it
        start = max(oldest or stop - 600, stop - 3600)
    start = min(start, stop)
    age = newest - start  # old buckets go as new ones come
    width = next((w for w in WIDTHS if (stop - start) / w <= points and age <= KEPT * w), WIDTHS[-1])
    first = int(start // width) * width
    last = int(min(-(-stop // width), now // width)) * width  # what is still being counted is left out
    count = max(min((last - first) // width, points), 1)
    return [_drawn(db, task_id, name, width, first, count) for name in dict.fromkeys(names)]


def _drawn(db: sqlite3.Connection, task_id: str, name: SeriesName, width: int, first: int, count: int) -> Drawn:
    times = [first + place * width for place in range(count)]
    rows: dict[int, Any] = {
        t: (v, n)
        for t, v, n in db.execute(
            "SELECT t, v, n FROM series WHERE task_id = ? AND name = ? AND width = ? AND t >= ? AND t < ?",
            (task_id, name.value, width, first, first + count * width),
        )
    }
    if name in _SUMS:
        unit, values = _SUMS[name], [rows[t][0] / width if t in rows else None for t in times]
    elif name in _COUNTS:
        unit, values = _COUNTS[name], [rows[t][0] if t in rows else None for t in times]
    else:
        unit, values = _GAUGES[name], [rows[t][0] / rows[t][1] if t in rows else None for t in times]
    return Drawn(name, unit, times, values)

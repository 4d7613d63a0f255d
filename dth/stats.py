"""What a run knows about itself beside its counters. Pure values, which ledgers keep and `dth status` reads.

| value | who writes it | exact? |
|---|---|---|
| `Breakdown` | whoever records an outcome, in the same transaction as the counters | yes: each part sums to its counter |
| `Failure` | the same, one for each object that ended FAILED | none is missing; a worker's death may repeat one |
| `ProcessRow` | each process about itself, every few seconds | up to the seconds since it was last written |
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from dth.values import value

KINDS = ("causes", "skips", "proofs", "reasons")
"""The parts of a `Breakdown`."""

_GROWTH = 1.02  # from one bucket of a sketch to the next: a quantile is wrong by 1% at most
_SHORTEST_SECONDS = 0.01


@value
class Breakdown:
    """What stands behind a run's counters.

    `causes` counts FAILED entries by error code, `skips` SKIPPED ones by why; `proofs` counts DONE entries by what
    verified them (`states.VerifiedBy`, `deleted`, `digest`, or `none` where nothing was asked for), `reasons` the same by
    why they were copied (`states.Reason`). So each sums to its counter.
    """

    causes: Mapping[str, int] = field(default_factory=dict)
    skips: Mapping[str, int] = field(default_factory=dict)
    proofs: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)

    def counts(self) -> Iterator[tuple[str, str, int]]:
        """Kind, name and count of everything that was counted."""
        for kind in KINDS:
            for name, count in getattr(self, kind).items():
                if count:
                    yield kind, name, count

    @classmethod
    def of(cls, counts: Iterable[tuple[str, str, int]]) -> Breakdown:
        """The reverse of `counts`; equal kinds and names are added. Unknown kinds are ignored."""
        parts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        for kind, name, count in counts:
            if kind in parts:
                parts[kind][name] += count
        return cls(**{kind: dict(part) for kind, part in parts.items()})

    def __add__(self, other: Breakdown) -> Breakdown:
        return Breakdown.of((*self.counts(), *other.counts()))


NOTHING = Breakdown()


@value
class Failure:
    """An object (or an image, by its name) that ended FAILED. `failed_at` is in seconds since the epoch."""

    run_id: str
    key: str
    code: str
    error: str
    size: int
    reason: str
    attempt: int
    message_id: str
    failed_at: float


@value
class Failures:
    """A page of them, in the order in which they were written. `after` leads to the next page, "" at the end."""

    items: tuple[Failure, ...]
    after: str


class ProcessState(StrEnum):
    """What a process does. LOST is not written by anyone: it is what a reader calls one that fell silent."""

    WORKING = "working"
    IDLE = "idle"
    DRAINING = "draining"
    ENDED = "ended"
    LOST = "lost"


@value
class Lag:
    """How long events had waited when they were done with, in seconds. `sketch` counts those of the last hour by bucket
    (see `bucket_of`); `last_at` is when the last one ended, in seconds since the epoch."""

    last_seconds: float
    last_at: float
    sketch: Mapping[int, int]

    def quantile(self, share: float) -> float:
        """The lag that `share` of the events did not exceed, within 1%; 0.0 where there were none."""
        wanted, seen = share * sum(self.sketch.values()), 0
        for bucket, count in sorted(self.sketch.items()):
            seen += count
            if seen >= wanted:
                return seconds_of(bucket)
        return 0.0

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Lag:
        """From JSON, whose names are all text."""
        sketch = {int(bucket): count for bucket, count in fields["sketch"].items()}
        return cls(fields["last_seconds"], fields["last_at"], sketch)

    def __add__(self, other: Lag) -> Lag:
        later = max(self, other, key=lambda lag: lag.last_at)
        return Lag(later.last_seconds, later.last_at, dict(Counter(self.sketch) + Counter(other.sketch)))


def bucket_of(seconds: float) -> int:
    """The bucket of a sketch that a duration belongs to: 0 for a hundredth of a second and less, each 2% wider."""
    if seconds <= _SHORTEST_SECONDS:
        return 0
    return math.ceil(math.log(seconds / _SHORTEST_SECONDS) / math.log(_GROWTH))


def seconds_of(bucket: int) -> float:
    """The middle of a bucket."""
    return float(_SHORTEST_SECONDS * _GROWTH**bucket * 2 / (1 + _GROWTH)) if bucket else _SHORTEST_SECONDS


BySide = Mapping[str, Mapping[str, int]]
"""Counts by `states.Side` and name."""


@value
class ProcessRow:
    """What one process is, and what it has done for one run; only that process writes it, over what it wrote before.

    Everything about the run is cumulative since `started_at`, when this process first had to do with it; `run_id` is ""
    before it has met any. `role` is `worker` or `finder`. `moved` counts entries that ended here, `moved_bytes` also those
    of parts still under way; rates are per second over the last seconds. `requests` are HTTP requests by side and operation,
    `retries` those that a side made necessary again, by side and cause; `regions` says by side where AWS has the bucket
    ("" elsewhere). `oldest_seconds` is how long the oldest message had waited that was received lately, None where the queue
    does not tell. A finder's row says what it has `listed` on each side and `found`.
    """

    job_id: str
    run_id: str
    process: str
    role: str
    host: str
    pid: int
    state: ProcessState
    started_at: float
    seen_at: float
    in_flight: int = 0
    in_flight_bytes: int = 0
    moved: int = 0
    moved_bytes: int = 0
    objects_rate: float = 0.0
    bytes_rate: float = 0.0
    requests: BySide = field(default_factory=dict)
    retries: BySide = field(default_factory=dict)
    regions: Mapping[str, str] = field(default_factory=dict)
    lag: Lag | None = None
    oldest_seconds: float | None = None
    listed: tuple[int, int] = (0, 0)
    found: int = 0
    found_bytes: int = 0
    not_selected: int = 0

    def to_json(self) -> str:
        """ASCII text for a ledger to keep."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ProcessRow:
        """The reverse. What another version wrote and this one does not know is left out."""
        known = {each.name for each in dataclasses.fields(cls)}
        fields: dict[str, Any] = {name: value for name, value in json.loads(text).items() if name in known}
        fields["state"] = ProcessState(fields["state"])
        fields["listed"] = tuple(fields.get("listed", (0, 0)))
        if lag := fields.get("lag"):
            fields["lag"] = Lag.of(lag)
        return cls(**fields)


def add_up(rows: Iterable[ProcessRow], what: str) -> dict[str, dict[str, int]]:
    """The `requests` or `retries` of several processes together, by side and name."""
    sums: dict[str, Counter[str]] = {}
    for row in rows:
        for side, counts in getattr(row, what).items():
            sums.setdefault(side, Counter()).update(counts)
    return {side: dict(counts) for side, counts in sums.items()}

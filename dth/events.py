"""What the engine says while it works. It prints nothing itself: outputs (rich, plain lines, JSON lines) render these.

Events are flat dataclasses of plain values, so that a child process can send them to its parent as JSON (`to_json`,
`from_json`). They are for people and dashboards; the ledger and the report are the record.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from dth.values import value


@value
class Event:
    """Base of all events."""


@value
class RunStarted(Event):
    """A finder began. `noun` is what it counts: object or image."""

    run_id: str
    source: str
    destination: str
    noun: str = "object"


@value
class ListingProgress(Event):
    """Objects listed so far on each side, changes found among them, and source objects that the selection leaves out."""

    run_id: str
    source_objects: int
    destination_objects: int
    found: int
    found_bytes: int
    not_selected: int = 0


@value
class SortProgress(Event):
    """A listing that is not in byte order goes through the sort on disk."""

    side: str
    objects: int
    spilled_bytes: int


@value
class RunSealed(Event):
    """The finder ended; totals are exact. `reasons` counts changes by reason, `not_selected` source objects left out,
    `undecided` ones that were kept although nothing proves them equal."""

    run_id: str
    found: int
    found_bytes: int
    compared: int
    reasons: dict[str, int]
    not_selected: int = 0
    undecided: int = 0


@value
class Explained(Event):
    """What `--explain` says of one key: what would be done (`copy`, `keep`, `delete`, `skip` or `nothing`), and the rule
    that decides so. `code` is the rule's stable word; `setting` names the setting that left the key out ("": none did)."""

    key: str
    dest_key: str
    action: str
    rule: str
    code: str = ""
    setting: str = ""


@value
class RunAbandoned(Event):
    """A finder died or gave up; what it sent is still worked."""

    run_id: str
    reason: str


@value
class WorkerStarted(Event):
    """A worker process is receiving."""

    process: str
    pid: int


@value
class WorkerStopped(Event):
    """A worker process ended; `exit_code` is negative for a signal."""

    process: str
    pid: int
    exit_code: int


@value
class WorkerFailed(Event):
    """A worker process gave up for a reason of its own (not an object's); its parent raises it."""

    process: str
    error_code: str
    error: str


@value
class Moved(Event):
    """Entries that reached an outcome in one message, and bytes; `deleted` of those done were deletes. `gone` of those skipped
    were deleted at the source since they were listed; of `untrue` ones the listing told another size or ETag than the object."""

    run_id: str
    done: int
    skipped: int
    failed: int
    bytes: int
    deleted: int = 0
    gone: int = 0
    untrue: int = 0


@value
class BytesMoved(Event):
    """Bytes of parts of objects that are still under way; not counted in `Moved` yet."""

    run_id: str
    bytes: int


@value
class InFlight(Event):
    """What a worker process has in its hands, now and then."""

    process: str
    objects: int
    bytes: int


@value
class ObjectFailed(Event):
    """One object ended FAILED (`final`), or failed and will be tried again."""

    run_id: str
    key: str
    error_code: str
    error: str
    attempt: int
    final: bool


@value
class Planned(Event):
    """A dry run's line: what would be done."""

    action: str
    key: str
    dest_key: str
    size: int
    reason: str


@value
class Estimated(Event):
    """What the plan of a dry run would cost and take. `sizes` are classes of objects by size, each with `up_to` (bytes, 0 for
    the last one), `objects` and `bytes`; `requests` are by side and operation; `cost` holds the fields of `prices.Cost`, None
    where no price is known; `seconds` is how long the bytes take at `rate` bytes a second."""

    sizes: list[dict[str, int]]
    requests: dict[str, dict[str, int]]
    cost: dict[str, Any] | None
    rate: int
    seconds: float


@value
class Requests(Event):
    """All HTTP requests of one process so far, by side and operation, said every few seconds and when it ends. `retries` are
    those that had to be made again, by side and cause (`causes.RETRIES`); `regions` says by side where AWS has the bucket, ""
    elsewhere; `storage_class` is of what it writes."""

    process: str
    source: dict[str, int]
    destination: dict[str, int]
    retries: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    regions: dict[str, str] = dataclasses.field(default_factory=dict)
    storage_class: str = ""


@value
class Vitals(Event):
    """How a process does, said every few seconds: how many objects and parts its limiter lets be in flight, how often a
    store made it slow down so far, how old events were when they were done with (the fields of a `stats.Lag`; None where
    there were none), and how long the oldest message had waited that came lately (None where none came)."""

    process: str
    limit: int = 0
    throttles: int = 0
    lag: dict[str, Any] | None = None
    oldest_seconds: float | None = None


@value
class Notice(Event):
    """Something worth a line: `level` is info or warning, `code` a stable word. `values` holds the numbers and names that the
    text mentions, for who says it in other words."""

    level: str
    code: str
    text: str
    values: Mapping[str, str | int] = field(default_factory=dict, hash=False)


@value
class Buried(Event):
    """A message was put into the dead letters as it came: it is garbage, or no run has signed it."""

    reason: str


@value
class RunOver(Event):
    """A run's totals, as the ledger has them at the end of a command; `causes`, `skips`, `proofs` and `reasons` are those of
    `stats.Breakdown`."""

    run_id: str
    state: str
    found: int | None
    done: int
    skipped: int
    failed: int
    bytes: int
    noun: str = "object"
    causes: dict[str, int] = dataclasses.field(default_factory=dict)
    skips: dict[str, int] = dataclasses.field(default_factory=dict)
    proofs: dict[str, int] = dataclasses.field(default_factory=dict)
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)


@value
class Difference(Event):
    """`dth verify` found one: `kind` is a `states.Comparison`. Of an extra object, `key` is what the source lacks."""

    kind: str
    key: str
    dest_key: str
    detail: str


@value
class VerifyProgress(Event):
    """Where a `dth verify` stands: objects listed on each side, keys compared, differences among them, bytes that were
    read at both sides."""

    source_objects: int
    destination_objects: int
    compared: int
    differences: int
    bytes: int


@value
class Probed(Event):
    """One answer of `dth probe`: `verdict` is a `probe.findings.Verdict`, `assumed` what dth takes for granted of this
    endpoint (None: nothing), `code` the error code where the answer was an error ("": it was none)."""

    name: str
    verdict: str
    detail: str
    assumed: bool | None
    code: str = ""


@value
class ProbeOver(Event):
    """All was asked. `provider` is the profile that dth uses there; `left` names what could not be removed again."""

    provider: str
    location: str
    left: list[str]
    exit_code: int


Emit = Callable[[Event], None]

_kinds: dict[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        RunStarted, ListingProgress, SortProgress, RunSealed, RunAbandoned, WorkerStarted, WorkerStopped, WorkerFailed, Moved,
        BytesMoved, InFlight, ObjectFailed, Planned, Estimated, Requests, Vitals, Notice, RunOver,
        Buried, Difference, VerifyProgress, Explained, Probed, ProbeOver,
    )
}  # fmt: skip


def to_json(event: Event) -> str:
    """One ASCII line; the class's name is its `event` field."""
    return json.dumps({"event": type(event).__name__, **dataclasses.asdict(event)}, separators=(",", ":"))


def from_json(line: str) -> Event:
    """The reverse of `to_json`. Raises ValueError, KeyError or TypeError for anything else."""
    fields: dict[str, Any] = json.loads(line)
    return _kinds[fields.pop("event")](**fields)

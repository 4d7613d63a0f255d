"""A run's figures, added up from the events of its processes; the ledger's own totals replace them when a run is over."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dth.prices import Cost, cost_of

EXAMPLES_KEPT = 20
_COUNTED = ("done", "skipped", "failed", "bytes", "deleted")


@dataclass(slots=True)
class Cause:
    """Failures of one code: how many attempts failed, how many objects ended so, some of their keys."""

    count: int = 0
    final: int = 0
    examples: list[str] = field(default_factory=list)
    text: str = ""


@dataclass(slots=True)
class Figures:
    """All that is known of a run. Sizes are bytes, rates a second, money US dollars. `engine_runs` holds the totals of each
    run of the engine that it consists of, because one that was interrupted is gone on with by another. `throttles` counts by
    process the requests that a store asked to slow down, `throttled` all of them; `lags` are seconds from an event to
    the end of its object, by process, `waits` how long the oldest message waited that a process got lately."""

    source_listed: int = 0
    destination_listed: int = 0
    noun: str = "object"
    reasons: dict[str, int] = field(default_factory=dict)
    causes: dict[str, Cause] = field(default_factory=dict)
    proofs: dict[str, int] = field(default_factory=dict)
    requests: dict[str, dict[str, int]] = field(default_factory=dict)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    usd: float | None = None
    undecided: int = 0
    not_selected: int = 0
    in_hand: int = 0
    in_hand_bytes: int = 0
    under_way: int = 0
    bytes_per_second: float = 0.0
    objects_per_second: float = 0.0
    engine_runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    workers: dict[str, dict[str, Any]] = field(default_factory=dict)
    differences: dict[str, int] = field(default_factory=dict)
    throttled: int = 0
    throttles: dict[str, int] = field(default_factory=dict)
    lags: dict[str, float] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)
    written: list[int] = field(default_factory=list)
    exit_code: int | None = None
    error_code: str = ""
    error: str = ""

    @property
    def lag_seconds(self) -> float | None:
        """How far the slowest worker is behind the events that it works on; None where there are none."""
        return max(self.lags.values(), default=None)

    def sum(self, name: str) -> int:
        """The sum of a total over all runs of the engine."""
        return sum(int(run.get(name) or 0) for run in self.engine_runs.values())

    @property
    def found(self) -> int | None:
        """Entries to move, as far as known; None before anything was listed."""
        known = [run["found"] for run in self.engine_runs.values() if run.get("found") is not None]
        return sum(known) if known else None

    @property
    def sealed(self) -> bool:
        """Whether the newest run's totals are final."""
        return bool(self.engine_runs) and bool(list(self.engine_runs.values())[-1].get("sealed"))

    @property
    def cost(self) -> Cost | None:
        """What all that was asked and moved costs so far; None where nobody knows any price of it."""
        regions: dict[str, str] = {}
        storage_class = ""
        for one in self.asked.values():
            regions |= {side: region for side, region in one["regions"].items() if region or side not in regions}
            storage_class = one["storage_class"] or storage_class
        cost = cost_of(self.requests, regions, storage_class, self.sum("bytes"))
        return cost if cost.known else None

    @property
    def reconciles(self) -> bool | None:
        """Whether all that was found has ended, exactly; None while nobody can know."""
        runs = [run for run in self.engine_runs.values() if run.get("sealed")]
        if not runs or not self.sealed:
            return None
        return all(run["found"] == run["done"] + run["skipped"] + run["failed"] for run in runs)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Figures:
        """The reverse; fields of other versions are left out."""
        known = {one.name for one in dataclasses.fields(cls)}
        values = {name: value for name, value in fields.items() if name in known}
        parts = {one.name for one in dataclasses.fields(Cause)}
        values["causes"] = {
            code: Cause(**{name: value for name, value in cause.items() if name in parts})
            for code, cause in values.get("causes", {}).items()
        }
        return cls(**values)

    def begin_attempt(self) -> None:
        """Another process goes on with the run: what the one before had in its hands it has no more."""
        self.workers.clear()
        self.lags.clear()
        self.waits.clear()
        self.in_hand = self.in_hand_bytes = self.under_way = 0
        self.exit_code, self.error_code, self.error = None, "", ""

    def take(self, event: Mapping[str, Any]) -> None:
        """One event of a process, as `--json` prints it. What is not known is left out."""
        handler = _HANDLERS.get(str(event.get("event")))
        if handler:
            with contextlib.suppress(KeyError, TypeError, AttributeError):  # of another version of dth
                handler(self, event)

    def run(self, run_id: str) -> dict[str, Any]:
        """The totals of one run of the engine."""
        return self.engine_runs.setdefault(
            run_id, {"found": None, "found_bytes": 0, "sealed": False, **dict.fromkeys(_COUNTED, 0)}
        )


def _run_started(figures: Figures, event: Mapping[str, Any]) -> None:
    figures.run(event["run_id"])
    figures.noun = event.get("noun", "object")


def _listing(figures: Figures, event: Mapping[str, Any]) -> None:
    figures.source_listed = event["source_objects"]
    figures.destination_listed = event["destination_objects"]
    figures.not_selected = event.get("not_selected", 0)
    figures.run(event["run_id"]).update(found=event["found"], found_bytes=event["found_bytes"])


def _sealed(figures: Figures, event: Mapping[str, Any]) -> None:
    figures.run(event["run_id"]).update(found=event["found"], found_bytes=event["found_bytes"], sealed=True)
    figures.source_listed = max(figures.source_listed, event["compared"])
    figures.not_selected = event.get("not_selected", 0)
    figures.undecided = event.get("undecided", 0)
    for reason, count in event.get("reasons", {}).items():
        figures.reasons[reason] = figures.reasons.get(reason, 0) + count


def _abandoned(figures: Figures, event: Mapping[str, Any]) -> None:
    figures.run(event["run_id"]).update(abandoned=True)


def _moved(figures: Figures, event: Mapping[str, Any]) -> None:
    run = figures.run(event["run_id"])
    for name in _COUNTED:
        run[name] += event.get(name, 0)
    if (
        event["done"] == 1
    ):  # a large object travels alone: its end counts all its bytes, so those of its parts count no more
        figures.under_way -= min(figures.under_way, event["bytes"])


def _bytes_moved(figures: Figures, event: Mapping[str, Any]) -> None:
    figures.under_way += event["bytes"]


def _in_flight(figures: Figures, event: Mapping[str, Any]) -> None:
    worker = figures.workers.setdefault(event["process"], {"pid": None})
    worker.update(objects=event["objects"], bytes=event["bytes"], seen=event.get("at"))
    figures.in_hand = sum(one.get("objects", 0) for one in figures.workers.values())
    figures.in_hand_bytes = sum(one.get("bytes", 0) for one in figures.workers.values())


def _worker_started(figures: Figures, event: Mapping[str, Any]) -> None:
    at = event.get("at")
    figures.workers[event["process"]] = {"pid": event["pid"], "objects": 0, "bytes": 0, "since": at, "seen": at}


def _worker_stopped(figures: Figures, event: Mapping[str, Any]) -> None:
    figures.workers.pop(event["process"], None)


def _object_failed(figures: Figures, event: Mapping[str, Any]) -> None:
    cause = figures.causes.setdefault(event["error_code"], Cause())
    cause.count += 1
    cause.text = cause.text or event["error"]
    if event["final"]:
        cause.final += 1
        if len(cause.examples) < EXAMPLES_KEPT and event["key"] not in cause.examples:
            cause.examples.append(event["key"])


def _requests(figures: Figures, event: Mapping[str, Any]) -> None:
    """All that one process has asked so far: it replaces what the process said before."""
    said = {name: event.get(name) or {} for name in ("source", "destination", "regions")}
    figures.asked[event["process"]] = {**said, "storage_class": event.get("storage_class", "")}
    figures.requests = {}
    for one in figures.asked.values():
        for side in ("source", "destination"):
            counts = figures.requests.setdefault(side, {})
            for operation, count in one[side].items():
                counts[operation] = counts.get(operation, 0) + count
    cost = figures.cost
    figures.usd = cost.usd if cost else None
    slowed = {side: int(causes.get("throttled", 0)) for side, causes in (event.get("retries") or {}).items()}
    figures.throttles[event["process"]] = sum(slowed.values())
    figures.throttled = sum(figures.throttles.values())


def _vitals(figures: Figures, event: Mapping[str, Any]) -> None:
    """How a process does; what it does not know is forgotten."""
    process, lag, waited = event["process"], event.get("lag"), event.get("oldest_seconds")
    for values, value in ((figures.lags, lag and lag["last_seconds"]), (figures.waits, waited)):
        values.pop(process, None)
        if value is not None:
            values[process] = float(value)
    if process in figures.workers:
        figures.workers[process].update(limit=event["limit"], seen=event.get("at"))


def _over(figures: Figures, event: Mapping[str, Any]) -> None:
    """The ledger's totals: exact, where events of a killed process are missing or came twice."""
    run = figures.run(event["run_id"])
    for name in ("done", "skipped", "failed", "bytes"):
        run[name] = event[name]
    if event["found"] is not None:
        run["found"] = event["found"]
    run["sealed"] = run["sealed"] or event["state"] == "sealed"
    run["deleted"] = min(run["deleted"], run["done"])
    figures.noun = event.get("noun", figures.noun)


def _summary(figures: Figures, event: Mapping[str, Any]) -> None:
    figures.exit_code = event["exit_code"]
    if "counts" in event:  # of a verification
        figures.differences = dict(event["counts"])
        figures.proofs = dict(event.get("verified_by", {}))
        figures.source_listed, figures.destination_listed = event["source_objects"], event["destination_objects"]


def _error(figures: Figures, event: Mapping[str, Any]) -> None:
    figures.exit_code, figures.error_code, figures.error = event["exit_code"], event["code"], event["message"]


def _verify_progress(figures: Figures, event: Mapping[str, Any]) -> None:
    figures.source_listed, figures.destination_listed = event["source_objects"], event["destination_objects"]


_HANDLERS = {
    "RunStarted": _run_started,
    "ListingProgress": _listing,
    "RunSealed": _sealed,
    "RunAbandoned": _abandoned,
    "Moved": _moved,
    "BytesMoved": _bytes_moved,
    "InFlight": _in_flight,
    "WorkerStarted": _worker_started,
    "WorkerStopped": _worker_stopped,
    "ObjectFailed": _object_failed,
    "Requests": _requests,
    "Vitals": _vitals,
    "RunOver": _over,
    "Summary": _summary,
    "Verified": _summary,
    "error": _error,
    "VerifyProgress": _verify_progress,
}

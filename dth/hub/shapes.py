"""Values in the schema's shape: plain mappings, as a Lambda would return them."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dth.causes import ALL, cause_of
from dth.hub import forms
from dth.hub.base import Drawn, LogLine, Page, RunRow, TaskRow
from dth.hub.figures import Cause, Figures
from dth.hub.schedule import is_repeated
from dth.hub.states import PROGRESS, RunKind, RunState, TaskState
from dth.hub.wanted import Wanted

SILENT_SECONDS = 60.0  # workers say something every few seconds


def when(seconds: float | None) -> str | None:
    """As `AWSDateTime`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def words(code: str) -> str:
    """A stable word as people read it."""
    return code.replace("_", " ")


def task(
    row: TaskRow, latest: RunRow | None, wanted: Wanted, above: str = "", runs: Page | None = None
) -> dict[str, Any]:
    """The schema's `Task`. `above` is the path at which it stands."""
    source, destination = forms.places(row.type, row.settings)
    one_time = not row.schedule or not is_repeated(row.schedule)
    figures = latest.figures if latest else Figures()
    shown: dict[str, Any] = {
        "id": row.id,
        "type": row.type.value,
        "name": row.name,
        "description": row.description,
        "createdAt": when(row.created_at),
        "stoppedAt": when(row.stopped_at),
        "progress": PROGRESS[row.state],
        "progressInfo": _progress_info(latest),
        "scheduleType": "ONE_TIME" if one_time else "FIXED_RATE",
        "state": row.state.value,
        "revision": row.revision,
        "source": source,
        "destination": destination,
        "schedule": row.schedule or None,
        "nextRunAt": when(row.next_run_at),
        "lagSeconds": figures.lag_seconds,
        "stackOutputs": [],
    }
    if f"{above}parameters" in wanted:
        shown["parameters"] = forms.parameters(row.type, row.settings, row.extras)
    if f"{above}settings" in wanted:
        shown["settings"] = [{"name": name, "value": value} for name, value in row.settings.items()]
    if f"{above}latest" in wanted:
        shown["latest"] = run(latest) if latest else None
    if f"{above}workers" in wanted:
        shown["workers"] = workers(figures)
    if f"{above}queue" in wanted:
        shown["queue"] = _queue(figures, latest)
    if f"{above}problems" in wanted:
        shown["problems"] = problems(row, latest)
    if runs is not None:
        shown["runs"] = page(runs, run)
    return shown


def _progress_info(latest: RunRow | None) -> dict[str, Any] | None:
    if latest is None or latest.figures.found is None:
        return None
    most = 2**31 - 1  # the original's type; the exact numbers are in `latest`
    done = latest.figures.sum("done") + latest.figures.sum("skipped")
    return {"total": min(latest.figures.found, most), "replicated": min(done, most)}


def _queue(figures: Figures, latest: RunRow | None) -> dict[str, Any] | None:
    if latest is None or latest.ended_at is not None:
        return None
    ended = figures.sum("done") + figures.sum("skipped") + figures.sum("failed")
    waiting = max((figures.found or 0) - ended - figures.in_hand, 0)
    return {
        "waiting": waiting,
        "inHand": figures.in_hand,
        "deadLetters": figures.sum("failed"),
        "oldestSeconds": max(figures.waits.values(), default=None),
    }


def workers(figures: Figures) -> list[dict[str, Any]]:
    """The schema's `Worker`s: processes that are working now. Rates are known of all together, and told in equal shares."""
    now = datetime.now(UTC).timestamp()
    count = max(len(figures.workers), 1)
    return [
        {
            "name": name.rpartition("/")[2] or name,
            "host": socket.gethostname(),
            "pid": one.get("pid"),
            "state": _worker_state(one, now),
            "objectsInFlight": one.get("objects", 0),
            "bytesInFlight": one.get("bytes", 0),
            "bytesPerSecond": figures.bytes_per_second / count,
            "objectsPerSecond": figures.objects_per_second / count,
            "cpu": one.get("cpu"),
            "memory": one.get("memory"),
            "since": when(one.get("since") or now),
            "seenAt": when(one.get("seen") or now),
            "instanceId": None,
        }
        for name, one in figures.workers.items()
    ]


def _worker_state(one: Mapping[str, Any], now: float) -> str:
    """One of the schema's `WorkerState`."""
    if now - (one.get("seen") or now) > SILENT_SECONDS:
        return "LOST"
    if one.get("objects"):
        return "WORKING"
    return "IDLE" if "limit" in one or one.get("cpu") is not None else "STARTING"


def problems(row: TaskRow, latest: RunRow | None) -> list[dict[str, Any]]:
    """The schema's `Problem`s: what a person should look at, the worst first."""
    found: list[dict[str, Any]] = []
    if row.pid:
        text = f"running in a terminal, pid {row.pid}"
        found.append(_problem("INFO", "outside", "Running in a terminal", text, values={"pid": row.pid}))
    if row.state is TaskState.FAILED or (row.cause and row.state is TaskState.WAITING):
        known = cause_of(row.cause) if row.cause in ALL else None
        title, hint = (known.label, known.hint) if known else (words(row.cause or "failed"), None)
        found.append(_problem("ERROR", row.cause or "failed", title, row.detail, hint, "logs"))
    for code, cause in (latest.figures.causes if latest else {}).items():
        if cause.final:
            text = f"{cause.final:,} failed: {cause.text}"
            values = {"n": cause.final, "said": cause.text}
            known = cause_of(code)
            found.append(_problem("ERROR", code, known.label, text, known.hint, "failures", cause.final, values))
    if latest and latest.ended_at and latest.figures.reconciles is False:
        found.append(
            _problem(
                "ERROR",
                "does_not_reconcile",
                "Counts do not reconcile",
                "found is not done, skipped and failed together",
            )
        )
    return found


def _problem(
    level: str,
    code: str,
    title: str,
    detail: str,
    hint: str | None = None,
    link: str | None = None,
    count: float = 1,
    values: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "level": level,
        "code": code,
        "title": title[:1].upper() + title[1:],
        "detail": detail,
        "hint": hint,
        "link": link,
        "count": count,
        "values": pairs(values or {}),
    }


def pairs(values: Mapping[str, Any]) -> list[dict[str, str]]:
    """The schema's `SettingValue`s."""
    return [{"name": name, "value": str(value)} for name, value in values.items()]


def run(row: RunRow) -> dict[str, Any]:
    """The schema's `Run`."""
    figures = row.figures
    found, found_bytes = figures.found, figures.sum("found_bytes")
    ended = figures.sum("done") + figures.sum("skipped") + figures.sum("failed")
    moving = row.ended_at is None and not row.paused
    bytes_moved = figures.sum("bytes") + figures.under_way
    return {
        "id": row.id,
        "kind": row.kind.value,
        "state": run_state(row).value,
        "startedAt": when(row.started_at),
        "endedAt": when(row.ended_at),
        "listed": {"source": figures.source_listed, "destination": figures.destination_listed},
        "found": found,
        "foundBytes": found_bytes,
        "done": figures.sum("done"),
        "skipped": figures.sum("skipped"),
        "failed": figures.sum("failed"),
        "bytes": bytes_moved,
        "deleted": figures.sum("deleted"),
        "undecided": figures.undecided,
        "notSelected": figures.not_selected,
        "bytesPerSecond": figures.bytes_per_second if moving else None,
        "objectsPerSecond": figures.objects_per_second if moving else None,
        "etaSeconds": _left(figures, (found or 0) - ended, found_bytes - bytes_moved) if moving else None,
        "reasons": tallies(figures.reasons),
        "failures": failures(figures, over=row.ended_at is not None),
        "proofs": tallies(figures.proofs) + tallies(figures.differences),
        "requests": [
            {"side": side, "operation": operation, "count": count}
            for side, counts in figures.requests.items()
            for operation, count in counts.items()
        ],
        "cost": cost(figures),
        "exitCode": row.exit_code,
        "reconciles": figures.reconciles if row.kind is not RunKind.VERIFY else None,
    }


def run_state(row: RunRow) -> RunState:
    """How far it is."""
    if row.ended_at is None:
        return RunState.SEALED if row.figures.sealed else RunState.LISTING
    return RunState.OVER if row.exit_code in {0, 3} and row.cause != "run_under_way" else RunState.ABANDONED


def _left(figures: Figures, objects: int, size: int) -> float | None:
    """Seconds left: small objects cost requests and large ones bytes, so the slower of both decides."""
    if not figures.sealed:
        return None
    if objects <= 0:
        return 0.0
    pairs = ((objects, figures.objects_per_second), (max(size, 0), figures.bytes_per_second))
    waits = [count / rate for count, rate in pairs if rate > 0]
    return max(waits) if waits else None


def tallies(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """The schema's `Tally`s, the largest first."""
    ordered = sorted(counts.items(), key=lambda one: -one[1])
    return [{"name": name, "label": words(name), "count": count, "bytes": None} for name, count in ordered]


def failures(figures: Figures, *, over: bool) -> list[dict[str, Any]]:
    """The schema's `Failure`s, the most frequent first: objects that ended failed, and while a run is under way also attempts
    that failed and are made again."""

    def weight(one: tuple[str, Cause]) -> tuple[int, int]:
        return -one[1].final, -one[1].count

    return [
        {
            "code": code,
            "label": cause_of(code).label,
            "hint": cause_of(code).hint,
            "count": cause.final or cause.count,
            "final": cause.final > 0,
            "retriable": cause_of(code).retriable,
            "examples": cause.examples,
        }
        for code, cause in sorted(figures.causes.items(), key=weight)
        if cause.final or not over
    ]


def cost(figures: Figures) -> dict[str, Any] | None:
    """The schema's `Cost` so far; None where nothing is priced."""
    found = figures.cost
    return priced(dataclasses.asdict(found)) if found else None


def priced(found: Mapping[str, Any]) -> dict[str, Any]:
    """The schema's `Cost`, from the fields of a `prices.Cost`."""
    return {
        "usd": found["usd"],
        "requestsUsd": round(sum(found["requests_usd"].values()), 6),
        "egressUsd": found["egress_usd"],
        "computeUsd": None,
        "storageUsd": None,
        "estimate": True,
        "pricesOf": f"{found['prices_of']}T00:00:00Z",
        "regions": [{"name": side, "value": region} for side, region in found["regions"].items() if region],
        "notPriced": list(found["not_priced"]),
        "missing": [{"name": what, "value": region} for what, region in found.get("missing", ())],
    }


def page(found: Page, shape: Any) -> dict[str, Any]:
    """Any of the schema's pages."""
    return {"items": [shape(one) for one in found.items], "after": found.after or None, "total": found.total}


def log_line(line: LogLine) -> dict[str, Any]:
    """The schema's `LogLine`."""
    return {
        "at": when(line.at), "level": line.level.value, "process": line.process, "code": line.code or None, "text": line.text,
    }  # fmt: skip


def series(one: Drawn) -> dict[str, Any]:
    """The schema's `Series`."""
    return {"name": one.name.value, "unit": one.unit, "t": list(one.t), "v": list(one.v)}

"""The table of metrics: names, units and labels, the same for Prometheus and for CloudWatch.

`docs/metrics.md` is made of it (`python -m dth.metrics.table`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """A counter only grows while its process lives; a gauge says how things stand."""

    COUNTER = "counter"
    GAUGE = "gauge"


class Unit(StrEnum):
    """As CloudWatch spells them."""

    COUNT = "Count"
    BYTES = "Bytes"
    SECONDS = "Seconds"
    NONE = "None"


class Of(StrEnum):
    """Whose figure it is. COMMAND: of one command with its worker processes; add up those of all machines. JOB: read from
    the job's ledger and queue, so every machine says the same; take the largest."""

    COMMAND = "command"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. Every sample carries `job_id` besides the `labels`; `text` says what is counted."""

    name: str
    kind: Kind
    unit: Unit
    of: Of
    labels: tuple[str, ...]
    text: str


def _counter(name: str, text: str, *labels: str, unit: Unit = Unit.COUNT) -> Metric:
    return Metric(name, Kind.COUNTER, unit, Of.COMMAND, labels, text)


def _gauge(name: str, text: str, *labels: str, unit: Unit = Unit.COUNT, of: Of = Of.COMMAND) -> Metric:
    return Metric(name, Kind.GAUGE, unit, of, labels, text)


OBJECTS = _counter(
    "dth_objects_total", "Objects (of image jobs: images) that ended, deletes among them, by outcome.", "outcome"
)
BYTES = _counter("dth_bytes_total", "Bytes of the objects that were moved.", unit=Unit.BYTES)
MOVED_BYTES = _counter(
    "dth_moved_bytes_total",
    "The same with the parts of objects that are under way, so that it grows smoothly. Parts that were moved twice count twice.",
    unit=Unit.BYTES,
)
FAILURES = _counter("dth_failures_total", "Objects that failed for good, by error code.", "code")
RETRIES = _counter(
    "dth_retries_total",
    "What had to be done again: requests, by side and cause, and objects, by error code.",
    "layer",
    "side",
    "cause",
)
REQUESTS = _counter("dth_requests_total", "HTTP requests, by side and operation.", "side", "operation")
THROTTLES = _counter(
    "dth_throttles_total", "How often workers slowed down because a store asked for it or kept silent."
)
LISTED = _counter("dth_listed_objects_total", "Objects that the finder has listed, by side.", "side")
FOUND = _counter("dth_found_objects_total", "Objects that the finder found to be different.")
FOUND_BYTES = _counter("dth_found_bytes_total", "Bytes of these.", unit=Unit.BYTES)
BURIED = _counter("dth_buried_messages_total", "Messages that became dead letters as they came.")
DEATHS = _counter("dth_worker_deaths_total", "Worker processes that ended badly, killed ones among them.")

IN_FLIGHT = _gauge("dth_in_flight_objects", "Objects and parts that are being moved.")
IN_FLIGHT_BYTES = _gauge("dth_in_flight_bytes", "Bytes of them that are in memory.", unit=Unit.BYTES)
LIMIT = _gauge("dth_limiter_objects", "How many objects and parts the limiter lets be in flight now.")
WORKERS = _gauge("dth_workers", "Worker processes that are alive.")
MEMORY = _gauge(
    "dth_resident_memory_bytes",
    "Resident memory of the command and its workers; pages that they share count in each.",
    unit=Unit.BYTES,
)
LAG = _gauge(
    "dth_event_lag_seconds",
    "How old events were when they were done with: the last one, and p50 and p99 of the last hour.",
    "stat",
    unit=Unit.SECONDS,
)
OLDEST = _gauge(
    "dth_oldest_message_seconds",
    "How long the oldest message that came in the last seconds had waited in the queue.",
    unit=Unit.SECONDS,
)

QUEUE = _gauge("dth_queue_messages", "Messages in the job's queue: visible, leased, dead.", "state", of=Of.JOB)
RUN_FOUND = _gauge("dth_run_found_objects", "Objects that the run found; from its sealing on.", "run_id", of=Of.JOB)
RUN_OBJECTS = _gauge(
    "dth_run_objects", "Objects of the run that ended, as the ledger counts them.", "run_id", "outcome", of=Of.JOB
)
RUN_BYTES = _gauge(
    "dth_run_bytes",
    "Bytes of the run that were moved, as the ledger counts them.",
    "run_id",
    unit=Unit.BYTES,
    of=Of.JOB,
)
RUN_FAILURES = _gauge(
    "dth_run_failures",
    "Failed objects of the run by error code, as the ledger counts them.",
    "run_id",
    "code",
    of=Of.JOB,
)
RUN_OVER = _gauge(
    "dth_run_over",
    "1 once all objects of the run have ended, else 0; a standing run of events stays at 0.",
    "run_id",
    unit=Unit.NONE,
    of=Of.JOB,
)

ALL = (
    OBJECTS, BYTES, MOVED_BYTES, FAILURES, RETRIES, REQUESTS, THROTTLES, LISTED, FOUND, FOUND_BYTES, BURIED, DEATHS,
    IN_FLIGHT, IN_FLIGHT_BYTES, LIMIT, WORKERS, MEMORY, LAG, OLDEST,
    QUEUE, RUN_FOUND, RUN_OBJECTS, RUN_BYTES, RUN_FAILURES, RUN_OVER,
)  # fmt: skip
BY_NAME: Mapping[str, Metric] = {one.name: one for one in ALL}

BEGIN, END = "<!-- made by python -m dth.metrics.table -->\n", "<!-- end -->\n"


def rows() -> str:
    """The table in Markdown."""
    lines = ["| metric | kind | unit | labels | of | what it says |", "|---|---|---|---|---|---|"]
    for one in ALL:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.name}` | {one.kind} | {one.unit} | {labels} | {one.of} | {one.text} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page `text` with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + rows() + END + rest.partition(END)[2]


if __name__ == "__main__":
    path = Path("docs/metrics.md")
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")

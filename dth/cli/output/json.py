"""The output for machines: one JSON object a line on standard output, and nothing else there."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import TYPE_CHECKING, TextIO

from dth.events import Event, to_json
from dth.ledgers.base import Run
from dth.summary import Summary, Verified

if TYPE_CHECKING:
    from dth.app.status import Details, Status
    from dth.stats import Failure


class JsonOutput:
    """Events as `events.to_json` writes them, then one `Summary` or one `error`.

    A reader that went away (`| head`) does not end the command: the work matters more than its reader.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._gone = False

    def __enter__(self) -> JsonOutput:
        return self

    def __exit__(self, *_: object) -> None:
        self.tick()

    def _line(self, text: str) -> None:
        if not self._gone:
            try:
                self._out.write(text + "\n")
            except BrokenPipeError:
                self._gone = True

    def event(self, event: Event) -> None:
        """One line, with the time of now as `at` (seconds since 1970)."""
        self._line(f'{to_json(event)[:-1]},"at":{time.time():.3f}}}')

    def tick(self) -> None:
        """Lines reach the reader once a second, not one by one."""
        try:
            if not self._gone:
                self._out.flush()
        except BrokenPipeError:
            self._gone = True

    def summary(self, summary: Summary | Verified) -> None:
        """The last line."""
        self._line(summary.to_json())

    def status(self, now: Status, *, again: bool = False) -> None:
        """One object per run, then one of the queue (`"event":"Queue"`)."""
        del again
        newest = now.result()[0] if now.runs else None
        for run in now.runs:
            continues = list(now.continued) if run is newest else []
            said = {**_run(run), "continues": continues, **_details(run, now.details.get(run.run_id))}
            self._line(_compact({"event": "Run", **said}))
        self._line(_compact({"event": "Queue", **dataclasses.asdict(now.depth)}))
        self.tick()

    def failure(self, one: Failure) -> None:
        """One object, `"event":"Failure"`; `failed_at` is in seconds since 1970."""
        self._line(_compact({"event": "Failure", **dataclasses.asdict(one)}))

    def error(self, code: str, message: str, exit_code: int) -> None:
        """The last line where there is no summary."""
        self._line(_compact({"event": "error", "code": code, "message": message, "exit_code": exit_code}))

    def trace(self, text: str) -> None:
        """On standard error, as ever."""
        sys.stderr.write(text)


def _run(run: Run) -> dict[str, object]:
    totals = {"found": run.found, "found_bytes": run.found_bytes, **dataclasses.asdict(run.counts)}
    named = {"run_id": run.run_id, "job_id": run.job_id, "state": run.state.value, **totals}
    times = {"started_at": run.started_at, "lease_until": run.lease_until}
    return {**named, **times, "over": run.counted, **dataclasses.asdict(run.breakdown)}


def _details(run: Run, details: Details | None) -> dict[str, object]:
    """What `status` found out beside the run's row; `causes` say more there than counts."""
    if details is None:
        return {}
    lag = details.lag
    workers = [
        {
            "process": one.process, "role": one.role, "host": one.host, "pid": one.pid, "state": one.state.value,
            "in_flight": one.in_flight, "in_flight_bytes": one.in_flight_bytes, "moved": one.moved,
            "moved_bytes": one.moved_bytes, "objects_rate": one.objects_rate, "bytes_rate": one.bytes_rate,
            "started_at": one.started_at, "seen_at": one.seen_at,
        }
        for one in details.processes
    ]  # fmt: skip
    causes = [
        {"code": one.code, "count": one.count, "examples": list(one.examples), **dataclasses.asdict(one.cause)}
        for one in details.failed
    ]
    return {
        "causes": causes,
        "found_so_far": details.found,
        "found_bytes": details.found_bytes or run.found_bytes,
        "listed": {"source": details.listed[0], "destination": details.listed[1]},
        "not_selected": details.not_selected,
        "objects_rate": details.objects_rate,
        "bytes_rate": details.bytes_rate,
        "left_seconds": details.left_seconds,
        "requests": details.requests,
        "retries": details.retries,
        "lag": None
        if lag is None
        else {
            "last_seconds": lag.last_seconds,
            "last_at": lag.last_at,
            "p50_seconds": lag.quantile(0.5),
            "p99_seconds": lag.quantile(0.99),
            "events": sum(lag.sketch.values()),
        },
        "cost": dataclasses.asdict(details.cost) if details.cost else None,
        "workers": workers,
    }


def _compact(fields: dict[str, object]) -> str:
    return json.dumps(fields, separators=(",", ":"))

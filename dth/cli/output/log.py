"""The output for log collectors (`--log json`): each message on standard error is one JSON object on one line."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import TYPE_CHECKING, Any

from dth.cli.output.base import Output
from dth.events import (
    Buried,
    Event,
    Notice,
    ObjectFailed,
    RunAbandoned,
    RunOver,
    RunSealed,
    RunStarted,
    WorkerStarted,
    WorkerStopped,
)
from dth.logs import log_line
from dth.stats import Failure
from dth.summary import Summary, Verified

if TYPE_CHECKING:
    from dth.app.status import Status

_NAMES: dict[type[Event], tuple[str, str]] = {
    RunStarted: ("run_started", "info"),
    RunSealed: ("run_sealed", "info"),
    RunAbandoned: ("run_abandoned", "warning"),
    RunOver: ("run_over", "info"),
    WorkerStarted: ("worker_started", "info"),
    WorkerStopped: ("worker_stopped", "info"),
    Buried: ("message_buried", "warning"),
    Notice: ("notice", "info"),
    ObjectFailed: ("attempt_failed", "warning"),
}
"""Of each event that is logged: the name and the level. The others are progress, which metrics tell better."""


class LogOutput:
    """Logs, and passes on what is asked for on standard output to `inner`, whose standard error is silent."""

    def __init__(self, inner: Output) -> None:
        self._inner = inner

    def __enter__(self) -> LogOutput:
        self._inner.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._inner.__exit__(*error)

    def _log(self, event: str, level: str, fields: dict[str, Any]) -> None:
        sys.stderr.write(log_line(event, level, fields, now=time.time()))
        sys.stderr.flush()

    def event(self, event: Event) -> None:
        """A line, where it is one to log."""
        if named := _NAMES.get(type(event)):
            fields = dataclasses.asdict(event)
            level = str(fields.pop("level", named[1]))
            if fields.get("exit_code"):
                level = "error"
            self._log(named[0], level, fields)
        self._inner.event(event)

    def tick(self) -> None:
        """Nothing to log."""
        self._inner.tick()

    def summary(self, summary: Summary | Verified) -> None:
        """The sums, without the runs that they are made of."""
        if isinstance(summary, Summary):
            names = ("found", "done", "deleted", "skipped", "failed", "bytes", "complete")
            fields = {name: getattr(summary, name) for name in names}
            fields |= {"seconds": round(summary.seconds, 3), "exit_code": int(summary.exit_code)}
            fields["failure_codes"] = dict(summary.failure_codes)
            self._log("summary", "error" if summary.exit_code else "info", fields)
        self._inner.summary(summary)

    def status(self, now: Status, *, again: bool = False) -> None:
        """That goes to standard output."""
        self._inner.status(now, again=again)

    def failure(self, one: Failure) -> None:
        """Likewise."""
        self._inner.failure(one)

    def error(self, code: str, message: str, exit_code: int) -> None:
        """Why the command ended without a summary."""
        self._log("error", "error" if exit_code else "info", {"code": code, "error": message, "exit_code": exit_code})
        self._inner.error(code, message, exit_code)

    def trace(self, text: str) -> None:
        """The traceback of a defect."""
        self._log("traceback", "error", {"error": text[-3000:].replace("\n", " ")})

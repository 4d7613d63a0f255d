"""The output for machines: one JSON object a line on standard output, and nothing else there."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import TextIO

from dth.events import Event, to_json
from dth.ledgers.base import Run
from dth.queues.base import QueueDepth
from dth.summary import Summary, Verified


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

    def status(self, runs: Sequence[Run], depth: QueueDepth) -> None:
        """One object per run, then one of the queue (`"event":"Queue"`)."""
        for run in runs:
            totals = {"found": run.found, **dataclasses.asdict(run.counts)}
            fields = {"run_id": run.run_id, "job_id": run.job_id, "state": run.state.value, **totals}
            times = {"started_at": run.started_at, "lease_until": run.lease_until}
            self._line(_compact({"event": "Run", **fields, **times, "over": run.counted}))
        self._line(_compact({"event": "Queue", **dataclasses.asdict(depth)}))
        self.tick()

    def error(self, code: str, message: str, exit_code: int) -> None:
        """The last line where there is no summary."""
        self._line(_compact({"event": "error", "code": code, "message": message, "exit_code": exit_code}))


def _compact(fields: dict[str, object]) -> str:
    return json.dumps(fields, separators=(",", ":"))

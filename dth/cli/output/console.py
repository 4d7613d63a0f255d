"""The output for people: a plain line every few seconds. On a terminal `dth.cli.output.live` moves.

Progress, notices and failures go to standard error; what was asked for (the summary, a plan, a status) to standard output.
"""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

from dth.cli.output.format import shown_bytes, shown_key
from dth.cli.output.probe import answer, probed
from dth.cli.output.progress import Meter
from dth.cli.output.summary import details, headline
from dth.cli.output.verify import difference, findings, verdict
from dth.events import (
    Buried,
    Difference,
    Event,
    Explained,
    Notice,
    ObjectFailed,
    Planned,
    Probed,
    ProbeOver,
    RunAbandoned,
    RunStarted,
    SortProgress,
    WorkerStarted,
    WorkerStopped,
)
from dth.summary import FAILURES_KEPT, Summary, Verified
from dth.text import printable

if TYPE_CHECKING:
    from dth.app.status import Status
    from dth.stats import Failure

PLAIN_SECONDS = 5.0
WIDE = 160  # columns where nobody's terminal says


class PlainOutput:
    """Lines of text, for logs and pipes; `silent`: nothing on standard error."""

    def __init__(self, *, verbose: bool, silent: bool = False) -> None:
        self._verbose = verbose
        self._silent = silent
        self._meter = Meter()
        self._failures = 0
        self._buried = 0
        self._planned = 0
        self._said = time.monotonic()
        self._last = ""

    def __enter__(self) -> PlainOutput:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to take down."""

    def event(self, event: Event) -> None:
        """Say what is worth a line now; count the rest."""
        self._meter(event)
        if isinstance(event, Planned):
            where = "" if event.dest_key == event.key else f" -> {shown_key(event.dest_key)}"
            size = f"{shown_bytes(event.size)}, " if event.action != "list" else ""
            _out(f"{event.action} {shown_key(event.key)}{where} ({size}{event.reason})")
        elif isinstance(event, Explained):
            _out(f"{event.action} {shown_key(event.key)} -> {shown_key(event.dest_key)}: {event.rule}")
        elif isinstance(event, Difference):
            _out(difference(event))
        elif isinstance(event, Probed):
            _out(answer(event))
        elif isinstance(event, ProbeOver):
            _out(probed(event), lines=True)
        elif line := self._line(event):
            self._say(*line)

    def _line(self, event: Event) -> tuple[str, str] | None:  # noqa: C901, PLR0911, PLR0912 - a table of sentences
        """The event's line and its style, or None."""
        match event:
            case ObjectFailed(final=True):
                self._failures += 1
                if self._failures > FAILURES_KEPT:
                    more = "more failures are counted, not named; all are in the report"
                    return (more, "yellow") if self._failures == FAILURES_KEPT + 1 else None
                return f"failed: {shown_key(event.key)}: {event.error_code}: {shown_key(event.error)}", "red"
            case ObjectFailed() if self._verbose:
                return f"will be tried again: {shown_key(event.key)}: {shown_key(event.error)}", "yellow"
            case Notice():
                if event.level == "info" and not self._verbose and event.code not in _TOLD:
                    return None
                return (event.text, "") if event.level == "info" else (f"{event.level}: {event.text}", "yellow")
            case Buried():
                self._buried += 1
                if self._buried > FAILURES_KEPT:
                    return None
                return f"warning: a message was buried among the dead letters: {event.reason}", "yellow"
            case RunAbandoned():
                return f"run {event.run_id} was abandoned: {event.reason}", "yellow"
            case RunStarted() if self._verbose:
                return f"run {event.run_id}: {event.source} to {event.destination}", ""
            case SortProgress() if self._verbose:
                return f"sorting the {event.side}'s listing: {event.objects:,} objects", ""
            case WorkerStarted() if self._verbose:
                return f"worker {event.process} started, pid {event.pid}", ""
            case WorkerStopped() if self._verbose or event.exit_code:
                return f"worker {event.process} ended with {event.exit_code}", "yellow" if event.exit_code else ""
            case _:
                return None

    def _say(self, line: str, style: str, *, lines: bool = False) -> None:
        """Whatever is in the line, a terminal obeys none of it; `lines`: line feeds in it are dth's own."""
        if self._silent:
            return
        self._print(printable(line, lines=lines), style)

    def _print(self, line: str, style: str) -> None:  # noqa: ARG002 - a terminal has styles
        sys.stderr.write(line + "\n")

    def tick(self) -> None:
        """A line of progress, unless nothing changed since the last one."""
        self._meter.sample()
        if time.monotonic() - self._said < PLAIN_SECONDS:
            return
        self._said = time.monotonic()
        line = self._meter.line()
        if line and line != self._last:
            self._last = line
            self._say(line, "")

    def summary(self, summary: Summary | Verified) -> None:
        """Headline and details, on standard output. Failures were named as they came."""
        if isinstance(summary, Verified):
            first, others = verdict(summary), findings(summary, verbose=self._verbose)
        else:
            first, others = headline(summary), details(summary, verbose=self._verbose)
        _out(first)
        for line in others:
            _out(f"  {line}")

    def status(self, now: Status, *, again: bool = False) -> None:
        """One screen, on standard output."""
        from dth.cli.output.status import fitted, screen  # noqa: PLC0415 - paid for where it is shown

        to_terminal = sys.stdout.isatty()
        size = shutil.get_terminal_size()
        lines = screen(now, size.columns if to_terminal else WIDE)
        if again and to_terminal:
            lines = fitted(lines, size.lines)
            sys.stdout.write(_HOME)
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()

    def failure(self, one: Failure) -> None:
        """On standard output."""
        _out(f"{one.code} {shown_key(one.key)}: {shown_key(one.error)}")

    def error(self, code: str, message: str, exit_code: int) -> None:
        """One message, on standard error. Its line feeds stay: `str` of an error leaves none but dth's own."""
        del code
        self._say(f"dth: {'error: ' if exit_code else ''}{message}", "bold red" if exit_code else "", lines=True)

    def trace(self, text: str) -> None:
        """On standard error."""
        sys.stderr.write(text)


_TOLD = {  # infos that everyone wants to read
    "settings", "resuming", "stopping", "demo", "hub_address", "hub_link", "hub_demo", "hub_password",
}  # fmt: skip
_HOME = "\x1b[H\x1b[J"  # to the first column of the first line, and clear the rest


def _out(text: str, *, lines: bool = False) -> None:
    sys.stdout.write(printable(text, lines=lines) + "\n")

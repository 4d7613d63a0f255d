"""The output for people on a terminal: the same lines in colours, and below them a display that moves.

Apart from the plain one, because its library is a tenth of the start of a command that no terminal shows.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.text import Text

from dth.cli.output.console import PlainOutput
from dth.summary import Summary, Verified

if TYPE_CHECKING:
    from dth.app.status import Status
    from dth.stats import Failure

SPINNER_COLUMNS = 2
BAR_COLUMNS = 60


class LiveOutput(PlainOutput):
    """The same, with a display that moves, on a terminal."""

    def __init__(self, *, verbose: bool) -> None:
        super().__init__(verbose=verbose)
        self._err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
        self._live = Live(
            get_renderable=self._picture,
            console=self._err,
            refresh_per_second=5,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=False,
        )

    def __enter__(self) -> LiveOutput:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the display down."""
        self._live.stop()

    def _print(self, line: str, style: str) -> None:
        self._err.print(Text(line, style))

    def tick(self) -> None:
        """The display draws itself; only rates need a beat."""
        self._meter.sample()

    def _picture(self) -> Group | Spinner:
        if self._meter.verifying:
            return Spinner("dots", text=self._meter.line(self._err.width - SPINNER_COLUMNS))
        view = self._meter.view()
        if not view.found and not view.listed_source:
            return _SPINNER
        total = view.found_bytes or view.found
        done = view.bytes if view.found_bytes else view.ended
        columns = self._err.width
        bar = ProgressBar(total=total, completed=done, width=min(columns, BAR_COLUMNS), pulse=not view.listed_all)
        line = view.line_in(columns)
        lined = Padding(bar, 0)  # a bar alone does not end its line
        return Group(lined, Text(line, "red" if view.failed else "", no_wrap=True, overflow="ellipsis"))

    def summary(self, summary: Summary | Verified) -> None:
        """As lines, below where the display was."""
        self._live.stop()
        super().summary(summary)

    def status(self, now: Status, *, again: bool = False) -> None:
        """Below where the display was."""
        self._live.stop()
        super().status(now, again=again)

    def failure(self, one: Failure) -> None:
        """Below where the display was."""
        self._live.stop()
        super().failure(one)

    def error(self, code: str, message: str, exit_code: int) -> None:
        """Below where the display was."""
        self._live.stop()
        super().error(code, message, exit_code)


_SPINNER = Spinner("dots", text="looking at both sides")

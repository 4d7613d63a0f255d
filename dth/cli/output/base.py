"""What shows a command: its events while it runs, and its end. An output changes nothing and never fails a command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from dth.events import Event
from dth.summary import Summary, Verified

if TYPE_CHECKING:
    from dth.app.status import Status
    from dth.stats import Failure


class Output(Protocol):
    """Used as a context manager around the whole command."""

    def __enter__(self) -> Output: ...

    def __exit__(self, *_: object) -> None: ...

    def event(self, event: Event) -> None:
        """Take one event of the engine."""
        ...

    def tick(self) -> None:
        """Called about once a second."""
        ...

    def summary(self, summary: Summary | Verified) -> None:
        """Show the end."""
        ...

    def status(self, now: Status, *, again: bool = False) -> None:
        """Show a job's runs, the newest first, and its queue; `again`: in the place of what was shown before."""
        ...

    def failure(self, one: Failure) -> None:
        """Show one object that failed, on a line of its own."""
        ...

    def error(self, code: str, message: str, exit_code: int) -> None:
        """Show why the command ended without a summary."""
        ...

    def trace(self, text: str) -> None:
        """Show a traceback, because the user asked for it."""
        ...


def choose(*, as_json: bool, verbose: bool, log: str = "text") -> Output:
    """JSON where asked for; a live display on a terminal; plain lines elsewhere. `log`: how standard error is written."""
    if log == "json":
        from dth.cli.output.log import LogOutput  # noqa: PLC0415

        return LogOutput(_quiet(as_json=as_json, verbose=verbose))
    if as_json:
        from dth.cli.output.json import JsonOutput  # noqa: PLC0415 - each output is paid for only where it is used

        return JsonOutput(sys.stdout)
    if sys.stderr.isatty():
        from dth.cli.output.live import LiveOutput  # noqa: PLC0415

        return LiveOutput(verbose=verbose)
    from dth.cli.output.console import PlainOutput  # noqa: PLC0415

    return PlainOutput(verbose=verbose)


def _quiet(*, as_json: bool, verbose: bool) -> Output:
    """What says nothing on standard error."""
    if as_json:
        return choose(as_json=True, verbose=verbose)
    from dth.cli.output.console import PlainOutput  # noqa: PLC0415

    return PlainOutput(verbose=verbose, silent=True)

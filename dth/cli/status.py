"""`dth status`."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dth.cli.options import IDENTITY, LOCATION, AsJson, Common, JobDest, JobFile, JobSource, Verbose, with_settings
from dth.cli.output.base import Output
from dth.cli.run import guarded, load_named
from dth.errors import SettingsError
from dth.states import RunState
from dth.summary import ExitCode

if TYPE_CHECKING:
    from dth.app.verbs import Status

WATCH_SECONDS = 2.0
_NO_RUN = "there is no run of this job to wait for: check its locations or --job-id, and --state or --queue and --table"

Watch = Annotated[bool, typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until all runs of the job are over; 3 if something failed.")]
Failed = Annotated[bool, typer.Option("--failed", help="List the objects that failed instead, each with its error.")]


@with_settings(only=(*LOCATION, *IDENTITY))
def status(
    source: JobSource = "",
    dest: JobDest = "",
    *,
    watch: Watch = False,
    wait: Wait = False,
    failed: Failed = False,
    job: JobFile = None,
    json: AsJson = False,
    verbose: Verbose = False,
    flags: dict[str, Any],
) -> None:
    """Show a job's runs and what is left in its queue.

    The job is named by its URLs as for `dth sync`, by its locations as for `dth find`, or by `--job-id`.

    Example: `dth status s3://photos/2026 s3://backup/photos/2026 --watch`
    """
    if failed and (watch or wait):
        raise typer.BadParameter("--failed lists once: leave out --watch and --wait")
    common = Common(job, json, verbose)

    async def verb(output: Output, stop: asyncio.Event) -> int:
        settings = load_named(common, source, dest, flags)
        from dth.app import verbs  # noqa: PLC0415 - the engine is loaded once its settings are known to be right

        if failed:
            async for one in verbs.failures(settings):
                output.failure(one)
            return ExitCode.COMPLETE
        while True:
            now = await verbs.status(settings)
            if wait and not now.runs:
                raise SettingsError(_NO_RUN)
            over = _over(now)
            if watch or over or not wait:
                output.status(now, again=watch)
            if (wait and over) or not (watch or wait):
                return _code(now) if wait else ExitCode.COMPLETE
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), WATCH_SECONDS)
                return ExitCode.COMPLETE if watch and not wait else ExitCode.INTERRUPTED

    guarded(common, verb)


def _over(now: Status) -> bool:
    """Whether nothing is left to happen: every run counted, or abandoned with no message left."""
    left = now.depth.visible + now.depth.leased
    return all(run.counted or (run.state in {RunState.ABANDONED, RunState.STANDING} and not left) for run in now.runs)


def _code(now: Status) -> int:
    """What the latest listing led to: what had failed before it was found again by it."""
    latest = now.result()
    bad = [run for run in latest if run.counts.failed] or latest[0].state is RunState.ABANDONED
    return ExitCode.SOME_FAILED if bad else ExitCode.COMPLETE

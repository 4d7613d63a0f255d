"""Runs a verb: event loop, signals, one clear message for every error, an exit code. Never a traceback without -v."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from dth.cli.gc_tuning import collect_less
from dth.cli.help import running_name
from dth.cli.options import Common, url_flags
from dth.cli.output import streams
from dth.cli.output.base import Output, choose
from dth.errors import DthError, SettingsError
from dth.events import Emit, Notice
from dth.settings import BUCKETS, TransferJob, load_settings
from dth.summary import ExitCode, Summary, Verified
from dth.text import printable
from dth.zygote import Zygote

if TYPE_CHECKING:
    from dth.app.on_failure import OnFailure

T = TypeVar("T")
Verb = Callable[[Emit, asyncio.Event], Awaitable[Summary | Verified]]
TICK_SECONDS = 1.0
_HARD_STOP = 3  # the third Ctrl-C does not even wait for cleanup


def load(
    common: Common,
    flags: dict[str, object],
    *,
    origins: dict[str, str] | None = None,
    locations_required: bool = True,
    required: Sequence[str] = BUCKETS,
) -> TransferJob:
    """The job of a command: its flags, this process's environment, the job file."""
    settings = load_settings(
        flags,
        os.environ,
        common.job_file,
        origins=origins,
        locations_required=locations_required,
        required=required,
        notes=common.notes,
    )
    common.log = settings.log
    return settings


def load_named(common: Common, source: str, dest: str, flags: dict[str, object]) -> TransferJob:
    """The job of a command that asks about one: named by both of its URLs, or, without them, by settings."""
    if bool(source) != bool(dest):
        raise SettingsError(f"{running_name()} takes both SOURCE and DEST, as dth sync does, or neither")
    places, origins = url_flags(source, dest) if source else ({}, {})
    return load(common, {**flags, **places}, origins=origins, locations_required=False)


def warm_zygote() -> Zygote | None:
    """A process that forks workers without their start-up, for a verb that starts some. To be called in `make`: after the
    engine is loaded, and before anything that a fork could not stand."""
    from dth.app import verbs  # noqa: PLC0415 - help needs none of this
    from dth.cli.child import main  # noqa: PLC0415

    _ = verbs.run_child  # loads the modules of a worker, once for all of them
    zygote = Zygote.fork(main)
    if zygote:
        atexit.register(zygote.close)
    return zygote


def execute(common: Common, make: Callable[[], Verb], *, drains: bool = False) -> NoReturn:
    """Make the verb (settings errors belong to it), run it, show its events and its summary, exit.

    `drains`: being stopped by a signal is this verb's ordinary end; otherwise one that was stopped before it was
    complete exits 130.
    """
    made: list[Verb] = []
    alarms: list[OnFailure] = []

    def before() -> None:
        if common.on_failure:
            from dth.app.on_failure import OnFailure  # noqa: PLC0415 - for who wants it

            alarms.append(OnFailure.parse(common.on_failure))
        made.append(make())

    async def verb(output: Output, stop: asyncio.Event) -> int:
        for note in common.notes:
            output.event(Notice("info", "settings", note))
        try:
            summary = await made[0](output.event, stop)
        except Exception as error:
            for alarm in alarms:
                await alarm.tell(_as_result(error), output.event)
            raise
        if stop.is_set() and not drains and not summary.complete:
            summary = dataclasses.replace(summary, exit_code=ExitCode.INTERRUPTED)
        if summary.exit_code not in {ExitCode.COMPLETE, ExitCode.INTERRUPTED}:
            for alarm in alarms:
                await alarm.tell({"command": running_name(), **json.loads(summary.to_json())}, output.event)
        output.summary(summary)
        return summary.exit_code

    guarded(common, verb, before=before)


def _as_result(error: Exception) -> dict[str, Any]:
    """For whoever is told of a command that ended without a summary."""
    ours = _first(error, DthError)
    code, exit_code = (ours.code, ours.exit_code) if ours else ("internal", ExitCode.BROKEN)
    text = printable(str(ours or _first(error, Exception) or error))
    return {"command": running_name(), "event": "Error", "code": code, "error": text, "exit_code": int(exit_code)}


def guarded(
    common: Common,
    verb: Callable[[Output, asyncio.Event], Awaitable[int]],
    *,
    before: Callable[[], None] = lambda: None,
) -> NoReturn:
    """Run the verb and exit with its code, whatever happens in it. `before` is called while no event loop runs yet: what
    forks belongs there."""
    import uvloop  # noqa: PLC0415 - help needs no event loop

    output = choose(as_json=common.as_json, verbose=common.verbose)
    code: int = ExitCode.BROKEN
    with contextlib.ExitStack() as shown:
        shown.enter_context(output)
        try:
            before()
            collect_less()
            if common.log != "text":  # known only now: a job file may say so
                shown.close()
                output = choose(as_json=common.as_json, verbose=common.verbose, log=common.log)
                shown.enter_context(output)
            code = uvloop.run(_driven(output, verb))
        except (KeyboardInterrupt, asyncio.CancelledError):
            code = ExitCode.INTERRUPTED
        except BaseException as error:  # noqa: BLE001 - the last gate: whatever comes becomes a message
            code = _explain(output, error, verbose=common.verbose)
    _leave(code)


async def _driven(output: Output, verb: Callable[[Output, asyncio.Event], Awaitable[int]]) -> int:
    stop = asyncio.Event()
    task = asyncio.current_task()
    assert task
    loop = asyncio.get_running_loop()
    presses = 0

    def interrupted() -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            text = "stopping: what is in flight is finished or given back; press Ctrl-C again to stop at once"
            output.event(Notice("info", "stopping", text))
            stop.set()
        elif presses < _HARD_STOP:
            task.cancel()
        else:
            os._exit(ExitCode.INTERRUPTED)

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    ticking = asyncio.create_task(_tick(output))
    try:
        return await verb(output, stop)
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking


async def _tick(output: Output) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        output.tick()


def _explain(output: Output, error: BaseException, *, verbose: bool) -> int:
    """Show the error; its exit code. Of a group the first error of ours speaks."""
    ours = _first(error, DthError)
    if isinstance(ours, SettingsError):
        output.error(ours.code, f"{ours}\n(dth {running_name()} --help lists all settings)", ours.exit_code)
    elif ours:
        output.error(ours.code, str(ours), ours.exit_code)
    if ours and not verbose:
        return ours.exit_code
    if verbose:
        output.trace(streams.trace(error))
    if ours:
        return ours.exit_code
    only = _first(error, Exception) or error
    hint = "" if verbose else "; run with -v for the traceback"
    what = printable(f"{type(only).__name__}: {only}")
    output.error("internal", f"internal error, a defect of dth: {what}{hint}", ExitCode.BROKEN)
    return ExitCode.BROKEN


def _first(error: BaseException, kind: type[T]) -> T | None:
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := _first(one, kind))), None)
    return error if isinstance(error, kind) else None


def _leave(code: int) -> NoReturn:
    """Exit; a reader of standard output that went away is no error, a full disk behind it is one."""
    if lost := streams.end():
        sys.stderr.write(f"dth: error: standard output could not be written: {lost}\n")
        code = code or ExitCode.BROKEN
    raise typer.Exit(int(code))

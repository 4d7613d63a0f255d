"""`dth limit`."""

from __future__ import annotations

import asyncio
import json as jsonlib
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dth.cli.options import IDENTITY, LOCATION, AsJson, Common, JobDest, JobFile, JobSource, Verbose, with_settings
from dth.cli.output.base import Output
from dth.cli.run import guarded, load_named
from dth.errors import SettingsError
from dth.flow.limits import Limits
from dth.flow.timetable import OFF, zone_of
from dth.settings import format_size
from dth.summary import ExitCode
from dth.text import printable

if TYPE_CHECKING:
    from dth.app.limit import LimitsNow

Bandwidth = Annotated[
    str | None,
    typer.Option(
        "--bandwidth",
        metavar="RATE|TIMETABLE",
        help="Bytes of objects read a second by all machines together: 20MB/s, `off` for no limit, a timetable such as "
        "`08:00-18:00=50MB/s, else off`, or `default` for what each command was started with.",
    ),
]
Zone = Annotated[
    str | None,
    typer.Option(
        "--time-zone",
        metavar="ZONE",
        help="Time zone of the timetable, such as Europe/Berlin (default: this machine's).",
    ),
]
Processes = Annotated[
    str | None,
    typer.Option("--processes", metavar="NUMBER", help="Worker processes of each machine; `default`: as started."),
]
Number = Annotated[
    str | None,
    typer.Option(
        "--worker-number",
        metavar="NUMBER",
        help="Objects in flight in each process; 0: adaptive; `default`: as started.",
    ),
]
Pause = Annotated[bool, typer.Option("--pause", help="Finish what is in flight and begin nothing new.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on after --pause.")]
Reset = Annotated[bool, typer.Option("--reset", help="Forget all limits: what each command was started with holds.")]


@with_settings(only=(*LOCATION, *IDENTITY))
def limit(
    source: JobSource = "",
    dest: JobDest = "",
    *,
    bandwidth: Bandwidth = None,
    time_zone: Zone = None,
    processes: Processes = None,
    worker_number: Number = None,
    pause: Pause = False,
    resume: Resume = False,
    reset: Reset = False,
    job: JobFile = None,
    json: AsJson = False,
    verbose: Verbose = False,
    flags: dict[str, Any],
) -> None:
    """Show a job's limits, or change them while it runs.

    Running workers follow within seconds, and later runs of the job keep to the limits until they are changed again. Without
    an option for a change, this shows what holds. The job is named as for `dth status`.

    Examples:
    `dth limit s3://photos s3://backup --bandwidth 20MB/s`

    `dth limit --job-id photos --bandwidth "Mon-Fri 08:00-18:00=50MB/s, else off" --time-zone Europe/Berlin`

    `dth limit --job-id photos --pause`

    """
    common = Common(job, json, verbose)
    given = {"bandwidth": bandwidth, "time_zone": time_zone, "processes": processes, "worker_number": worker_number}

    async def verb(_output: Output, _stop: asyncio.Event) -> int:
        if pause and resume:
            raise SettingsError("--pause and --resume are opposites: give one of them")
        settings = load_named(common, source, dest, flags)
        from dth.app import verbs  # noqa: PLC0415 - the engine is loaded once its settings are known to be right

        def change(limits: Limits) -> Limits:
            return _changed(Limits() if reset else limits, given, paused=True if pause else False if resume else None)

        if reset or pause or resume or any(value is not None for value in given.values()):
            now = await verbs.change_limits(settings, change)
        else:
            now = await verbs.limits_now(settings)
        text = jsonlib.dumps(as_fields(now)) if json else "\n".join(as_lines(now))
        print(text, file=sys.stdout)  # noqa: T201 - this verb's answer
        return ExitCode.SOME_FAILED if now.unreadable else ExitCode.COMPLETE

    guarded(common, verb)


def _changed(limits: Limits, given: dict[str, str | None], *, paused: bool | None) -> Limits:
    """The limits with what was given."""
    fields: dict[str, Any] = {}
    if (text := given["bandwidth"]) is not None:
        fields["bandwidth"] = None if text.strip().lower() == "default" else text.strip()
        fields["time_zone"] = given["time_zone"] or local_zone()
    elif given["time_zone"]:
        fields["time_zone"] = given["time_zone"]
    for name in ("processes", "worker_number"):
        if (text := given[name]) is not None:
            fields[name] = _number(name, text)
    if paused is not None:
        fields["paused"] = paused
    return replace(limits, **fields)


def _number(name: str, text: str) -> int | None:
    if text.strip().lower() == "default":
        return None
    if not (text.isascii() and text.isdigit()):
        raise SettingsError(f"--{name.replace('_', '-')} {text!r}: give a whole number, or `default`")
    return int(text)


def local_zone() -> str:
    """The name of this machine's time zone; UTC where it has none that others would know."""
    named = os.environ.get("TZ", "").removeprefix(":")
    if not named:
        link = str(Path("/etc/localtime").resolve())
        named = link.partition("/zoneinfo/")[2]
    try:
        zone_of(named or "UTC")
    except SettingsError:
        return "UTC"
    return named or "UTC"


def as_fields(now: LimitsNow) -> dict[str, Any]:
    """For `--json`."""
    limits = now.limits
    return {
        "event": "Limits",
        "job_id": now.job_id,
        "paused": limits.paused,
        "bandwidth": limits.bandwidth,
        "time_zone": limits.time_zone,
        "bytes_per_second": now.rate,
        "bytes_per_second_until": now.rate_changes_at,
        "processes": limits.processes,
        "worker_number": limits.worker_number,
        "changed_at": limits.changed_at or None,
        "changed_by": limits.changed_by,
        "machines": {name: {"busy": word.busy, "idle": word.idle} for name, word in now.machines.items()},
        "unreadable": now.unreadable,
    }


def as_lines(now: LimitsNow) -> list[str]:
    """For people."""
    limits = now.limits
    lines = [f"job          {now.job_id}{'' if now.known else '  (no run yet: the limits hold from its first)'}"]
    if now.unreadable:
        lines.append(f"unreadable   {printable(now.unreadable, limit=300)}; `dth limit --reset` writes the limits anew")
    lines.append(f"state        {'paused; go on with `dth limit --resume`' if limits.paused else 'not paused'}")
    lines.append(f"bandwidth    {_bandwidth(now)}")
    lines.append(f"processes    {_as_started(limits.processes)} on each machine")
    number = "adaptive" if limits.worker_number == 0 else _as_started(limits.worker_number)
    lines.append(f"in flight    {number} in each process")
    for name, word in now.machines.items():
        lines.append(f"machine      {printable(name, limit=60)}: {word.busy} at work, {word.idle} waiting")
    if limits.changed_at:
        when = datetime.fromtimestamp(limits.changed_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        lines.append(f"changed      {when} by {printable(limits.changed_by, limit=80)}")
    return lines


def _as_started(value: int | None) -> str:
    return "as started" if value is None else f"{value:,}"


def _bandwidth(now: LimitsNow) -> str:
    if now.rate is None:
        return "as started"
    rate = "no limit" if now.rate == OFF else f"{_size(now.rate)}/s"
    if now.rate_changes_at is None:
        return f"{rate}, all machines together" if now.rate else rate
    zone = zone_of(now.limits.time_zone)
    until = datetime.fromtimestamp(now.rate_changes_at, zone).strftime("%a %H:%M")
    return f"{rate} until {until} ({now.limits.time_zone}); {printable(now.limits.bandwidth or '', limit=200)}"


def _size(rate: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 1000)):
        if rate % factor == 0:
            return f"{rate // factor}{unit}"
    return format_size(rate)

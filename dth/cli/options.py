"""Command line options made from the settings models, so that flag, help, default and environment name have one source."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from dth.cli.help import usage
from dth.errors import SettingsError
from dth.settings import NOT_YET, JobBase, Setting, TransferJob, folder, format_size, parse_s3_url, settings_of
from dth.settings.fields import PANELS

_METAVAR = {"size": "SIZE", "integer": "NUMBER", "number": "SECONDS", "list": "TEXT,...", "time": "TIME"}
LOCATION = ("src_bucket", "src_prefix", "dest_bucket", "dest_prefix", "strip_src_prefix")
PLACE = ("type", "endpoint", "region", "credentials", "profile", "addressing", "proxy")
METRICS = ("metrics", "metrics_open", "metrics_emf", "log")
IDENTITY = ("job_id", "state", "queue", "table", *(f"{side}_{name}" for side in ("src", "dest") for name in PLACE))


@dataclass(slots=True)
class Common:
    """What every command takes besides settings; `log` is known once these are loaded."""

    job_file: Path | None
    as_json: bool
    verbose: bool
    notes: list[str] = field(default_factory=list)
    """What loading the settings found out that its user should see."""
    log: str = "text"
    on_failure: str = ""


JobSource = Annotated[str, typer.Argument(metavar="SOURCE", help="The source of a `dth sync`.", show_default=False)]
JobDest = Annotated[str, typer.Argument(metavar="DEST", help="And its destination.", show_default=False)]
"""The two by which a command names a job that exists."""
JobFile = Annotated[
    Path | None,
    typer.Option(
        "--job",
        metavar="FILE",
        help="Job file (TOML, JSON or YAML): settings under their names here with _ for -, or under the original's.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object a line on standard output, and nothing else there.")
]
OnFailure = Annotated[
    str,
    typer.Option(
        "--on-failure",
        metavar="COMMAND|TOPIC",
        help="When this ends with a failure: run this command with the result as JSON on its standard input, or publish the result "
        "to this SNS topic (its ARN).",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done; write nothing.")]
Explain = Annotated[
    str | None,
    typer.Option("--explain", metavar="KEY", help="Say what would be done about this source key and why; do nothing."),
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more: retries, processes, tracebacks.")]


def with_settings(
    *,
    only: tuple[str, ...] | None = None,
    without: tuple[str, ...] = (),
    model: type[JobBase] = TransferJob,
    hidden: Mapping[str, str] = NOT_YET,
) -> Callable[[Callable[..., None]], Configured]:
    """Decorates a command: its `flags` argument receives the settings given as options, by name, as raw text.

    Settings that this version cannot honour are options too, so that they are refused by name, but stay out of the help.
    """

    def decorate(command: Callable[..., None]) -> Configured:
        known = [
            one
            for one in sorted(settings_of(model).values(), key=lambda one: PANELS.index(one.panel))
            if one.name not in without and (only is None or one.name in only)
        ]
        return Configured(command, known, hidden)

    return decorate


class Configured:
    """A command that takes settings as options."""

    def __init__(self, command: Callable[..., None], settings: Sequence[Setting], hidden: Mapping[str, str]) -> None:
        self._command = command
        self._settings = settings
        self._hidden = hidden
        self._own = [
            one for one in inspect.signature(command, eval_str=True).parameters.values() if one.name != "flags"
        ]

    def function(self, words: Sequence[str] | None = None) -> Callable[..., None]:
        """The command as a function with a parameter for each option. With `words`, what was typed behind its name, only for
        the settings among them, which are all that can be given: a hundred options take a fifth of the start of a command.
        """
        typed = {word.partition("=")[0] for word in words or () if word.startswith("-")}
        spelt = {one.name: {one.flag, _off(one)} for one in self._settings}
        own = {spelling for one in self._own for spelling in _spellings(one)}
        if words is None or not typed <= own.union(*spelt.values()):  # help, or something that an error will be about
            return self._with(self._settings)
        return self._with([one for one in self._settings if spelt[one.name] & typed])

    def _with(self, settings: Sequence[Setting]) -> Callable[..., None]:
        command = self._command

        def run(**given: Any) -> None:
            flags = {one.name: _listed(given.pop(one.name)) for one in settings}
            command(**given, flags={name: value for name, value in flags.items() if value not in (None, [])})

        options = [_parameter(one, self._hidden) for one in settings]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in self._own + options]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__doc__ = command.__doc__
        run.__name__ = command.__name__
        return run


def _spellings(own: inspect.Parameter) -> tuple[str, ...]:
    """`-v`, `--verbose`, where the option says so: typer keeps the first as its default for now."""
    (option,) = own.annotation.__metadata__
    return tuple(one for one in (option.default, *(option.param_decls or ())) if isinstance(one, str))


def _off(one: Setting) -> str:
    """`--no-tags`; `--overwrite` of `--no-overwrite`."""
    return "--" + one.flag.removeprefix("--no-") if one.name.startswith("no_") else f"--no-{one.flag[2:]}"


def _listed(value: Any) -> Any:
    """A list option may be given several times, and each may hold several items with commas between."""
    if not isinstance(value, list):
        return value
    return [part.strip() for text in value for part in text.split(",") if part.strip()]


def _parameter(one: Setting, hidden: Mapping[str, str]) -> inspect.Parameter:
    flag = f"{one.flag}/{_off(one)}" if one.kind == "flag" else one.flag
    option = typer.Option(
        flag,
        help=one.text + _note(one),
        metavar=None if one.kind == "flag" else "DOLLARS" if one.name == "max_cost" else _METAVAR.get(one.kind, "TEXT"),
        show_default=False,
        rich_help_panel=one.panel,
        hidden=one.name in hidden,
    )
    value: Any = {"flag": bool | None, "list": list[str] | None}.get(one.kind, str | None)
    return inspect.Parameter(
        one.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[value, option]
    )


def _note(one: Setting) -> str:
    """Choices and default, in brackets that rich does not take for markup."""
    parts = []
    if one.kind == "choice":
        choices = [c for c in one.choices if c and f"{one.name}={c}" not in NOT_YET]
        parts.append(", ".join(choices))
    if one.kind == "flag":
        parts += ["on by default"] if one.default else []
    elif one.kind == "size" and one.default:
        parts.append(f"default {format_size(int(str(one.default)))}")
    elif one.name == "state":
        parts.append("default $XDG_STATE_HOME/dth or ~/.local/state/dth")
    elif one.default not in ("", None, (), 0):
        parts.append(f"default {one.default:g}" if isinstance(one.default, float) else f"default {one.default}")
    return f" ({'; '.join(parts)})" if parts else ""


def url_flags(source: str, destination: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings that two URLs stand for, and where they came from: prefixes become folders, and the source's is
    replaced by the destination's, as `aws s3 sync` does it."""
    try:
        read, written = parse_s3_url(source), parse_s3_url(destination)
    except SettingsError as error:
        raise SettingsError(
            f"{error}\nUsage: {usage()}\nSOURCE and DEST are s3://bucket or s3://bucket/prefix."
        ) from error
    flags = {
        "src_bucket": read.bucket,
        "src_prefix": folder(read.prefix),
        "dest_bucket": written.bucket,
        "dest_prefix": folder(written.prefix),
        "strip_src_prefix": True,
    }
    origins: Mapping[str, str] = {"src": "SOURCE", "dest": "DEST", "strip": "the URLs"}
    return flags, {name: origins[name.partition("_")[0]] for name in flags}


def named_sides(common: Common, source: str, destination: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The same for a command whose job file may name both sides instead."""
    if source and destination:
        return url_flags(source, destination)
    if source or destination:
        raise SettingsError(
            f"SOURCE and DEST come together: give both, or neither where a job file names them\nUsage: {usage()}"
        )
    if not common.job_file and not os.environ.get("DTH_JOB") and not os.environ.get("DTH_SRC_BUCKET"):
        raise SettingsError(
            f"give SOURCE and DEST (s3://bucket/prefix), or a job file that names both (--job FILE)\nUsage: {usage()}"
        )
    return {}, {}

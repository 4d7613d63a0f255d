"""How `--help` reads: plain text in the terminal's width, options by panel, examples as they are typed.

Typer's own help draws boxes with rich, whose import is a quarter of the start, and cuts names of options in 80 columns.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from importlib import import_module
from inspect import isfunction
from typing import Any

from typer import Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

COLUMNS = 100  # the widest lines that are easy to read
NAMES = 30  # columns for names; what is longer has its text below
INDENT = 2


class Command(TyperCommand):
    """A command with such a help."""

    def invoke(self, ctx: Any) -> Any:
        """Run it; errors can name it meanwhile."""
        token = _running.set(self)
        try:
            return super().invoke(ctx)
        finally:
            _running.reset(token)

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the base's signature
        """The docstring; its examples stand apart."""
        _write_text(formatter, self.help or "")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, the command's own options, then the settings, by panel."""
        _write_parameters(formatter, self.get_params(ctx))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Likewise."""
        _write_text(formatter, self.epilog or "")


_running: ContextVar[Command | None] = ContextVar("command", default=None)


def usage() -> str:
    """`dth sync [OPTIONS] SOURCE DEST`: the line that shows how the running command is typed; "" where none runs."""
    command = _running.get()
    if command is None:
        return ""
    arguments = [argument_name(one) for one in command.params if one.param_type_name == "argument"]
    return " ".join(["dth", command.name or "", *arguments, "[OPTIONS]"])


def running_name() -> str:
    """`sync`; `COMMAND` where none runs."""
    command = _running.get()
    return (command and command.name) or "COMMAND"


def argument_name(argument: Any) -> str:
    """`SOURCE`, as it stands in the usage line."""
    return str(argument.metavar or argument.name.upper()).strip("[]")


class Group(TyperGroup):
    """The command that holds the others, and imports each when it is asked for: most of a start is imports."""

    summaries: Mapping[str, str] = {}
    """The name of each command with the first sentence of its help."""

    @classmethod
    def of(cls, summaries: Mapping[str, str]) -> type[Group]:
        """A group of these commands: `complete-multipart` is `complete_multipart` of `dth.cli.complete_multipart`."""
        return type("Group", (cls,), {"summaries": summaries})

    format_help_text = Command.format_help_text
    format_epilog = Command.format_epilog

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base's signature
        """In the order of the help."""
        return list(self.summaries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command, imported, with all its options; None where there is none of that name."""
        if cmd_name not in self.commands and (command := self._made(cmd_name, None)):
            self.commands[cmd_name] = command
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: Any) -> Any:
        """The command that runs. It has those options that its words name, unless help or an error needs them all."""
        command = self._made(args[0], args[1:]) if args and not ctx.resilient_parsing else None
        return (args[0], command, args[1:]) if command else super().resolve_command(ctx, args)

    def _made(self, name: str, words: Sequence[str] | None) -> Any:
        if name not in self.summaries:
            return None
        module = name.replace("-", "_")
        found = getattr(import_module(f"dth.cli.{module}"), module)
        alone = Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        alone.command(name, cls=Command)(found if isfunction(found) else found.function(words))
        return get_command(alone)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Options, then the commands with the first sentence of each."""
        _write_parameters(formatter, self.get_params(ctx))
        rows = [(name, summary.replace("`", "")) for name, summary in self.summaries.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows, col_max=NAMES)


def _write_parameters(formatter: Any, parameters: Iterable[Any]) -> None:
    panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for one in parameters:
        if getattr(one, "hidden", False):
            continue
        is_argument = one.param_type_name == "argument"
        panel = "Arguments" if is_argument else getattr(one, "rich_help_panel", None) or "Options"
        name = argument_name(one) if is_argument else option_names(one)
        panels.setdefault(panel, []).append((name, " ".join((one.help or "").split()).replace("`", "")))
    for panel, rows in panels.items():
        if rows:
            with formatter.section(panel):
                formatter.write_dl(rows, col_max=NAMES)


def option_names(option: Any) -> str:
    """`-v, --verbose`, `--tags / --no-tags`, `--job FILE`: everything that can be typed."""
    names = ", ".join(sorted(option.opts, key=len))
    if option.secondary_opts:
        names += " / " + ", ".join(option.secondary_opts)
    return names if option.is_flag else f"{names} {option.metavar or 'NUMBER'}"


def _write_text(formatter: Any, text: str) -> None:
    """Paragraphs, wrapped; lists line by line; `Example:` with a command that can be copied, broken by backslashes."""
    for paragraph in filter(None, textwrap.dedent(text).strip().split("\n\n")):
        formatter.write_paragraph()
        if paragraph.startswith("Example: "):
            formatter.write_text("Example:")
            formatter.write(_command_lines(paragraph, formatter.width))
        elif paragraph.startswith("- "):
            formatter.write(textwrap.indent(paragraph.replace("- ", ""), " " * INDENT) + "\n")
        else:
            formatter.write_text(" ".join(paragraph.split()).replace("`", ""))


def _command_lines(paragraph: str, width: int) -> str:
    """The command between backticks, an option never apart from its value."""
    units: list[str] = []
    for word in paragraph.split("`")[1].split():
        if units and units[-1].startswith("-") and not word.startswith("-") and " " not in units[-1]:
            units[-1] += " " + word
        else:
            units.append(word)
    lines = [" " * INDENT]
    for unit in units:
        if len(lines[-1]) + len(unit) + len("  \\") > width:
            lines.append(" " * 2 * INDENT)
        lines[-1] += ("" if lines[-1].isspace() else " ") + unit
    return " \\\n".join(lines) + "\n"

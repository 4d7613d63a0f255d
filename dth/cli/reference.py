"""Every command for those who read rather than run: the page of commands, and the manual page.

`python -m dth.cli.reference` writes `docs/commands.md` and `dth/cli/dth.1` anew; a test holds both to what the commands say of
themselves.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from dth.cli.help import argument_name, option_names
from dth.cli.main import COMMANDS, EPILOG, app
from dth.summary import ExitCode

_WIDTH = 100


def page() -> str:
    """`docs/commands.md`: each command with its arguments, its own options, and the groups of settings that it takes."""
    lines = [
        "# Commands",
        "",
        "`dth COMMAND --help` says the same in a terminal, and lists every setting. `man dth` is this page without the settings.",
        "",
        "This page is made from the commands by `python -m dth.cli.reference`.",
        "",
        "| command | what it does |",
        "|---|---|",
        *(f"| [`dth {name}`](#dth-{name}) | {_cell(summary)} |" for name, summary in COMMANDS.items()),
    ]
    for name, command in _commands():
        lines += ["", f"## dth {name}"]
        for paragraph in _paragraphs(command.help):
            lines += ["", *_block(paragraph)]
        own, panels = _parameters(command)
        if own:
            lines += ["", "| argument or option | what it does |", "|---|---|"]
            lines += [f"| `{_cell(shown)}` | {_cell(text)} |" for shown, text in own]
        if panels:
            lines += ["", f"Settings, described in [their own page](settings.md): {', '.join(panels)}."]
    return "\n".join(lines) + "\n"


def manual() -> str:
    """`dth.1`: the same as a manual page, in the macros of man(7)."""
    lines = [
        '.TH DTH 1 "" "dth" "User Commands"',
        ".SH NAME",
        r"dth \- move objects between S3-compatible buckets, and images between registries",
        ".SH SYNOPSIS",
        ".B dth",
        r"\fICOMMAND\fR [\fIOPTIONS\fR]",
        ".SH DESCRIPTION",
    ]
    for paragraph in _paragraphs(app.registered_callback.callback.__doc__ if app.registered_callback else ""):
        lines += [".PP", _roff(paragraph)]
    lines += [".SH COMMANDS"]
    for name, command in _commands():
        lines += [f".SS dth {_roff(name)}"]
        for paragraph in _paragraphs(command.help):
            lines += [".PP", *(_roff(line) for line in _manual_lines(paragraph))]
        own, panels = _parameters(command)
        for shown, text in own:
            lines += [".TP", rf"\fB{_roff(shown)}\fR", _roff(text)]
        if panels:
            lines += [".PP", _roff(f"Settings of these groups: {', '.join(panels)}. See dth {name} --help.")]
    lines += [".SH SETTINGS", *(_roff(line) for line in textwrap.wrap(_settings_text(), _WIDTH))]
    lines += [".SH EXIT STATUS"]
    for code in ExitCode:
        lines += [".TP", rf"\fB{int(code)}\fR", _roff(code.name.lower().replace("_", " "))]
    return "\n".join(lines) + "\n"


def _commands() -> Iterator[tuple[str, Any]]:
    group: Any = typer.main.get_command(app)
    context = typer.Context(group)
    for name in COMMANDS:
        yield name, group.get_command(context, name)


def _parameters(command: Any) -> tuple[list[tuple[str, str]], list[str]]:
    """The command's own arguments and options with their help; the names of the groups of settings that it takes."""
    own, panels = [], []
    for one in command.params:
        if getattr(one, "hidden", False):
            continue
        panel = getattr(one, "rich_help_panel", None)
        text = " ".join((one.help or "").split())
        if one.param_type_name == "argument":
            own.append((argument_name(one), text))
        elif panel:
            panels.append(panel)
        else:
            own.append((option_names(one), text))
    return own, list(dict.fromkeys(panels))


def _paragraphs(text: str | None) -> list[str]:
    return [one for one in textwrap.dedent(text or "").strip().split("\n\n") if one.strip()]


def _example(paragraph: str) -> str:
    """The command of a paragraph that is nothing else, `Example:` before it or not; "" for any other."""
    found = re.fullmatch(r"(?:Examples?:)?\s*`([^`]+)`", " ".join(paragraph.split()))
    return found.group(1) if found else ""


def _block(paragraph: str) -> list[str]:
    example = _example(paragraph)
    return ["```sh", example, "```"] if example else paragraph.splitlines()


def _manual_lines(paragraph: str) -> list[str]:
    example = _example(paragraph)
    if example:
        return [f"Example: {example}"]
    if paragraph.startswith("- "):
        return paragraph.splitlines()
    return [" ".join(paragraph.split())]


def _settings_text() -> str:
    return next(" ".join(one.split()) for one in _paragraphs(EPILOG) if one.startswith("Every setting"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _roff(text: str) -> str:
    """Text as man(7) prints it as it is: its dashes stay dashes, and no line begins a macro."""
    safe = " ".join(text.replace("`", "").split()).replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{safe}" if safe.startswith((".", "'")) else safe


if __name__ == "__main__":
    Path("docs/commands.md").write_text(page(), encoding="utf-8")
    Path("dth/cli/dth.1").write_text(manual(), encoding="utf-8")

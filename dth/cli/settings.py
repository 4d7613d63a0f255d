"""`dth settings`."""

from __future__ import annotations

import dataclasses
import difflib
import json as text_of
from typing import Annotated

import typer

from dth.cli.options import AsJson
from dth.settings.catalog import Entry, entries, shown_default, shown_values
from dth.summary import ExitCode

Word = Annotated[
    str,
    typer.Argument(metavar="WORD", help="Show the settings whose name or help holds this word.", show_default=False),
]
WIDE = 160  # columns where the output is no terminal


def settings(word: Word = "", *, json: AsJson = False) -> None:
    """Show every setting: what it takes, its default, and what it does.

    With a WORD, only the settings that have to do with it. The same catalogue makes the options of all commands, the forms of
    the hub and the page of settings in the documentation.

    Example: `dth settings bandwidth`
    """
    everything = entries()
    found = [one for one in everything if one.mentions(word)]
    if not found:
        close = difflib.get_close_matches(word.lstrip("-").replace("-", "_"), [one.name for one in everything], n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        typer.echo(f"dth: error: no setting has to do with {word!r}{hint}", err=True)
        raise typer.Exit(int(ExitCode.USAGE))
    if json:
        for one in found:
            typer.echo(text_of.dumps({"event": "Setting", **dataclasses.asdict(one)}, separators=(",", ":")))
        return
    _show(found)


def _show(found: list[Entry]) -> None:
    """A table for each panel. Rich is imported here: only who reads tables pays for it."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=WIDE)
    for panel in dict.fromkeys(one.panel for one in found):
        table = Table("setting", "values", "default", "what it does", box=None, title=panel, title_justify="left")
        for column in table.columns:
            column.overflow = "fold"
        for one in found:
            if one.panel == panel:
                only = "" if len(one.jobs) > 1 else f" ({one.jobs[0]})"
                cells = (f"{one.flag}{only}", shown_values(one), shown_default(one), one.help)
                table.add_row(*(Text(cell) for cell in cells))
        console.print(table)
        console.print()

"""`dth completion SHELL`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

COMPLETE = "_DTH_COMPLETE"
"""The variable by which a shell asks."""

Shell = Annotated[
    Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)
]


def completion(shell: Shell) -> None:
    """Print the script that lets a shell complete commands and options.

    For bash put the example into ~/.bashrc, for zsh likewise into ~/.zshrc. For fish: dth completion fish | source.

    Example: `source <(dth completion bash)`
    """
    from typer._completion_shared import get_completion_script  # noqa: PLC0415 - only this command needs it

    typer.echo(get_completion_script(prog_name="dth", complete_var=COMPLETE, shell=shell))

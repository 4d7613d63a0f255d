"""The `dth` command."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from dth import __version__
from dth.cli.completion import COMPLETE
from dth.cli.help import COLUMNS, Group
from dth.cli.output import streams

COMMANDS = {
    "sync": "Copy what differs, verify it, and end.",
    "ecr-sync": "Copy container images from registry to registry, by digest.",
    "verify": "Compare two locations; write to neither.",
    "find": "List both sides, queue what differs, and end.",
    "work": "Copy what `dth find` or `dth ecr-sync --enqueue` queued, until stopped.",
    "status": "Show a job's runs and what is left in its queue.",
    "limit": "Show a job's limits, or change them while it runs.",
    "init": "Make the queue, the dead-letter queue and the table of a fleet.",
    "redrive": "Send dead letters back to work, as a new run.",
    "complete-multipart": "Finish the uploads that crashes left, and count the dead letters that nobody counted.",
    "probe": "Ask an endpoint what it can do, and say which permission is missing.",
    "policy": "Print the least IAM policy that a part of a fleet needs for a job.",
    "settings": "Show every setting: what it takes, its default, and what it does.",
    "hub": "Manage transfers in a browser: plan, run, schedule, understand.",
    "completion": "Print the script that lets a shell complete commands and options.",
    "demo": "See it work, without an account.",
}
"""Every command with the first sentence of its help. `dth/cli/NAME.py` holds it, and is imported when it is asked for."""

EPILOG = """
Example: `dth sync s3://photos s3://backup/photos --dest-endpoint https://minio.example:9000 --dest-profile backup`

Every setting has four spellings: `--src-region`, `DTH_SRC_REGION`, `src_region` in a job file (`--job FILE`), and there
also the original's name (`srcRegion`). Flags beat the environment, which beats the file.

Exit codes:

- 0    complete
- 1    broken
- 2    usage or settings
- 3    finished, but something failed
- 4    cannot reach, or not allowed
- 130  interrupted
"""

app = typer.Typer(
    name="dth",
    cls=Group.of(COMMANDS),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": COLUMNS},
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"dth {__version__}")
        raise typer.Exit


@app.callback(epilog=EPILOG)
def main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Moves objects between S3-compatible buckets, across clouds, accounts and regions.

    It copies exactly what differs and verifies it; run again after anything at all, it goes on where it was and loses
    nothing.
    """


def run() -> None:
    """The entry point of the installed command."""
    streams.secure()
    if COMPLETE in os.environ:  # a shell asks what could stand here
        from typer._completion_classes import completion_init  # noqa: PLC0415

        completion_init()
    app()

"""The `dth` command."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from dth import __version__
from dth.cli.complete_multipart import complete_multipart
from dth.cli.completion import COMPLETE, completion
from dth.cli.demo import demo
from dth.cli.ecr_sync import ecr_sync
from dth.cli.find import find
from dth.cli.help import COLUMNS, Command, Group
from dth.cli.hub import hub
from dth.cli.init import init
from dth.cli.output import streams
from dth.cli.policy import policy
from dth.cli.probe import probe
from dth.cli.redrive import redrive
from dth.cli.settings import settings
from dth.cli.status import status
from dth.cli.sync import sync
from dth.cli.verify import verify
from dth.cli.work import work

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
    cls=Group,
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


for _command in (
    sync,
    ecr_sync,
    verify,
    find,
    work,
    status,
    init,
    redrive,
    complete_multipart,
    probe,
    policy,
    settings,
    hub,
    completion,
    demo,
):
    app.command(_command.__name__.replace("_", "-"), cls=Command)(_command)


def run() -> None:
    """The entry point of the installed command."""
    streams.secure()
    if COMPLETE in os.environ:  # a shell asks what could stand here
        from typer._completion_classes import completion_init  # noqa: PLC0415

        completion_init()
    app()

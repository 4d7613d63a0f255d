"""`dth policy`."""

from __future__ import annotations

import json as text_of
from typing import Annotated, Any

import typer

from dth.cli.options import LOCATION, AsJson, Common, JobFile, Verbose, with_settings
from dth.cli.run import load
from dth.errors import SettingsError
from dth.policy import Role
from dth.policy import policy as made

Which = Annotated[Role, typer.Argument(metavar="ROLE", help=f"Who gets it: {', '.join(Role)}.", show_default=False)]
SETTINGS = (
    *LOCATION, "queue", "table", "ledger_records", "src_region", "src_type", "src_endpoint", "src_credentials",
    "dest_region", "dest_type", "dest_endpoint", "dest_credentials", "dest_acl", "dest_sse", "dest_sse_kms_key_id", "compare", "verify", "tags", "restore", "delete",
    "max_delete", "delete_to", "src_event",
)  # fmt: skip


@with_settings(only=SETTINGS)
def policy(
    role: Which,
    *,
    job: JobFile = None,
    json: AsJson = False,  # noqa: ARG001 - a policy is JSON anyway
    verbose: Verbose = False,  # noqa: ARG001 - as every command takes it
    flags: dict[str, Any],
) -> None:
    """Print the least IAM policy that a part of a fleet needs for a job.

    The ARNs name the job's own buckets and prefixes, its queue and its table, in the partition of their regions (aws,
    aws-cn, aws-us-gov, aws-eusc and the isolated ones). Where the settings name no account or region, it says `*`.

    Example: `dth policy worker --job photos.toml`
    """
    try:
        settings = load(Common(job, as_json=False, verbose=False), flags, locations_required=False, required=())
    except SettingsError as error:
        typer.echo(f"dth: error: {error}", err=True)
        raise typer.Exit(int(error.exit_code)) from error
    typer.echo(text_of.dumps(made(role, settings), indent=2))

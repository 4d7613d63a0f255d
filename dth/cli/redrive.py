"""`dth redrive`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dth.cli.options import IDENTITY, LOCATION, AsJson, Common, JobFile, Verbose, with_settings
from dth.cli.run import Verb, execute, load

RunId = Annotated[str, typer.Option("--run", metavar="RUN", help="Only dead letters of this run.", show_default=False)]
Prefix = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only keys that start so.", show_default=False)]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Only with this text in the reason.", show_default=False)
]
Rate = Annotated[float, typer.Option("--rate", metavar="NUMBER", min=0, help="Objects a second; 0: no limit.")]


@with_settings(only=(*LOCATION, *IDENTITY, "lease_seconds"))
def redrive(
    *,
    run: RunId = "",
    prefix: Prefix = "",
    reason: Reason = "",
    rate: Rate = 0.0,
    job: JobFile = None,
    json: AsJson = False,
    verbose: Verbose = False,
    flags: dict[str, Any],
) -> None:
    """Send dead letters back to work, as a new run.

    The runs that failed them keep their totals. Dead letters that are no messages of dth stay where they are.

    Example: `dth redrive --job-id photos --reason access_denied --rate 100`
    """
    common = Common(job, json, verbose)

    def make() -> Verb:
        settings = load(common, flags, locations_required=False)
        from dth.app import verbs  # noqa: PLC0415 - the engine is loaded once its settings are known to be right

        return lambda emit, stop: verbs.redrive(
            settings, emit, stop, run_id=run, prefix=prefix, reason=reason, rate=rate
        )

    execute(common, make)

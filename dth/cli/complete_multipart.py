"""`dth complete-multipart`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dth.cli.options import IDENTITY, LOCATION, METRICS, AsJson, Common, JobFile, Verbose, with_settings
from dth.cli.run import Verb, execute, load

Every = Annotated[
    float, typer.Option("--every", metavar="SECONDS", min=0, help="Again and again, so many seconds apart; 0: once.")
]


Sweep = Annotated[
    float,
    typer.Option(
        "--sweep",
        metavar="SECONDS",
        min=0,
        help="Also give up uploads of this job that nobody owns and that began so long ago; 0: none.",
    ),
]


@with_settings(
    only=(*LOCATION, *IDENTITY, "lease_seconds", "max_attempts", "report", "report_level", "ledger_records", *METRICS)
)
def complete_multipart(
    *,
    every: Every = 0.0,
    sweep: Sweep = 0.0,
    job: JobFile = None,
    json: AsJson = False,
    verbose: Verbose = False,
    flags: dict[str, Any],
) -> None:
    """Finish the uploads that crashes left, and count the dead letters that nobody counted.

    It completes an upload that all workers share once every part is there, sends messages of lost parts again, and plans an
    object anew if the source has changed. It never touches an upload of another program, nor one that a message may
    still continue. It keeps no state: let a scheduler call it every minute, or give it --every.

    Example: `dth complete-multipart --job-id photos --queue URL --table dth --every 60`
    """
    common = Common(job, json, verbose)

    def make() -> Verb:
        settings = load(common, flags, locations_required=False)
        from dth.app import verbs  # noqa: PLC0415 - the engine is loaded once its settings are known to be right

        return lambda emit, stop: verbs.complete_multipart(settings, emit, stop, every=every, older_than=sweep)

    execute(common, make, drains=True)

"""`dth complete-multipart`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dth.cli.options import IDENTITY, LOCATION, AsJson, Common, JobFile, Verbose, with_settings
from dth.cli.run import Verb, execute, load

Every = Annotated[
    float, typer.Option("--every", metavar="SECONDS", min=0, help="Again and again, so many seconds apart; 0: once.")
]


@with_settings(only=(*LOCATION, *IDENTITY, "lease_seconds"))
def complete_multipart(
    *,
    every: Every = 0.0,
    job: JobFile = None,
    json: AsJson = False,
    verbose: Verbose = False,
    flags: dict[str, Any],
) -> None:
    """Mend what crashes left: count dead letters that nobody counted, end uploads that nobody owns.

    Touches no upload of another program, and none that a message may still go on with.

    Example: `dth complete-multipart --job-id photos --queue URL --table dth`
    """
    common = Common(job, json, verbose)

    def make() -> Verb:
        settings = load(common, flags, locations_required=False)
        from dth import app  # noqa: PLC0415 - the engine is loaded once its settings are known to be right

        return lambda emit, stop: app.complete_multipart(settings, emit, stop, every=every)

    execute(common, make, drains=True)

"""`dth sync SOURCE DEST`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dth.children import fork_or_spawn, spawn
from dth.cli.options import (
    LOCATION,
    AsJson,
    Common,
    DryRun,
    Explain,
    JobFile,
    OnFailure,
    Verbose,
    named_sides,
    with_settings,
)
from dth.cli.run import Verb, execute, load, warm_zygote

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Where to read: s3://bucket or s3://bucket/prefix.", show_default=False)
]
Dest = Annotated[
    str, typer.Argument(metavar="DEST", help="Where to write: s3://bucket or s3://bucket/prefix.", show_default=False)
]


@with_settings(without=(*LOCATION, "giant_threshold", "event_queue", "allow"))
def sync(
    source: Source = "",
    dest: Dest = "",
    *,
    dry_run: DryRun = False,
    explain: Explain = None,
    on_failure: OnFailure = "",
    job: JobFile = None,
    json: AsJson = False,
    verbose: Verbose = False,
    flags: dict[str, Any],
) -> None:
    """Copy what differs, verify it, and end.

    Compares both sides and copies what is missing or different below DEST, on this machine, with one process per core.
    If it is interrupted, run it again: it goes on where it was. Instead of SOURCE and DEST, a job file can name both.

    Example: `dth sync s3://photos/2026 s3://backup/photos/2026 --dest-endpoint https://minio.example:9000
    --dest-profile backup`
    """
    common = Common(job, json, verbose, on_failure=on_failure)

    def make() -> Verb:
        places, origins = named_sides(common, source, dest)
        settings = load(common, {**flags, **places}, origins=origins)
        from dth.app import verbs  # noqa: PLC0415 - the engine is loaded once its settings are known to be right

        if explain is not None:
            return lambda emit, stop: verbs.explain_key(settings, explain, emit, stop)
        run = verbs.sync
        starter = spawn if dry_run else fork_or_spawn(warm_zygote())
        return lambda emit, stop: run(settings, emit, stop, dry_run=dry_run, start=starter)

    execute(common, make)

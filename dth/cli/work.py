"""`dth work`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dth.children import fork_or_spawn
from dth.cli.options import AsJson, Common, JobFile, OnFailure, Verbose, with_settings
from dth.cli.run import Verb, execute, load, warm_zygote

UntilEmpty = Annotated[bool, typer.Option("--until-empty", help="End when all runs of the job are over.")]
HealthFile = Annotated[
    str,
    typer.Option(
        "--health-file", metavar="FILE", help="Touch this file every 5 seconds, for a liveness probe to look at."
    ),
]

InstanceNotices = Annotated[
    str,
    typer.Option(
        "--instance-notices",
        metavar="TEXT",
        help="Stop gracefully when EC2 announces the end of this machine (spot interruption, scale-in): auto (on EC2), on, off.",
    ),
]


@with_settings()
def work(
    *,
    until_empty: UntilEmpty = False,
    health_file: HealthFile = "",
    instance_notices: InstanceNotices = "auto",
    on_failure: OnFailure = "",
    job: JobFile = None,
    json: AsJson = False,
    verbose: Verbose = False,
    flags: dict[str, Any],
) -> None:
    """Copy what `dth find` or `dth ecr-sync --enqueue` queued, until stopped.

    The run's own settings say how to copy, so a worker needs to know only the job: its id, or its two locations (image
    jobs: the id). On Ctrl-C or SIGTERM it finishes or gives back what is in flight, and ends with exit code 0.

    Example: `dth work --src-bucket photos --dest-bucket backup --until-empty`
    """
    common = Common(job, json, verbose, on_failure=on_failure)

    def make() -> Verb:
        settings = load(common, flags, locations_required=False)
        from dth.app import verbs  # noqa: PLC0415 - the engine is loaded once its settings are known to be right

        run = verbs.work
        starter = fork_or_spawn(warm_zygote())
        return lambda emit, stop: run(
            settings,
            emit,
            stop,
            until_empty=until_empty,
            health_file=health_file,
            instance_notices=instance_notices,
            start=starter,
        )

    execute(common, make, drains=True)

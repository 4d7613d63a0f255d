"""`dth ecr-sync`."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from dth.cli.options import AsJson, Common, DryRun, JobFile, OnFailure, Verbose, with_settings
from dth.cli.run import Verb, execute
from dth.settings import IMAGE_NOT_YET, ImageJob, load_image_settings

List = Annotated[bool, typer.Option("--list", help="Print the images that the settings choose; ask the source only.")]
Enqueue = Annotated[
    bool, typer.Option("--enqueue", help="Send the images that differ to the queue; `dth work` copies them.")
]


@with_settings(model=ImageJob, hidden=IMAGE_NOT_YET)
def ecr_sync(
    *,
    list_only: List = False,
    enqueue: Enqueue = False,
    dry_run: DryRun = False,
    on_failure: OnFailure = "",
    job: JobFile = None,
    json: AsJson = False,
    verbose: Verbose = False,
    flags: dict[str, Any],
) -> None:
    """Copy container images from registry to registry, by digest.

    It copies every platform of an image, its signatures and other referrers, and skips what the destination already has.
    Both sides can be ECR or any other registry, across accounts and partitions. If it is interrupted, run it again.
    With `--enqueue` it only plans: `dth work --job-id ...` copies.

    Example: `dth ecr-sync --src-region us-east-1 --dest-region cn-north-1 --dest-profile china
    --dest-repository-prefix mirror`
    """
    common = Common(job, json, verbose, on_failure=on_failure)

    def make() -> Verb:
        settings = load_image_settings(flags, os.environ, job, notes=common.notes)
        common.log = settings.log
        from dth.app import verbs  # noqa: PLC0415 - the engine is loaded once its settings are known to be right

        if list_only:
            return lambda emit, stop: verbs.list_images(settings, emit, stop)
        if enqueue and not dry_run:
            return lambda emit, stop: verbs.enqueue_images(settings, emit, stop)
        return lambda emit, stop: verbs.ecr_sync(settings, emit, stop, dry_run=dry_run)

    execute(common, make)

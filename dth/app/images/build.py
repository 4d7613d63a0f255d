"""An image job's settings, as the engine takes them: registries with what is wanted of each, options, repositories."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dth import settings
from dth.app.images.registries import Opener, Place
from dth.ecr.aws import Aws, AwsLogin
from dth.ecr.reference import DOCKER_HUB, Reference, parse_list
from dth.ecr.repositories import RepositoryMaker, parse_template
from dth.ecr.run import RunOptions, Source
from dth.ecr.select import Selection, by_registry
from dth.ecr.tag_filter import parse_filter
from dth.errors import SettingsError
from dth.ledgers.base import Ledger, Run
from dth.model import Counts, ImageRecord
from dth.retry import RetryPolicy
from dth.settings import ImageJob
from dth.states import RunState

IMAGE_CAP_SECONDS = 20.0  # longest wait before an image is tried again, unless the registry wishes more
HEARTBEATS = 3  # of a lease
"""A run's lease is renewed this often before it would end."""


async def open_sources(job: ImageJob, opener: Opener) -> list[Source]:
    """The registries to read from, with what is wanted of each."""
    tag_filter = parse_filter(job.tag_filter)
    untagged = job.include_untagged
    if job.src_list == "ALL":
        place = await opener.source("")
        whole = Selection(None, tag_filter, untagged, job.dest_repository_prefix)
        return [Source(place.registry, place.catalog, whole)]
    references = parse_list(await _image_list(job))
    if not references:
        raise SettingsError("src_image_list names no image")
    sources = []
    homes = _by_home(job, references)
    if job.src_credentials not in {"", "anonymous"} and not any(opener.owns(registry) for registry in homes):
        raise SettingsError(
            f"src_credentials belong to one registry, but the list names no image of it: set src_registry, or let docker log in "
            f"to {', '.join(sorted(homes))}"
        )
    for registry, ones in homes.items():
        place = await opener.source(registry)
        selection = Selection(ones, tag_filter, untagged, job.dest_repository_prefix)
        sources.append(Source(place.registry, place.catalog, selection, registry))
    return sources


def _by_home(job: ImageJob, references: Sequence[Reference]) -> Mapping[str, tuple[Reference, ...]]:
    """References by the registry that has them; "" is the job's own."""
    if job.src_registry or job.source_type == "Amazon_ECR":
        return by_registry(references, "")
    return by_registry(references, DOCKER_HUB)


async def _image_list(job: ImageJob) -> str:
    """The list's text: as given, from a file, or from an SSM parameter."""
    text = job.src_image_list
    if text.startswith("@"):
        return await asyncio.to_thread(_file_text, text[1:], "src_image_list")
    if text.startswith("ssm:"):
        aws = Aws(AwsLogin(), os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or job.src_region)
        try:
            return await aws.parameter(text.removeprefix("ssm:"))
        finally:
            await aws.close()
    return text


def _file_text(path: str, name: str) -> str:
    try:
        return Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise SettingsError(f"{name}: cannot read {path}: {reason}") from exc


def repository_maker(job: ImageJob, place: Place, source: Place | None) -> RepositoryMaker | None:
    """What makes repositories of the ECR at `place`, as `source` has them where it is one; None where the destination makes
    them itself."""
    if place.aws is None:
        return None
    template: Mapping[str, Any] | None = None
    if text := template_text(job):
        template = parse_template(text, "" if job.repository_template == text else job.repository_template)
    settings_of_source = (source.aws, source.account_id) if source is not None and source.aws is not None else None
    return RepositoryMaker(place.aws, place.account_id, settings_of_source, template, make=job.create_repositories)


def template_text(job: ImageJob) -> str:
    """The template of new repositories: the setting itself, or what is in the file that it names; "" for none."""
    named = job.repository_template
    return named if not named or named.lstrip().startswith("{") else _file_text(named, "repository_template")


def run_options(job: ImageJob, run_id: str) -> RunOptions:
    """The run's share of the settings."""
    return RunOptions(
        run_id=run_id,
        images_at_once=job.images_at_once,
        retry=RetryPolicy(attempts=job.retries + 1, base_seconds=0.5, cap_seconds=IMAGE_CAP_SECONDS),
        platforms=job.platforms,
        referrers=job.referrers,
        grace_seconds=job.grace_seconds,
    )


async def nothing_to_prepare(source: str, destination: str) -> None:
    """Other registries than ECR make repositories by themselves."""


async def forget(record: ImageRecord, counts: Counts) -> None:
    """Keeps nothing: a dry run, a list."""


def new_run(job: ImageJob, run_id: str, process: str, job_settings: str) -> Run:
    """The run's row as it begins."""
    now = time.time()
    return Run(
        run_id=run_id,
        job_id=settings.image_job_id(job),
        state=RunState.LISTING,
        job_settings=job_settings,
        finder=process,
        lease_until=now + job.lease_seconds,
        started_at=now,
        found=None,
        found_bytes=0,
        reasons={},
        counts=Counts(),
    )


async def keep_run(ledger: Ledger, run_id: str, process: str, lease_seconds: float) -> None:
    """Keep the run's lease until cancelled. Raises LeaseLost where another ended it."""
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(lease_seconds / HEARTBEATS)
            await ledger.extend_run(run_id, process, time.time() + lease_seconds)

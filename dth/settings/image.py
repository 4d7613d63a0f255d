"""The settings of an image job (`dth ecr-sync`), under the guide's names of the ECR plugin and ours."""

# ruff: noqa: FBT003 - a setting's default stands first, whatever its type

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Literal

from dth.errors import SettingsError
from dth.settings.check import KEY_ITSELF, shared_problems
from dth.settings.fields import TextList, setting
from dth.settings.transfer import JobBase, settings_of

_source = partial(setting, scope="job", panel="Source")
_destination = partial(setting, scope="job", panel="Destination")
_selection = partial(setting, scope="job", panel="Selection")
_of_every_process = partial(setting, scope="job", panel="Limits")  # kept with the run: workers cannot know it otherwise
_limits = partial(setting, scope="process", panel="Limits")

_ACCOUNT = r"^$|^[0-9]{12}$"
_ACCOUNT_RULE = "12 digits"
_PREFIX = r"^$|^/?[a-z0-9]+([._/-]+[a-z0-9]+)*/?$"
_REGISTRIES = "source_registries"  # beside the settings of an image run
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?")


class ImageJob(JobBase):
    """Everything that copying images between two registries can be told."""

    source_type: Literal["Amazon_ECR", "Public"] = _source(
        "Amazon_ECR", "Kind of source", "ECR, or public registries that the image list names (Docker Hub, quay.io, ...).",
        guide="sourceType",
    )  # fmt: skip
    src_registry: str = _source(
        "", "Registry", "Registry to read from; empty: ECR of the account and region, or the one that each image names."
    )
    src_region: str = _source("", "Region", "Region of the source's ECR; empty: the ambient one.", guide="srcRegion")
    src_account_id: str = _source(
        "", "Account", "Account of the source's ECR; empty: the current one.", guide="srcAccountId", pattern=_ACCOUNT,
        allowed=_ACCOUNT_RULE,
    )  # fmt: skip
    src_credentials: str = _source(
        "", "Credentials",
        "Name of a secret for the source's registry, or `anonymous`; empty: the ambient chain for ECR, docker's configuration "
        "elsewhere.",
        guide="srcCredential",
    )  # fmt: skip
    src_profile: str = _source("", "AWS profile", "Section of the AWS configuration whose credentials to use.")

    dest_registry: str = _destination("", "Registry", "Registry to write to; empty: ECR of the account and region.")
    dest_region: str = _destination(
        "", "Region", "Region of the destination's ECR; empty: the ambient one.", guide="destRegion"
    )
    dest_account_id: str = _destination(
        "", "Account", "Account of the destination's ECR; empty: the current one.", guide="destAccountId",
        pattern=_ACCOUNT, allowed=_ACCOUNT_RULE,
    )  # fmt: skip
    dest_credentials: str = _destination(
        "", "Credentials",
        "Name of a secret, or `anonymous`; empty: the ambient chain for ECR, docker's configuration elsewhere.",
        guide="destCredential",
    )  # fmt: skip
    dest_profile: str = _destination("", "AWS profile", "Section of the AWS configuration whose credentials to use.")
    dest_repository_prefix: str = _destination(
        "", "Repository prefix", "Put before every repository's name, with a `/` between.", guide="destPrefix",
        pattern=_PREFIX, allowed="a repository's name: lower-case letters, digits, separators and slashes",
    )  # fmt: skip
    create_repositories: bool = _destination(
        True, "Create repositories", "Create repositories that the destination's ECR lacks, with the source's settings."
    )
    repository_template: str = _destination(
        "",
        "Repository template",
        "JSON, or a file of it, with the settings of new repositories; empty: those of the source's.",
    )

    src_list: Literal["ALL", "SELECTED"] = _selection(
        "ALL", "Which images", "All repositories, or those of the image list.", guide="srcList"
    )
    src_image_list: str = _selection(
        "", "Image list",
        "Images, separated by commas or white space: repo, repo:tag, repo@sha256:..., repo:ALL_TAGS; or @FILE, or "
        "ssm:NAME.",
        guide="srcImageList",
    )  # fmt: skip
    include_untagged: bool = _selection(
        True, "Untagged images", "Copy images without a tag too, by digest (ECR sources can list them).",
        guide="includeUntagged",
    )  # fmt: skip
    tag_filter: TextList = _selection(
        (), "Tag filter", "Only tags that match: globs (`v1.*`, `!*-rc*`), `semver:>=1.2 <3`, `latest:N`."
    )
    platforms: TextList = _selection(
        (),
        "Platforms",
        "Only these platforms of multi-platform images, such as linux/amd64; empty: whole images, byte for byte.",
    )
    referrers: bool = _selection(True, "Referrers", "Copy signatures, attestations and other referrers of images too.")
    prune: bool = _selection(
        False, "Prune", "Remove tags that the source lacks, after asking it for each; never more than max_delete."
    )
    max_delete: int = _selection(100, "Most deletes", "Refuse to remove more tags than this.", ge=0, le=1_000_000)

    images_at_once: int = _of_every_process(10, "Images at once", "Images in flight per process.", ge=1, le=100)
    retries: int = _limits(
        3,
        "Retries",
        "How often a failed image is tried again (workers: as their max_attempts says).",
        ge=0,
        le=20,
    )
    insecure_registry: TextList = _of_every_process(
        (),
        "Insecure registries",
        "Registries (host:port) whose TLS certificate is not verified; write http:// for plain HTTP.",
    )


_MEANINGLESS = (
    "processes", "memory_budget", "lease_cap_seconds", "stall_seconds", "max_attempts", "receive_limit", "ledger_records",
)  # fmt: skip
IMAGE_NOT_YET: dict[str, str] = dict.fromkeys(_MEANINGLESS, "it has no meaning for images")
"""Settings of the base that an image job cannot honour: setting them is an error."""


def image_problems(job: ImageJob, origins: Mapping[str, str]) -> list[str]:
    """One line for each problem, none when the job may start."""
    found = [
        f"{name}{_from(origins, name)} cannot be set for images: {why}"
        for name, why in IMAGE_NOT_YET.items()
        if getattr(job, name) != settings_of(ImageJob)[name].default
    ]
    if job.source_type == "Public" and job.src_list == "ALL":
        found.append(
            "src_list = 'ALL' is not possible for source_type = 'Public': nobody can list a public registry; set src_list "
            "= 'SELECTED' and src_image_list"
        )
    elif job.src_list == "SELECTED" and not job.src_image_list:
        found.append("src_list = 'SELECTED' needs src_image_list: names, @FILE or ssm:NAME")
    elif job.src_list == "ALL" and job.src_image_list:
        found.append(f"src_image_list{_from(origins, 'src_image_list')} needs src_list = 'SELECTED'")
    if job.source_type == "Public" and (job.src_account_id or job.src_region):
        found.append("src_account_id and src_region belong to source_type = 'Amazon_ECR'")
    for side in ("src", "dest"):
        secret, profile = getattr(job, f"{side}_credentials"), getattr(job, f"{side}_profile")
        if KEY_ITSELF.match(secret):  # the value is not shown: it may be one
            found.append(f"{side}_credentials takes the name of a secret or `anonymous`, never the keys themselves")
        if secret and profile:
            found.append(f"{side}_credentials and {side}_profile both say whose keys to use: set one of them")
        if getattr(job, f"{side}_registry") and getattr(job, f"{side}_account_id"):
            found.append(f"{side}_registry and {side}_account_id both say which registry: set one of them")
    found += [
        f"platforms: {one!r} is no platform: it looks like linux/amd64 or linux/arm/v7"
        for one in job.platforms
        if not _PLATFORM.fullmatch(one)
    ]
    if job.prune and job.platforms:
        found.append("prune and platforms contradict each other: filtered images have other digests than the source's")
    return found + shared_problems(job, origins)


def _from(origins: Mapping[str, str], name: str) -> str:
    return f" (from {origins[name]})" if name in origins else ""


def image_job_id(job: ImageJob) -> str:
    """The job's name: the one given, else a hash of both registries, the prefix and the list."""
    if job.job_id:
        return job.job_id
    source = [job.source_type, job.src_registry, job.src_account_id, job.src_region, job.src_list, job.src_image_list]
    target = [job.dest_registry, job.dest_account_id, job.dest_region, job.dest_repository_prefix]
    return hashlib.sha256(json.dumps(["images", source, target]).encode()).hexdigest()[:16]


def image_settings_json(job: ImageJob) -> str:
    """The job's settings as the ledger keeps them with a run: no secrets, nothing of the process."""
    names = {name for name, known in settings_of(ImageJob).items() if known.scope == "job"}
    fields = job.model_dump(mode="json", include=names)
    fields["job_id"] = image_job_id(job)
    return json.dumps(fields, separators=(",", ":"), sort_keys=True)


def image_run_settings_json(job: ImageJob, template: str, registries: Iterable[str] = ("",)) -> str:
    """The same for a run whose images other processes copy, perhaps elsewhere: nothing in it names a file of this machine,
    and nothing is as long as a list of images, which workers need not know. `registries` are the sources that the list
    names, "" for the job's own: workers read from no other."""
    kept = {"job_id": image_job_id(job), "repository_template": template, "src_image_list": ""}
    fields = json.loads(image_settings_json(job.model_copy(update=kept)))
    return json.dumps({**fields, _REGISTRIES: sorted(set(registries))}, separators=(",", ":"), sort_keys=True)


def image_registries(text: str) -> frozenset[str]:
    """The sources that an image run may read from; a run of an older version names none but the job's own."""
    return frozenset(json.loads(text).get(_REGISTRIES, [""]))


def from_image_run_settings(text: str, process: JobBase | None = None) -> ImageJob:
    """The image job of a run: job settings from the ledger, those of the process from `process` (None: defaults).

    Settings that this version does not know raise SettingsError: a newer one asked for what this worker cannot do.
    """
    fields = json.loads(text)
    fields.pop(_REGISTRIES, None)
    known = settings_of(ImageJob)
    unknown = sorted(name for name in fields if name not in known or known[name].scope != "job")
    if unknown:
        raise SettingsError(f"the run is no image run that this version of dth knows: it has {', '.join(unknown)}")
    shared = {name for name, one in settings_of(JobBase).items() if one.scope == "process"}
    own = process.model_dump(include=shared) if process else {}
    return ImageJob(**own, **fields)


def noun_of(text: str) -> str:
    """What a run with these stored settings counts: object or image."""
    return "image" if "src_list" in json.loads(text) else "object"


def image_contradicted(given: JobBase, text: str) -> list[str]:
    """Names of job settings that were set for this process and differ from those stored with an image run, or mean nothing
    for images. Settings left at their defaults contradict nothing."""
    stored = from_image_run_settings(text)
    known = settings_of(type(given))
    explicit = {name for name in given.model_fields_set if known[name].scope == "job"}
    return sorted(
        name for name in explicit if not hasattr(stored, name) or getattr(stored, name) != getattr(given, name)
    )

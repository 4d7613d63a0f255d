"""Where AWS's own environment and configuration files say that S3 is, for each side of a job that names no endpoint.

`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, and `endpoint_url`, `services` and `region` of a profile mean for `dth` what they
mean for AWS's own tools: who has set them and is not heard would have the keys of one store shown to another.

The files are read here rather than by botocore, whose import costs more than the rest of the start.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from dth.errors import SettingsError
from dth.partitions import AWS, partition_of, region_at
from dth.settings.transfer import TransferJob
from dth.settings.urls import parse_endpoint

Section = Mapping[str, str]

_VARIANTS = (("AWS_USE_FIPS_ENDPOINT", "-fips", ""), ("AWS_USE_DUALSTACK_ENDPOINT", "", ".dualstack"))


class Found(NamedTuple):
    """A value, and where it stands."""

    value: str
    origin: str


def ambient_places(job: TransferJob, environ: Mapping[str, str]) -> dict[str, Found]:
    """The endpoint and region settings that AWS's environment and files fill in, by name. Empty where the job names its own.

    | the job's side has | endpoint | region |
    |---|---|---|
    | an endpoint, or a provider other than AWS | its own | that of `src_profile` or `dest_profile` where one is named |
    | neither, and one is found here | the environment's, else the profile's | likewise, unless the endpoint's host says it |
    | neither, and none is found: AWS itself | - | likewise, outside of the partition `aws`; within, S3 tells the bucket's |

    Raises SettingsError where environment and profile name two endpoints, and where a file cannot be read.
    """
    found: dict[str, Found] = {}
    for side in ("src", "dest"):
        if getattr(job, f"{side}_bucket"):
            found |= _of_side(job, side, environ)
    return found


def _of_side(job: TransferJob, side: str, environ: Mapping[str, str]) -> dict[str, Found]:
    named = str(getattr(job, f"{side}_profile"))
    settings = _Profile.read(
        named or environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default", environ
    )
    own = bool(getattr(job, f"{side}_endpoint")) or getattr(job, f"{side}_type") not in {"", "Amazon_S3"}
    found: dict[str, Found] = {}
    endpoint = None if own else _endpoint(side, settings, environ, named=bool(named))
    if endpoint:
        found[f"{side}_endpoint"] = endpoint
    elif not own:
        _refuse_variants(side, str(getattr(job, f"{side}_region")), settings, environ)
    region = _region(settings, {} if own else environ, named=bool(named))
    if not region or getattr(job, f"{side}_region") or (own and not named):
        return found
    if endpoint and region_at(urlsplit(endpoint.value).hostname or ""):
        return found  # its name says it
    if own or endpoint or partition_of(region.value) is not AWS:
        found[f"{side}_region"] = region
    return found


def _endpoint(side: str, settings: _Profile, environ: Mapping[str, str], *, named: bool) -> Found | None:
    """In the order of AWS's tools: the environment first, and what is for S3 alone before what is for every service."""
    if _truth(environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") or settings.get("ignore_configured_endpoint_urls")):
        return None
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    said = next((Found(environ[name], name) for name in names if environ.get(name)), None)
    kept = settings.endpoint()
    if said and kept and named and _checked(said) != _checked(kept):
        raise SettingsError(
            f"{said.origin} and {kept.origin} name two endpoints for {side}_profile: say which with {side}_endpoint"
        )
    chosen = said or kept
    return Found(_checked(chosen), chosen.origin) if chosen else None


def _region(settings: _Profile, environ: Mapping[str, str], *, named: bool) -> Found | None:
    """A profile that the job names is nearer to it than the environment; AWS's tools agree where none is named."""
    names = ("AWS_REGION", "AWS_DEFAULT_REGION")
    said = next((Found(environ[name], name) for name in names if environ.get(name)), None)
    kept = Found(settings.get("region"), f"region of {settings.title}") if settings.get("region") else None
    return (kept or said) if named else (said or kept)


def _checked(found: Found) -> str:
    try:
        return parse_endpoint(found.value)
    except ValueError as exc:
        raise SettingsError(f"{found.origin} is no endpoint that dth can use: {exc}") from None


def _refuse_variants(side: str, region: str, settings: _Profile, environ: Mapping[str, str]) -> None:
    """FIPS and dual-stack endpoints are asked for by name: which exist differs by region."""
    for name, fips, dual in _VARIANTS:
        if _truth(environ.get(name) or settings.get(name.removeprefix("AWS_").lower())):
            partition = partition_of(region)
            host = f"s3{fips}{dual}.{region or 'REGION'}.{partition.suffix}"
            raise SettingsError(
                f"{name} is set, which dth does not follow for S3: name the endpoint, such as {side}_endpoint = https://{host}"
            )


def _truth(text: str) -> bool:
    return text.lower() == "true"


class _Profile:
    """One profile of the configuration and credentials files, with the services section that it names."""

    def __init__(self, name: str, own: Section, services: Section) -> None:
        self.title = f"the AWS profile {name}"
        self._own = own
        self._services = services

    @classmethod
    def read(cls, name: str, environ: Mapping[str, str]) -> _Profile:
        """The profile; an empty one where no file has it: who needs its credentials says that it is missing."""
        config = _sections(environ.get("AWS_CONFIG_FILE") or "~/.aws/config")
        keys = _sections(environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials")
        own = {**config.get(("profile", name), {}), **keys.get(("", name), {})}
        if name == "default":
            own = {**config.get(("", name), {}), **own}
        return cls(name, own, config.get(("services", own.get("services", "")), {}))

    def get(self, key: str) -> str:
        """One setting, "" where it is not there."""
        return self._own.get(key, "")

    def endpoint(self) -> Found | None:
        """S3's own, else the one for every service."""
        if value := _nested(self._services.get("s3", "")).get("endpoint_url"):
            return Found(value, f"endpoint_url of s3 in the services of {self.title}")
        if value := self.get("endpoint_url"):
            return Found(value, f"endpoint_url of {self.title}")
        return None


def _sections(path: str) -> dict[tuple[str, str], Section]:
    """A file's sections by kind (`profile`, `services`, "" for none) and name. A missing file has none."""
    file = Path(os.path.expanduser(os.path.expandvars(path)))  # noqa: PTH111 - as botocore does it, without a home as well
    if not file.is_file():
        return {}
    import configparser  # noqa: PLC0415 - most machines that copy have no such file

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text("utf-8"))
    except (configparser.Error, UnicodeDecodeError, OSError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc).splitlines()[0]
        raise SettingsError(f"cannot read the AWS configuration {file}: {reason}") from exc
    return {_title(section): dict(parser[section]) for section in parser.sections()}


def _title(section: str) -> tuple[str, str]:
    import shlex  # noqa: PLC0415

    try:
        words = shlex.split(section)
    except ValueError:
        words = [section]
    return (words[0], words[1]) if len(words) == 2 else ("", section)  # noqa: PLR2004 - kind and name


def _nested(text: str) -> dict[str, str]:
    """`s3 =` with settings of its own in indented lines below."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, mark, value in pairs if mark}

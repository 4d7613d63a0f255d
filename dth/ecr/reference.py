"""Names of images: `registry/repository:tag@digest`, read as the OCI distribution specification and Docker write them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dth.errors import SettingsError

ALL_TAGS = "ALL_TAGS"
DOCKER_HUB = "docker.io"

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_NAME_LIMIT = 255
# A signature, attestation or SBOM of cosign (`.sig`, `.att`, `.sbom`), or the referrers fallback tag of OCI 1.1.
_COMPANION = re.compile(r"sha256-([0-9a-f]{64})(?:\.[A-Za-z0-9]+)?")


@dataclass(frozen=True, slots=True)
class Reference:
    """One image, or with the tag `ALL_TAGS` all of a repository. `registry` is "" where none is named; with a digest the
    tag is only where it goes."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        name = f"{self.registry}/{self.repository}" if self.registry else self.repository
        return name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def all_tags(self) -> bool:
        """Whether it stands for all tags."""
        return self.tag == ALL_TAGS


def is_digest(text: str) -> bool:
    """Whether `text` is a digest of a kind that can be checked here."""
    return bool(_DIGEST.fullmatch(text))


def is_repository(text: str) -> bool:
    """Whether `text` may name a repository: nothing else goes into an address, or below a prefix."""
    return len(text) <= _NAME_LIMIT and bool(_REPOSITORY.fullmatch(text))


def is_tag(text: str) -> bool:
    """Whether `text` may be a tag."""
    return bool(_TAG.fullmatch(text))


def companion_of(tag: str) -> str:
    """The digest that a signature's or a fallback tag belongs to; "" for any other tag."""
    match = _COMPANION.fullmatch(tag)
    return f"sha256:{match[1]}" if match else ""


def parse_reference(text: str) -> Reference:
    """`[registry/]repository[:tag][@digest]`; no tag and no digest means `latest`. The first part is a registry only if it
    holds a dot or a port, or is `localhost` (Docker's rule). Raises SettingsError that shows what an image looks like."""
    rest, mark, digest = text.partition("@")
    if mark and not is_digest(digest):
        raise _wrong(text, f"{digest!r} is no digest")
    head, slash, tail = rest.partition("/")
    registry = ""
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, rest = head, tail
        if not _HOST.fullmatch(registry):
            raise _wrong(text, f"{registry!r} is no registry")
    repository, colon, tag = rest.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _wrong(text, f"{tag!r} is no tag")
    if not _REPOSITORY.fullmatch(repository) or len(repository) > _NAME_LIMIT:
        raise _wrong(text, f"{repository!r} is no repository name")
    if not tag and not digest:
        tag = "latest"
    return Reference(registry, repository, tag, digest)


def _wrong(text: str, why: str) -> SettingsError:
    return SettingsError(
        f"{text!r} is no image: {why}; an image looks like repository, repository:tag, repository@sha256:..., "
        f"repository:{ALL_TAGS} or host:5000/repository:tag"
    )


def parse_list(text: str) -> list[Reference]:
    r"""The images of a list: commas, new lines, spaces, carriage returns and literal `\n` separate; repeats count once."""
    words = re.split(r"[\s,]+", text.replace("\\n", ",").replace("\\r", ","))
    return list(dict.fromkeys(parse_reference(word) for word in words if word))


def hub_name(registry: str, repository: str) -> str:
    """The repository's name on its registry: Docker Hub keeps official images under `library/`."""
    return f"library/{repository}" if registry == DOCKER_HUB and "/" not in repository else repository


def dest_repository(prefix: str, repository: str) -> str:
    """Where a repository goes: below the prefix, with one `/` between."""
    prefix = prefix.strip("/")
    return f"{prefix}/{repository}" if prefix else repository


def name_of(repository: str, reference: str) -> str:
    """`repository:tag` or `repository@digest`, as messages carry it."""
    return f"{repository}{'@' if is_digest(reference) else ':'}{reference}"


def split_name(name: str) -> tuple[str, str]:
    """The reverse of `name_of`. Raises SettingsError for anything else."""
    found = parse_reference(name)
    if found.registry or not (found.tag or found.digest):
        raise _wrong(name, "a message names it by repository and either tag or digest")
    return found.repository, found.digest or found.tag

"""Manifests and indexes: opaque bytes whose digest is their name, read only to know what they need. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dth.ecr.reference import is_digest
from dth.errors import ManifestInvalid

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"  # of 1.1's release candidates; some registries hold it
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
ACCEPT = f"{OCI_INDEX}, {DOCKER_LIST}, {OCI_MANIFEST}, {DOCKER_MANIFEST}, {OCI_ARTIFACT}"
"""What is asked for: a registry that is not told so converts lists to one platform, or everything to schema 1."""

MANIFEST_LIMIT = 8 * 1024 * 1024  # the specification asks registries for 4 MiB
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
_FOREIGN = (
    "application/vnd.docker.image.rootfs.foreign.diff.",
    "application/vnd.oci.image.layer.nondistributable.",
)
_REFERENCE_DIGEST = "vnd.docker.reference.digest"  # buildkit: which manifest an attestation belongs to
_MOST = 10_000  # entries in one manifest; real ones have hundreds


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of something that it needs."""

    media_type: str
    digest: str
    size: int
    platform: str = ""  # os/architecture[/variant], "" where none is said
    about: str = ""  # the digest that an attestation belongs to

    @property
    def foreign(self) -> bool:
        """A layer that its owner doesn't let others distribute: it stays where its URLs point."""
        return self.media_type.startswith(_FOREIGN)

    @property
    def is_manifest(self) -> bool:
        """Whether it is kept under `/manifests/`."""
        return self.media_type in _MANIFESTS

    @property
    def is_image(self) -> bool:
        """Whether it says that it is one platform's image, below which there are no other manifests."""
        return self.media_type in {OCI_MANIFEST, DOCKER_MANIFEST}


_MANIFESTS = frozenset({OCI_INDEX, OCI_MANIFEST, OCI_ARTIFACT, DOCKER_LIST, DOCKER_MANIFEST})


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest or index. `raw` is what travels; `children` are manifests, `blobs` everything else that it needs;
    `subject` is the digest that it refers to, "" for most."""

    raw: bytes
    digest: str
    media_type: str
    children: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]
    subject: str

    @property
    def size(self) -> int:
        """Bytes of all that it names, itself and what children hold not included."""
        return sum(blob.size for blob in self.blobs)


def digest_of(data: bytes, like: str = "sha256:") -> str:
    """The digest of `data`, by the algorithm of the digest `like`."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def parse_manifest(raw: bytes, content_type: str) -> Manifest:
    """Read a manifest. Raises ManifestInvalid for Docker schema 1, by name, and for what is no manifest."""
    fields = _fields(raw)
    media_type = content_type.partition(";")[0].strip().lower() or str(fields.get("mediaType", ""))
    said = str(fields.get("mediaType", ""))
    if media_type.startswith(_SCHEMA_1) or fields.get("schemaVersion") == 1:
        raise ManifestInvalid(
            "a manifest of Docker schema 1, which registries no longer take: pull and push the image with a current "
            "tool at its source"
        )
    if media_type not in _MANIFESTS:
        media_type = said or (OCI_INDEX if "manifests" in fields else OCI_MANIFEST)
    children: tuple[Descriptor, ...] = ()
    blobs: tuple[Descriptor, ...] = ()
    if "manifests" in fields:
        children = _descriptors(fields["manifests"])
    else:
        config = [fields["config"]] if "config" in fields else []
        blobs = _descriptors([*config, *_list(fields, "layers"), *_list(fields, "blobs")])
    subject = fields.get("subject")
    about = str(subject.get("digest", "")) if isinstance(subject, Mapping) else ""
    # An index may hold plain blobs as well (Helm, Flux): what is no manifest is copied as a blob.
    plain = tuple(child for child in children if not child.is_manifest and child.media_type)
    nested = tuple(child for child in children if child.is_manifest or not child.media_type)
    return Manifest(raw, digest_of(raw), media_type, nested, (*blobs, *plain), about)


def _fields(raw: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise ManifestInvalid("a manifest that is no JSON") from exc
    if not isinstance(fields, dict):
        raise ManifestInvalid("a manifest that is no JSON object")
    return fields


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name)
    return value if isinstance(value, list) else []


def _descriptors(values: object) -> tuple[Descriptor, ...]:
    if not isinstance(values, list) or len(values) > _MOST:
        raise ManifestInvalid("a manifest whose list of parts is no list, or endless")
    return tuple(_descriptor(value) for value in values)


def _descriptor(value: object) -> Descriptor:
    if not isinstance(value, Mapping):
        raise ManifestInvalid("a manifest with a part that is no descriptor")
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ManifestInvalid(f"a manifest that names a part by {str(digest)[:80]!r}, which is no digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ManifestInvalid(f"a manifest that gives {digest} no size")
    annotations = value.get("annotations")
    about = annotations.get(_REFERENCE_DIGEST, "") if isinstance(annotations, Mapping) else ""
    return Descriptor(str(value.get("mediaType", "")), digest, size, _platform(value.get("platform")), str(about))


def _platform(value: object) -> str:
    if not isinstance(value, Mapping):
        return ""
    parts = [str(value.get(name) or "") for name in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if part)


def matches(platform: str, wanted: Sequence[str]) -> bool:
    """Whether a platform is one of those wanted; `linux/arm` takes every variant of it."""
    return any(platform == one or platform.startswith(one + "/") for one in wanted)


def filtered_index(index: Manifest, wanted: Sequence[str]) -> Manifest:
    """The index with the wanted platforms only, and the attestations that belong to them. The same bytes for the same
    input, so that a second run finds it unchanged. Raises ManifestInvalid where nothing is left."""
    kept = {child.digest for child in index.children if matches(child.platform, wanted)}
    if not kept:
        have = sorted({child.platform for child in index.children if child.platform})
        raise ManifestInvalid(f"no manifest for {', '.join(wanted)}; the image has {', '.join(have) or 'none named'}")
    kept |= {child.digest for child in index.children if child.about in kept}
    if kept >= {child.digest for child in index.children}:
        return index
    fields = _fields(index.raw)
    fields["manifests"] = [one for one in fields["manifests"] if one["digest"] in kept]
    return parse_manifest(json.dumps(fields, separators=(",", ":")).encode(), index.media_type)


def extended_index(raw: bytes | None, descriptors: Sequence[Mapping[str, Any]]) -> bytes | None:
    """The referrers fallback index `raw` (None: there is none) with these descriptors in it; None where it holds them all
    already (OCI distribution 1.1, "Referrers Tag Schema")."""
    fields = _fields(raw) if raw else {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    present = {one.get("digest") for one in _list(fields, "manifests")}
    missing = [dict(one) for one in descriptors if one.get("digest") not in present]
    if not missing:
        return None
    fields["manifests"] = [*_list(fields, "manifests"), *missing]
    return json.dumps(fields, separators=(",", ":")).encode()

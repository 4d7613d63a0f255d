"""Manifests and indexes: opaque bytes whose digest is their name, read only to know what they need. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
_DOCKER = "application/vnd.docker."
_KNOWN_FIELDS = frozenset({"manifests", "config", "layers", "blobs", "subject"})
_LARGEST = 2**63 - 1  # bytes that a descriptor may speak of
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
    elsewhere: bool = False  # whether it names addresses that the bytes may be had from

    @property
    def foreign(self) -> bool:
        """A layer that its owner doesn't let others distribute: where the registry lacks it, it stays where its URLs point."""
        return self.media_type.startswith(_FOREIGN)

    @property
    def is_manifest(self) -> bool:
        """Whether it says that it is kept under `/manifests/`. What says nothing, or another thing, may be so too: the registry
        knows."""
        return self.media_type in _MANIFESTS

    @property
    def is_index(self) -> bool:
        """Whether it says that it holds other manifests."""
        return self.media_type in _INDEXES

    @property
    def is_image(self) -> bool:
        """Whether it says that it is one platform's image, below which there are no other manifests."""
        return self.media_type in {OCI_MANIFEST, DOCKER_MANIFEST}


_INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
_MANIFESTS = frozenset({OCI_INDEX, OCI_MANIFEST, OCI_ARTIFACT, DOCKER_LIST, DOCKER_MANIFEST})


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest or index. `raw` is what travels; `children` are what an index holds, manifests mostly, `blobs` everything
    else that it needs; `subject` is the digest that it refers to, "" for most; `lacks` are platforms that were wanted of it
    and that it does not have."""

    raw: bytes
    digest: str
    media_type: str
    children: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]
    subject: str
    lacks: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all that it names, itself and what children hold not included."""
        return sum(blob.size for blob in self.blobs)


def digest_of(data: bytes, like: str = "sha256:") -> str:
    """The digest of `data`, by the algorithm of the digest `like`."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def parse_manifest(raw: bytes, content_type: str) -> Manifest:
    """Read a manifest. What it is follows from its own bytes, which its digest covers, and from what the registry says of it
    only where they say nothing. Raises ManifestInvalid for Docker schema 1, by name, and for what is no manifest."""
    fields = _fields(raw)
    if _is_schema_1(fields, content_type):
        raise ManifestInvalid(
            "a manifest of Docker schema 1, which registries no longer take: pull and push the image with a current "
            "tool at its source"
        )
    if not _KNOWN_FIELDS & fields.keys():
        raise ManifestInvalid(f"a manifest that names none of {', '.join(sorted(_KNOWN_FIELDS))}: it is not understood")
    config = [fields["config"]] if fields.get("config") is not None else []
    blobs = _descriptors([*config, *_list(fields, "layers"), *_list(fields, "blobs")])
    subject = fields.get("subject")
    about = str(subject.get("digest", "")) if isinstance(subject, Mapping) else ""
    children = _descriptors(_list(fields, "manifests"))
    return Manifest(raw, digest_of(raw), _media_type(fields, content_type), children, blobs, about)


def _is_schema_1(fields: Mapping[str, Any], content_type: str) -> bool:
    said = f"{fields.get('mediaType') or content_type}".strip().lower()
    later = bool(_KNOWN_FIELDS & fields.keys())
    return fields.get("schemaVersion") == 1 or "fsLayers" in fields or (said.startswith(_SCHEMA_1) and not later)


def _media_type(fields: Mapping[str, Any], content_type: str) -> str:
    """Its own word for itself; else what the registry calls it, unless its bytes contradict that; else what it looks like."""
    said = fields.get("mediaType")
    if isinstance(said, str) and said:
        return said
    called, index = content_type.partition(";")[0].strip().lower(), "manifests" in fields
    if called in _MANIFESTS:
        if (called in _INDEXES) == index:
            return called
    elif called.endswith("+json"):
        return called
    if index:
        return OCI_INDEX
    config = fields.get("config")
    docker = isinstance(config, Mapping) and str(config.get("mediaType", "")).startswith(_DOCKER)
    return DOCKER_MANIFEST if docker else OCI_MANIFEST


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
    if value is not None and not isinstance(value, list):
        raise ManifestInvalid(f"a manifest whose {name} are no list")
    return value or []


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
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _LARGEST:
        raise ManifestInvalid(f"a manifest that gives {digest} no size")
    annotations = value.get("annotations")
    about = annotations.get(_REFERENCE_DIGEST, "") if isinstance(annotations, Mapping) else ""
    platform, elsewhere = _platform(value.get("platform")), bool(value.get("urls"))
    return Descriptor(str(value.get("mediaType") or ""), digest, size, platform, str(about), elsewhere)


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
    input, so that a second run finds it unchanged. `lacks` says which of them it does not have. Raises ManifestInvalid where
    nothing is left."""
    kept = {child.digest for child in index.children if matches(child.platform, wanted)}
    if not kept:
        have = sorted({child.platform for child in index.children if child.platform})
        raise ManifestInvalid(f"no manifest for {', '.join(wanted)}; the image has {', '.join(have) or 'none named'}")
    kept |= {child.digest for child in index.children if child.about in kept}
    # What is of no platform, a chart say, is of each.
    kept |= {child.digest for child in index.children if child.media_type and not (child.is_manifest or child.platform)}
    lacks = tuple(one for one in wanted if not any(matches(child.platform, [one]) for child in index.children))
    if kept >= {child.digest for child in index.children}:
        return replace(index, lacks=lacks) if lacks else index
    fields = _fields(index.raw)
    fields["manifests"] = [one for one in fields["manifests"] if one["digest"] in kept]
    filtered = parse_manifest(json.dumps(fields, separators=(",", ":")).encode(), index.media_type)
    return replace(filtered, lacks=lacks)


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

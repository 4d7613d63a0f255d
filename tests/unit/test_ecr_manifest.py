"""Manifests: opaque bytes, read for what they need."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dth.ecr.manifest import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    digest_of,
    extended_index,
    filtered_index,
    parse_manifest,
)
from dth.errors import ManifestInvalid


def descriptor(name: str, kind: str = OCI_MANIFEST, **more: Any) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest_of(name.encode()), "size": len(name), **more}


def index(*children: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}, indent=1).encode()


def test_an_image_needs_its_config_and_layers_and_is_named_by_its_bytes() -> None:
    layers = [descriptor("one", "application/x"), descriptor("two", "application/y")]
    raw = json.dumps({"schemaVersion": 2, "config": descriptor("c", "application/c"), "layers": layers}).encode()
    manifest = parse_manifest(raw, f"{DOCKER_MANIFEST}; charset=utf-8")
    assert manifest.raw == raw
    assert manifest.digest == digest_of(raw)
    assert manifest.media_type == DOCKER_MANIFEST
    assert [blob.digest for blob in manifest.blobs] == [digest_of(name.encode()) for name in ("c", "one", "two")]
    assert manifest.size == 7


def test_an_index_needs_its_children_and_the_plain_blobs_in_it() -> None:
    raw = index(descriptor("a"), descriptor("nested", OCI_INDEX), descriptor("chart", "application/x-chart"))
    manifest = parse_manifest(raw, OCI_INDEX)
    assert [child.digest for child in manifest.children] == [digest_of(b"a"), digest_of(b"nested"), digest_of(b"chart")]
    assert [child.is_manifest for child in manifest.children] == [True, True, False]


@pytest.mark.parametrize(
    ("raw", "kind", "text"),
    [
        (b"nope", OCI_MANIFEST, "no JSON"),
        (b"[1]", OCI_MANIFEST, "no JSON object"),
        (b'{"schemaVersion": 1}', "", "schema 1"),
        (b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"),
        (b'{"layers": [3]}', OCI_MANIFEST, "no descriptor"),
        (b'{"layers": [{"digest": "sha256:zz", "size": 1}]}', OCI_MANIFEST, "no digest"),
        (json.dumps({"layers": [descriptor("x", "y", size=-1)]}).encode(), OCI_MANIFEST, "no size"),
        (b'{"manifests": {}}', OCI_INDEX, "no list"),
    ],
)
def test_what_cannot_be_copied_is_refused_by_name(raw: bytes, kind: str, text: str) -> None:
    with pytest.raises(ManifestInvalid, match=text):
        parse_manifest(raw, kind)


def platform(name: str, os: str, machine: str, variant: str = "", **more: Any) -> dict[str, Any]:
    about = {"os": os, "architecture": machine, **({"variant": variant} if variant else {})}
    return descriptor(name, platform=about, **more)


def test_a_platform_filter_keeps_wanted_children_and_their_attestations_and_nothing_else_changes() -> None:
    note: dict[str, Any] = {"annotations": {"vnd.docker.reference.digest": digest_of(b"amd")}}
    raw = index(
        platform("amd", "linux", "amd64"),
        platform("arm7", "linux", "arm", "v7"),
        platform("arm6", "linux", "arm", "v6"),
        platform("proof", "unknown", "unknown", **note),
    )
    whole = parse_manifest(raw, OCI_INDEX)
    one = filtered_index(whole, ["linux/amd64"])
    assert [child.digest for child in one.children] == [digest_of(b"amd"), digest_of(b"proof")]
    assert filtered_index(whole, ["linux/amd64"]).digest == one.digest
    assert len(filtered_index(whole, ["linux/arm"]).children) == 2
    assert filtered_index(whole, ["linux/arm", "linux/amd64"]) is whole
    with pytest.raises(ManifestInvalid, match="the image has"):
        filtered_index(whole, ["windows/amd64"])


def test_a_fallback_index_grows_by_what_it_lacks_and_only_then() -> None:
    first = extended_index(None, [descriptor("a")])
    assert first is not None
    assert extended_index(first, [descriptor("a")]) is None
    second = extended_index(first, [descriptor("b"), descriptor("a")])
    assert second is not None
    assert [one["digest"] for one in json.loads(second)["manifests"]] == [digest_of(b"a"), digest_of(b"b")]

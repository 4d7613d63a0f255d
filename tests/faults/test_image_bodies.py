"""Bodies of images: the kinds "a cheap look that fails counts as the real thing failing", "a media type's name, or a header,
decides what the bytes are", "one request for a body of any size; one wait for an answer that takes minutes" and "identity is
sent to servers that then decode"."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.imaging import enqueue_images, sync_images, work_images
from tests.servers.registry import OCI_INDEX, OCI_MANIFEST, Pattern, Registry, Reply, Request, digest_of

MiB = 1024**2
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LAYER = b"a layer " * 5000


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def destination() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


def whole(source: Registry, destination: Registry) -> None:
    """Tags, manifests with their types, and blobs are those of the source."""
    assert destination.content() == source.content()
    for name, repository in source.repositories.items():
        assert destination.repositories[name].manifests == repository.manifests
        assert destination.repositories[name].blobs.keys() == repository.blobs.keys()


# A cheap look that fails


@pytest.mark.parametrize("reply", [Reply(401), Reply(400), Reply(500), Reply(501), Reply(302, (("location", "ftp://x"),)),
                                   Reply(307, (("location", "/elsewhere"),)), Reply(200)])  # fmt: skip
@pytest.mark.parametrize("side", ["source", "destination"])
async def test_where_head_is_refused_get_tells(
    source: Registry, destination: Registry, tmp_path: Path, side: str, reply: Reply
) -> None:
    source.add_index("app", "v1", [source.add_image("app", layers=(LAYER,))])
    registry = source if side == "source" else destination
    registry.faults.instead = lambda request: reply if request.method == "HEAD" else None
    ran = await sync_images(tmp_path, source.address, destination.address, retries=0)
    assert ran.summary.exit_code == 0, ran.failures
    whole(source, destination)
    again = await sync_images(tmp_path, source.address, destination.address)
    assert (again.summary.done, again.summary.skipped) == (0, 1)


async def test_a_tag_that_was_listed_is_asked_for_again_before_it_is_called_gone(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.add_image("app", "v1")
    source.faults.instead = lambda request: Reply(404) if request.is_for("HEAD", "/manifests/v1") else None
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    whole(source, destination)


@pytest.mark.parametrize(("length", "digest"), [("", ""), ("0", ""), ("7", "right"), ("", "wrong")])
async def test_an_answer_that_says_too_little_is_no_blob(
    source: Registry, destination: Registry, tmp_path: Path, length: str, digest: str
) -> None:
    source.add_image("app", "v1", layers=(LAYER,))

    def instead(request: Request) -> Reply | None:
        if not request.is_for("HEAD", "/blobs/"):
            return None
        said = {"right": request.path.rpartition("/")[2], "wrong": digest_of(b"other")}.get(digest, "")
        named = (("docker-content-digest", said),) if said else ()
        bare = (
            (("transfer-encoding", "chunked"),)
            if not length
            else (("transfer-encoding", ""), ("content-length", length))
        )
        return Reply(200, (*[one for one in bare if one[1]], *named))

    destination.faults.instead = instead
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    whole(source, destination)


# What the bytes are


@pytest.mark.parametrize(
    "kind", ["application/json", OCI_MANIFEST, DOCKER_MANIFEST, "text/plain", "application/vnd.x+json"]
)
async def test_a_manifest_is_what_its_bytes_say_whatever_the_registry_calls_it(
    source: Registry, destination: Registry, tmp_path: Path, kind: str
) -> None:
    child = source.add_image("app", layers=(LAYER,))
    source.add_index("app", "v1", [child])
    raw = source.repositories["app"].manifests
    source.faults.instead = lambda request: next(
        (
            Reply(200, (("content-type", kind), ("docker-content-digest", digest)), raw[digest][1])
            for digest in raw
            if request.is_for("GET", f"/manifests/{digest}")
        ),
        None,
    )
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    whole(source, destination)


@pytest.mark.parametrize(
    "kind", ["application/vnd.acme.bundle.v7+json", "application/json", "", "application/octet-stream"]
)
async def test_what_an_index_holds_is_asked_of_the_source_whatever_its_type_is_called(
    source: Registry, destination: Registry, tmp_path: Path, kind: str
) -> None:
    image, inner = source.add_image("app", layers=(LAYER,)), source.add_image("app", layers=(b"deep",))
    nested = source.add_index("app", "", [inner])
    chart = source.add_blob("app", b"a chart")
    held: list[dict[str, Any]] = [{**one, "mediaType": kind} for one in (image, nested, chart)]
    if not kind:
        held = [{name: value for name, value in one.items() if name != "mediaType"} for one in held]
    outer = source.add_index("app", "v1", held)
    source.add_index("app", "v2", [{**outer, "mediaType": OCI_INDEX}])
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0, ran.failures
    whole(source, destination)


async def test_an_index_of_a_type_that_nobody_knows_and_a_manifest_without_config_arrive(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    bare = source.add_manifest(
        "app", {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [source.add_blob("app", b"x")]}
    )
    fields = {"schemaVersion": 2, "mediaType": "application/vnd.acme.catalog+json", "manifests": [bare]}
    source.add_manifest("app", fields, "v1")
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    whole(source, destination)


@pytest.mark.parametrize(
    "fields",
    [{"schemaVersion": 2}, {"errors": []}, {"layers": {}}, {"config": {}, "layers": "none"}, {"manifests": 7}, {"layers": [None]},
     {"layers": [{"digest": "sha256:" + "a" * 64, "size": 2**64}]}],
)  # fmt: skip
async def test_a_manifest_that_is_not_understood_is_no_empty_image(
    source: Registry, destination: Registry, tmp_path: Path, fields: dict[str, Any]
) -> None:
    source.add_manifest("app", {"mediaType": OCI_MANIFEST, **fields}, "v1")
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert (ran.summary.exit_code, list(ran.failures.values())) == (3, ["manifest_invalid"])
    assert not destination.content()


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_layer_that_others_may_not_distribute_comes_where_the_source_has_it(
    source: Registry, destination: Registry, tmp_path: Path, there: bool, elsewhere: bool
) -> None:
    layer = source.add_blob("windows", LAYER)
    layer["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    if elsewhere:
        layer["urls"] = ["https://elsewhere.example/"]
    fields = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": source.add_blob("windows", b"{}"),
        "layers": [layer],
    }
    source.add_manifest("windows", fields, "v1")
    if not there:
        del source.repositories["windows"].blobs[layer["digest"]]
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert (layer["digest"] in destination.repositories["windows"].blobs) is there
    assert ran.summary.exit_code == (0 if there or elsewhere else 3)
    assert ran.report[0]["foreign_layers"] == (elsewhere and not there)


async def test_a_wanted_platform_that_the_source_lacks_is_named_and_the_others_come(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    child = {**source.add_image("app", layers=(LAYER,)), "platform": {"os": "linux", "architecture": "amd64"}}
    source.add_index("app", "v1", [child])
    given: dict[str, Any] = {"platforms": "linux/amd64,linux/arm64"}
    for done in (1, 0):
        ran = await sync_images(tmp_path, source.address, destination.address, **given)
        assert (ran.summary.exit_code, ran.summary.done, ran.summary.skipped) == (3, done, 1 - done)
        assert "linux/arm64" in ran.summary.failures[0].error
        assert "linux/arm64" in ran.report[0]["error"]
        assert set(destination.content()["app"]) == {"v1"}
    destination.repositories.clear()
    await enqueue_images(tmp_path / "fleet", source.address, destination.address, **given)
    worked = await work_images(tmp_path / "fleet")
    assert (worked.summary.exit_code, worked.summary.failed) == (3, 1)
    assert set(destination.content()["app"]) == {"v1"}


async def test_a_referrer_that_cannot_be_copied_fails_its_image_in_the_queue_as_well(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    image = source.add_image("app", "v1")
    lost = source.add_image("app", layers=(b"signed",), subject=image)
    del source.repositories["app"].blobs[digest_of(b"signed")]
    await enqueue_images(tmp_path, source.address, destination.address)
    worked = await work_images(tmp_path)
    assert (worked.summary.exit_code, worked.summary.failed) == (3, 1)
    assert list(worked.failures.values()) == ["manifest_missing"]
    assert destination.content() == source.content()
    assert lost["digest"] not in destination.repositories["app"].manifests


# One request, one wait


@pytest.mark.parametrize(
    ("limit", "size"), [(300_000, 2 * MiB + 7), (5 * MiB, 24 * MiB), (20 * MiB, 24 * MiB), (70_000, 100_000)]
)
async def test_a_blob_goes_in_pieces_where_one_request_is_too_large(
    source: Registry, destination: Registry, tmp_path: Path, limit: int, size: int
) -> None:
    source.add_image("app", "v1", layers=(Pattern(3, size), b"small"))
    destination.faults.instead = lambda request: (
        Reply(413, (("connection", "close"),), b"<html>")
        if int(request.headers.get("content-length", 0)) > limit
        else None
    )
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0, ran.failures
    whole(source, destination)
    assert not ran.again, "the image was begun anew"


async def test_a_limit_that_nothing_passes_ends_in_words(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.add_image("app", "v1", layers=(bytes(MiB),))
    destination.faults.instead = lambda request: Reply(413) if request.method in {"PATCH", "PUT"} else None
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert list(ran.failures.values()) == ["request_refused"]
    assert "larger than the registry, or a proxy before it, takes" in ran.summary.failures[0].error


async def test_pieces_are_no_smaller_than_the_registry_asks_for(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    least, size = 3 * MiB, 20 * MiB
    source.add_image("app", "v1", layers=(Pattern(3, size),))

    def instead(request: Request) -> Reply | None:
        length = int(request.headers.get("content-length", 0))
        if length > 4 * MiB:
            return Reply(413)
        found = re.fullmatch(r"(\d+)-(\d+)", request.headers.get("content-range", ""))
        return Reply(400) if found and length < least and int(found[2]) + 1 < size else None

    destination.faults.instead = instead
    destination.faults.least = least
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0, ran.failures
    whole(source, destination)


async def test_answers_to_pieces_may_say_nothing(source: Registry, destination: Registry, tmp_path: Path) -> None:
    destination.faults.bare = True
    source.add_image("app", "v1", layers=(Pattern(3, 18 * MiB),))
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0, ran.failures
    whole(source, destination)


@pytest.mark.parametrize("size", [MiB, 18 * MiB], ids=["one PUT", "PATCH"])
async def test_a_registry_that_takes_its_time_at_the_end_is_waited_for_and_sent_nothing_twice(
    source: Registry, destination: Registry, tmp_path: Path, size: int
) -> None:
    destination.faults.finish_seconds = 2.5
    source.add_image("app", "v1", layers=(Pattern(3, size),))
    ran = await sync_images(tmp_path, source.address, destination.address, first_byte_seconds=0.5)
    assert ran.summary.exit_code == 0, ran.failures
    assert not ran.again
    whole(source, destination)
    assert destination.received < size + MiB


# Codings


@pytest.mark.parametrize("packed", [True, False], ids=["packed on the way", "only labelled"])
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("layer", [LAYER, gzip.compress(os.urandom(3 * MiB))], ids=["text", "gzip itself"])
async def test_a_blob_that_is_sent_as_gzip_is_the_one_that_has_its_digest(
    source: Registry, destination: Registry, tmp_path: Path, packed: bool, chunked: bool, layer: bytes
) -> None:
    source.add_image("app", "v1", layers=(layer,))

    def instead(request: Request) -> Reply | None:
        if not request.is_for("GET", digest_of(layer)):
            return None
        body = gzip.compress(layer) if packed else layer
        headers: tuple[tuple[str, str], ...] = (("content-encoding", "GZIP"),)
        if chunked:
            headers += (("transfer-encoding", "chunked"),)
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return Reply(200, headers, body)

    source.faults.instead = instead
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0, ran.failures
    whole(source, destination)


async def test_gzip_that_grows_without_end_is_refused(source: Registry, destination: Registry, tmp_path: Path) -> None:
    source.add_image("app", "v1", layers=(LAYER,))
    bomb = gzip.compress(bytes(64 * MiB))
    source.faults.instead = lambda request: (
        Reply(200, (("content-encoding", "gzip"),), bomb) if request.is_for("GET", digest_of(LAYER)) else None
    )
    ran = await sync_images(tmp_path, source.address, destination.address, retries=0)
    assert list(ran.failures.values()) == ["body_mismatch"]
    assert not destination.content()


async def test_lists_and_manifests_that_a_proxy_has_packed_are_read(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.add_image("app", "v1", layers=(LAYER,))
    packing = (("content-encoding", "gzip"),)

    def instead(request: Request) -> Reply | None:
        if request.is_for("GET", "/tags/list"):
            return Reply(200, packing, gzip.compress(json.dumps({"tags": ["v1"]}).encode()))
        if request.is_for("GET", "/manifests/"):
            (raw,) = [one[1] for one in source.repositories["app"].manifests.values()]
            return Reply(200, packing, gzip.compress(raw))
        return None

    source.faults.instead = instead
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0, ran.failures
    whole(source, destination)


# Memory


async def test_an_index_of_many_large_manifests_holds_only_a_few_of_them_at_a_time(
    source: Registry, destination: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dth.ecr.dedup.MANIFEST_BYTES", MiB)
    padding: dict[str, Any] = {"annotations": {"padding": "x" * 300_000}}
    children = [source.add_image("app", layers=(bytes([number]) * 100,), **padding) for number in range(14)]
    inner = source.add_index("app", "", children[:7])
    source.add_index("app", "v1", [inner, *children[7:]])
    held: set[str] = set()
    highest = 0

    def read(request: Request) -> None:
        nonlocal highest
        if request.method == "GET" and any(request.path.endswith(one["digest"]) for one in children):
            held.add(request.path)
            highest = max(highest, len(held))

    def written(request: Request) -> None:
        if request.is_for("PUT", "/manifests/"):
            held.discard(request.path)

    source.faults.instead, destination.faults.instead = read, written
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    whole(source, destination)
    assert 1 <= highest <= 4

"""Signatures follow their images, whichever way either registry keeps them: the API of OCI 1.1, its fallback, cosign's tags."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.imaging import sync_images
from tests.servers.registry import OCI_INDEX, OCI_MANIFEST, Registry


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def destination() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


def attach(registry: Registry, name: str, subject: dict[str, Any], content: bytes, tag: str = "") -> dict[str, Any]:
    return registry.add_image(name, tag, layers=(content,), subject=subject, artifactType="application/x-signature")


def fallback_of(descriptor: dict[str, Any]) -> str:
    return str(descriptor["digest"]).replace(":", "-")


async def test_referrers_come_by_the_api_and_are_found_by_it_again(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    image = source.add_image("app", "v1")
    signature = attach(source, "app", image, b"signed")
    countersigned = attach(source, "app", signature, b"signed again")
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    assert {signature["digest"], countersigned["digest"]} <= set(destination.repositories["app"].manifests)
    assert destination.content() == source.content(), "no fallback tag where the destination has the API"
    destination.forget()
    again = await sync_images(tmp_path, source.address, destination.address)
    assert again.summary.done == 0
    assert not [one for one in destination.log if one[0] in {"PUT", "POST", "PATCH"}]


async def test_a_destination_without_the_api_gets_the_fallback_tag_and_keeps_what_it_had(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    destination.faults.referrers = False
    image = source.add_image("app", "v1")
    first = attach(source, "app", image, b"signed")
    await sync_images(tmp_path, source.address, destination.address)
    second = attach(source, "app", image, b"signed by another")
    await sync_images(tmp_path, source.address, destination.address)
    digest = destination.repositories["app"].tags[fallback_of(image)]
    kind, raw = destination.repositories["app"].manifests[digest]
    assert kind == OCI_INDEX
    assert [one["digest"] for one in json.loads(raw)["manifests"]] == [first["digest"], second["digest"]]
    destination.forget()
    await sync_images(tmp_path, source.address, destination.address)
    assert not [one for one in destination.log if one[0] in {"PUT", "POST", "PATCH"}]


async def test_a_source_without_the_api_shows_them_by_its_tags(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.faults.referrers = False
    image = source.add_image("app", "v1")
    other = source.add_image("app", "v2", layers=(b"other",))
    signature = attach(source, "app", image, b"signed")
    source.add_index("app", fallback_of(image), [{**signature, "artifactType": "application/x-signature"}])
    source.add_image("app", fallback_of(image) + ".sig", layers=(b"cosign",))
    source.add_image("app", fallback_of(other) + ".sig", layers=(b"of another image",))
    words: dict[str, Any] = {"src_list": "SELECTED", "src_image_list": "app:v1"}
    ran = await sync_images(tmp_path, source.address, destination.address, **words)
    assert ran.summary.exit_code == 0
    tags = destination.repositories["app"].tags
    assert set(tags) == {"v1", fallback_of(image), fallback_of(image) + ".sig"}
    assert signature["digest"] in destination.repositories["app"].manifests
    assert source.asked()["GET referrers"] == 1, "a registry without the API is asked once"


async def test_without_referrers_only_what_was_chosen_comes(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    image = source.add_image("app", "v1")
    attach(source, "app", image, b"signed")
    await sync_images(tmp_path, source.address, destination.address, referrers="false")
    assert len(destination.repositories["app"].manifests) == 1
    assert not source.asked()["GET referrers"]


async def test_a_referrer_that_cannot_be_copied_is_counted_and_fails_no_image(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    image = source.add_image("app", "v1")
    lost = attach(source, "app", image, b"signed")
    del source.repositories["app"].blobs[
        json.loads(source.repositories["app"].manifests[lost["digest"]][1])["layers"][0]["digest"]
    ]
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert (ran.summary.exit_code, ran.summary.done, ran.summary.failed, ran.summary.found) == (3, 1, 1, 2)
    assert "not all that refers to the image was copied" in ran.summary.failures[0].error
    assert [line["outcome"] for line in ran.report] == ["done", "failed"]
    assert destination.content() == source.content()


async def test_platforms_are_filtered_only_on_demand_and_found_again_unchanged(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    children = []
    for machine in ("amd64", "arm64"):
        child = source.add_image("app", layers=(machine.encode(),))
        children.append({**child, "platform": {"os": "linux", "architecture": machine}})
    source.add_index("app", "v1", children)
    words: dict[str, Any] = {"platforms": "linux/arm64"}
    await sync_images(tmp_path, source.address, destination.address, **words)
    raw = destination.repositories["app"].manifests[destination.repositories["app"].tags["v1"]][1]
    assert [one["digest"] for one in json.loads(raw)["manifests"]] == [children[1]["digest"]]
    assert children[0]["digest"] not in destination.repositories["app"].manifests
    ran = await sync_images(tmp_path, source.address, destination.address, **words)
    assert ran.summary.skipped == 1


async def test_pruning_removes_only_what_the_source_lacks_and_never_past_the_limit(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    for tag in ("v1", "v2"):
        source.add_image("app", tag, layers=(tag.encode(),))
        source.add_image("other", tag, layers=(tag.encode(),))
    stale = destination.add_image("app", "old", layers=(b"old",))
    destination.add_image("untouched", "old", layers=(b"old",))
    refused = await sync_images(tmp_path, source.address, destination.address, prune="true", max_delete=0)
    assert refused.summary.exit_code == 3
    assert destination.repositories["app"].tags["old"] == stale["digest"]
    ran = await sync_images(tmp_path, source.address, destination.address, prune="true")
    assert ran.summary.exit_code == 0
    assert {**source.content(), "untouched": destination.content()["untouched"]} == destination.content()


async def test_a_dry_run_says_what_differs_and_writes_nothing(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.add_image("app", "v1")
    ran = await sync_images(tmp_path, source.address, destination.address, dry_run=True)
    assert ran.summary.planned == 1
    assert not destination.repositories
    assert {method for method, _, _ in destination.log} <= {"GET", "HEAD"}


async def test_filters_choose_among_listed_tags_and_signatures_follow_their_images(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    for tag in ("1.0.0", "1.1.0", "2.0.0", "nightly"):
        image = source.add_image("app", tag, layers=(tag.encode(),))
        source.add_image("app", fallback_of(image) + ".sig", layers=(b"sig " + tag.encode(),))
    await sync_images(tmp_path, source.address, destination.address, tag_filter="semver:^1,latest:1")
    tags = destination.repositories["app"].tags
    kept = source.repositories["app"].tags["1.1.0"].replace(":", "-")
    assert set(tags) == {"1.1.0", f"{kept}.sig"}


async def test_an_index_within_an_index_and_a_plain_blob_in_an_index_arrive(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    image = source.add_image("app")
    blob = {**source.add_blob("app", b"a chart"), "mediaType": "application/x-chart"}
    inner = source.add_index("app", "", [image, blob])
    source.add_index("app", "outer", [inner, {**image, "mediaType": OCI_MANIFEST}])
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    assert destination.content() == source.content()
    assert destination.repositories["app"].blobs.keys() == source.repositories["app"].blobs.keys()

"""Images between two registries that misbehave: each fault ends as designed, and no other image suffers."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from dth.app import verbs
from dth.errors import TlsFailed, TransportError
from dth.events import Event, Moved
from dth.settings import load_image_settings
from tests.servers.imaging import sync_images
from tests.servers.registry import Pattern, Registry, digest_of

MiB = 1024**2


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def destination() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


async def test_an_image_arrives_byte_for_byte_and_a_second_run_writes_nothing(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    one = source.add_image("team/app", layers=(b"one", b"shared"))
    two = source.add_image("team/app", layers=(b"two", b"shared", b""))
    index = source.add_index("team/app", "v1", [one, two])
    nested = source.add_index("team/app", "all", [index, one])
    first = await sync_images(tmp_path, source.address, destination.address)
    assert first.summary.exit_code == 0
    assert destination.content() == source.content()
    assert destination.repositories["team/app"].manifests == source.repositories["team/app"].manifests
    assert destination.repositories["team/app"].tags["all"] == nested["digest"]
    destination.forget()
    source.forget()
    second = await sync_images(tmp_path, source.address, destination.address)
    assert (second.summary.done, second.summary.skipped) == (0, 2)
    assert set(destination.asked()) <= {"HEAD manifests", "GET ping", "GET referrers"}
    assert destination.asked()["HEAD manifests"] == source.asked()["HEAD manifests"] == 2
    assert source.asked()["GET referrers"] == 2
    assert not source.asked()["GET manifests"]


async def test_the_metrics_of_images_are_the_summary_and_each_image_is_a_line_of_the_log(
    source: Registry, destination: Registry, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one = source.add_image("team/app", "v1", layers=(b"one", b"shared"))
    source.add_image("team/app", "v2", layers=(b"two", b"shared"))
    emf = tmp_path / "emf"
    ran = await sync_images(tmp_path, source.address, destination.address, metrics_emf=str(emf), log="json")
    lines = [json.loads(line) for line in emf.read_text().splitlines()]
    ended = {line["outcome"]: line["dth_objects_total"] for line in lines if "dth_objects_total" in line}
    assert ended == {"done": ran.summary.done} == {"done": 2}
    asked = {(line["side"], line["operation"]): line["dth_requests_total"] for line in lines if "operation" in line}
    assert asked == {
        (side, name): count for side, counts in ran.summary.requests.items() for name, count in counts.items()
    }
    logged = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["event"], line["outcome"]) for line in logged] == [("transfer", "done")] * 2
    assert one["digest"] in {line["digest"] for line in logged}


async def test_each_blob_is_read_once_and_uploaded_once_where_mounts_work(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    shared = bytes(range(256)) * 4096
    for number in range(6):
        source.add_image(f"team/app{number}", "v1", layers=(shared, f"own {number}".encode()))
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    assert destination.content() == source.content()
    assert [one for one in source.log if digest_of(shared) in one[1]] == [
        ("GET", f"/v2/{name}/blobs/{digest_of(shared)}", 200)
        for name in source.repositories
        if ("GET", f"/v2/{name}/blobs/{digest_of(shared)}", 200) in source.log
    ]
    assert sum(line["blobs_mounted"] for line in ran.report) == 5
    assert sum(line["moved_bytes"] for line in ran.report) == destination.received
    assert destination.received < 2 * len(shared)


async def test_a_refused_mount_is_a_normal_upload_and_counted(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    destination.faults.refuse_mounts = True
    for number in range(4):
        source.add_image(f"app{number}", "v1", layers=(b"shared" * 1000,))
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    assert destination.content() == source.content()
    assert sum(line["mounts_refused"] for line in ran.report) >= 1
    assert sum(line["blobs_mounted"] for line in ran.report) == 0


@pytest.mark.slow
async def test_tokens_that_end_in_the_middle_of_a_blob_are_replaced_and_the_blob_goes_on(tmp_path: Path) -> None:
    layer = Pattern(1, 24 * MiB)
    with Registry(token_seconds=2) as source, Registry(token_seconds=2, sink=True) as destination:
        source.faults.slow = 0.012  # 64 KiB each: about five seconds, three tokens
        source.add_image("team/app", "v1", layers=(layer,))
        ran = await sync_images(tmp_path, source.address, destination.address)
        assert ran.summary.exit_code == 0
        assert destination.content() == source.content()
        assert not ran.again, "the image was begun anew"
        assert source.served_tokens >= 3
        assert source.asked()["GET blobs"] >= 3
        assert ran.report[0]["moved_bytes"] >= layer.size
        assert destination.received < layer.size + MiB, "the upload began anew"


@pytest.mark.parametrize("size", [3 * MiB, 20 * MiB])
@pytest.mark.parametrize("ranges", [True, False])
async def test_a_source_cut_at_any_offset_costs_no_upload(
    source: Registry, destination: Registry, tmp_path: Path, size: int, ranges: bool
) -> None:
    layer = Pattern(size, size)
    source.add_image("app", "v1", layers=(layer,))
    source.faults.cut_reads = [1, 70_000, size // 2, size - 1]
    source.faults.no_ranges = not ranges
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    assert destination.content() == source.content()
    assert not ran.again


@pytest.mark.parametrize("kept", [True, False])
async def test_a_destination_cut_in_a_large_blob_goes_on_where_the_registry_kept_the_bytes(
    source: Registry, destination: Registry, tmp_path: Path, kept: bool
) -> None:
    size = 24 * MiB
    source.add_image("app", "v1", layers=(Pattern(7, size),))
    destination.faults.cut_writes = [9 * MiB, 4 * MiB]
    destination.faults.no_status = not kept
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    assert destination.content() == source.content()
    assert not ran.again
    if kept:
        assert destination.received < size + MiB


async def test_a_storm_of_429_slows_down_and_loses_nothing(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    for number in range(12):
        source.add_image(f"app{number}", "v1", layers=(f"{number}".encode() * 100,))
    source.faults.rate = destination.faults.rate = 4
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0, ran.failures
    assert destination.content() == source.content()
    assert any(status == 429 for _, _, status in destination.log), "nothing was throttled"


async def test_a_corrupted_blob_fails_its_image_alone_and_never_arrives(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.add_image("good", "v1")
    source.add_image("bad", "v1", layers=(b"spoilt" * 100_000,))
    source.faults.corrupt.add(digest_of(b"spoilt" * 100_000))
    ran = await sync_images(tmp_path, source.address, destination.address, retries=1)
    assert ran.summary.exit_code == 3
    assert ran.failures == {f"{source.host}/bad:v1": "body_mismatch"}
    assert ran.again == ["body_mismatch"]
    assert set(destination.content()) == {"good"}
    assert digest_of(b"spoilt" * 100_000) not in destination.repositories["bad"].blobs


async def test_a_blob_corrupted_once_is_read_again(source: Registry, destination: Registry, tmp_path: Path) -> None:
    source.add_image("app", "v1", layers=(b"spoilt" * 100_000,))
    source.faults.corrupt_once.add(digest_of(b"spoilt" * 100_000))
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    assert ran.again == ["body_mismatch"]
    assert destination.content() == source.content()


async def test_a_missing_child_fails_its_index_by_name_and_brings_no_tag(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    one, two = source.add_image("app", layers=(b"1",)), source.add_image("app", layers=(b"2",))
    source.add_index("app", "whole", [one])
    source.add_index("app", "broken", [one, two])
    del source.repositories["app"].manifests[two["digest"]]
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 3
    assert ran.failures == {f"{source.host}/app:broken": "manifest_missing"}
    assert set(destination.content()["app"]) == {"whole"}


async def test_an_immutable_tag_with_another_digest_is_a_conflict_and_not_tried_again(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.add_image("app", "same", layers=(b"same",))
    await sync_images(tmp_path, source.address, destination.address)
    source.add_image("app", "moved", layers=(b"new",))
    destination.add_image("app", "moved", layers=(b"old",))
    destination.faults.immutable = True
    destination.forget()
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 3
    assert ran.failures == {f"{source.host}/app:moved": "tag_conflict"}
    assert not ran.again
    assert destination.asked()["PUT manifests"] == 1
    assert ran.summary.skipped == 1


async def test_docker_schema_1_is_refused_by_name(source: Registry, destination: Registry, tmp_path: Path) -> None:
    source.add_image("old", "v1")
    source.faults.schema1 = True
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.failures == {f"{source.host}/old:v1": "manifest_invalid"}
    assert "schema 1" in ran.summary.failures[0].error


async def test_foreign_layers_stay_where_they_are(source: Registry, destination: Registry, tmp_path: Path) -> None:
    config = source.add_blob("windows", b"{}")
    kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    foreign = {"mediaType": kind, "digest": digest_of(b"elsewhere"), "size": 9, "urls": ["https://elsewhere.example/"]}
    fields = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
    source.add_manifest("windows", {**fields, "config": config, "layers": [foreign]}, "v1")
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    assert destination.content() == source.content()
    assert ran.report[0]["foreign_layers"] == 1


async def test_a_run_that_was_stopped_is_finished_by_the_next(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    for number in range(30):
        source.add_image(f"app{number}", "v1", layers=(f"{number}".encode(),))
    source.faults.only = lambda method, path: "app20" in path and method == "GET" and "tags" not in path
    source.faults.fail = 10_000
    first = await sync_images(tmp_path, source.address, destination.address, retries=0)
    assert set(first.failures) == {f"{source.host}/app20:v1"}
    source.faults.fail = 0
    second = await sync_images(tmp_path, source.address, destination.address)
    assert (second.summary.done, second.summary.skipped) == (1, 29)
    assert destination.content() == source.content()


async def test_blobs_behind_a_redirect_are_fetched_without_our_credentials(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    with Registry() as store, Registry(token_seconds=60) as front:
        front.add_image("app", "v1", layers=(b"far away",))
        store.add_image("app", "v1", layers=(b"far away",))
        front.faults.redirect = store.address
        ran = await sync_images(tmp_path, front.address, destination.address)
        assert ran.summary.exit_code == 0
        assert destination.content() == front.content()
        assert set(store.authorizations) == {""}


async def test_pages_that_go_in_a_circle_end_the_listing(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    for number in range(9):
        source.add_image("app", f"v{number}", layers=(b"x",))
    source.faults.page = 3
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.done == 9
    source.faults.circle = True
    source.faults.page = 4
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 3
    assert list(ran.failures.values()) == ["listing_broken"]


async def test_stopping_leaves_no_tag_without_its_image(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    for number in range(8):
        source.add_image(f"app{number}", "v1", layers=(Pattern(number, MiB),))
    source.faults.slow = 0.05
    running = asyncio.ensure_future(sync_images(tmp_path, source.address, destination.address))
    while not source.sent:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for repository in destination.repositories.values():
        assert all(digest in repository.manifests for digest in repository.tags.values())
    source.faults.slow = 0
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    assert destination.content() == source.content()


async def test_a_repository_that_cannot_be_listed_stops_no_other(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.add_image("good", "v1")
    source.add_image("hidden", "v1")
    source.faults.only = lambda method, path: path.startswith("/v2/hidden/tags")
    source.faults.fail = 1000
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 3
    assert ran.failures == {"hidden": "server_fault"}
    assert set(destination.content()) == {"good"}


async def test_a_stop_ends_what_is_in_flight_and_leaves_the_rest_to_the_next_run(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    for number in range(40):
        source.add_image(f"app{number:02}", "v1", layers=(f"{number}".encode() * 1000,))
    source.faults.slow = 0.02
    stop = asyncio.Event()
    job = load_image_settings(
        {"src_registry": source.address, "dest_registry": destination.address, "state": tmp_path, "images_at_once": 2},
        {},
        None,
    )

    def emit(event: Event) -> None:
        if isinstance(event, Moved):
            stop.set()

    summary = await verbs.ecr_sync(job, emit, stop, dry_run=False)
    assert summary.exit_code == 130
    assert 0 < len(destination.content()) < 40
    for repository in destination.repositories.values():
        assert all(digest in repository.manifests for digest in repository.tags.values())
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    assert destination.content() == source.content()


async def test_tls_is_verified_unless_the_registry_is_excused_by_name_and_http_is_spoken_only_where_written(
    destination: Registry, tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Registry(tls=context) as source:
        source.add_image("app", "v1")
        with pytest.raises(TlsFailed):
            await sync_images(tmp_path, source.host, destination.address)
        with pytest.raises(TransportError):
            await sync_images(tmp_path, source.host, destination.host)
        ran = await sync_images(tmp_path, source.host, destination.address, insecure_registry=source.host)
        assert ran.summary.done == 1
        words: dict[str, Any] = {"insecure_registry": destination.address, "ca_bundle": tmp_path / "ca.pem"}
        ran = await sync_images(tmp_path, source.host, destination.host, **words)
        assert ran.summary.skipped == 1

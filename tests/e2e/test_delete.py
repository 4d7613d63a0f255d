"""`--delete` on real stores: what goes, what stays, and what refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.s3server import S3Server

from .corpus import inventory
from .harness import Dth, between

pytestmark = [pytest.mark.slow, pytest.mark.seaweed]


def put(server: S3Server, bucket: str, *keys: str, body: bytes = b"x") -> None:
    client = server.client("a")
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=body)


def keys_in(server: S3Server, bucket: str) -> set[str]:
    return set(inventory(server.client("a"), bucket))


@pytest.fixture
def place(seaweed: S3Server, tmp_path: Path) -> tuple[S3Server, str, str, Dth]:
    return seaweed, seaweed.make_bucket("a"), seaweed.make_bucket("a"), between(tmp_path, seaweed, seaweed)


def test_a_dry_run_is_the_plan_and_the_run_leaves_the_destination_equal_to_the_source(
    place: tuple[S3Server, str, str, Dth],
) -> None:
    server, source, destination, dth = place
    urls = f"s3://{source}/live", f"s3://{destination}/copy"
    put(server, source, *(f"live/{n}" for n in range(30)), "live/a b/ü+%")
    put(server, destination, *(f"copy/{n}" for n in range(20, 50)), "copy/old/ü+%", "copy/keep.tmp", "other/alone")
    options = ["--delete", "--exclude", "*.tmp", "--delete-to", "trash"]
    before = keys_in(server, destination)
    dry = dth("sync", *urls, *options, "--dry-run")
    assert keys_in(server, destination) == before
    planned = {(e["action"], e["key"]) for e in dry.events if e["event"] == "Planned"}
    run = dth("sync", *urls, *options)
    assert run.summary["deleted"] == dry.summary["planned_deletes"] == 21
    assert run.summary["done"] == run.summary["found"] == len(planned)
    copied = {key.removeprefix("live/") for action, key in planned if action == "copy"}
    gone = {key.removeprefix("live/") for action, key in planned if action == "delete"}
    after = {key.removeprefix("live/") for key in keys_in(server, source)}
    assert copied == after - {str(n) for n in range(20, 50)}
    assert keys_in(server, destination) == (
        {f"copy/{key}" for key in after} | {f"trash/{key}" for key in gone} | {"copy/keep.tmp", "other/alone"}
    )
    again = dth("sync", *urls, *options)
    assert again.summary["found"] == 0


def test_guards_end_with_exit_code_3_and_delete_nothing(place: tuple[S3Server, str, str, Dth]) -> None:
    server, source, destination, dth = place
    put(server, source, "live/1", "live/2")
    put(server, destination, "copy/1", "copy/2", "copy/3", "copy/4", "kept/1")
    urls = f"s3://{source}/live", f"s3://{destination}/copy"
    before = keys_in(server, destination)
    for options in (["--max-delete", "1"], ["--max-delete", "10%"]):
        refused = dth("sync", *urls, "--delete", *options, expect=3)
        assert "nothing is deleted: 2 of 4 objects" in refused.stdout
    empty = dth("sync", f"s3://{source}/nothing", urls[1], "--delete", expect=3)
    assert "the source lists no object at all" in empty.stdout
    assert dth("sync", *urls, "--job-id", "nightly").summary["found"] == 0
    moved = dth("sync", urls[0], f"s3://{destination}/kept", "--job-id", "nightly", "--delete", expect=3)
    assert "dest_prefix changed" in moved.stdout
    assert keys_in(server, destination) == before
    assert dth("sync", *urls, "--job-id", "nightly", "--delete").summary["deleted"] == 2
    assert keys_in(server, destination) == {"copy/1", "copy/2", "kept/1"}

"""One store holds both sides: it copies by itself, and what arrives is what an ordinary copy would have made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dth.stores.providers import PROFILES
from tests.e2e import corpus
from tests.e2e.harness import Dth, between
from tests.servers.s3server import S3Server

TAGS = "k=v%20w&empty="
KINDS = {"rgw": "Ceph_RGW", "seaweed": "SeaweedFS"}


@pytest.fixture(params=[pytest.param("rgw", marks=pytest.mark.rgw), pytest.param("seaweed", marks=pytest.mark.seaweed)])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


def alone(server: S3Server, folder: Path, *flags: str) -> Dth:
    """dth with account a on both sides."""
    kind = KINDS[server.kind]
    return between(folder, server, replace(server, second=None), "--src-type", kind, "--dest-type", kind, *flags)


def requests(done: Any, side: str) -> set[str]:
    return set(done.summary["requests"][side])


def test_a_store_that_holds_both_sides_copies_every_kind_of_object_without_a_byte_passing_here(
    server: S3Server, tmp_path: Path
) -> None:
    source, destination, client = server.make_bucket(), server.make_bucket(), server.client()
    rules = PROFILES[KINDS[server.kind]].key_rules
    made = [one for one in corpus.corpus(60) if not rules.refusal(one.key, one.size)]
    corpus.fill(client, source, made)
    wanted = corpus.inventory(client, source)  # SeaweedFS loses a marker where an object has its name
    report = tmp_path / "report.jsonl"
    dth = alone(server, tmp_path, "--report", str(report))
    done = dth("sync", f"s3://{source}", f"s3://{destination}")
    assert (done.summary["done"], done.summary["failed"]) == (len(wanted), 0)
    assert len(wanted) > 40
    assert corpus.inventory(client, destination) == wanted
    proofs = {line["key"]: line["verified_by"] for line in map(json.loads, report.read_text().splitlines())}
    # SeaweedFS says of a marker that it holds that there is none to copy, so that it is read and written.
    markers = {key for key in wanted if key.endswith("/")} if server.kind == "seaweed" else set()
    assert {key for key, proof in proofs.items() if proof != "store"} == markers
    assert done.summary["requests"]["source"].get("GetObject", 0) == len(markers)
    assert done.summary["requests"]["destination"].get("PutObject", 0) == len(markers)
    assert "UploadPart" not in done.summary["requests"]["destination"]
    second = dth("sync", f"s3://{source}", f"s3://{destination}")
    assert second.summary["found"] == second.summary["done"] == 0


@pytest.mark.parametrize("flags", [["--tags"], ["--no-include-metadata"]], ids=lambda flags: flags[0])
def test_metadata_tags_storage_class_and_acl_are_those_of_an_ordinary_copy(
    server: S3Server, tmp_path: Path, flags: list[str]
) -> None:
    source, client = server.make_bucket(), server.client()
    client.put_object(
        Bucket=source, Key="k", Body=b"x", Tagging=TAGS, Metadata={"a": "b"}, ContentType="text/odd", ACL="public-read"
    )
    seen = []
    for way in ("--server-side-copy", "--no-server-side-copy"):
        destination, folder = server.make_bucket(), tmp_path / way
        folder.mkdir()
        extra = ["--dest-storage-class", "STANDARD", "--dest-acl", "private", *flags]
        done = alone(server, folder, way, *extra)("sync", f"s3://{source}", f"s3://{destination}")
        assert ("CopyObject" in requests(done, "destination")) is (way == "--server-side-copy")
        head = client.head_object(Bucket=destination, Key="k")
        tags = client.get_object_tagging(Bucket=destination, Key="k").get("TagSet", [])
        grants = client.get_object_acl(Bucket=destination, Key="k")["Grants"]
        seen.append((head["Metadata"], head.get("ContentType") == "text/odd", sorted(map(str, tags)), grants))
    assert seen[0] == seen[1]
    assert (seen[0][0], len(seen[0][2])) == (({"a": "b"}, 2) if flags == ["--tags"] else ({}, 0))


def test_two_accounts_of_one_store_are_two_stores(seaweed: S3Server, tmp_path: Path) -> None:
    source = seaweed.make_bucket()
    seaweed.client().put_object(Bucket=source, Key="k", Body=b"x")
    done = between(tmp_path, seaweed, seaweed)("sync", f"s3://{source}", f"s3://{seaweed.make_bucket('b')}")
    assert done.summary["done"] == 1
    assert "CopyObject" not in requests(done, "destination")


def test_what_is_moved_aside_before_a_delete_is_moved_by_the_store(rgw: S3Server, tmp_path: Path) -> None:
    source, destination, client = rgw.make_bucket(), rgw.make_bucket("b"), rgw.client("b")
    rgw.client().put_object(Bucket=source, Key="stays", Body=b"x")
    client.put_object(Bucket=destination, Key="to/goes", Body=b"y" * 1000, ContentType="text/odd")
    done = between(tmp_path, rgw, rgw)(
        "sync", f"s3://{source}", f"s3://{destination}/to/", "--delete", "--delete-to", "aside"
    )
    assert "CopyObject" in requests(done, "destination")
    moved = client.get_object(Bucket=destination, Key="aside/goes")
    assert (moved["Body"].read(), moved["ContentType"]) == (b"y" * 1000, "text/odd")
    assert corpus.sizes(client, destination) == {"aside/goes": 1000, "to/stays": 1}

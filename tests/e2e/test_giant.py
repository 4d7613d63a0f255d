"""One object over a whole fleet: all workers move it, their memory stays flat, and what got lost is mended."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.servers.aws import Aws
from tests.servers.generator import Generator
from tests.servers.s3server import S3Server

from .corpus import inventory, open_uploads
from .harness import FULL, Dth, scaled
from .test_fleet import fleet
from .test_large import MIB, Watched, between_endpoints

pytestmark = [pytest.mark.slow, pytest.mark.ministack]

GIB = 1 << 30


def put_pattern(server: S3Server, bucket: str, key: str, size: int) -> None:
    """An object of `size` bytes, whose parts of 64 MiB all differ, without holding it."""
    client = server.client("a")
    upload = client.create_multipart_upload(Bucket=bucket, Key=key, ContentType="x/giant")["UploadId"]
    sent = []
    for number, start in enumerate(range(0, size, 64 * MIB), 1):
        body = number.to_bytes(8, "big") * (min(64 * MIB, size - start) // 8)
        answer = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)
        sent.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": sent})


def test_four_workers_move_one_object_of_ceph_and_stay_small(ministack: Aws, rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    size = scaled(2 * GIB)
    part = 512 * MIB if FULL else 16 * MIB
    put_pattern(rgw, source, "giant", size // 8 * 8)
    where = ("--src-bucket", source, "--dest-bucket", destination)
    with fleet(tmp_path, ministack, rgw, rgw) as (dth, _):
        assert dth("find", *where, "--part-size", str(part), "--giant-threshold", "64MiB").summary["found"] == 1
        said = tmp_path / "said"
        words = ("--until-empty", "--processes", "4", "--worker-number", "1")  # one part at a time: each gets some
        workers = Watched(dth, "work", *where, *words, output=said)
        assert workers.wait() == 0
        workers.assert_flat()
        movers = parts_by_process([json.loads(line) for line in said.read_text().splitlines()])
        assert sum(movers.values()) == -(-size // part)
        assert len(movers) > 1, movers
        (run, queue) = dth("status", *where).events
        assert (run["found"], run["done"], run["bytes"]) == (1, 1, size // 8 * 8)
        assert (queue["visible"], queue["leased"], queue["dead"]) == (0, 0, 0)
    assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)
    assert open_uploads(rgw.client("b"), destination) == []


def parts_by_process(events: list[dict[str, object]]) -> dict[str, int]:
    """How many parts each worker process uploaded, by what it said of its requests."""
    movers = {}
    for event in events:
        if event["event"] == "Requests":
            asked = event["destination"]
            assert isinstance(asked, dict)
            if asked.get("UploadPart"):
                movers[str(event["process"])] = asked["UploadPart"]
    return movers


def test_memory_of_each_worker_stays_flat_with_parts_of_512_mib(ministack: Aws, tmp_path: Path) -> None:
    size = scaled(20 * GIB) + 12_345
    with Generator({"big": size}) as server:
        plain = between_endpoints(tmp_path, server.endpoint)
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        there = S3Server("generator", server.endpoint, "test", "test")
        where = ("--src-bucket", "source", "--dest-bucket", "target")
        with fleet(tmp_path, ministack, there, there) as (made, _):
            dth = Dth({**made.env, **keys}, [*plain.flags, *made.flags[made.flags.index("--queue") :]])
            split = ("--part-size", "512MiB", "--giant-threshold", "600MiB")
            assert dth("find", *where, *split).summary["found"] == 1
            workers = Watched(dth, "work", *where, "--until-empty", "--processes", "4")
            assert workers.wait() == 0
            workers.assert_flat()
            print({pid: rss // MIB for pid, rss in workers.peaks.items()})  # noqa: T201
            (run, _) = dth("status", *where).events
            assert (run["found"], run["done"], run["bytes"]) == (1, 1, size)
        assert server.landed["target", "big"].equals("big")
        assert server.counts["part"] >= -(-size // (512 * MIB))
        assert not server.open_uploads


def test_messages_of_parts_that_vanished_are_sent_again_and_an_object_that_is_gone_is_let_go(
    ministack: Aws, rgw: S3Server, tmp_path: Path
) -> None:
    """Workers split two objects and stop; all messages are purged; one source goes. `dth complete-multipart` mends it."""
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    for key in ("stays", "goes"):
        put_pattern(rgw, source, key, 48 * MIB)
    where = ("--src-bucket", source, "--dest-bucket", destination)
    split, lease = ("--part-size", "5MiB", "--giant-threshold", "20MiB"), ("--lease-seconds", "2")
    with fleet(tmp_path, ministack, rgw, rgw) as (dth, made):
        assert dth("find", *where, *split).summary["found"] == 2
        split_only(dth, where, rgw, destination)
        sqs = ministack.client("sqs")
        sqs.purge_queue(QueueUrl=made["queue"])
        rgw.client("a").delete_object(Bucket=source, Key="goes")
        assert len(open_uploads(rgw.client("b"), destination)) == 2
        said = []
        for _ in range(20):
            said += [event.get("code") for event in dth("complete-multipart", *where, *lease, expect=None).events]
            if "parts_sent_again" in said:
                break
            time.sleep(0.5)  # it waits for a lease to pass before it calls a message lost
        assert "parts_sent_again" in said
        ended = dth("work", *where, *lease, "--until-empty").summary
        assert (ended["done"], ended["skipped"], ended["failed"]) == (1, 1, 0)
        dth("complete-multipart", *where, *lease)
        sqs.close()
    assert open_uploads(rgw.client("b"), destination) == []
    assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)


def split_only(dth: Dth, where: tuple[str, ...], server: S3Server, bucket: str) -> None:
    """Let workers open both uploads, and kill them then."""
    workers = Watched(
        dth, "work", *where, "--processes", "1", "--worker-number", "1", "--bandwidth", "1MiB", "--lease-seconds", "2"
    )
    while workers.running and len(open_uploads(server.client("b"), bucket)) < 2:
        time.sleep(0.05)
    time.sleep(2)  # until the queue holds what follows the split
    workers.kill_tree()

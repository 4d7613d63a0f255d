"""A fleet's commands over SQS and DynamoDB: made, used, looked at, mended and removed as a user would do it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.aws import Aws
from tests.servers.s3server import S3Server

from .corpus import corpus, fill, inventory
from .harness import Dth, between

pytestmark = [pytest.mark.slow, pytest.mark.ministack]


@contextmanager
def fleet(
    folder: Path, aws: Aws, source: S3Server, destination: S3Server, *flags: str
) -> Iterator[tuple[Dth, dict[str, str]]]:
    """`dth` with a queue and a table of its own, made by `dth init` and removed at the end."""
    plain = between(folder, source, destination, *flags)
    env = {**plain.env, **aws.environment()}
    name = f"dth-{uuid.uuid4().hex[:8]}"
    init = Dth(env, ["--json"])
    made = init("init", name, "--receive-limit", "3").events[-1]
    again = init("init", name, "--receive-limit", "3").events[-1]
    assert again == made
    yield Dth(env, [*plain.flags, "--queue", made["queue"], "--table", made["table"]]), made
    removed = init("init", name, "--delete").events[-1]
    assert removed == {**made, "event": "Removed"}
    assert init("init", name, "--delete").events[-1]["queue"] == ""


def test_what_find_queues_on_sqs_workers_copy_and_status_tells(ministack: Aws, rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    fill(rgw.client("a"), source, corpus(300))
    where = ("--src-bucket", source, "--dest-bucket", destination, "--processes", "2")
    with fleet(tmp_path, ministack, rgw, rgw) as (dth, _):
        found = dth("find", *where).summary
        busy = dth("find", *where, expect=0)
        assert busy.events[-1]["code"] == "run_under_way"
        worked = dth("work", *where, "--until-empty").summary
        assert (worked["done"], worked["failed"]) == (found["found"], 0)
        assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)
        run, queue = dth("status", *where[:4]).events
        assert (run["state"], run["found"], run["done"]) == ("sealed", found["found"], found["found"])
        assert (queue["visible"], queue["leased"], queue["dead"], queue["exact"]) == (0, 0, 0, False)
        assert dth("find", *where).summary["found"] == 0  # nothing to do, and the job is free for a next run


def test_dead_letters_are_counted_once_and_sent_again_as_a_new_run(
    ministack: Aws, rgw: S3Server, tmp_path: Path
) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    for number in range(20):
        rgw.client("a").put_object(Bucket=source, Key=f"k{number:02}", Body=b"x" * number)
    where = ("--src-bucket", source, "--dest-bucket", destination, "--processes", "1")
    with fleet(tmp_path, ministack, rgw, rgw) as (dth, made):
        found = dth("find", *where, "--pack-objects", "5").summary
        assert found["found"] == 20
        move_to_dead_letters(ministack, made, receives=1)  # as if workers had died of one message again and again
        mend = dth("complete-multipart", *where[:4])
        assert sum(event["event"] == "ObjectFailed" for event in mend.events) == 5
        assert not any(event["event"] == "ObjectFailed" for event in dth("complete-multipart", *where[:4]).events)
        worked = dth("work", *where, "--until-empty", expect=3).summary
        assert (worked["done"], worked["failed"]) == (15, 5)
        again = dth("redrive", *where[:4], "--prefix", "k", "--rate", "100").summary
        assert again["found"] == 5
        assert dth("work", *where, "--until-empty").summary["done"] == 5
        newest, first, queue = dth("status", *where[:4]).events
        assert (newest["done"], first["done"], first["failed"], queue["dead"]) == (5, 15, 5, 0)
    assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)


def move_to_dead_letters(aws: Aws, made: dict[str, str], *, receives: int) -> None:
    """Move one message, as the redrive policy would."""
    client = aws.client("sqs")
    (message,) = client.receive_message(QueueUrl=made["queue"], MaxNumberOfMessages=1)["Messages"]
    client.send_message(QueueUrl=made["dead_letter_queue"], MessageBody=message["Body"])
    client.delete_message(QueueUrl=made["queue"], ReceiptHandle=message["ReceiptHandle"])
    client.close()


def put_many(server: S3Server, bucket: str, count: int, size: int) -> None:
    from concurrent.futures import ThreadPoolExecutor

    client = server.client("a")
    body = bytes(size)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: client.put_object(Bucket=bucket, Key=f"{n:06}", Body=body), range(count)))

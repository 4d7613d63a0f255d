"""Archived objects: asked for, copied by the run after, or as soon as the source says that they are back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.aws import Aws
from tests.servers.s3server import S3Server

from .harness import HANG_SECONDS, between
from .test_fleet import fleet

pytestmark = [pytest.mark.slow, pytest.mark.ministack]

# The emulator's own copies keep the source's class, where S3 makes them STANDARD; then nobody could read them here.
PLAIN = "--no-server-side-copy"
CLASSES = {"cold": "GLACIER", "colder": "DEEP_ARCHIVE", "warm": "STANDARD"}


def archive(server: S3Server) -> tuple[str, str]:
    """A bucket with an object of each class, and an empty one."""
    source, destination = server.make_bucket(), server.make_bucket()
    for key, kind in CLASSES.items():
        server.client().put_object(Bucket=source, Key=key, Body=key.encode(), StorageClass=kind)
    return source, destination


def wait_until_restored(client: Any, bucket: str) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    for key in ("cold", "colder"):
        while '"false"' not in client.head_object(Bucket=bucket, Key=key).get("Restore", ""):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def bodies(client: Any, bucket: str) -> dict[str, bytes]:
    listed = client.list_objects_v2(Bucket=bucket).get("Contents", ())
    return {item["Key"]: client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in listed}


@pytest.fixture
def store(ministack: Aws) -> Iterator[S3Server]:
    server = S3Server("ministack", ministack.endpoint, "test", "test")
    yield server
    server.close()


def test_archived_objects_are_restored_and_the_next_run_copies_them(store: S3Server, tmp_path: Path) -> None:
    source, destination = archive(store)
    dth = between(tmp_path, store, store, PLAIN)
    places = "sync", f"s3://{source}", f"s3://{destination}"
    planned = {e["key"]: e["action"] for e in dth(*places, "--restore", "--dry-run").events if e["event"] == "Planned"}
    assert planned == {"cold": "restore", "colder": "restore", "warm": "copy"}
    assert "RestoreObject" not in dth(*places).summary["requests"]["source"]
    asked = dth(*places, "--restore", "--restore-days", "2", "--restore-tier", "Bulk").summary
    assert (asked["found"], asked["requests"]["source"]["RestoreObject"]) == (0, 2)
    assert bodies(store.client(), destination) == {"warm": b"warm"}
    wait_until_restored(store.client(), source)
    assert dth(*places).summary["found"] == 0  # nobody asked to look at archived objects
    copied = dth(*places, "--restore").summary
    assert (copied["found"], copied["done"], copied["requests"]["source"].get("RestoreObject", 0)) == (2, 2, 0)
    assert bodies(store.client(), destination) == {key: key.encode() for key in CLASSES}
    assert dth(*places, "--restore").summary["found"] == 0


def test_a_worker_copies_what_was_restored_as_soon_as_the_source_says_so(
    ministack: Aws, store: S3Server, tmp_path: Path
) -> None:
    source, destination = archive(store)
    where = ("--src-bucket", source, "--dest-bucket", destination, "--restore", "--src-event", "Create", PLAIN)
    with fleet(tmp_path, ministack, store, store) as (dth, made):
        sqs = ministack.client("sqs")
        arn = sqs.get_queue_attributes(QueueUrl=made["queue"], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sqs.close()
        told = {"QueueArn": arn, "Events": ["s3:ObjectRestore:Completed"]}
        store.client().put_bucket_notification_configuration(
            Bucket=source, NotificationConfiguration={"QueueConfigurations": [told]}
        )
        assert dth("find", *where).summary["found"] == 1
        wait_until_restored(store.client(), source)
        deadline = time.monotonic() + HANG_SECONDS
        while len(bodies(store.client(), destination)) < len(CLASSES):
            assert time.monotonic() < deadline
            dth("work", *where, "--until-empty")
    assert bodies(store.client(), destination) == {key: key.encode() for key in CLASSES}

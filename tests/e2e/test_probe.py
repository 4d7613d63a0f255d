"""`dth probe` against real servers: what it measures is what is known of them, and nothing of it stays."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.servers import ministack as ministack_server
from tests.servers.ministack import Ministack
from tests.servers.s3server import S3Server

from .corpus import open_uploads
from .harness import Dth, Finished, environment

STRICT = {
    "list", "list_other_version", "list_uploads", "put", "md5_etag", "get", "range", "if_match", "head", "get_tags",
    "content_md5_verified", "unsigned_payload", "conditional_put", "multipart", "list_parts", "abort_upload", "tags", "delete",
}  # fmt: skip
RGW = STRICT | {"ordered", "start_after", "multipart_etag", "keeps_empty_segments", "server_side_copy", "copies_parts"}
SEAWEED = STRICT | {
    "crc64nvme_verified", "crc32c_verified", "crc32_verified", "uploads_keep_tags", "conditional_delete", "multipart_etag",
    "server_side_copy", "copies_parts", "copy_if_match",
}  # fmt: skip


def probe_of(folder: Path, server: S3Server, account: str = "a", side: str = "src") -> Dth:
    flags = [f"--{side}-endpoint", server.endpoint, f"--{side}-region", server.region, f"--{side}-profile", account]
    return Dth(environment(folder, {account: server}), [*flags, "--json"])


def answers(done: Finished, verdict: str) -> set[str]:
    return {event["name"] for event in done.events if event["event"] == "Probed" and event["verdict"] == verdict}


def keys(server: S3Server, bucket: str) -> list[str]:
    client: Any = server.client("a")
    return [one["Key"] for one in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param("rgw", RGW, marks=pytest.mark.rgw),
        pytest.param("seaweed", SEAWEED, marks=pytest.mark.seaweed),
    ],
)
def test_what_is_measured_is_what_the_profile_knows_and_nothing_stays(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, expected: set[str]
) -> None:
    server: S3Server = request.getfixturevalue(kind)
    bucket = server.make_bucket("a")
    server.client("a").put_object(Bucket=bucket, Key="p/here", Body=b"x")
    named = {"rgw": "Ceph_RGW", "seaweed": "SeaweedFS"}[kind]
    done = probe_of(tmp_path, server)("probe", f"s3://{bucket}/p", "--write", "--src-type", named)
    assert answers(done, "yes") == expected
    assert not answers(done, "denied") | answers(done, "broken")
    assert done.events[-1]["provider"] == named
    assert keys(server, bucket) == ["p/here"]
    assert not open_uploads(server.client("a"), bucket)


def test_without_write_nothing_is_written_and_the_first_object_is_read(rgw: S3Server, tmp_path: Path) -> None:
    bucket = rgw.make_bucket("a")
    for key in ("p/a", "p/a-b", "p/a/b"):
        rgw.client("a").put_object(Bucket=bucket, Key=key, Body=b"x")
    done = probe_of(tmp_path, rgw)("probe", f"s3://{bucket}/p")
    assert {"list", "ordered", "start_after", "get", "range", "if_match", "head", "get_tags"} <= answers(done, "yes")
    assert not {"put", "delete"} & {event.get("name") for event in done.events}
    assert keys(rgw, bucket) == ["p/a", "p/a-b", "p/a/b"]


def test_an_interrupted_canary_is_removed(rgw: S3Server, tmp_path: Path) -> None:
    bucket = rgw.make_bucket("a")
    dth = probe_of(tmp_path, rgw)
    process = subprocess.Popen(
        dth.argv("probe", f"s3://{bucket}", "--write"),
        env=dict(dth.env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 60
    while not keys(rgw, bucket) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in {130, 0}  # 0: it was through already
    assert keys(rgw, bucket) == []
    assert not open_uploads(rgw.client("a"), bucket)


def test_an_endpoint_that_is_away_or_a_bucket_that_is_not_there_ends_with_4(rgw: S3Server, tmp_path: Path) -> None:
    dth = probe_of(tmp_path, rgw)
    assert "NoSuchBucket" in dth("probe", "s3://not-there", expect=4).stdout
    away = replace(dth, flags=["--json", "--src-profile", "a"])
    assert "no connection" in away("probe", "s3://any", "--src-endpoint", "http://127.0.0.1:1", expect=4).stdout
    assert "Usage: dth probe" in dth("probe", "not a url", expect=2).stdout


@pytest.fixture(scope="module")
def guarded() -> Iterator[Ministack]:
    """ministack that enforces IAM."""
    started = ministack_server.start(auth=True)
    yield started
    started.stop()


def user_with(guarded: Ministack, name: str, *actions: str) -> dict[str, str]:
    """Keys of a new user who may do just that."""
    root = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    iam = boto3.client("iam", endpoint_url=guarded.endpoint, **root)
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=policy)
    made = iam.create_access_key(UserName=name)["AccessKey"]
    iam.close()
    return {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}


@pytest.mark.ministack
@pytest.mark.parametrize(
    ("name", "missing", "named"),
    [
        ("nothing", "", ""),
        ("list", "s3:ListBucket", "s3:ListBucket"),
        ("put", "s3:PutObject", "s3:PutObject"),
        ("delete", "s3:DeleteObject", "s3:DeleteObject"),
    ],
)
def test_the_missing_permission_is_named(
    guarded: Ministack, tmp_path: Path, name: str, missing: str, named: str
) -> None:
    root = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=guarded.endpoint, **root)
    bucket = f"probe-{name}"
    client.create_bucket(Bucket=bucket)
    every = {
        "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:GetObjectTagging",
        "s3:PutObjectTagging", "s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts",
    }  # fmt: skip
    who = user_with(guarded, name, *sorted(every - {missing}))
    flags = ["--dest-endpoint", guarded.endpoint, "--dest-region", "us-east-1", "--side", "destination", "--json"]
    dth = replace(Dth(environment(tmp_path, {}), flags), env={**environment(tmp_path, {}), **who})
    done = dth("probe", f"s3://{bucket}/p", "--write", expect=4 if missing else 0)
    if missing:
        (denied,) = [event for event in done.events if event.get("name") == name]
        assert denied["verdict"] == "denied"
        assert named in denied["detail"]
    left = [one["Key"] for one in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    client.close()
    if missing == "s3:DeleteObject":
        assert set(left) == set(done.events[-1]["left"]) & set(left) != set()
    else:
        assert not left

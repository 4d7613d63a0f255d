"""The servers that tests stand on do what other tests believe of them, seen by boto3."""

import base64
import hashlib
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.servers.fault_proxy import Action, Fault, FaultProxy, Way
from tests.servers.generator import Generator, generated, sha256_of
from tests.servers.lister import Deep, Flat, Lister, Skewed, byte_order
from tests.servers.lister import Fault as PageFault
from tests.servers.quirky import ACCOUNT, Quirks, Quirky
from tests.servers.s3server import S3Server

SESSION = boto3.session.Session()  # reading its models takes longer than any test here


@contextmanager
def boto(endpoint: str, *, region: str = "us-east-1", secret: str = ACCOUNT.secret_key) -> Iterator[Any]:
    client = SESSION.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=ACCOUNT.access_key,
        aws_secret_access_key=secret,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    try:
        yield client
    finally:
        client.close()


def listed(client: Any, operation: str = "list_objects_v2", **arguments: Any) -> list[str]:
    pages = client.get_paginator(operation).paginate(Bucket="b", **arguments)
    return [item["Key"] for page in pages for item in page.get("Contents", ())]


@pytest.mark.parametrize("keys", [Flat(1200), Skewed(1200), Deep(1200), ["a b", "a+b", "a/b", "é", "\U00010000"]])
def test_lister_lists_each_key_once_in_byte_order_by_both_versions(keys: Any) -> None:
    assert list(keys) == sorted(keys, key=byte_order)
    with Lister(keys) as server, boto(server.endpoint) as client:
        assert listed(client) == list(keys)
        assert listed(client, "list_objects") == list(keys)
        assert listed(client, StartAfter=keys[3]) == list(keys[4:])
        assert listed(client, Prefix=keys[1]) == [key for key in keys if key.startswith(keys[1])]


def test_lister_folds_folders() -> None:
    with Lister(Deep(1500)) as server, boto(server.endpoint) as client:
        for operation in ("list_objects", "list_objects_v2"):
            pages = client.get_paginator(operation).paginate(
                Bucket="b", Delimiter="/", PaginationConfig={"PageSize": 7}
            )
            folders = [item["Prefix"] for page in pages for item in page["CommonPrefixes"]]
            assert folders == [f"{digit:x}/" for digit in range(16)]


def test_lister_spoils_the_pages_that_it_is_told_to() -> None:
    faults = {1: PageFault.SERVER_ERROR, 2: PageFault.CUT, 3: PageFault.NO_TOKEN, 4: PageFault.OUT_OF_ORDER}
    with Lister(Flat(1500), faults=faults | {5: PageFault.REPEATED}) as server, boto(server.endpoint) as client:
        with pytest.raises(ClientError, match="InternalError"):
            client.list_objects_v2(Bucket="b")
        with pytest.raises((BotoCoreError, ClientError)):
            client.list_objects_v2(Bucket="b")
        without = client.list_objects_v2(Bucket="b")
        assert without["IsTruncated"]
        assert "NextContinuationToken" not in without
        keys = [item["Key"] for item in client.list_objects_v2(Bucket="b")["Contents"]]
        assert keys != sorted(keys)
        token = client.list_objects_v2(Bucket="b", ContinuationToken="position-1000")["NextContinuationToken"]
        assert token == "position-1000"


def test_generator_serves_any_range_and_knows_what_landed() -> None:
    size = 7 * (1 << 20) + 5
    with Generator({"big": size}) as server, boto(server.endpoint) as client:
        whole = b"".join(generated("big", 0, size))
        head = client.head_object(Bucket="source", Key="big")
        assert head["ETag"] == f'"{hashlib.md5(whole).hexdigest()}"'
        part = client.get_object(Bucket="source", Key="big", Range="bytes=65530-200000", IfMatch=head["ETag"])
        assert part["Body"].read() == whole[65530:200001]
        upload = client.create_multipart_upload(Bucket="sink", Key="copy")["UploadId"]
        target = {"Bucket": "sink", "Key": "copy", "UploadId": upload}
        halves = (whole[: 5 << 20], whole[5 << 20 :])
        parts = [
            {"PartNumber": n, "ETag": client.upload_part(**target, PartNumber=n, Body=body)["ETag"]}
            for n, body in enumerate(halves, 1)
        ]
        client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
        client.put_object(Bucket="sink", Key="wrong", Body=b"x" + whole[1:])
    assert server.landed["sink", "copy"].equals("big")
    assert not server.landed["sink", "wrong"].equals("big")
    assert server.counts["part"] == 2
    assert server.open_uploads == 0
    assert sha256_of("big", 0, size) == hashlib.sha256(whole).hexdigest()


def test_quirky_takes_a_right_signature_and_no_other() -> None:
    key = "a b+c//é?&=%2B"
    with Quirky() as store, boto(store.endpoint) as client, boto(store.endpoint, secret="wrong") as wrong:
        client.put_object(Bucket="b", Key=key, Body=b"body", Metadata={"m": "v"})
        answer = client.get_object(Bucket="b", Key=key)
        assert (answer["Body"].read(), answer["Metadata"]) == (b"body", {"m": "v"})
        assert listed(client, Prefix="a b+") == [key]
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            wrong.get_object(Bucket="b", Key=key)
        with boto(store.endpoint, region="eu-west-1") as elsewhere, pytest.raises(ClientError, match="Malformed"):
            elsewhere.list_objects_v2(Bucket="b")


def test_quirky_keeps_chunk_framing_in_that_costume_only() -> None:
    headers = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "content-encoding": "aws-chunked,gzip"}
    framed = b"4\r\nbody\r\n0\r\n\r\n"
    with Quirky(check_signatures=False) as store:
        for key in ("aws", "other"):
            connection = http.client.HTTPConnection(store.endpoint.removeprefix("http://"))
            connection.request("PUT", f"/b/{key}", framed, headers)
            connection.getresponse().read()
            connection.close()
            store.quirks = Quirks(stores_chunks_raw=True)
    aws, other = store.objects["b", "aws"], store.objects["b", "other"]
    assert (aws.body, aws.headers["content-encoding"]) == (b"body", "gzip")
    assert (other.body, other.headers["content-encoding"]) == (framed, "aws-chunked,gzip")


def test_quirky_loses_the_answer_of_a_complete_that_happened() -> None:
    with Quirky(Quirks(complete_error=1, complete_lost=1)) as store, boto(store.endpoint) as client:
        upload = client.create_multipart_upload(Bucket="b", Key="k")["UploadId"]
        target = {"Bucket": "b", "Key": "k", "UploadId": upload}
        etag = client.upload_part(**target, PartNumber=1, Body=b"part")["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        with pytest.raises(ClientError, match="InternalError"):
            client.complete_multipart_upload(**target, MultipartUpload=parts)
        assert ("b", "k") not in store.objects
        with pytest.raises(BotoCoreError):
            client.complete_multipart_upload(**target, MultipartUpload=parts)
        assert store.objects["b", "k"].body == b"part"
        with pytest.raises(ClientError, match="NoSuchUpload"):
            client.complete_multipart_upload(**target, MultipartUpload=parts)


def test_quirky_checks_content_md5_and_cuts_a_body_short() -> None:
    with Quirky(Quirks(short_get=1, throttle=1)) as store, boto(store.endpoint) as client:
        with pytest.raises(ClientError, match="SlowDown"):
            client.get_object(Bucket="b", Key="k")
        with pytest.raises(ClientError, match="BadDigest"):
            client.put_object(Bucket="b", Key="k", Body=b"x", ContentMD5=base64.b64encode(bytes(16)).decode())
        store.hold("b", "k", b"whole", content_type="text/plain")
        with pytest.raises(BotoCoreError):
            client.get_object(Bucket="b", Key="k")["Body"].read()
        assert client.get_object(Bucket="b", Key="k")["Body"].read() == b"whole"
    assert store.count("get") == 3


def test_proxy_corrupts_and_cuts_the_answer_it_is_told_to_and_no_other() -> None:
    faults = [
        Fault(Action.CORRUPT, match=b"GET /b/k", nth=2, after=400),
        Fault(Action.CUT, match=b"GET /b/k", nth=3, after=1000),
        Fault(Action.RESET, match=b"PUT /b/k", way=Way.UP, after=200),
    ]
    body = bytes(5000)
    with Quirky() as store, FaultProxy(store.endpoint, faults, latency=0.001) as proxy:
        # signed for the proxy's own address, which the store is asked by: Host goes through untouched
        store.hold("b", "k", body)
        with boto(proxy.endpoint) as client:
            reads = [client.get_object(Bucket="b", Key="k")["Body"].read() for _ in range(2)]
            assert reads[0] == body
            assert sum(a != b for a, b in zip(reads[1], body, strict=True)) == 1
            with pytest.raises(BotoCoreError):
                client.get_object(Bucket="b", Key="k")["Body"].read()
            with pytest.raises(BotoCoreError):
                client.put_object(Bucket="b", Key="k", Body=bytes(100_000))
            assert client.get_object(Bucket="b", Key="k")["Body"].read() == body
    assert [fault.struck for fault in faults] == [1, 1, 1]


@pytest.mark.slow
def test_rgw_keeps_any_key_and_its_accounts_are_apart(rgw: S3Server) -> None:
    bucket = rgw.make_bucket()
    keys = sorted(["../x", "/lead", "a//b", "a/", "line\nbreak", "p", "p-1", "p/1", "trail/"], key=str.encode)
    for key in keys:
        rgw.client().put_object(Bucket=bucket, Key=key, Body=key.encode(), StorageClass="STANDARD_IA")
    held = rgw.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert [item["Key"] for item in held] == keys
    assert {item["StorageClass"] for item in held} == {"STANDARD_IA"}
    with pytest.raises(rgw.client("b").exceptions.ClientError, match="AccessDenied"):
        rgw.client("b").list_objects_v2(Bucket=bucket)


@pytest.mark.slow
def test_seaweed_keeps_objects_in_more_buckets_than_its_defaults_allow(seaweed: S3Server) -> None:
    buckets = [seaweed.make_bucket() for _ in range(12)]
    for bucket in buckets:
        seaweed.client().put_object(Bucket=bucket, Key="k", Body=b"v")
        assert seaweed.client().get_object(Bucket=bucket, Key="k")["Body"].read() == b"v"

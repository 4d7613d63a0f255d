"""The servers that tests stand on do what other tests believe of them."""

import pytest

from tests.servers.s3server import S3Server


@pytest.mark.slow
def test_rgw_keeps_any_key_and_its_accounts_are_apart(rgw: S3Server) -> None:
    bucket = rgw.make_bucket()
    keys = sorted(["../x", "/lead", "a//b", "a/", "line\nbreak", "p", "p-1", "p/1", "trail/"], key=str.encode)
    for key in keys:
        rgw.client().put_object(Bucket=bucket, Key=key, Body=key.encode(), StorageClass="STANDARD_IA")
    listed = rgw.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert [item["Key"] for item in listed] == keys
    assert {item["StorageClass"] for item in listed} == {"STANDARD_IA"}
    with pytest.raises(rgw.client("b").exceptions.ClientError, match="AccessDenied"):
        rgw.client("b").list_objects_v2(Bucket=bucket)


@pytest.mark.slow
def test_seaweed_keeps_objects(seaweed: S3Server) -> None:
    buckets = [seaweed.make_bucket() for _ in range(12)]
    for bucket in buckets:
        seaweed.client().put_object(Bucket=bucket, Key="k", Body=b"v")
        assert seaweed.client().get_object(Bucket=bucket, Key="k")["Body"].read() == b"v"

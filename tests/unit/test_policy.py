"""Policies hold the job's own ARNs, in the partition of their regions, and nothing where there is nothing."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from dth.cli.main import app
from dth.partitions import PARTITIONS
from dth.policy import Role, policy
from dth.settings import TransferJob

REGIONS = {
    "aws": "eu-central-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1", "aws-eusc": "eusc-de-east-1",
    "aws-iso": "us-iso-east-1", "aws-iso-b": "us-isob-east-1", "aws-iso-e": "eu-isoe-west-1", "aws-iso-f": "us-isof-south-1",
}  # fmt: skip


def resources(role: Role, **settings: object) -> dict[str, list[str]]:
    job = TransferJob(src_bucket="src", dest_bucket="dst", **settings)  # type: ignore[arg-type]
    return {one["Sid"]: one["Resource"] for one in policy(role, job)["Statement"]}


def actions(role: Role, **settings: object) -> dict[str, list[str]]:
    job = TransferJob(src_bucket="src", dest_bucket="dst", **settings)  # type: ignore[arg-type]
    return {one["Sid"]: one["Action"] for one in policy(role, job)["Statement"]}


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda one: one.id)
def test_arns_are_of_the_partition_of_the_queue_and_of_each_bucket(partition: object) -> None:
    name = str(partition.id)  # type: ignore[attr-defined]
    region = REGIONS[name]
    queue = f"https://{partition.host('sqs', region)}/123456789012/q"  # type: ignore[attr-defined]
    found = resources(Role.WORKER, queue=queue, table="t", src_region=region, dest_region="eu-west-1", dest_prefix="p/")
    assert found["Queue"] == [f"arn:{name}:sqs:{region}:123456789012:q"]
    assert found["DeadLetters"] == [f"arn:{name}:sqs:{region}:123456789012:q-dead"]
    assert found["Ledger"] == [f"arn:{name}:dynamodb:{region}:123456789012:table/t"]
    assert found["SourceObjects"] == [f"arn:{name}:s3:::src/*"]
    assert found["DestinationObjects"] == ["arn:aws:s3:::dst/p/*"]


def test_a_side_that_is_not_on_aws_and_a_job_without_a_queue_need_nothing_there() -> None:
    assert set(resources(Role.WORKER, dest_endpoint="https://store.example.com")) == {"SourceBucket", "SourceObjects"}


def test_the_finder_writes_to_no_bucket() -> None:
    assert {name for names in actions(Role.FINDER).values() for name in names} == {"s3:ListBucket"}


def test_settings_bring_their_own_actions_and_only_these() -> None:
    plain = {name for names in actions(Role.WORKER).values() for name in names}
    for settings, more in {
        ("tags",): {"s3:GetObjectTagging", "s3:PutObjectTagging"},
        ("delete",): {"s3:DeleteObject"},
    }.items():
        found = {name for names in actions(Role.WORKER, **dict.fromkeys(settings, True)).values() for name in names}
        assert found - plain == more
    assert "s3:PutObjectAcl" in actions(Role.WORKER, dest_acl="private")["DestinationObjects"]
    assert actions(Role.WORKER, dest_sse="AWS_KMS", dest_sse_kms_key_id="k")["DestinationKey"] == [
        "kms:Decrypt", "kms:GenerateDataKey",
    ]  # fmt: skip


def test_objects_that_are_moved_aside_may_be_written_there_and_not_deleted() -> None:
    job = {"dest_prefix": "copy/", "delete": True, "delete_to": "old"}
    assert resources(Role.WORKER, **job)["MovedObjects"] == ["arn:aws:s3:::dst/old/*"]
    allowed = actions(Role.WORKER, **job)
    assert {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"} <= set(allowed["MovedObjects"])
    assert "s3:DeleteObject" not in allowed["MovedObjects"]
    assert "MovedObjects" not in resources(Role.FINDER, **job)
    assert "MovedObjects" not in resources(Role.WORKER, **job | {"delete_to": ""})


def test_the_command_prints_it_as_json_and_says_what_it_does_not_know() -> None:
    ran = CliRunner().invoke(app, ["policy", "finder", "--src-bucket", "src", "--dest-bucket", "dst"])
    assert ran.exit_code == 0
    assert json.loads(ran.output) == policy(Role.FINDER, TransferJob(src_bucket="src", dest_bucket="dst"))
    assert CliRunner().invoke(app, ["policy", "nobody"]).exit_code == 2
    assert CliRunner().invoke(app, ["policy", "finder", "--src-bucket", "NO"]).exit_code == 2

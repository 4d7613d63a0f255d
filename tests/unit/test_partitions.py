"""AWS's partitions as botocore knows them, and what hosts and regions tell of them."""

from __future__ import annotations

import re

import botocore.loaders
import pytest

from dth.app.images.registries import ECR_HOST
from dth.partitions import PARTITIONS, partition_at, partition_of, region_at

THEIRS = {one["id"]: one for one in botocore.loaders.Loader().load_data("partitions")["partitions"]}
REGIONS = [(name, one["id"]) for one in THEIRS.values() for name in one["regions"] if not name.startswith("aws-")]


def test_the_table_holds_botocore_s_partitions_with_their_domains_and_no_others() -> None:
    assert len(PARTITIONS) == 8
    for one in PARTITIONS:
        said = THEIRS[one.id]["outputs"]
        assert (one.suffix, one.dual_stack, one.home) == (
            said["dnsSuffix"], said["dualStackDnsSuffix"], said["implicitGlobalRegion"],
        ), one.id  # fmt: skip
    assert {one.id for one in PARTITIONS} == set(THEIRS)


@pytest.mark.parametrize(("region", "partition"), REGIONS)
def test_each_region_belongs_to_one_partition_by_its_name_and_by_its_hosts(region: str, partition: str) -> None:
    assert [one.id for one in PARTITIONS if re.fullmatch(one.regions, region)] == [partition]
    found = partition_of(region)
    assert found.id == partition
    for host in (
        found.host("s3", region),
        f"s3-fips.dualstack.{region}.{found.suffix}",
        f"sqs.{region}.{found.dual_stack}",
    ):
        at = partition_at(host)
        assert at is not None, host
        assert (at.id, region_at(host)) == (partition, region), host


@pytest.mark.parametrize(
    ("host", "partition", "region"),
    [
        ("s3.amazonaws.com", "aws", ""),
        ("S3.Amazonaws.Com", "aws", ""),
        ("bucket.s3-us-gov-west-1.amazonaws.com", "aws-us-gov", "us-gov-west-1"),
        ("cn-north-1.s3.eu-west-1.amazonaws.com", "aws", "eu-west-1"),  # a bucket's name is no region
        ("eu-west-1.queue.amazonaws.com", "aws", "eu-west-1"),
        ("s3.nz-south-1.amazonaws.com", "aws", "nz-south-1"),  # newer than the table
        ("s3.amazonaws.com.cn", "aws-cn", ""),
        ("s3.amazonaws.eu", "aws-eusc", ""),
        ("notamazonaws.com", None, ""),
        ("s3.us-east-1.amazonaws.com.evil.example", None, ""),
        ("127.0.0.1", None, ""),
        ("", None, ""),
    ],
)
def test_a_host_says_its_partition_and_its_region(host: str, partition: str | None, region: str) -> None:
    found = partition_at(host)
    assert ((found and found.id), region_at(host)) == (partition, region)


def test_arns_begin_with_the_partition() -> None:
    assert partition_of("cn-north-1").arn("s3", "photos/*") == "arn:aws-cn:s3:::photos/*"
    queue = partition_of("us-gov-west-1").arn("sqs", "jobs", region="us-gov-west-1", account="123456789012")
    assert queue == "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:jobs"


@pytest.mark.parametrize(("region", "partition"), REGIONS)
def test_registries_of_ecr_are_known_in_every_partition(region: str, partition: str) -> None:
    suffix = THEIRS[partition]["outputs"]["dnsSuffix"]
    for host in (f"123456789012.dkr.ecr.{region}.{suffix}", f"123456789012.dkr.ecr-fips.{region}.{suffix}"):
        found = ECR_HOST.fullmatch(host)
        assert found is not None, host
        assert found.groups() == ("123456789012", region)


def test_a_dual_stack_registry_is_ecr_and_a_look_alike_is_not() -> None:
    assert ECR_HOST.fullmatch("123456789012.dkr-ecr.eu-west-1.on.aws")
    assert not ECR_HOST.fullmatch("123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example")

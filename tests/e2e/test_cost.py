"""What transfers ask of S3, queue and table, and the CPU that they take: the bounds that docs/cost.md reckons with."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests import bounds
from tests.servers.aws import Aws
from tests.servers.aws_recorder import AwsRecorder
from tests.servers.s3server import S3Server

from .harness import FULL, Dth, Finished, between, scaled
from .test_fleet import fleet, put_many

pytestmark = [pytest.mark.slow]
_LISTS = ("ListObjects", "ListObjectsV2")
_READS = ("GetObject", "HeadObject")


def asked(*done: Finished) -> tuple[int, int]:
    """Reads and writes of S3 that commands made, listings left out."""
    reads = writes = 0
    for side in ("source", "destination"):
        for one in done:
            for operation, count in one.summary["requests"][side].items():
                if operation in _READS:
                    reads += count
                elif operation not in _LISTS:
                    writes += count
    return reads, writes


def cpu_seconds() -> float:
    """Of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_small_objects_cost_few_requests_and_write_units(ministack: Aws, rgw: S3Server, tmp_path: Path) -> None:
    """At a fifth of the size a few requests more are allowed for the beginning and the end."""
    count = scaled(bounds.SMALL_OBJECTS, 5)
    share = count / bounds.SMALL_OBJECTS
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    put_many(rgw, source, count, 10 << 10)
    where = ("--src-bucket", source, "--dest-bucket", destination, "--processes", "1")
    with AwsRecorder(ministack.endpoint) as recorder, fleet(tmp_path, ministack, rgw, rgw) as (plain, made):
        flags = [*plain.flags[:-4], "--queue", recorder.url(made["queue"]), "--table", made["table"]]
        dth = Dth({**plain.env, "AWS_ENDPOINT_URL": recorder.endpoint}, flags)
        before = cpu_seconds()
        found = dth("find", *where)
        done = dth("work", *where, "--until-empty")
        used = cpu_seconds() - before
        assert done.summary["done"] == count
    sqs, units = recorder.count("AmazonSQS"), recorder.write_units
    print(f"{count} objects: {sqs} SQS requests, {units} write units, {used:.1f} s CPU, {asked(found, done)}")  # noqa: T201
    assert sqs <= bounds.SQS_REQUESTS * share + (0 if FULL else 20)
    assert units <= bounds.WRITE_UNITS * share
    assert asked(found, done) == (bounds.READS_OF_SMALL * count, bounds.WRITES_OF_SMALL * count)
    assert used <= bounds.CPU_SECONDS_OF_SMALL * count + (0 if FULL else 10)


def test_an_object_of_50_mib_costs_a_few_requests(seaweed: S3Server, tmp_path: Path) -> None:
    source, destination = seaweed.make_bucket("a"), seaweed.make_bucket("b")
    for number in range(2):
        seaweed.client("a").put_object(Bucket=source, Key=str(number), Body=bytes(bounds.MEDIUM))
    dth = between(tmp_path, seaweed, seaweed, "--processes", "1", "--no-server-side-copy")
    before = cpu_seconds()
    done = dth("sync", f"s3://{source}", f"s3://{destination}")
    used = cpu_seconds() - before
    print(f"{done.summary['requests']}, {used:.1f} s CPU")  # noqa: T201
    assert done.summary["done"] == 2
    reads, writes = asked(done)
    assert reads <= 2 * bounds.READS_OF_MEDIUM
    assert writes <= 2 * bounds.WRITES_OF_MEDIUM
    assert used <= 2 * bounds.CPU_SECONDS_OF_MEDIUM + 10

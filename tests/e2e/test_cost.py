"""What transfers ask of S3, queue and table, and the CPU that they take: the bounds that docs/cost.md reckons with."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import bounds
from tests.servers.aws import Aws
from tests.servers.aws_recorder import AwsRecorder
from tests.servers.s3server import S3Server

from .harness import FULL, Dth, Finished, scaled
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


@dataclass(frozen=True, slots=True)
class Cost:
    """Of all objects together."""

    sqs: int
    units: int
    reads: int
    writes: int
    cpu_seconds: float


def moved(aws: Aws, store: S3Server, folder: Path, count: int, size: int) -> Cost:
    """So many objects of that size, through a finder and a worker."""
    source, destination = store.make_bucket("a"), store.make_bucket("b")
    put_many(store, source, count, size)
    where = ("--src-bucket", source, "--dest-bucket", destination, "--processes", "1")
    with AwsRecorder(aws.endpoint) as recorder, fleet(folder, aws, store, store) as (plain, made):
        flags = [*plain.flags[:-4], "--queue", recorder.url(made["queue"]), "--table", made["table"]]
        dth = Dth({**plain.env, "AWS_ENDPOINT_URL": recorder.endpoint}, flags)
        before = cpu_seconds()
        done = dth("find", *where), dth("work", *where, "--until-empty")
        used = cpu_seconds() - before
        assert done[1].summary["done"] == count
    cost = Cost(recorder.count("AmazonSQS"), recorder.write_units, *asked(*done), used)
    print(f"{count} objects of {size} bytes: {cost}")  # noqa: T201
    return cost


def test_small_objects_cost_few_requests_and_write_units(ministack: Aws, rgw: S3Server, tmp_path: Path) -> None:
    """At a fifth of the size, a few requests more are allowed for the beginning and the end."""
    count = scaled(bounds.SMALL_OBJECTS, 5)
    share = count / bounds.SMALL_OBJECTS
    cost = moved(ministack, rgw, tmp_path, count, 10 << 10)
    assert cost.sqs <= bounds.SQS_REQUESTS * share + (0 if FULL else 20)
    assert cost.units <= bounds.WRITE_UNITS * share
    assert (cost.reads, cost.writes) == (bounds.READS_OF_SMALL * count, bounds.WRITES_OF_SMALL * count)
    assert cost.cpu_seconds <= bounds.CPU_SECONDS_OF_SMALL * count + bounds.CPU_SECONDS_OF_START


def test_objects_in_parts_cost_few_requests_and_write_units(ministack: Aws, rgw: S3Server, tmp_path: Path) -> None:
    """Beside what each object takes, a run takes a few requests of its own."""
    count = 4
    cost = moved(ministack, rgw, tmp_path, count, bounds.MEDIUM)
    assert cost.reads <= bounds.READS_OF_MEDIUM * count
    assert cost.writes <= bounds.WRITES_OF_MEDIUM * count
    assert cost.sqs <= bounds.SQS_OF_MEDIUM * count + 20
    assert cost.units <= bounds.UNITS_OF_MEDIUM * count + 20

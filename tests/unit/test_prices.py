"""What transfers cost, and what a summary says of it."""

from __future__ import annotations

import json

import pytest

from dth.app.sides import Sides
from dth.cli.output.summary import details
from dth.events import Moved, Requests, RunSealed
from dth.model import Location
from dth.partitions import partition_of
from dth.prices import BETWEEN, HOME, REGIONS, cost_of, egress, estimate
from dth.states import Side
from dth.stores.credentials import fixed
from dth.stores.s3 import S3Store
from dth.stores.sign import Credentials
from dth.summary import Tally


def test_requests_are_priced_by_what_they_do_and_the_class_that_they_write() -> None:
    asked = {"ListObjectsV2": 1000, "GetObject": 2000, "HeadObject": 1000, "DeleteObject": 5000, "RestoreObject": 1000}
    assert estimate(asked, "") == pytest.approx(0.005 + 3 * 0.0004)
    written = {"PutObject": 1000, "UploadPartCopy": 1000, "CompleteMultipartUpload": 1000, "AbortMultipartUpload": 9}
    assert estimate(written, "") == pytest.approx(0.015)
    assert estimate(written, "DEEP_ARCHIVE") == pytest.approx(0.15)
    assert estimate({"ListObjectsV2": 1000}, "DEEP_ARCHIVE") == pytest.approx(0.005)
    assert estimate({"PutObject": 1000}, "", "sa-east-1") == pytest.approx(0.007)


def test_bytes_are_priced_by_where_they_leave_and_where_they_go() -> None:
    assert egress("us-east-1", "us-east-1", 1000 << 30) == 0.0
    assert egress("us-east-1", "us-east-2", 1000 << 30) == pytest.approx(10.0)
    assert egress("us-east-1", "eu-west-1", 1000 << 30) == pytest.approx(20.0)
    assert egress("ap-northeast-1", "us-east-1", 1000 << 30) == pytest.approx(90.0)
    assert egress("us-east-1", "", 1000 << 30) == pytest.approx(90.0)


def test_all_priced_regions_are_aws_own_and_every_pair_names_two_of_them() -> None:
    assert all(partition_of(region).id == "aws" for region in REGIONS)
    assert HOME in REGIONS
    assert all(set(pair) <= set(REGIONS) for pair in BETWEEN)


def test_a_cost_says_which_prices_it_took_and_what_is_missing() -> None:
    asked = {"source": {"GetObject": 10_000}, "destination": {"PutObject": 10_000}}
    both = cost_of(asked, {"source": "eu-west-1", "destination": "us-east-1"}, "", 10 << 30)
    assert both.requests_usd == {"source": 0.004, "destination": 0.05}
    assert both.egress_usd == 0.2
    assert both.usd == pytest.approx(0.254)
    assert "storage" in both.not_priced
    unknown = cost_of(asked, {"source": "mx-central-1", "destination": ""}, "", 0)
    assert unknown.regions == {"source": HOME}
    assert any("mx-central-1" in what for what in unknown.not_priced)
    assert any("requests to the destination" in what for what in unknown.not_priced)
    foreign = cost_of(asked, {"source": "", "destination": "eu-west-1"}, "", 10**12)
    assert foreign.egress_usd is None
    assert "bytes that leave the source" in foreign.not_priced
    assert not cost_of(asked, {"source": "cn-north-1", "destination": ""}, "", 1).known


def store(side: Side, provider: str, endpoint: str, region: str) -> S3Store:
    place = Location(side, provider, endpoint, region, "bucket", "", "", "", "path")
    key = fixed(Credentials("k", "s"))
    return S3Store.open(
        place, connect_seconds=1, first_byte_seconds=1, idle_seconds=1, max_connections=1, credentials=key
    )


@pytest.mark.parametrize(
    ("provider", "endpoint", "region", "known"),
    [
        ("Amazon_S3", "", "eu-west-1", True),
        ("Amazon_S3", "", "", True),
        ("Amazon_S3", "", "cn-north-1", False),
        ("Amazon_S3", "", "us-gov-west-1", False),
        ("Amazon_S3", "", "eusc-de-east-1", False),
        ("", "http://127.0.0.1:9000", "us-east-1", False),
        ("Aliyun_OSS", "", "cn-shanghai", False),
    ],
)
def test_only_prices_that_are_known_are_estimated(provider: str, endpoint: str, region: str, *, known: bool) -> None:
    sides = Sides(store(Side.SOURCE, provider, endpoint, region), store(Side.DESTINATION, "Ceph_RGW", "http://x", ""))
    tally = Tally()
    tally(sides.requests("me"))
    cost = tally.cost()
    assert (cost is not None and "source" in cost.requests_usd) is known
    assert cost is None or "destination" not in cost.requests_usd


HOMES = {"source": HOME, "destination": ""}


def test_the_summary_adds_up_what_all_processes_asked_and_says_what_it_costs() -> None:
    tally = Tally()
    tally(Requests("finder", {"ListObjectsV2": 2000}, {"ListObjectsV2": 10}, regions=HOMES))
    tally(Requests("worker", {"GetObject": 100}, {}, regions=HOMES))
    again = {"source": {"throttled": 7, "reset": 1}}
    tally(Requests("worker", {"GetObject": 5000}, {"PutObject": 10}, retries=again, regions=HOMES))  # cumulative
    tally(Moved("run", 9, 0, 0, 1 << 30))
    tally(RunSealed("run", 9, 0, 9, {}, undecided=3))
    summary = tally.summary()
    assert summary.requests_usd == {"source": pytest.approx(0.012)}
    lines = details(summary, verbose=False)
    assert "requests to the source: GetObject 5,000, ListObjectsV2 2,000" in lines
    assert "asked the source again: asked to slow down 7, connection cut in the middle 1" in lines
    assert "3 objects kept although nothing proves them equal" in lines
    assert any(
        line.startswith("costs about $0.1020: requests to the source $0.0120, bytes that leave") for line in lines
    )
    assert any(line.startswith("not priced: requests to the destination") for line in lines)
    said = json.loads(summary.to_json())
    assert said["requests_usd"] == {"source": 0.012}
    assert said["cost"]["egress_usd"] == 0.09
    assert said["retries"] == again


def test_a_summary_without_known_prices_says_nothing_of_cost() -> None:
    tally = Tally()
    tally(Requests("finder", {"ListObjectsV2": 2000}, {}))
    assert tally.summary().cost is None
    assert not [line for line in details(tally.summary(), verbose=False) if "cost" in line]

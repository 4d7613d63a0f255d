"""What a summary says of requests and their price."""

from __future__ import annotations

import pytest

from dth.app.build import Sides
from dth.cli.output.summary import details
from dth.events import Requests, RunSealed
from dth.model import Location
from dth.prices import estimate
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
    said = sides.requests("me")
    assert (said.source_usd is not None) is known
    assert said.destination_usd is None


def test_the_summary_adds_up_what_all_processes_asked_and_says_what_it_costs() -> None:
    tally = Tally()
    tally(Requests("finder", {"ListObjectsV2": 2000}, {"ListObjectsV2": 10}, 0.01, None))
    tally(Requests("worker", {"GetObject": 5000}, {"PutObject": 10}, 0.002, None))
    tally(RunSealed("run", 0, 0, 9, {}, undecided=3))
    summary = tally.summary()
    assert summary.requests_usd == {"source": pytest.approx(0.012)}
    lines = details(summary, verbose=False)
    assert "requests to the source: GetObject 5,000, ListObjectsV2 2,000" in lines
    assert "3 objects kept although nothing proves them equal" in lines
    assert lines[-1].startswith("requests to the source cost about $0.0120, without transfer and storage")
    assert '"requests_usd":{"source":0.012}' in summary.to_json()


def test_a_summary_without_known_prices_says_nothing_of_cost() -> None:
    tally = Tally()
    tally(Requests("finder", {"ListObjectsV2": 2000}, {}))
    assert not [line for line in details(tally.summary(), verbose=False) if "cost" in line]

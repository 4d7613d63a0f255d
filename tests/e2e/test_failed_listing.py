"""A listing that cannot be read to its end is said, and nothing is concluded from its beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.harness import Dth
from tests.e2e.test_large import between_endpoints
from tests.servers.lister import Fault, Flat, Lister

pytestmark = pytest.mark.slow


def test_a_source_that_fails_from_its_third_page_on_ends_with_3_and_an_abandoned_run(tmp_path: Path) -> None:
    faults = dict.fromkeys(range(4, 400), Fault.SERVER_ERROR)
    with Lister(Flat(10_000), faults=faults) as source, Lister(Flat(10_000)) as destination:
        base = between_endpoints(tmp_path, source.endpoint)
        flags = list(base.flags)
        flags[flags.index("--dest-endpoint") + 1] = destination.endpoint
        dth = Dth({**base.env, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}, flags)
        done = dth("sync", "s3://bucket", "s3://other", expect=3)
    assert [event["code"] for event in done.events if event["event"] == "error"] == ["listing_failed"]
    assert [event["event"] for event in done.events if event["event"] == "RunAbandoned"] == ["RunAbandoned"]

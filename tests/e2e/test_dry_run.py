"""The plan that a dry run writes is what a run then does: the same keys, for the same reasons, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.servers.s3server import S3Server

from .corpus import corpus, fill
from .harness import between
from .test_finder_kills import listed

pytestmark = pytest.mark.slow


def test_a_dry_run_writes_the_plan_that_a_run_carries_out(rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    ours, theirs = rgw.client("a"), rgw.client("b")
    objects = list(corpus(400, big=False))
    fill(ours, source, objects)
    fill(theirs, destination, objects[::2])
    fill(theirs, destination, [made for made in objects[:40] if len(made.key) < 200], prefix="extra/")
    for made in objects[:20:2]:
        theirs.put_object(Bucket=destination, Key=made.key, Body=b"other bytes")
    dth = between(
        tmp_path, rgw, rgw, "--src-type", "Ceph_RGW", "--dest-type", "Ceph_RGW", "--exclude", "a*", "--delete"
    )
    places = "sync", f"s3://{source}", f"s3://{destination}"
    before = listed(theirs, destination)
    plan = dth(*places, "--dry-run")
    planned = [(e["action"], e["key"], e["dest_key"], e["reason"]) for e in plan.events if e["event"] == "Planned"]
    assert listed(theirs, destination) == before
    (estimate,) = [event for event in plan.events if event["event"] == "Estimated"]
    assert sum(one["objects"] for one in estimate["sizes"]) == plan.summary["planned"]
    assert sum(one["bytes"] for one in estimate["sizes"]) == plan.summary["planned_bytes"]
    assert estimate["cost"] is None  # nobody knows what this store costs, so no limit can be kept
    refused = dth(*places, "--max-cost", "1", expect=2)
    assert "nothing of this job has a price" in refused.events[-1]["message"]
    assert listed(theirs, destination) == before
    report = tmp_path / "report"
    done = dth(*places, "--report", str(report))
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert {line["outcome"] for line in lines} == {"done"}
    for side in ("source", "destination"):
        told, asked = (sum(one["requests"][side].values()) for one in (estimate, done.summary))
        assert abs(told - asked) <= 0.05 * asked, (side, estimate["requests"], done.summary["requests"])
    did = [("delete" if x["reason"] == "extra" else "copy", x["key"], x["dest_key"], x["reason"]) for x in lines]
    assert sorted(planned) == sorted(did)
    assert {reason for *_, reason in planned} == {"missing", "size", "extra"}
    assert (plan.summary["planned"], plan.summary["planned_deletes"]) == (
        done.summary["done"] - done.summary["deleted"],
        done.summary["deleted"],
    )
    again = dth(*places, "--dry-run").summary
    assert (again["planned"], again["planned_deletes"]) == (0, 0)

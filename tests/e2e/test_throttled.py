"""A store that takes only so many requests a second, and a worker that may hold next to nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.servers.generator import Generator

from .harness import FULL, Dth, environment

pytestmark = pytest.mark.slow

RATE = 100 if FULL else 40
COUNT = 950 if FULL else 300
STEADY = 0.85 if FULL else 0.6  # of what the store takes; a busy machine may be slower


def between(folder: Path, source: Generator, sink: Generator, *flags: str) -> Dth:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    reach = ("--src-endpoint", source.endpoint, "--src-region", "us-east-1", "--dest-endpoint", sink.endpoint)
    where = ("--dest-region", "us-east-1", "--state", str(folder / "state"), "--json")
    return Dth({**environment(folder, {}), **keys}, [*reach, *where, *flags])


def test_a_store_that_throttles_is_kept_busy_and_costs_no_object_an_attempt(tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    with Generator({f"k{number:04}": 1024 for number in range(COUNT)}) as source, Generator(rate=RATE) as sink:
        dth = between(tmp_path, source, sink, "--processes", "2", "--report", str(report))
        done = dth("sync", "s3://source", "s3://sink")
        assert (done.summary["done"], done.summary["failed"]) == (COUNT, 0)
        assert sink.counts["refused"], "nothing was throttled"
        taken = sink.taken[len(sink.taken) // 4 : -len(sink.taken) // 4]
        steady = (len(taken) - 1) / (taken[-1] - taken[0])
        assert steady >= STEADY * RATE
        assert len(sink.taken) == COUNT
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert {(line["outcome"], line["attempt"]) for line in lines} == {("done", 1)}


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared by workers"])
def test_everything_arrives_with_all_limits_at_one_and_less_memory_than_a_part(tmp_path: Path, *, shared: bool) -> None:
    sizes = {"empty": 0, "small": 1000, "large": 12 << 20, "odd": (11 << 20) + 1}
    least = (
        "--processes",
        "1",
        "--worker-number",
        "1",
        "--finder-number",
        "1",
        "--pack-objects",
        "1",
        "--high-water",
        "1",
    )
    parts = ("--part-size", "5MiB", "--multipart-threshold", "6MiB", "--memory-budget", "1MiB", "--pack-bytes", "1")
    with Generator(sizes) as source, Generator() as sink:
        dth = between(tmp_path, source, sink, *least, *parts)
        if shared:
            where = ("--src-bucket", "source", "--dest-bucket", "sink", "--giant-threshold", "5MiB")
            assert dth("find", *where, "--high-water", "100").summary["found"] == len(sizes)
            summary = dth("work", *where, "--until-empty").summary
        else:
            summary = dth("sync", "s3://source", "s3://sink").summary
        assert (summary["done"], summary["failed"]) == (len(sizes), 0)
        assert all(sink.landed["sink", key].equals(key) for key in sizes)
        assert len(sink.landed["sink", "large"].pieces) == 3

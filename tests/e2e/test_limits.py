"""Limits changed while a fleet runs: bandwidth shared by workers that join and die, pause and resume, seen at the store."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.aws import Aws
from tests.servers.generator import Generator

from .harness import FULL, HANG_SECONDS, Dth, environment

pytestmark = pytest.mark.slow

MB = 10**6
RATE = (20 if FULL else 1) * MB
SIZE = (12 << 20) if FULL else (128 << 10)
COUNT = 950 if FULL else 450
WINDOW = 60.0 if FULL else 4.0  # seconds over which bytes are counted
MOST, LEAST = (1.1, 0.9) if FULL else (1.35, 0.4)  # of what the limit allows; a busy machine may always be slower
FOLLOWS = 10.0 if FULL else 4.0  # seconds within which a change is followed


class Fleet:
    """`dth` between a generator's two buckets: over SQS and DynamoDB where `aws` is given, else over a folder's files."""

    def __init__(self, folder: Path, store: Generator, aws: Aws | None) -> None:
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        self.env = {**environment(folder, {}), **keys, **(aws.environment() if aws else {})}
        self.store = store
        self.name = f"dth-{uuid.uuid4().hex[:8]}" if aws else ""
        made = Dth(self.env, ["--json"])("init", self.name).events[-1] if aws else {}
        flags = [
            *("--src-bucket", "source", "--dest-bucket", "sink", "--state", str(folder / "state"), "--json"),
            *("--src-endpoint", store.endpoint, "--src-region", "us-east-1"),
            *("--dest-endpoint", store.endpoint, "--dest-region", "us-east-1"),
            *(part for name in ("queue", "table") if made for part in (f"--{name}", made[name])),
        ]
        self.dth = Dth(self.env, flags)
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """One more machine."""
        flags = ("--processes", "1", "--worker-number", "2", "--lease-seconds", "20")
        self.workers.append(
            subprocess.Popen(
                self.dth.argv("work", *flags), env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )

    def limit(self, *change: str) -> dict[str, Any]:
        """What `dth limit` answers."""
        return self.dth("limit", *change).events[-1]

    def rate(self, seconds: float = WINDOW) -> float:
        """Bytes a second that the store received for so long."""
        began, before = time.monotonic(), self.store.received
        time.sleep(seconds)
        return (self.store.received - before) / (time.monotonic() - began)

    def until(self, condition: Any) -> None:
        """Wait; the time is bounded only so that a defect ends."""
        give_up = time.monotonic() + HANG_SECONDS
        while not condition():
            assert time.monotonic() < give_up
            time.sleep(1.0)

    def stop(self) -> None:
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(HANG_SECONDS)


@pytest.fixture(params=[pytest.param("ministack", marks=pytest.mark.ministack) if FULL else ""])
def aws(request: pytest.FixtureRequest) -> Aws | None:
    """A fleet's services in the full scenario; files, which cost less, elsewhere."""
    return request.getfixturevalue(request.param) if request.param else None


@contextmanager
def fleet_of(folder: Path, aws: Aws | None) -> Iterator[Fleet]:
    with Generator({f"k{number:04}": SIZE for number in range(COUNT)}) as store:
        fleet = Fleet(folder, store, aws)
        try:
            yield fleet
        finally:
            fleet.stop()
            if aws:
                Dth(fleet.env, ["--json"])("init", fleet.name, "--delete")


def show(rates: dict[str, float]) -> None:
    """For who runs the full scenario."""
    if FULL:
        print(json.dumps(rates))  # noqa: T201 - pytest -s shows it


def test_a_fleet_keeps_to_its_bandwidth_whoever_joins_or_dies_and_follows_changes(
    aws: Aws | None, tmp_path: Path
) -> None:
    with fleet_of(tmp_path, aws) as fleet:
        set_to = fleet.limit("--bandwidth", f"{RATE // MB}MB/s")
        assert (set_to["bytes_per_second"], set_to["paused"]) == (RATE, False)
        assert fleet.dth("find", "--pack-objects", "4", "--no-server-side-copy").summary["found"] == COUNT
        for _ in range(3):
            fleet.start()
        fleet.until(lambda: fleet.store.received and len(fleet.limit()["machines"]) == 3)
        time.sleep(FOLLOWS)
        rates = {"three": fleet.rate()}
        fleet.workers[0].kill()
        rates["one killed"] = fleet.rate()
        fleet.start()
        rates["one joined"] = fleet.rate()
        fleet.limit("--bandwidth", f"{2 * RATE // MB}MB/s")
        time.sleep(FOLLOWS)
        rates["doubled"] = fleet.rate()
        show(rates)
        for name, rate in rates.items():
            allowed = RATE * (2 if name == "doubled" else 1)
            assert rate <= MOST * allowed, rates
            assert rate >= LEAST * allowed, rates
        assert fleet.limit("--pause")["paused"]
        fleet.until(lambda: fleet.rate(1.0) == 0)
        assert fleet.rate(2.0) == 0
        fleet.limit("--resume", "--bandwidth", "off")
        fleet.until(lambda: len(fleet.store.landed) == COUNT)
        fleet.until(lambda: run_of(fleet)["done"] + run_of(fleet)["skipped"] == COUNT)
        assert run_of(fleet)["failed"] == 0
        assert all(item.equals(key) for (_, key), item in list(fleet.store.landed.items())[:50])


def run_of(fleet: Fleet) -> dict[str, Any]:
    return fleet.dth("status").events[0]


def test_a_sync_is_slowed_down_paused_and_resumed_while_it_runs(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with Generator({f"k{number:04}": 64 << 10 for number in range(200)}) as store:
        where = ("s3://source", "s3://sink")
        state = ("--state", str(tmp_path / "state"), "--json")
        reach = ("--src-endpoint", store.endpoint, "--dest-endpoint", store.endpoint, "--dest-region", "us-east-1")
        dth = Dth({**environment(tmp_path, {}), **keys}, [*reach, "--src-region", "us-east-1", *state])
        assert dth("limit", *where, "--bandwidth", "100KB/s", "--processes", "2").events[-1]["processes"] == 2
        flags = ("--processes", "1", "--pack-objects", "5", "--worker-number", "4", "--no-server-side-copy")
        running = subprocess.Popen(dth.argv("sync", *where, *flags), env=dict(dth.env), stdout=subprocess.PIPE)
        give_up = time.monotonic() + HANG_SECONDS
        while not store.received:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        dth("limit", *where, "--pause")
        before = -1
        while store.received != before:
            assert time.monotonic() < give_up
            before = store.received
            time.sleep(3.0)
        assert len(store.landed) < 200
        assert running.poll() is None
        dth("limit", *where, "--reset")
        out, _ = running.communicate(timeout=HANG_SECONDS)
        events = [json.loads(line) for line in out.splitlines()]
        codes = [event["code"] for event in events if event["event"] == "Notice"]
        summary = events[-1]
        assert (running.returncode, summary["done"], summary["failed"]) == (0, 200, 0)
        assert codes.index("paused") < codes.index("resumed")
        assert len({event["process"] for event in events if event["event"] == "WorkerStarted"}) >= 3
        assert store.counts["put"] == 200  # what was in flight was finished or given back, and nothing was sent twice

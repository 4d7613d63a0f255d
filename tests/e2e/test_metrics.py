"""Metrics of a fleet as a real Prometheus reads them, and as lines for CloudWatch: both agree with the ledger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dth.metrics.table import ALL, BY_NAME, Kind
from tests.servers import prometheus as prometheus_server
from tests.servers.aws import Aws
from tests.servers.prometheus import Prometheus, promtool
from tests.servers.s3server import S3Server
from tests.unit.test_metrics import embedded

from .harness import HANG_SECONDS, Dth, scaled
from .test_fleet import fleet, put_many

pytestmark = [pytest.mark.slow, pytest.mark.prometheus]
ROOT = Path(__file__).parents[2]
KILLS = 2


def test_the_alert_rules_are_what_prometheus_takes() -> None:
    said = promtool("check", "rules", str(ROOT / "docs/metrics/prometheus-rules.yml"))
    assert "SUCCESS" in said


@contextmanager
def working(
    dth: Dth, *arguments: str, output: Path
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], list[dict[str, Any]]]]]:
    """A `dth work` that stays, and what it has said so far; it is ended gracefully."""
    with output.open("wb") as out:
        process = subprocess.Popen(
            dth.argv("work", *arguments), env=dict(dth.env), stdout=out, stderr=subprocess.STDOUT
        )
        try:
            yield process, lambda: events_of(output)
            process.send_signal(signal.SIGTERM)
            assert process.wait(HANG_SECONDS) in {0, 3}, output.read_text()[-3000:]
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def events_of(output: Path) -> list[dict[str, Any]]:
    """Whole lines only; lines for CloudWatch are no events."""
    lines = output.read_text().split("\n")[:-1]
    return [one for one in map(json.loads, lines) if "event" in one]


def wait_for(what: str, ready: Callable[[], Any]) -> Any:
    until = time.monotonic() + HANG_SECONDS
    while time.monotonic() < until:
        if found := ready():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what} did not come")


@pytest.mark.ministack
def test_what_prometheus_reads_of_a_fleet_whose_workers_are_killed_is_what_the_ledger_counts(
    ministack: Aws, seaweed: S3Server, tmp_path: Path
) -> None:
    count = scaled(20_000, 20)
    source, destination = seaweed.make_bucket("a"), seaweed.make_bucket("b")
    put_many(seaweed, source, count, 1 << 10)
    where = ("--src-bucket", source, "--dest-bucket", destination)
    output, emf = tmp_path / "output", tmp_path / "emf"
    flags = (
        *where,
        "--processes",
        "2",
        "--worker-number",
        "2",
        "--lease-seconds",
        "10",
        "--metrics",
        "0",
        "--metrics-emf",
        str(emf),
    )
    with fleet(tmp_path, ministack, seaweed, seaweed) as (dth, _), working(dth, *flags, output=output) as (_, said):
        notice = wait_for("the address", lambda: [one for one in said() if one.get("code") == "metrics"])[0]
        target = notice["text"].partition("//")[2].partition("/")[0]
        prometheus = prometheus_server.start({"dth": target})
        try:
            with ThreadPoolExecutor(1) as beside:
                finding = beside.submit(dth, "find", *where, "--pack-objects", "10")
                watch(prometheus, said, target)
                assert finding.result().summary["found"] == count
            told = check(prometheus, dth, where, target, count)
        finally:
            prometheus.stop()
    check_lines(emf, told)


def watch(prometheus: Prometheus, said: Callable[[], list[dict[str, Any]]], target: str) -> None:
    """Kill two workers in the middle of it, wait until the ledger says that all is over; counters never fall meanwhile."""
    killed = 0
    before: dict[tuple[str, ...], float] = {}
    names = "|".join(one.name for one in ALL if one.kind is Kind.COUNTER)

    def over() -> bool:
        nonlocal killed, before
        now = prometheus.series(f'{{__name__=~"{names}"}}')
        assert all(now.get(key, value) >= value for key, value in before.items())
        before = {**before, **now}
        done = sum(one["done"] for one in said() if one["event"] == "Moved")
        workers = [one["pid"] for one in said() if one["event"] == "WorkerStarted"]
        if killed < KILLS and done > killed * 50 and len(workers) >= killed + 2:
            os.kill(workers[killed], signal.SIGKILL)
            killed += 1
        return killed == KILLS and prometheus.number("max(dth_run_over)") == 1

    wait_for("the end of the run", over)
    prometheus.wait_for_scrape(target)


def check(
    prometheus: Prometheus, dth: Dth, where: tuple[str, ...], target: str, count: int
) -> dict[tuple[str, ...], float]:
    """What Prometheus has is what `dth status` says, and what promtool likes; the counters."""
    run, queue = dth("status", *where).events
    assert run["done"] + run["skipped"] + run["failed"] == run["found"] == count
    assert prometheus.series("sum by (outcome) (dth_run_objects)") == {
        ("done",): run["done"], ("failed",): run["failed"], ("skipped",): run["skipped"],
    }  # fmt: skip
    assert prometheus.number("sum(dth_run_found_objects)") == run["found"]
    assert prometheus.number("sum(dth_run_bytes)") == run["bytes"] == count << 10
    assert prometheus.number('max(dth_queue_messages{state="dead"})') == queue["dead"] == 0
    assert prometheus.number("sum(dth_worker_deaths_total)") == KILLS
    assert prometheus.number("sum(dth_workers)") == 2
    # A killed worker may have recorded a message that it could not tell of any more: ten objects each, at most.
    ended = prometheus.number("sum(dth_objects_total)")
    assert ended is not None
    assert count - KILLS * 10 <= ended <= count
    asked = prometheus.number('sum(dth_requests_total{side="destination"})')
    assert asked is not None
    assert asked > 0
    text = urllib.request.urlopen(f"http://{target}/metrics", timeout=60).read().decode()
    assert promtool("check", "metrics", text=text) == ""
    return {
        (name, *(labels[label] for label in BY_NAME[name].labels)): value
        for labels, value in prometheus.ask('{__name__=~"dth_objects_total|dth_bytes_total|dth_worker_deaths_total"}')
        for name in [labels["__name__"]]
    }


def check_lines(emf: Path, told: dict[tuple[str, ...], float]) -> None:
    """The lines for CloudWatch add up to what Prometheus read."""
    sums: Counter[tuple[str, ...]] = Counter()
    for name, labels, value in embedded(emf.read_text().splitlines()):
        if BY_NAME[name].kind is Kind.COUNTER:
            sums[name, *labels] += value  # type: ignore[assignment]
    assert {key: sums[key] for key in told} == told

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
from tests.servers.quirky import Quirky
from tests.servers.s3server import S3Server
from tests.servers.wire import Answer, Request, error
from tests.unit.test_metrics import embedded

from .harness import HANG_SECONDS, Dth, between, scaled
from .test_fleet import fleet, put_many

pytestmark = [pytest.mark.slow, pytest.mark.prometheus]
ROOT = Path(__file__).parents[2]
KILLS, PACK = 2, 10
COUNT = scaled(20_000, 40)
FAILING = {
    "access_denied": ((403, "AccessDenied"), scaled(300, 40)),
    "request_refused": ((400, "InvalidRequest"), scaled(200, 40)),
    "server_fault": ((500, "InternalError"), scaled(200, 40)),
}
"""By code: what the destination answers, and to how many objects."""


def test_the_alert_rules_are_what_prometheus_takes() -> None:
    said = promtool("check", "rules", str(ROOT / "docs/metrics/prometheus-rules.yml"))
    assert "SUCCESS" in said


@contextmanager
def working(dth: Dth, *arguments: str, output: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """A `dth work` that stays, and what it has said so far; it is ended gracefully."""
    with output.open("wb") as out:
        process = subprocess.Popen(
            dth.argv("work", *arguments), env=dict(dth.env), stdout=out, stderr=subprocess.STDOUT
        )
        try:
            yield lambda: events_of(output)
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


def key(number: int) -> str:
    return f"objects/{number:06}"


@contextmanager
def two_stores() -> Iterator[tuple[Quirky, Quirky]]:
    """A source that holds the objects, and a destination that refuses some of them for good, all over the run."""
    codes = [code for code, (_, share) in FAILING.items() for _ in range(share)]
    fate = {key(index * (COUNT // len(codes))): FAILING[code][0] for index, code in enumerate(codes)}

    def refuse(operation: str, request: Request) -> Answer | None:
        return error(*fate[request.key]) if operation == "put" and request.key in fate else None

    with Quirky() as source, Quirky(before=refuse) as destination:
        for number in range(COUNT):
            source.hold("from-here", key(number), b"x" * (number % 100))
        yield source, destination


@pytest.mark.ministack
def test_what_prometheus_reads_of_a_fleet_whose_workers_are_killed_is_what_the_ledger_counts(
    ministack: Aws, tmp_path: Path
) -> None:
    where = ("--src-bucket", "from-here", "--dest-bucket", "to-there")
    output, emf = tmp_path / "output", tmp_path / "emf"
    metrics = ("--metrics", "0", "--metrics-emf", str(emf))
    quick = ("--processes", "2", "--worker-number", "2", "--lease-seconds", "10", "--max-attempts", "2")
    with two_stores() as (source, destination):
        ends = source.server, destination.server
        with (
            fleet(tmp_path, ministack, *ends) as (dth, _),
            working(dth, *where, *quick, *metrics, output=output) as said,
        ):
            notice = wait_for("the address", lambda: [one for one in said() if one.get("code") == "metrics"])[0]
            target = notice["text"].partition("//")[2].partition("/")[0]
            prometheus = prometheus_server.start({"dth": target})
            try:
                with ThreadPoolExecutor(1) as beside:
                    finding = beside.submit(dth, "find", *where, "--pack-objects", str(PACK))
                    watch(prometheus, said, target)
                    assert finding.result().summary["found"] == COUNT
                told = check(prometheus, dth, where, target, destination)
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
        if killed < KILLS and done > killed * 5 * PACK and len(workers) >= killed + 2:
            os.kill(workers[killed], signal.SIGKILL)
            killed += 1
        return killed == KILLS and prometheus.number("max(dth_run_over)") == 1

    wait_for("the end of the run", over)
    prometheus.wait_for_scrape(target)


def check(
    prometheus: Prometheus, dth: Dth, where: tuple[str, ...], target: str, destination: Quirky
) -> dict[tuple[str, ...], float]:
    """What Prometheus has is what `dth status` says, and what promtool likes; the counters."""
    run, queue = dth("status", *where).events
    failing = {code: share for code, (_, share) in FAILING.items()}
    assert (run["done"], run["failed"], run["skipped"]) == (COUNT - sum(failing.values()), sum(failing.values()), 0)
    assert prometheus.series("sum by (outcome) (dth_run_objects)") == {
        ("done",): run["done"], ("failed",): run["failed"], ("skipped",): run["skipped"],
    }  # fmt: skip
    assert {code: count for (code,), count in prometheus.series("sum by (code) (dth_run_failures)").items()} == failing
    assert prometheus.number("sum(dth_run_found_objects)") == run["found"] == COUNT
    assert prometheus.number("sum(dth_run_bytes)") == run["bytes"]
    assert prometheus.number('max(dth_queue_messages{state="dead"})') == queue["dead"]
    assert prometheus.number("sum(dth_worker_deaths_total)") == KILLS
    assert prometheus.number("sum(dth_workers)") == 2
    # A killed worker may have recorded a message that it could not tell of any more.
    ended = prometheus.number("sum(dth_objects_total)")
    assert ended is not None
    assert COUNT - KILLS * PACK <= ended <= COUNT
    assert set(prometheus.series("sum by (code) (dth_failures_total)")) == {(code,) for code in failing}
    asked = prometheus.number('sum(dth_requests_total{side="destination"})')
    assert asked is not None
    assert COUNT / 2 < asked <= len(destination.seen)
    again = prometheus.number('sum(dth_retries_total{layer="request", side="destination", cause="server_error"})')
    assert again is not None
    assert again > 0
    text = urllib.request.urlopen(f"http://{target}/metrics", timeout=60).read().decode()
    assert promtool("check", "metrics", text=text) == ""
    return {
        (name, *(labels[label] for label in BY_NAME[name].labels)): value
        for labels, value in prometheus.ask('{__name__=~"dth_objects_total|dth_bytes_total|dth_failures_total"}')
        for name in [labels["__name__"]]
    }


def check_lines(emf: Path, told: dict[tuple[str, ...], float]) -> None:
    """The lines for CloudWatch add up to what Prometheus read."""
    sums: Counter[tuple[str, ...]] = Counter()
    for name, labels, value in embedded(emf.read_text().splitlines()):
        if BY_NAME[name].kind is Kind.COUNTER:
            sums[name, *labels] += value  # type: ignore[assignment]
    assert {key: sums[key] for key in told} == told


def test_the_lines_of_a_sync_are_its_summary(seaweed: S3Server, tmp_path: Path) -> None:
    """Exactly: nobody was killed."""
    source, destination = seaweed.make_bucket("a"), seaweed.make_bucket("b")
    put_many(seaweed, source, 60, 1000)
    seaweed.client("a").put_object(Bucket=source, Key="large", Body=bytes(18 << 20))  # in parts
    emf = tmp_path / "emf"
    dth = between(tmp_path, seaweed, seaweed, "--processes", "2", "--metrics-emf", str(emf), "--metrics", "0")
    summary = dth("sync", f"s3://{source}", f"s3://{destination}").summary
    sums: Counter[tuple[str, ...]] = Counter()
    last: dict[tuple[str, ...], float] = {}
    for name, labels, value in embedded(emf.read_text().splitlines()):
        sums[name, *labels] += value  # type: ignore[assignment]
        last[name, *labels] = value
    assert sums["dth_objects_total", "done"] == summary["done"] == summary["found"]
    assert sums["dth_bytes_total",] == sums["dth_moved_bytes_total",] == summary["bytes"]
    assert (sums["dth_found_objects_total",], sums["dth_listed_objects_total", "source"]) == (
        summary["found"],
        summary["compared"],
    )
    asked = {(name, *rest): count for (name, *rest), count in sums.items() if name == "dth_requests_total"}
    assert asked == {
        ("dth_requests_total", side, operation): count
        for side, counts in summary["requests"].items()
        for operation, count in counts.items()
    }
    (run,) = summary["runs"]
    assert last["dth_run_objects", run["run_id"], "done"] == summary["done"]
    assert last["dth_run_over", run["run_id"]] == 1
    assert last["dth_workers",] == 0

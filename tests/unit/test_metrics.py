"""Metrics: what events add up to, and both ways out of it."""

from __future__ import annotations

import json
import math
import re
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from dth.app.measured import measured
from dth.errors import SettingsError
from dth.events import (
    Buried,
    BytesMoved,
    Event,
    InFlight,
    ListingProgress,
    Moved,
    Notice,
    ObjectFailed,
    Requests,
    RunSealed,
    Vitals,
    WorkerStarted,
    WorkerStopped,
)
from dth.ledgers.base import Run
from dth.metrics import table
from dth.metrics.embedded import EmbeddedLines
from dth.metrics.sink import Sink
from dth.model import Counts
from dth.queues.base import QueueDepth
from dth.settings import load_settings
from dth.states import RunState
from dth.stats import Breakdown

ROOT = Path(__file__).parents[2]

SCHEMA = {  # AWS's specification of the embedded metric format, with the narrowest limits that it ever had
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "additionalProperties": False,
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 1},
                "CloudWatchMetrics": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "additionalProperties": False,
                        "properties": {
                            "Namespace": {"type": "string", "minLength": 1, "maxLength": 255},
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "maxItems": 9,
                                    "uniqueItems": True,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 255},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "Name": {"type": "string", "minLength": 1, "maxLength": 255},
                                        "Unit": {"enum": ["Seconds", "Bytes", "Count", "None"]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}

WORKER = [
    WorkerStarted("host-1/1", 2**22 + 1),
    InFlight("host-1/1", 7, 1000),
    Vitals("host-1/1", limit=16, throttles=2, lag={"last_seconds": 3.0, "last_at": 5.0, "sketch": {"10": 4}}),
    Requests("host-1/1", {"GetObject": 10}, {"PutObject": 9}, {"source": {"throttled": 3}}),
    Moved("run", 3, 1, 1, 500),
    ObjectFailed("run", "key", "access_denied", "no", 1, final=True),
    ObjectFailed("run", "key", "reset", "cut", 1, final=False),
    ListingProgress("run", 100, 90, 10, 5000),
    RunSealed("run", 12, 6000, 110, {}),
    Buried("garbage"),
]


def fed(*events: Event) -> Sink:
    sink = Sink()
    for event in events:
        sink(event)
    return sink


def values(sink: Sink) -> dict[tuple[str, ...], float]:
    return {(sample.metric.name, *sample.labels): sample.value for sample in sink.samples()}


def run_row(counts: Counts, state: RunState = RunState.SEALED) -> Run:
    causes = {"access_denied": counts.failed} if counts.failed else {}
    return Run("run", "job", state, "{}", "", 0.0, 0.0, 12, 6000, {}, counts, Breakdown(causes=causes))


def test_events_add_up() -> None:
    sink = fed(*WORKER)
    sink.look([run_row(Counts(8, 1, 3, 4000))], QueueDepth(5, 4, 3, exact=True, oldest_seconds=9.0))
    told = values(sink)
    expected = {
        ("dth_objects_total", "done"): 3, ("dth_objects_total", "skipped"): 1, ("dth_objects_total", "failed"): 1,
        ("dth_bytes_total",): 500, ("dth_moved_bytes_total",): 500,
        ("dth_failures_total", "access_denied"): 1,
        ("dth_retries_total", "object", "any", "reset"): 1, ("dth_retries_total", "request", "source", "throttled"): 3,
        ("dth_requests_total", "source", "GetObject"): 10, ("dth_requests_total", "destination", "PutObject"): 9,
        ("dth_throttles_total",): 2, ("dth_buried_messages_total",): 1, ("dth_worker_deaths_total",): 0,
        ("dth_listed_objects_total", "source"): 100, ("dth_listed_objects_total", "destination"): 90,
        ("dth_found_objects_total",): 12, ("dth_found_bytes_total",): 6000,
        ("dth_in_flight_objects",): 7, ("dth_in_flight_bytes",): 1000, ("dth_limiter_objects",): 16, ("dth_workers",): 1,
        ("dth_event_lag_seconds", "last"): 3.0, ("dth_oldest_message_seconds",): 9.0,
        ("dth_queue_messages", "visible"): 5, ("dth_queue_messages", "leased"): 4, ("dth_queue_messages", "dead"): 3,
        ("dth_run_found_objects", "run"): 12, ("dth_run_bytes", "run"): 4000, ("dth_run_over", "run"): 1,
        ("dth_run_objects", "run", "done"): 8, ("dth_run_objects", "run", "skipped"): 1,
        ("dth_run_objects", "run", "failed"): 3, ("dth_run_failures", "run", "access_denied"): 3,
    }  # fmt: skip
    assert {key: told[key] for key in expected} == expected
    assert told["dth_resident_memory_bytes",] > 1_000_000


def test_a_worker_that_dies_leaves_its_counts_and_takes_what_it_held() -> None:
    sink = fed(*WORKER)
    before = values(sink)
    sink(WorkerStopped("host-1/1", 2**22 + 1, -9))
    sink(WorkerStarted("host-1/2", 2**22 + 2))
    sink(Requests("host-1/2", {"GetObject": 1}, {}))
    sink(Vitals("host-1/2", limit=16, throttles=1))
    after = values(sink)
    assert after["dth_requests_total", "source", "GetObject"] == 11
    assert after["dth_throttles_total",] == 3
    assert after["dth_worker_deaths_total",] == 1
    assert (after["dth_workers",], after["dth_in_flight_objects",], after["dth_limiter_objects",]) == (1, 0, 16)
    for key, value in before.items():
        if table.BY_NAME[key[0]].kind is table.Kind.COUNTER:
            assert after[key] >= value, key


def test_totals_that_are_said_again_or_say_less_change_nothing() -> None:
    sink = fed(*WORKER)
    before = values(sink)
    for event in WORKER:
        if isinstance(event, Requests | Vitals | ListingProgress | RunSealed):
            sink(event)
    sink(Requests("host-1/1", {"GetObject": 2}, {}))
    after = values(sink)
    for known in (before, after):
        known.pop(("dth_resident_memory_bytes",))
    assert before == after


def test_parts_of_a_large_object_count_once_its_end_is_there() -> None:
    sink = fed(BytesMoved("run", 60), BytesMoved("run", 40))
    assert values(sink)["dth_moved_bytes_total",] == 100
    assert values(sink)["dth_bytes_total",] == 0
    sink(Moved("run", 1, 0, 0, 100))
    sink(Moved("run", 20, 0, 0, 7))
    assert values(sink)["dth_moved_bytes_total",] == 107
    assert values(sink)["dth_bytes_total",] == 107


def test_every_line_for_cloudwatch_is_as_its_specification_says_and_the_lines_add_up() -> None:
    sink, now = Sink(), 1_700_000_000.0
    lines = EmbeddedLines("job", {"process": "host-1"}, lambda: now)
    written = list(lines.lines(sink.samples()))
    for event in (*WORKER, *WORKER[4:6], WorkerStopped("host-1/1", 1, -9), WORKER[4]):
        sink(event)
        sink.look([run_row(Counts(8, 1, 3, 4000))], QueueDepth(5, 4, 3, exact=True))
        written += lines.lines(sink.samples())
    sums: Counter[tuple[str, ...]] = Counter()
    last: dict[tuple[str, ...], float] = {}
    for name, labels, value in embedded(written):
        if table.BY_NAME[name].kind is table.Kind.COUNTER:
            sums[name, *labels] += value  # type: ignore[assignment]
        last[name, *labels] = value
    for sample in sink.samples():
        key = sample.metric.name, *sample.labels
        if sample.metric.kind is table.Kind.COUNTER:
            assert sums[key] == sample.value, key
        elif sample.metric is not table.MEMORY:
            assert last[key] == sample.value, key


def embedded(lines: list[str]) -> list[tuple[str, tuple[str, ...], float]]:
    """Name, labels and value of all metrics in lines; each line is checked as CloudWatch reads it."""
    found = []
    for line in lines:
        assert line.isascii()
        assert len(line) <= 256 << 10
        root: dict[str, Any] = json.loads(line)
        jsonschema.validate(root, SCHEMA)
        for directive in root["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                for name in names:  # a member of the root, a text that is not empty
                    assert isinstance(root[name], str)
                    assert root[name]
                    assert len(root[name]) <= 1024
            for metric in directive["Metrics"]:
                known = table.BY_NAME[metric["Name"]]
                assert metric["Unit"] == known.unit
                value = root[metric["Name"]]
                assert isinstance(value, int | float)
                assert math.isfinite(value)
                assert set(directive["Dimensions"][0]) == {"job_id", *known.labels} - {"run_id"}
                found.append((metric["Name"], tuple(root[label] for label in known.labels), value))
    return found


async def test_prometheus_reads_the_same_over_http_and_nobody_listens_afterwards() -> None:
    told: list[Event] = []
    job = load_settings({"metrics": "0", "src_bucket": "aaa", "dest_bucket": "bbb"}, {}, None)
    async with measured(job, "the-job", told.append) as measures:
        for event in WORKER:
            measures.emit(event)
        url = next(one.text for one in told if isinstance(one, Notice)).rpartition(" ")[2]
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            text = answer.read().decode()
    assert told[1:] == WORKER
    read = {
        (sample.name, *(sample.labels[label] for label in table.BY_NAME[sample.name].labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    expected = values(fed(*WORKER))
    expected.pop(("dth_resident_memory_bytes",))
    assert {key: read[key] for key in expected} == expected
    assert text.count('job_id="the-job"') == len(read)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=30)


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "[::]:9464", "10.1.2.3:9464", "metrics.example:9464"])
def test_other_machines_read_metrics_only_where_that_was_said(address: str) -> None:
    given = {"src_bucket": "aaa", "dest_bucket": "bbb", "metrics": address}
    with pytest.raises(SettingsError, match="metrics_open"):
        load_settings(given, {}, None)
    assert load_settings({**given, "metrics_open": "true"}, {}, None).metrics == address


@pytest.mark.parametrize("address", ["9464", ":9464", "127.0.0.1:9464", "localhost:9464", "[::1]:9464"])
def test_this_machine_may_always_read_them(address: str) -> None:
    load_settings({"src_bucket": "aaa", "dest_bucket": "bbb", "metrics": address}, {}, None)


@pytest.mark.parametrize("address", ["nine", "host:", "1.2.3.4", "http://a:1", "9464/metrics", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="metrics = "):
        load_settings({"src_bucket": "aaa", "dest_bucket": "bbb", "metrics": address}, {}, None)


async def test_a_port_that_is_taken_is_an_error_that_names_it() -> None:
    told: list[Event] = []
    job = load_settings({"metrics": "0", "src_bucket": "aaa", "dest_bucket": "bbb"}, {}, None)
    async with measured(job, "job", told.append):
        port = told[0].text.rpartition(":")[2].partition("/")[0]  # type: ignore[attr-defined]
        again = job.model_copy(update={"metrics": port})
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port} cannot be listened at"):
            async with measured(again, "job", told.append):
                pass


async def test_lines_go_to_a_file_and_a_file_that_cannot_be_written_is_named_before_anything_starts(
    tmp_path: Path,
) -> None:
    job = load_settings({"metrics_emf": str(tmp_path / "emf"), "src_bucket": "aaa", "dest_bucket": "bbb"}, {}, None)
    async with measured(job, "job", lambda _: None) as measures:
        for event in WORKER:
            measures.emit(event)
    written = (tmp_path / "emf").read_text().splitlines()
    assert ("dth_bytes_total", (), 500) in embedded(written)
    broken = job.model_copy(update={"metrics_emf": str(tmp_path / "none" / "emf")})
    with pytest.raises(SettingsError, match="metrics_emf"):
        async with measured(broken, "job", lambda _: None):
            pass


def test_the_page_of_metrics_has_the_table() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert text == table.page(text), "run python -m dth.metrics.table"


@pytest.mark.parametrize("file", ["prometheus-rules.yml", "grafana-dashboard.json"])
def test_every_metric_and_label_that_rules_and_dashboard_name_exists(file: str) -> None:
    text = (ROOT / "docs" / "metrics" / file).read_text()
    expressions = expressions_of(json.loads(text) if file.endswith(".json") else yaml.safe_load(text))
    assert len(expressions) >= 7
    for expression in expressions:
        named = re.findall(r"\b(dth_[a-z_]+)(?:\{([^}]*)\})?", expression)
        assert named, expression
        for name, selector in named:
            assert name in table.BY_NAME, expression
            assert set(re.findall(r"([a-z_]+)\s*=", selector)) <= {"job_id", *table.BY_NAME[name].labels}, expression
    if file.endswith(".json"):  # a dashboard shows all that there is
        assert set(re.findall(r"\bdth_[a-z_]+", text)) >= set(table.BY_NAME) - SHOWN_OTHERWISE


SHOWN_OTHERWISE = {"dth_run_bytes", "dth_run_failures", "dth_run_over", "dth_found_bytes_total"}


def expressions_of(value: Any) -> list[str]:
    """Every `expr` in a document."""
    if isinstance(value, list):
        return [found for one in value for found in expressions_of(one)]
    if not isinstance(value, dict):
        return []
    own = [value["expr"]] if "expr" in value else []
    return own + [found for one in value.values() for found in expressions_of(one)]

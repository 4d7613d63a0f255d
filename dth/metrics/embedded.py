"""Metrics for CloudWatch: lines of JSON in its embedded metric format, which CloudWatch Logs turns into metrics.

CloudWatch adds up what it gets, so a counter's line carries what was added since the last line: the sum over all lines is
what Prometheus shows. Gauges stand as they are. Samples with the same labels share a line, as the format asks for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from dth.metrics.sink import Sample
from dth.metrics.table import Kind

NAMESPACE = "dth"
_MOST_METRICS = 100  # of one line, by the format's specification
_NO_DIMENSION = "run_id"  # each value of a dimension makes a metric that is paid for: runs stay plain fields


class EmbeddedLines:
    """Makes the lines of one command. `fields` go into each line and are no dimensions."""

    def __init__(self, job_id: str, fields: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._job_id = job_id
        self._fields = fields
        self._clock = clock
        self._before: dict[tuple[str, tuple[str, ...]], float] = {}

    def lines(self, samples: Iterable[Sample]) -> Iterator[str]:
        """One line for each set of labels; counters that stand still are left out."""
        groups: dict[tuple[tuple[str, str], ...], list[tuple[Sample, float]]] = {}
        for sample in samples:
            value = self._value(sample)
            if value is not None:
                labels = tuple(zip(sample.metric.labels, sample.labels, strict=True))
                groups.setdefault(labels, []).append((sample, value))
        now = round(self._clock() * 1000)
        for labels, group in groups.items():
            for start in range(0, len(group), _MOST_METRICS):
                yield self._line(labels, group[start : start + _MOST_METRICS], now)

    def _value(self, sample: Sample) -> float | None:
        if sample.metric.kind is Kind.GAUGE:
            return sample.value
        key = sample.metric.name, sample.labels
        added = sample.value - self._before.get(key, 0)
        self._before[key] = sample.value
        return added or None

    def _line(self, labels: tuple[tuple[str, str], ...], group: list[tuple[Sample, float]], now: int) -> str:
        dimensions = ["job_id", *(name for name, _ in labels if name != _NO_DIMENSION)]
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [dimensions],
            "Metrics": [{"Name": one.metric.name, "Unit": one.metric.unit.value} for one, _ in group],
        }
        root: dict[str, Any] = {"_aws": {"Timestamp": now, "CloudWatchMetrics": [directive]}, "job_id": self._job_id}
        root |= {**self._fields, **dict(labels), **{one.metric.name: value for one, value in group}}
        return json.dumps(root, separators=(",", ":"))

"""Metrics for Prometheus: its text format, over HTTP. Import it only where it is wanted: the library costs start-up time."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dth.errors import SettingsError
from dth.metrics.sink import Sink
from dth.metrics.table import ALL, Kind, Metric

_JOB = "job_id"


class SinkCollector(Collector):
    """What a sink holds when it is asked. Called on the server's threads."""

    def __init__(self, sink: Sink, job_id: str) -> None:
        self._sink = sink
        self._job_id = job_id

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """All metrics that have a value, in the order of the table."""
        found: dict[Metric, CounterMetricFamily | GaugeMetricFamily] = {}
        for sample in self._sink.samples():
            metric = sample.metric
            if metric not in found:
                kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
                found[metric] = kind(metric.name, metric.text, labels=(_JOB, *metric.labels))
            found[metric].add_metric((self._job_id, *sample.labels), sample.value)
        return (found[metric] for metric in ALL if metric in found)


class PrometheusServer:
    """Answers `GET /metrics` at an address until it is closed."""

    def __init__(self, server: WSGIServer, thread: Thread, host: str) -> None:
        self._server = server
        self._thread = thread
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{server.server_port}/metrics"

    @classmethod
    def listen(cls, sink: Sink, job_id: str, host: str, port: int) -> PrometheusServer:
        """Port 0: any that is free. Raises SettingsError where nobody can listen there."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(SinkCollector(sink, job_id))
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as error:
            raise SettingsError(f"metrics = {host}:{port} cannot be listened at: {error.strerror or error}") from error
        return cls(server, thread, host)

    def close(self) -> None:
        """Stop listening; may take half a second."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

"""What dth has to show, as data, and whether a report shows it: met, not met, or not measured; always with the figure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from bench.contenders import WITH_CRCS
from bench.peers import DEFAULTS, FEWER_REQUESTS, LEANEST
from bench.results import Metric, Report, Result, Row
from bench.tuning import TUNED
from bench.unchanged import MANY_RANGES, ONE_RANGE

Figure = Callable[[Result], float | None]


class Verdict(Enum):
    MET = "met"
    MISSED = "**not met**"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Bound:
    """`figure` of the result `workload` shall be at most `limit`, or, with `least`, at least."""

    text: str
    workload: str
    figure: Figure
    limit: float
    least: bool = False
    digits: int = 2
    unit: str = ""

    def value(self, report: Report) -> float | None:
        result = report.result(self.workload)
        return self.figure(result) if result else None

    def verdict(self, report: Report) -> Verdict:
        value = self.value(report)
        if value is None:
            return Verdict.UNKNOWN
        holds = value >= self.limit if self.least else value <= self.limit
        return Verdict.MET if holds else Verdict.MISSED

    def wanted(self) -> str:
        return f"at {'least' if self.least else 'most'} {self.limit:,.{self.digits}f}{self.unit}"

    def measured(self, report: Report) -> str:
        value = self.value(report)
        return "" if value is None else f"{value:,.{self.digits}f}{self.unit}"


def ratio(tool: str, setting: str = "", *, ours: str = "", metric: Metric = "cpu") -> Figure:
    """dth's seconds a unit in terms of the other's. Without settings, each one's best."""

    def figure(result: Result) -> float | None:
        return _divided(result.row("dth", ours), result.row(tool, setting), metric)

    return figure


def _divided(one: Row | None, other: Row | None, metric: Metric) -> float | None:
    return one.per_unit(metric) / other.per_unit(metric) if one and other else None


def speed(tool: str, setting: str = "") -> Figure:
    """dth's rate by the clock in terms of the other's."""

    def figure(result: Result) -> float | None:
        return _divided(result.row(tool, setting), result.row("dth"), "wall")

    return figure


def of_row(figure: Callable[[Row], float], setting: str = "") -> Figure:
    """A figure of one of dth's rows."""

    def found(result: Result) -> float | None:
        row = result.row("dth", setting)
        return figure(row) if row else None

    return found


def _keys_per_second(sides: int) -> Callable[[Row], float]:
    return lambda row: 1000 * sides / row.per_unit("cpu")


def _mib(row: Row) -> float:
    return row.rss / 2**20


def _connections(row: Row) -> float:
    return row.connections / 2


def _milliseconds(row: Row) -> float:
    return row.cpu * 1000


def _many_to_one(result: Result) -> float | None:
    return _divided(result.row("dth", MANY_RANGES), result.row("dth", ONE_RANGE), "cpu")


_SPEED = "10 KiB at a round trip of 100 ms: rate beside rclone"
BOUNDS = (
    Bound("20,000 of 10 KiB over HTTP: CPU beside rclone's best", "small", ratio("rclone"), 0.30),
    Bound("20,000 of 10 KiB over HTTP: CPU beside juicefs sync's", "small", ratio("juicefs"), 0.35),
    Bound("20,000 of 10 KiB over HTTP: CPU beside s5cmd's down and up", "small", ratio("s5cmd"), 0.15),
    Bound("200,000 of 10 KiB over HTTP: CPU beside rclone's", "small-200k", ratio("rclone"), 0.23),
    Bound("20,000 of 10 KiB over HTTPS: CPU beside rclone's best", "small-tls", ratio("rclone"), 0.40),
    Bound("Multipart over HTTP: CPU beside rclone's best", "bulk", ratio("rclone", ours=WITH_CRCS), 0.27),
    Bound(
        "Multipart over HTTP: CPU beside juicefs sync's, which checks nothing",
        "bulk",
        ratio("juicefs", ours=WITH_CRCS),
        1.0,
    ),
    Bound("Multipart over HTTPS: CPU beside rclone's best", "bulk-tls", ratio("rclone", ours=WITH_CRCS), 0.75),
    Bound("Multipart over HTTPS: CPU beside obstore's transport", "bulk-tls", ratio("obstore", ours=WITH_CRCS), 1.0),
    Bound("5 MiB over HTTP: CPU beside rclone's leanest", "5mib", ratio("rclone", LEANEST), 1.1),
    Bound("5 MiB over HTTPS: CPU beside rclone's leanest", "5mib-tls", ratio("rclone", LEANEST), 1.2),
    Bound("5 MiB over HTTP: CPU beside rclone that proves its bytes too", "5mib", ratio("rclone", FEWER_REQUESTS), 1.0),
    Bound(
        "5 MiB over HTTPS: CPU beside rclone that proves its bytes too",
        "5mib-tls",
        ratio("rclone", FEWER_REQUESTS),
        1.0,
    ),
    Bound(
        "Nothing to do on 1,000,000 keys a side, one range: keys a CPU second",
        "unchanged-1m",
        of_row(_keys_per_second(2), ONE_RANGE),
        620_000,
        least=True,
        digits=0,
    ),
    Bound("The same in 16 ranges: CPU beside one range", "unchanged-1m", _many_to_one, 1.1),
    Bound("The same: memory in MiB", "unchanged-1m", of_row(_mib, ONE_RANGE), 100, digits=0),
    Bound("All missing: keys a CPU second", "missing", of_row(_keys_per_second(1)), 300_000, least=True, digits=0),
    Bound(f"{_SPEED} as it comes", "small-100ms", speed("rclone", DEFAULTS), 3.0, least=True),
    Bound(f"{_SPEED} at its best", "small-100ms", speed("rclone"), 1.0, least=True),
    Bound(
        "10 KiB with 1% of packets lost: rate beside rclone at its best", "small-loss", speed("rclone"), 1.0, least=True
    ),
    Bound("Two processes: CPU an object beside one", "processes", ratio("dth, one process"), 1.05),
    Bound("20,000 of 10 KiB over HTTP: connections a side", "small", of_row(_connections), 40, digits=0),
    Bound("Start-up: --help, ms of CPU", "startup-help", of_row(_milliseconds), 150, digits=0),
    Bound("Start-up: --version, ms of CPU", "startup-version", of_row(_milliseconds), 100, digits=0),
    Bound("Start-up: a sync of one object, ms of CPU", "startup-one", of_row(_milliseconds), 350, digits=0),
    *(
        Bound(
            f"Defaults beside the best setting by hand, {what}: rate", f"defaults-{name}", speed(TUNED), 0.9, least=True
        )
        for name, what in (("small", "10 KiB"), ("5mib", "5 MiB"), ("bulk", "multipart"), ("100ms", "10 KiB at 100 ms"))
    ),
)


def lines(report: Report) -> list[str]:
    """A line for each bound whose workload was measured."""
    known = [bound for bound in BOUNDS if bound.verdict(report) is not Verdict.UNKNOWN]
    return [
        f"{bound.verdict(report).value.strip('*'):8} {bound.text}: {bound.measured(report)} ({bound.wanted()})"
        for bound in known
    ]

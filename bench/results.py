"""What was measured, as values: runs, rows, results; and the file that keeps them.

`bench/results/DATE-COMMIT.json` holds all workloads of one commit. It names the processor and its cores, never the
machine, a path or a person.
"""

import json
import statistics
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "bench" / "results"
Metric = Literal["cpu", "wall"]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one contender. Seconds of its whole process tree; bytes of its largest process (`rss`) and of all
    together (`tree_rss`); requests and connections as the servers counted them."""

    cpu: float
    wall: float
    rss: int
    tree_rss: int
    requests: int
    connections: int


@dataclass(frozen=True, slots=True)
class Row:
    """A contender with one setting. `units` is what its seconds are divided by."""

    tool: str
    setting: str
    hashes: str
    counts: bool  # False: shown, but never the tool's best
    units: float
    runs: tuple[Run, ...]
    proof: dict[str, int] = field(default_factory=dict)  # what dth's own report says of its objects

    @property
    def cpu(self) -> float:
        return statistics.median(run.cpu for run in self.runs)

    @property
    def wall(self) -> float:
        return statistics.median(run.wall for run in self.runs)

    @property
    def spread(self) -> float:
        """(Largest - smallest) / median of the CPU."""
        cpus = [run.cpu for run in self.runs]
        return (max(cpus) - min(cpus)) / self.cpu if self.cpu else 0.0

    @property
    def rss(self) -> int:
        return max(run.rss for run in self.runs)

    @property
    def tree_rss(self) -> int:
        return max(run.tree_rss for run in self.runs)

    @property
    def requests(self) -> int:
        return int(statistics.median(run.requests for run in self.runs))

    @property
    def connections(self) -> int:
        return int(statistics.median(run.connections for run in self.runs))

    def per_unit(self, metric: Metric) -> float:
        """Seconds a unit."""
        return (self.cpu if metric == "cpu" else self.wall) / self.units


@dataclass(frozen=True, slots=True)
class Result:
    """One workload, measured. `unit` names what seconds are divided by: `object`, `GiB`, `1,000 keys`, ..."""

    name: str
    title: str
    unit: str
    metric: Metric  # what decides which setting is a tool's best
    objects: int
    bytes: int
    tls: bool
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    load: float = 0.0  # of the machine over a minute, before the bench began

    @property
    def rounds(self) -> int:
        """Of whoever ran most often."""
        return max((len(row.runs) for row in self.rows), default=0)

    def row(self, tool: str, setting: str = "") -> Row | None:
        """The tool's row with this setting; without one, its best."""
        if setting:
            return next((row for row in self.rows if row.tool == tool and row.setting == setting), None)
        mine = [row for row in self.rows if row.tool == tool and row.counts]
        return min(mine, key=lambda row: row.per_unit(self.metric), default=None)

    def best(self) -> list[Row]:
        """Each tool's best row, in the order of the rows."""
        tools = dict.fromkeys(row.tool for row in self.rows)
        return [row for row in map(self.row, tools) if row]

    def times_ours(self, row: Row) -> float | None:
        """Its seconds a unit in terms of dth's best; None where dth had no part."""
        ours = self.row("dth")
        return row.per_unit(self.metric) / ours.per_unit(self.metric) if ours else None


@dataclass(frozen=True, slots=True)
class Report:
    """All that is known of one commit."""

    date: str  # and time, as `now` gives it
    commit: str
    machine: dict[str, Any]
    results: tuple[Result, ...]
    notes: tuple[str, ...] = ()

    def result(self, name: str) -> Result | None:
        return next((one for one in self.results if one.name == name), None)


def merged(old: Iterable[Result], new: Iterable[Result]) -> tuple[Result, ...]:
    """The old ones, each replaced by a new one of its name, unless that had fewer rounds; then what is new altogether."""
    kept = {one.name: one for one in old}
    for one in new:
        before = kept.get(one.name)
        if before is None or one.rounds >= before.rounds:
            kept[one.name] = one
    return tuple(kept.values())


def save(report: Report, folder: Path = FOLDER) -> Path:
    """Merge it into the file of its commit, which is replaced in one step: whoever is killed here loses nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    day = report.date[:10]
    path = next(iter(sorted(folder.glob(f"*-{report.commit}.json"))), folder / f"{day}-{report.commit}.json")
    before = load(path).results if path.exists() else ()
    whole = asdict(report) | {"results": [asdict(one) for one in merged(before, report.results)]}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(whole, indent=1) + "\n")
    fresh.replace(path)
    return path


def load(path: Path) -> Report:
    """As `save` wrote it."""
    said = json.loads(path.read_text())
    results = tuple(_result(one) for one in said.pop("results"))
    return Report(results=results, **(said | {"notes": tuple(said["notes"])}))


def _result(said: dict[str, Any]) -> Result:
    rows = tuple(Row(runs=tuple(Run(**run) for run in row.pop("runs")), **row) for row in said.pop("rows"))
    return Result(rows=rows, **(said | {"notes": tuple(said["notes"])}))


def newest(folder: Path = FOLDER) -> Path | None:
    """The file that was measured last."""
    found = sorted((load(path).date, str(path)) for path in folder.glob("*.json"))
    return Path(found[-1][1]) if found else None


def now() -> str:
    """The time in UTC, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ")


def commit() -> str:
    """Short name of the commit; with `-changed` where dth's files are not those of it; `unknown` without git."""
    if not (name := _git("rev-parse", "--short=8", "HEAD")):
        return "unknown"
    return f"{name}-changed" if _git("status", "--porcelain", "--", "dth") else name


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

"""Run contenders in turn on one store, and say who cost what."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.build import OUT
from bench.contenders import Contender
from bench.stand import Cost, Store, machine, run


@dataclass(frozen=True, slots=True)
class Job:
    """One workload: what is to be moved. `units` is what CPU is divided by."""

    name: str
    source: str
    dest: str
    objects: int
    bytes: int
    unit: str
    units: float
    copies: bool = True  # all of it, into an empty destination; False: all of it is there already


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of one contender."""

    tool: str
    setting: str
    cpu_seconds: float
    cpu_per_unit: float
    spread: float  # (largest - smallest) / median of the CPU
    wall_seconds: float
    rss_bytes: int
    requests: int
    connections: int
    hashes: str
    best: bool


def measure(job: Job, contenders: Sequence[Contender], store: Store, rounds: int) -> list[Row]:
    """Alternating rounds: whatever else the machine does hits all of them alike. Raises where one didn't do the job."""
    costs: dict[int, list[tuple[Cost, dict[str, int]]]] = {number: [] for number in range(len(contenders))}
    for turn in range(rounds):
        for number, contender in enumerate(contenders):
            store.reset()
            cost = run(contender.words(store, job.source, job.dest), contender.environment(store))
            moved = store.stats()
            _check(job, contender, cost, moved)
            costs[number].append((cost, moved))
            print(f"  round {turn + 1}: {contender.tool} ({contender.setting}): {cost.cpu:.2f} s CPU", flush=True)
    medians = {number: statistics.median(cost.cpu for cost, _ in runs) for number, runs in costs.items()}
    best = {
        min((n for n in medians if contenders[n].tool == contender.tool), key=medians.__getitem__)
        for contender in contenders
    }
    return [_row(job, contenders[n], costs[n], best=n in best) for n in medians]


def _check(job: Job, contender: Contender, cost: Cost, moved: dict[str, int]) -> None:
    done = moved["put"] + moved["complete"]
    wanted = job.objects if job.copies else 0
    if cost.exit_code or moved["odd_bodies"] or done != wanted:
        said = f"exit {cost.exit_code}, {done} of {wanted} objects, {moved['odd_bodies']} bodies with wrong bytes"
        raise RuntimeError(f"{contender.tool} ({contender.setting}): {said}\n{cost.output}")


def _row(job: Job, contender: Contender, runs: list[tuple[Cost, dict[str, int]]], *, best: bool) -> Row:
    cpus = sorted(cost.cpu for cost, _ in runs)
    cpu = statistics.median(cpus)
    counted = ("list", "get", "head", "put", "part", "create", "complete", "abort", "delete", "other")
    return Row(
        contender.tool,
        contender.setting,
        cpu,
        cpu / job.units,
        (cpus[-1] - cpus[0]) / cpu,
        statistics.median(cost.wall for cost, _ in runs),
        max(cost.rss for cost, _ in runs),
        int(statistics.median(sum(moved[name] for name in counted) for _, moved in runs)),
        int(statistics.median(moved["connections"] for _, moved in runs)) - 1,  # one asked for these counts
        contender.hashes,
        best,
    )


def show(job: Job, rows: Sequence[Row], rounds: int) -> None:
    """A table for people on stdout, and `bench/out/<job>.json` for programs."""
    print(
        f"\n{job.name}: {job.objects:,} objects, {job.bytes / 2**20:,.0f} MiB; medians of {rounds}; * best of its tool"
    )
    width = max(len(f"{row.tool}, {row.setting}") for row in rows) + 2
    heads = (
        f"{job.unit:>22} {'CPU s':>8} {'spread':>7} {'wall s':>8} {'RSS MiB':>8} {'requests':>9} {'connections':>12}"
    )
    print(" " * width + heads)
    micro = job.unit.startswith("µs")
    for row in rows:
        name = f"{'*' if row.best else ' '}{row.tool}, {row.setting}"
        per = f"{row.cpu_per_unit * 1e6:22,.0f}" if micro else f"{row.cpu_per_unit:22.3f}"
        numbers = f"{row.cpu_seconds:8.2f} {row.spread:7.0%} {row.wall_seconds:8.2f} {row.rss_bytes / 2**20:8.0f}"
        print(f"{name:<{width}}{per} {numbers} {row.requests:9,} {row.connections:12,}")
    ours = next((row for row in rows if row.tool == "dth"), None)
    for row in rows:
        if ours is not None and row.best and row is not ours:
            print(f"{row.tool} at its best costs {row.cpu_seconds / ours.cpu_seconds:.2f} times dth's CPU")
    for row in rows:
        if row.best:
            print(f"{row.tool} hashes: {row.hashes}")
    print(f"machine: {machine()}")
    OUT.mkdir(exist_ok=True)
    report = {"job": asdict(job), "rounds": rounds, "machine": machine(), "rows": [asdict(row) for row in rows]}
    Path(OUT / f"{job.name}.json").write_text(json.dumps(report, indent=1) + "\n")

"""Run contenders in turn on one store, and count what each cost."""

import argparse
import json
import statistics
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from bench.contenders import Contender
from bench.stand import Cost, Store, run, store


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
    pages: int = 0  # of listing that nobody can do without: who asked for fewer has not seen everything


@dataclass(frozen=True, slots=True)
class Workload:
    """A job, who does it, and the store for it: its key `spaces` as `stand.store` takes them. `notes` say what is
    compared, and who can't take part and why."""

    job: Job
    contenders: tuple[Contender, ...]
    spaces: tuple[str, ...]
    tls: bool = False
    latency_ms: int = 0
    notes: tuple[str, ...] = ()

    def only(self, tools: str) -> "Workload":
        """With these tools alone (comma-separated; "" keeps all)."""
        kept = tuple(one for one in self.contenders if not tools or one.tool in tools.split(","))
        return replace(self, contenders=kept)

    def leanest(self) -> "Workload":
        """With one setting of each tool, its last, which leaves out the most."""
        return replace(self, contenders=tuple({one.tool: one for one in self.contenders}.values()))


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of one contender."""

    tool: str
    setting: str
    cpu_seconds: float
    cpu_per_unit: float
    spread: float  # (largest - smallest) / median of the CPU
    wall_seconds: float
    rss_bytes: int  # of its largest process
    tree_rss_bytes: int  # of all its processes together
    requests: int
    connections: int
    hashes: str
    proof: dict[str, int]  # what dth's own report says of its objects; empty for others, and where nothing is copied
    best: bool


@dataclass(frozen=True, slots=True)
class Result:
    """One workload, measured."""

    job: Job
    rounds: int
    tls: bool
    rows: list[Row]
    notes: tuple[str, ...]

    def times_ours(self, row: Row) -> float | None:
        """Its CPU in terms of dth's best; None where dth had no part."""
        ours = next((one for one in self.rows if one.tool == "dth" and one.best), None)
        return row.cpu_seconds / ours.cpu_seconds if ours else None


def arguments(doc: str | None, *, objects: int) -> argparse.ArgumentParser:
    """What each workload's command takes."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--objects", type=int, default=objects)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tls", action="store_true", help="HTTPS on both sides")
    parser.add_argument("--only", default="", help="comma-separated tools: dth, rclone, juicefs, s5cmd")
    return parser


def measure(workload: Workload, rounds: int) -> Result:
    """Alternating rounds: whatever else the machine does hits all of them alike. Raises where one didn't do the job."""
    job, contenders = workload.job, workload.contenders
    costs: dict[int, list[tuple[Cost, dict[str, int]]]] = {number: [] for number in range(len(contenders))}
    with store(workload.spaces, latency_ms=workload.latency_ms, tls=workload.tls) as running:
        for turn in range(rounds):
            for number, contender in enumerate(contenders):
                cost, moved = _run(job, contender, running)
                costs[number].append((cost, moved))
                said = f"{contender.tool} ({contender.setting}): {cost.cpu:.2f} s CPU"
                print(f"  {job.name}, round {turn + 1}: {said}", flush=True)
        # over HTTPS it would be the same
        proofs = [_proof(job, one, running) if job.copies and not workload.tls else {} for one in contenders]
    medians = {number: statistics.median(cost.cpu for cost, _ in runs) for number, runs in costs.items()}
    best = {
        min(
            (n for n in medians if contenders[n].tool == contender.tool and contenders[n].counts),
            key=medians.__getitem__,
        )
        for contender in contenders
    }
    rows = [_row(job, contenders[n], costs[n], proofs[n], best=n in best) for n in medians]
    return Result(job, rounds, workload.tls, rows, workload.notes)


def _run(job: Job, contender: Contender, running: Store) -> tuple[Cost, dict[str, int]]:
    running.reset()
    cost = run(contender.words(running, job.source, job.dest), contender.environment(running))
    moved = running.stats()
    _check(job, contender, cost, moved)
    return cost, moved


def _check(job: Job, contender: Contender, cost: Cost, moved: dict[str, int]) -> None:
    done = moved["put"] + moved["complete"]
    wanted = job.objects if job.copies else 0
    if cost.exit_code or moved["odd_bodies"] or done != wanted or moved["list"] < job.pages:
        bodies = f"{done} of {wanted} objects, {moved['odd_bodies']} bodies with wrong bytes"
        pages = f"{moved['list']} of {job.pages} pages listed"
        said = f"exit {cost.exit_code}, {bodies}, {pages}"
        raise RuntimeError(f"{contender.tool} ({contender.setting}): {said}\n{cost.output}")


def _proof(job: Job, contender: Contender, running: Store) -> dict[str, int]:
    """What proved the bytes, by dth's report of one more run, which isn't counted: writing a report has a price."""
    if contender.tool != "dth":
        return {}
    with tempfile.TemporaryDirectory(prefix="dth-bench-") as folder:
        report = Path(folder) / "report.jsonl"
        _run(job, replace(contender, command=(*contender.command, "--report", str(report))), running)
        lines = [json.loads(line) for line in report.read_text().splitlines()]
    return dict(Counter(str(line["verified_by"]) for line in lines))


def _row(
    job: Job, contender: Contender, runs: list[tuple[Cost, dict[str, int]]], proof: dict[str, int], *, best: bool
) -> Row:
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
        max(cost.tree_rss for cost, _ in runs),
        int(statistics.median(sum(moved[name] for name in counted) for _, moved in runs)),
        int(statistics.median(moved["connections"] for _, moved in runs)) - 1,  # one asked for these counts
        contender.hashes,
        proof,
        best,
    )

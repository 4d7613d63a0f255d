"""Run contenders in turn on one store, and count what each cost."""

import argparse
import contextlib
import json
import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from bench import aws
from bench.contenders import Contender
from bench.network import Network
from bench.results import Metric, Result, Row, Run
from bench.stand import HERE, Cost, Store, run, store

_COUNTED = ("list", "get", "head", "put", "part", "create", "complete", "abort", "delete", "other")
_SECONDS = 1800  # after which a run is killed
_PREPARING = 2.0  # seconds to make a queue and a table


@dataclass(frozen=True, slots=True)
class Job:
    """One workload: what is to be moved. Seconds are given per `unit`, of which there are `units`."""

    name: str
    title: str
    source: str
    dest: str
    objects: int
    bytes: int
    unit: str
    units: float
    copies: bool = True  # all of it, into an empty destination; False: all of it is there already
    pages: int = 0  # of listing that nobody can do without: who asked for fewer has not seen everything
    metric: Metric = "cpu"

    def part(self, share: int) -> "Job":
        """The same with every `share`-th object alone; the store keeps those in a folder of their own."""
        if share == 1:
            return self
        count = max(self.objects // share, 1)
        scaled = self.units * count / self.objects
        return replace(self, source=part_of(self.source, share), objects=count, units=scaled)


def part_of(place: str, share: int) -> str:
    return f"{place.rstrip('/')}-{share}/"


@dataclass(frozen=True, slots=True)
class Workload:
    """A job, who does it, and the store for it: its key `spaces` as `stand.store` takes them. `notes` say what is
    compared, and who can't take part and why."""

    job: Job
    contenders: tuple[Contender, ...]
    spaces: tuple[str, ...]
    tls: bool = False
    network: Network = HERE
    notes: tuple[str, ...] = ()
    on_aws: bool = False  # needs the emulated SQS and DynamoDB
    asks_proof: bool = True  # False where another workload has asked already what proves the same

    def only(self, tools: str) -> "Workload":
        """With these tools alone (comma-separated; "" keeps all)."""
        kept = tuple(one for one in self.contenders if not tools or one.tool in tools.split(","))
        return replace(self, contenders=kept)

    def leanest(self) -> "Workload":
        """With one setting of each tool, its last that counts, which leaves out the most."""
        last = {one.tool: one for one in self.contenders if one.counts}
        return replace(self, contenders=tuple(last.values()))

    def here(self) -> "Workload":
        """With the tools that are installed; of the others a note says so."""
        absent = dict.fromkeys(f"{one.tool}: not installed here" for one in self.contenders if not one.installed())
        kept = tuple(one for one in self.contenders if one.installed())
        return replace(self, contenders=kept, notes=(*self.notes, *absent))

    def all_spaces(self) -> list[str]:
        """Key spaces, those of contenders that do a part alone included."""
        spaces = list(self.spaces)
        for share in sorted({one.share for one in self.contenders} - {1}):
            for space in self.spaces:
                bucket, prefix, count, *rest = space.split(":")
                spaces.append(":".join((bucket, part_of(prefix, share), str(max(int(count) // share, 1)), *rest)))
        return spaces


class Measurement(Protocol):
    """Something that is measured round by round. A round that fails for one contender goes on with the others, and the
    notes of the results say who failed and how. Nobody begins after `ends` (of `time.monotonic`)."""

    @property
    def name(self) -> str: ...

    def round(self, ends: float = math.inf) -> None: ...

    def fewer(self) -> None:
        """From now on leave out settings that can't be a tool's best any more."""

    def expected(self) -> float:
        """Seconds that the next round will take, by the last one."""

    def prove(self) -> None:
        """Ask dth what proved the bytes, in one more run that isn't counted."""

    def results(self) -> list[Result]: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class StoreMeasurement:
    """A workload on the bench's own store."""

    workload: Workload
    runs: dict[int, list[Run]] = field(default_factory=dict)  # by the contender's place
    proofs: dict[int, dict[str, int]] = field(default_factory=dict)
    out: set[int] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    load: float = field(default_factory=lambda: os.getloadavg()[0])  # before the bench makes its own

    @property
    def name(self) -> str:
        return self.workload.job.name

    def round(self, ends: float = math.inf) -> None:
        with self._store() as running:
            for number, contender in enumerate(self.workload.contenders):
                if self._takes_part(number) and time.monotonic() < ends:
                    self._once(number, contender, running)

    def _takes_part(self, number: int) -> bool:
        most = self.workload.contenders[number].rounds
        return number not in self.out and not (most and len(self.runs.get(number, ())) >= most)

    def expected(self) -> float:
        walls = [runs[-1].wall for number, runs in self.runs.items() if self._takes_part(number)]
        return sum(walls) + (_PREPARING if self.workload.on_aws else 0.2) * len(walls)

    def _once(self, number: int, contender: Contender, running: Store) -> None:
        try:
            cost, moved = run_once(self.workload.job.part(contender.share), contender, running)
        except WrongError as wrong:
            self.out.add(number)
            self.runs.pop(number, None)
            self.failures.append(str(wrong).partition("\n")[0])
            print(f"  {self.name}: FAILED: {wrong}", flush=True)
            return
        self.runs.setdefault(number, []).append(_run_of(cost, moved))
        turn, said = len(self.runs[number]), f"{contender.tool} ({contender.setting})"
        print(f"  {self.name}, round {turn}: {said}: {cost.cpu:.2f} s CPU, {cost.wall:.1f} s", flush=True)

    def fewer(self) -> None:
        rows = {number: self._row(number) for number in self.runs}
        metric = self.workload.job.metric
        for number, row in rows.items():
            same = [one.per_unit(metric) for one in rows.values() if one.tool == row.tool and one.counts]
            if not _must_stay(row) and same and row.per_unit(metric) > _HOPELESS * min(same):
                self.out.add(number)

    def prove(self) -> None:
        wanted = self.workload.asks_proof and self.workload.job.copies and not self.workload.tls
        ours = [n for n in self.runs if self.workload.contenders[n].tool == "dth" and n not in self.proofs]
        if wanted and ours:
            with self._store() as running, contextlib.suppress(WrongError):
                for number in ours:
                    job = self.workload.job.part(self.workload.contenders[number].share)
                    self.proofs[number] = _proof(job, self.workload.contenders[number], running)

    @contextlib.contextmanager
    def _store(self) -> Iterator[Store]:
        work = self.workload
        with store(work.all_spaces(), network=work.network, tls=work.tls) as running:
            if work.on_aws:
                with aws.services() as url:
                    yield replace(running, aws=url)
            else:
                yield running

    def _row(self, number: int) -> Row:
        one = self.workload.contenders[number]
        units = self.workload.job.part(one.share).units
        runs, proof = tuple(self.runs[number]), self.proofs.get(number, {})
        return Row(one.tool, one.setting, one.hashes, one.counts, units, runs, proof)

    def close(self) -> None:
        """Nothing stays open between rounds."""

    def results(self) -> list[Result]:
        if not self.runs:
            return []
        job, work = self.workload.job, self.workload
        rows = tuple(self._row(number) for number in sorted(self.runs))
        late = [one for n, one in enumerate(work.contenders) if n not in self.runs and n not in self.out]
        notes = (*work.notes, *(f"failed: {said}" for said in self.failures))
        notes += tuple(f"{one.tool} ({one.setting}): no time" for one in late)
        size = (job.name, job.title, job.unit, job.metric, job.objects, job.bytes)
        return [Result(*size, work.tls, rows, notes, round(self.load, 1))]


_HOPELESS = 1.15  # times its tool's best in the rounds so far


def _must_stay(row: Row) -> bool:
    """dth's settings are what is compared; of its peers, those stay that were never to be the best."""
    return row.tool == "dth" or not row.counts


class WrongError(RuntimeError):
    """A contender did not do the job."""


def run_once(job: Job, contender: Contender, running: Store) -> tuple[Cost, dict[str, int]]:
    """What it cost and what the store counted. Raises WrongError where it didn't do the job."""
    running.reset()
    if running.aws:
        aws.prepare(running.aws)
    words = [*running.inside, *contender.words(running, job.source, job.dest)]
    cost = run(words, contender.environment(running), _SECONDS)
    moved = running.stats()
    done = moved["put"] + moved["complete"]
    wanted = job.objects if job.copies else 0
    if cost.exit_code or moved["odd_bodies"] or done != wanted or moved["list"] < job.pages:
        bodies = f"{done} of {wanted} objects, {moved['odd_bodies']} bodies with wrong bytes"
        pages = f"{moved['list']} of {job.pages} pages listed"
        said = f"exit {cost.exit_code}, {bodies}, {pages}"
        raise WrongError(f"{contender.tool} ({contender.setting}): {said}\n{cost.output}")
    return cost, moved


def _proof(job: Job, contender: Contender, running: Store) -> dict[str, int]:
    """What proved the bytes, by dth's report of one more run, which isn't counted: writing a report has a price."""
    with tempfile.TemporaryDirectory(prefix="dth-bench-") as folder:
        report = Path(folder) / "report.jsonl"
        run_once(job, replace(contender, command=(*contender.command, "--report", str(report))), running)
        lines = [json.loads(line) for line in report.read_text().splitlines()]
    return dict(Counter(str(line["verified_by"]) for line in lines))


def _run_of(cost: Cost, moved: dict[str, int]) -> Run:
    requests = sum(moved[name] for name in _COUNTED)
    connections = moved["connections"] - 1  # one asked for these counts
    return Run(round(cost.cpu, 4), round(cost.wall, 3), cost.rss, cost.tree_rss, requests, connections)


def arguments(doc: str | None, *, objects: int) -> argparse.ArgumentParser:
    """What each workload's command takes."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--objects", type=int, default=objects)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tls", action="store_true", help="HTTPS on both sides")
    parser.add_argument("--only", default="", help="comma-separated tools: dth, rclone, juicefs, s5cmd, ...")
    return parser


def measure(workloads: Sequence[Workload], rounds: int) -> list[Result]:
    """Alternating rounds: whatever else the machine does hits all of them alike."""
    found: list[Result] = []
    for workload in workloads:
        one = StoreMeasurement(workload.here())
        for _ in range(rounds):
            one.round()
        one.prove()
        found += one.results()
    return found

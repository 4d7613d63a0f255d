"""What a command achieved, added up from the event stream; the exit code follows from it."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Mapping
from enum import IntEnum

from dth.events import (
    Buried,
    Estimated,
    Event,
    Explained,
    ListingProgress,
    Moved,
    ObjectFailed,
    Planned,
    Requests,
    RunAbandoned,
    RunOver,
    RunSealed,
    RunStarted,
)
from dth.prices import Cost, cost_of
from dth.states import Comparison, RunState
from dth.values import value

FAILURES_KEPT = 20  # named in the summary; all are in the report


class ExitCode(IntEnum):
    """What a command's end means to a script."""

    COMPLETE = 0
    BROKEN = 1
    USAGE = 2
    SOME_FAILED = 3
    UNREACHABLE = 4
    INTERRUPTED = 130


@value
class RunTotals:
    """One run as far as this command saw it. `found` is None until the run is sealed; `deleted` of those done were deletes, `gone` of
    those skipped had been deleted since they were listed, and of `untrue` ones the listing told another size or ETag than the
    object itself."""

    run_id: str
    state: str = RunState.LISTING.value
    found: int | None = None
    done: int = 0
    skipped: int = 0
    failed: int = 0
    bytes: int = 0
    deleted: int = 0
    gone: int = 0
    untrue: int = 0

    @property
    def complete(self) -> bool:
        """Sealed, and every object that it found has ended."""
        ended = self.done + self.skipped + self.failed
        return self.state == RunState.SEALED and self.found is not None and ended >= self.found


@value
class FailedObject:
    """One object that ended FAILED."""

    key: str
    code: str
    error: str


@value
class Summary:
    """The end of a command. Sums are over `runs`; `compared` counts source objects looked at, of which the selection
    left `not_selected` out; `requests` are HTTP requests by side and operation, `retries` those that had to be made again, by
    side and cause, `requests_usd` about what they cost, for the sides of which that is known, `cost` the whole of it (see
    `dth.prices`; None where no price is known). `proofs`, `reasons` and `skips` say what stands behind `done` and `skipped`
    (see `stats.Breakdown`). `estimate` is of a dry run's plan. `undecided` objects were kept although nothing proves
    them equal; `listed` counts what was only named, `explained` what `--explain`
    was asked for; `buried` counts messages that became dead letters as they came, because they are garbage or nobody who may
    ask for work wrote them; `failures` are the first ones, `failure_codes` counts all of them by code."""

    runs: tuple[RunTotals, ...]
    compared: int
    seconds: float
    exit_code: int
    planned: int = 0
    planned_bytes: int = 0
    requests: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    failures: tuple[FailedObject, ...] = ()
    failure_codes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    noun: str = "object"
    listed: int = 0
    not_selected: int = 0
    explained: int = 0
    planned_deletes: int = 0
    requests_usd: Mapping[str, float] = dataclasses.field(default_factory=dict)
    undecided: int = 0
    buried: int = 0
    retries: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    cost: Cost | None = None
    proofs: Mapping[str, int] = dataclasses.field(default_factory=dict)
    reasons: Mapping[str, int] = dataclasses.field(default_factory=dict)
    skips: Mapping[str, int] = dataclasses.field(default_factory=dict)
    estimate: Estimated | None = None

    @property
    def found(self) -> int:
        """Objects that had to be moved."""
        return sum(run.found or 0 for run in self.runs)

    @property
    def deleted(self) -> int:
        """Of those, objects that were deleted at the destination."""
        return sum(run.deleted for run in self.runs)

    @property
    def gone(self) -> int:
        """Objects that had been deleted since they were listed."""
        return sum(run.gone for run in self.runs)

    @property
    def untrue(self) -> int:
        """Objects whose listed size or ETag was not their own."""
        return sum(run.untrue for run in self.runs)

    @property
    def done(self) -> int:
        """Objects that were moved, or deleted."""
        return sum(run.done for run in self.runs)

    @property
    def skipped(self) -> int:
        """Objects that needed nothing after all."""
        return sum(run.skipped for run in self.runs)

    @property
    def failed(self) -> int:
        """Objects that could not be moved."""
        return sum(run.failed for run in self.runs)

    @property
    def bytes(self) -> int:
        """Bytes of the objects that were moved."""
        return sum(run.bytes for run in self.runs)

    @property
    def complete(self) -> bool:
        """Every run that this command saw is over, sealed and counted; an abandoned one, where a later one found its
        difference again."""
        if self.exit_code == ExitCode.INTERRUPTED:
            return False
        return all(run.complete or (run.state == RunState.ABANDONED and run is not self.runs[-1]) for run in self.runs)

    def to_json(self) -> str:
        """One ASCII line; its `event` field is `Summary`."""
        sums = {
            name: getattr(self, name)
            for name in ("found", "done", "deleted", "skipped", "gone", "untrue", "failed", "bytes", "complete")
        }
        fields = {**sums, **dataclasses.asdict(self), "seconds": round(self.seconds, 3)}
        return json.dumps({"event": "Summary", **fields}, separators=(",", ":"))


@value
class Verified:
    """The end of a `dth verify`. `counts` is by `states.Comparison`, `verified_by` says what proved the equal ones;
    `bytes` were read at each side. Not `complete`: it was interrupted, and what was not compared is unknown."""

    counts: Mapping[str, int]
    verified_by: Mapping[str, int]
    source_objects: int
    dest_objects: int
    bytes: int
    seconds: float
    exit_code: int
    complete: bool
    report: str
    requests: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)

    @property
    def compared(self) -> int:
        """Keys that were compared, of either side."""
        return sum(self.counts.values())

    @property
    def differences(self) -> int:
        """Keys whose sides differ."""
        return sum(count for name, count in self.counts.items() if Comparison(name).differs)

    def to_json(self) -> str:
        """One ASCII line; its `event` field is `Summary`."""
        sums = {name: getattr(self, name) for name in ("compared", "differences")}
        fields = {**sums, **dataclasses.asdict(self), "seconds": round(self.seconds, 3)}
        return json.dumps({"event": "Summary", **fields}, separators=(",", ":"))


class Tally:
    """Adds events up. Give it every event of a command, then ask for the `summary`."""

    def __init__(self) -> None:
        self.runs: dict[str, RunTotals] = {}
        self.noun = "object"
        self.listed = (0, 0)
        self.found_so_far = 0
        self.found_bytes = 0
        self.planned = 0
        self.named = 0
        self.explained = 0
        self.planned_deletes = 0
        self.planned_bytes = 0
        self.failures: list[FailedObject] = []
        self._codes: dict[str, Counter[str]] = {}
        self._requests: dict[str, Requests] = {}  # by process: each says all that it has asked so far
        self._behind: dict[str, RunOver] = {}
        self._estimate: Estimated | None = None
        self.buried = 0
        self._undecided: dict[str, int] = {}
        self._found_bytes: dict[str, int] = {}
        self._compared: dict[str, int] = {}
        self._not_selected: dict[str, int] = {}
        self._began = time.monotonic()

    def __call__(self, event: Event) -> None:  # noqa: C901, PLR0912 - one flat case for each kind
        """Take one event; kinds that add nothing are let pass."""
        match event:
            case RunStarted():
                self.noun = event.noun
                self._change(event.run_id)
            case ListingProgress():
                self.listed = (event.source_objects, event.destination_objects)
                self._compared[event.run_id] = event.source_objects
                self._not_selected[event.run_id] = event.not_selected
                self._found(event.run_id, event.found, event.found_bytes)
            case RunSealed():
                self._change(event.run_id, state=RunState.SEALED.value, found=event.found)
                self._compared[event.run_id] = event.compared
                self._not_selected[event.run_id] = event.not_selected
                self._undecided[event.run_id] = event.undecided
                self._found(event.run_id, event.found, event.found_bytes)
            case RunAbandoned():
                self._change(event.run_id, state=RunState.ABANDONED.value)
            case Moved():
                self._moved(event)
            case ObjectFailed(final=True):
                self._codes.setdefault(event.run_id, Counter())[event.error_code] += 1
                if len(self.failures) < FAILURES_KEPT:
                    self.failures.append(FailedObject(event.key, event.error_code, event.error))
            case Explained():
                self.explained += 1
            case Buried():
                self.buried += 1
            case Planned(action="delete"):
                self.planned_deletes += 1
            case Planned(action="list"):
                self.named += 1
            case Planned(action="copy"):
                self.planned += 1
                self.planned_bytes += event.size
            case Estimated():
                self._estimate = event
            case Requests():
                self._requests[event.process] = event
            case RunOver():
                self.noun = event.noun
                self._over(event)
            case _:
                pass

    def asked(self) -> dict[str, dict[str, int]]:
        """Requests of all processes so far, by side and operation."""
        sums: dict[str, Counter[str]] = {"source": Counter(), "destination": Counter()}
        for said in list(self._requests.values()):
            sums["source"].update(said.source)
            sums["destination"].update(said.destination)
        return {side: dict(counts) for side, counts in sums.items()}

    def asked_again(self) -> dict[str, dict[str, int]]:
        """Of those, what had to be made again, by side and cause."""
        sums: dict[str, Counter[str]] = {}
        for said in list(self._requests.values()):
            for side, counts in said.retries.items():
                sums.setdefault(side, Counter()).update(counts)
        return {side: dict(counts) for side, counts in sums.items()}

    def cost(self) -> Cost | None:
        """What all that was asked and moved costs so far; None where nobody knows any price of it."""
        regions: dict[str, str] = {}
        classes = [said.storage_class for said in self._requests.values() if said.storage_class]
        for said in list(self._requests.values()):
            regions |= {side: region for side, region in said.regions.items() if region or side not in regions}
        moved = sum(run.bytes for run in self.runs.values())
        cost = cost_of(self.asked(), regions, classes[-1] if classes else "", moved)
        return cost if cost.known else None

    def failure_codes(self) -> dict[str, int]:
        """Failures by code: as the ledger counted them where it was asked, for events of killed workers are missing."""
        sums: Counter[str] = Counter()
        for run_id in self._codes.keys() | self._behind.keys():
            over = self._behind.get(run_id)
            sums.update(over.causes if over and over.causes else self._codes.get(run_id, {}))
        return dict(sums)

    def _behind_of(self, kind: str) -> dict[str, int]:
        sums: Counter[str] = Counter()
        for over in self._behind.values():
            sums.update(getattr(over, kind))
        return dict(sums)

    def _run(self, run_id: str) -> RunTotals:
        return self.runs.get(run_id) or RunTotals(run_id)

    def _change(self, run_id: str, *, state: str | None = None, found: int | None = None) -> None:
        run = self._run(run_id)
        self.runs[run_id] = dataclasses.replace(
            run, state=state or run.state, found=run.found if found is None else found
        )

    def _found(self, run_id: str, found: int, found_bytes: int) -> None:
        self.found_so_far = found
        self._found_bytes[run_id] = found_bytes
        self.found_bytes = sum(self._found_bytes.values())

    def _moved(self, event: Moved) -> None:
        run = self._run(event.run_id)
        self.runs[event.run_id] = dataclasses.replace(
            run,
            done=run.done + event.done,
            skipped=run.skipped + event.skipped,
            failed=run.failed + event.failed,
            bytes=run.bytes + event.bytes,
            deleted=run.deleted + event.deleted,
            gone=run.gone + event.gone,
            untrue=run.untrue + event.untrue,
        )

    def _over(self, event: RunOver) -> None:
        """The ledger's own totals replace what events added up: those may repeat, or miss what a dead worker did."""
        self._behind[event.run_id] = event
        seen = self._run(event.run_id)
        self.runs[event.run_id] = RunTotals(
            event.run_id,
            event.state,
            event.found,
            event.done,
            event.skipped,
            event.failed,
            event.bytes,
            deleted=min(seen.deleted, event.done),
            gone=event.skips.get("gone", min(seen.gone, event.skipped)),
            untrue=min(seen.untrue, event.done + event.skipped),
        )

    def summary(self, *, exit_code: int | None = None) -> Summary:
        """The sums until now. Unless given, the exit code is 3 where an object failed, a message was buried or a run was
        abandoned, else 0."""
        failed = self.buried > 0 or any(run.failed or run.state == RunState.ABANDONED for run in self.runs.values())
        cost = self.cost()
        return Summary(
            runs=tuple(self.runs.values()),
            compared=sum(self._compared.values()),
            seconds=time.monotonic() - self._began,
            exit_code=(ExitCode.SOME_FAILED if failed else ExitCode.COMPLETE) if exit_code is None else exit_code,
            planned=self.planned,
            planned_bytes=self.planned_bytes,
            requests=self.asked(),
            failures=tuple(self.failures),
            failure_codes=self.failure_codes(),
            noun=self.noun,
            listed=self.named,
            explained=self.explained,
            buried=self.buried,
            planned_deletes=self.planned_deletes,
            not_selected=sum(self._not_selected.values()),
            requests_usd=cost.requests_usd if cost else {},
            undecided=sum(self._undecided.values()),
            retries=self.asked_again(),
            cost=cost,
            proofs=self._behind_of("proofs"),
            reasons=self._behind_of("reasons"),
            skips=self._behind_of("skips"),
            estimate=self._estimate,
        )

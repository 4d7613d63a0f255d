"""`dth status`: what the ledger and the queue say of a job."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dth.app.build import Lock, open_embedded
from dth.causes import Cause, cause_of
from dth.embedded import is_dead_here
from dth.finder.checkpoint import continued_by
from dth.ledgers.base import Ledger, Run
from dth.prices import Cost, cost_of
from dth.queues.base import QueueDepth
from dth.settings import TransferJob
from dth.states import RunState
from dth.stats import Failure, Lag, ProcessRow, ProcessState, add_up
from dth.usage import LOST_SECONDS

RUNS_SHOWN = 20
EXAMPLES = 20  # keys of each error code
PAGE = 50  # failures read at once to find them
FAILURES_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Failed:
    """Objects of a run that failed for one cause."""

    code: str
    cause: Cause
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Details:
    """What is known of one run beside its row. Rates are per second, over the last seconds; `left_seconds` is None while
    nobody can know. `found` and `found_bytes` grow while listing goes on. `cost` is None where no price is known."""

    processes: tuple[ProcessRow, ...] = ()
    failed: tuple[Failed, ...] = ()
    requests: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    retries: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    listed: tuple[int, int] = (0, 0)
    found: int = 0
    found_bytes: int = 0
    not_selected: int = 0
    objects_rate: float = 0.0
    bytes_rate: float = 0.0
    left_seconds: float | None = None
    lag: Lag | None = None
    cost: Cost | None = None

    @property
    def alive(self) -> list[ProcessRow]:
        """Processes that work on it now."""
        return [one for one in self.processes if one.state not in {ProcessState.ENDED, ProcessState.LOST}]


@dataclass(frozen=True, slots=True)
class Status:
    """A job at one moment: its runs, the newest first, what is known of each by its id, and its queue. `idle` are processes
    that have met no run yet. `continued` are the ids of runs whose finders died and which the newest one goes on with: it
    does not find again what fails of theirs."""

    runs: list[Run]
    depth: QueueDepth
    details: Mapping[str, Details] = field(default_factory=dict)
    idle: tuple[ProcessRow, ...] = ()
    continued: tuple[str, ...] = ()

    def result(self) -> list[Run]:
        """The runs that say how the job's latest listing ended; where nothing was ever listed, the one of its events."""
        listed = [run for run in self.runs if run.state is not RunState.STANDING]
        return [run for run in listed if run is listed[0] or run.run_id in self.continued] or self.runs[:1]


async def status(job: TransferJob) -> Status:
    """The job's latest runs and its queue, without touching either."""
    async with open_embedded(job, lock=Lock.NONE) as here:
        ledger = here.ledger
        runs, depth, idle = await asyncio.gather(
            ledger.runs(here.job_id, RUNS_SHOWN), here.queue.depth(), ledger.processes(here.job_id, "")
        )
        details = await asyncio.gather(*(_details(run, ledger) for run in runs))
        newest = next((run for run in runs if run.state is not RunState.STANDING), None)
        continued = await continued_by(ledger, here.job_id, newest.run_id) if newest else ()
    found = dict(zip((run.run_id for run in runs), details, strict=True))
    if depth.oldest_seconds is None:
        depth = replace(depth, oldest_seconds=_oldest(found.values()))
    waiting = [one for one in _judged(idle) if one.state is not ProcessState.ENDED]
    return Status(runs, depth, found, tuple(waiting), continued)


async def failures(job: TransferJob) -> AsyncIterator[Failure]:
    """Every object that failed in the job's latest listing, and in the runs that it continues; or of its events where nothing
    was ever listed. Each is named once, although a worker's death may have written it twice."""
    now = await status(job)
    async with open_embedded(job, lock=Lock.NONE) as here:
        for run in now.result():
            named: set[tuple[str, str]] = set()
            after = ""
            while True:
                page = await here.ledger.failures(run.run_id, after=after, limit=FAILURES_AT_ONCE)
                for one in page.items:
                    if (one.key, one.code) not in named:
                        named.add((one.key, one.code))
                        yield one
                after = page.after
                if not after:
                    break


async def _details(run: Run, ledger: Ledger) -> Details:
    rows = await ledger.processes(run.job_id, run.run_id)
    failed = await asyncio.gather(
        *(_failed(run, code, count, ledger) for code, count in run.breakdown.causes.items() if count)
    )
    return details_of(run, rows, failed)


async def _failed(run: Run, code: str, count: int, ledger: Ledger) -> Failed:
    keys: dict[str, None] = {}
    after = ""
    while len(keys) < min(count, EXAMPLES):  # a worker's death may have named some twice
        page = await ledger.failures(run.run_id, code=code, after=after, limit=PAGE)
        keys |= dict.fromkeys(one.key for one in page.items)
        after = page.after
        if not after:
            break
    return Failed(code, cause_of(code), count, tuple(keys)[:EXAMPLES])


def details_of(run: Run, rows: Sequence[ProcessRow], failed: Sequence[Failed]) -> Details:
    """What the rows of a run's processes say together."""
    processes = _judged(rows)
    finders = [one for one in processes if one.role == "finder"]
    requests, retries = add_up(rows, "requests"), add_up(rows, "retries")
    alive = [one for one in processes if one.state not in {ProcessState.ENDED, ProcessState.LOST}]
    found = run.found if run.found is not None else sum(one.found for one in finders)
    found_bytes = run.found_bytes or sum(one.found_bytes for one in finders)
    rates = sum(one.objects_rate for one in alive), sum(one.bytes_rate for one in alive)
    lag: Lag | None = None
    for one in rows:
        lag = one.lag if lag is None else lag + one.lag if one.lag else lag
    return Details(
        processes=processes,
        failed=tuple(sorted(failed, key=lambda one: -one.count)),
        requests=requests,
        retries=retries,
        listed=(sum(one.listed[0] for one in finders), sum(one.listed[1] for one in finders)),
        found=found,
        found_bytes=found_bytes,
        not_selected=sum(one.not_selected for one in finders),
        objects_rate=rates[0],
        bytes_rate=rates[1],
        left_seconds=_left(run, found_bytes, rates),
        lag=lag,
        cost=_cost(run, rows, requests),
    )


def _judged(rows: Sequence[ProcessRow]) -> tuple[ProcessRow, ...]:
    """A process that fell silent, or is known to be dead, is LOST."""
    now = time.time()
    return tuple(
        replace(one, state=ProcessState.LOST)
        if one.state is not ProcessState.ENDED and (now - one.seen_at > LOST_SECONDS or _is_dead(one))
        else one
        for one in rows
    )


def _is_dead(row: ProcessRow) -> bool:
    place, _, rest = row.process.partition(":")
    return is_dead_here(f"{place}:{row.pid}:{rest.rpartition(':')[2]}")


def _left(run: Run, found_bytes: int, rates: tuple[float, float]) -> float | None:
    """Small objects cost requests and large ones bytes, so the slower of both decides."""
    if run.found is None:
        return None
    left = run.found - run.counts.ended
    if left <= 0:
        return 0.0
    pairs = ((left, rates[0]), (max(found_bytes - run.counts.bytes, 0), rates[1]))
    waits = [count / rate for count, rate in pairs if rate > 0]
    return max(waits) if waits else None


def _cost(run: Run, rows: Sequence[ProcessRow], requests: Mapping[str, Mapping[str, int]]) -> Cost | None:
    regions: dict[str, str] = {}
    for one in rows:
        regions |= {side: region for side, region in one.regions.items() if region or side not in regions}
    cost = cost_of(requests, regions, json.loads(run.job_settings).get("dest_storage_class", ""), run.counts.bytes)
    return cost if cost.known else None


def _oldest(details: Iterable[Details]) -> float | None:
    """How long messages had waited that came lately: where the queue itself does not tell."""
    alive = [process for one in details for process in one.alive]
    waits = [process.oldest_seconds for process in alive if process.oldest_seconds is not None]
    return max(waits) if waits else None

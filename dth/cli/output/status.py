"""`dth status` as text: what is under way first, then the runs before it. Pure.

Every fact has a line that begins with its name; what is too long goes on below it. Nothing is ever cut off.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from dth.causes import RETRIES
from dth.cli.output.format import counted, shown_bytes, shown_key, shown_seconds
from dth.cli.output.summary import by_count
from dth.ledgers.base import Run
from dth.prices import Cost
from dth.queues.base import QueueDepth
from dth.settings import noun_of
from dth.states import RunState
from dth.stats import ProcessRow, ProcessState

if TYPE_CHECKING:
    from dth.app.status import Details, Status

LABEL = 10  # columns of a fact's name
NARROWEST = 40
EXAMPLES_SHOWN = 3

Fact = tuple[str, str]
"""A name and what is to be said; "" goes on with the fact above."""


def screen(now: Status, width: int, clock: float | None = None) -> list[str]:
    """Lines of at most `width` columns. `clock` is the time, in seconds since the epoch."""
    at = time.time() if clock is None else clock
    if not now.runs:
        return _set([("", "No run of this job yet."), *_queue(now.depth), *_idle(now)], width)
    shown = [run for number, run in enumerate(now.runs) if number == 0 or not _is_done(run)]
    lines: list[str] = []
    for run in shown:
        details = now.details.get(run.run_id)
        lines += [*_set(list(_run(run, details, at)), width), ""]
    lines += _set([*_queue(now.depth), *_idle(now)], width)
    others = [run for run in now.runs if run not in shown]
    if others:
        lines += ["", *_set([("before", "")] + [("", _past(run)) for run in others], width)]
    return lines


def _is_done(run: Run) -> bool:
    return run.counted or run.state is RunState.ABANDONED


def _run(run: Run, details: Details | None, at: float) -> Iterable[Fact]:
    """All facts of a run; those that matter most while it goes on come first."""
    counts, noun = run.counts, noun_of(run.job_settings)
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started_at))
    yield (
        "run",
        f"{shown_key(run.run_id)}, {_state(run)}, started {began}, {shown_seconds(max(at - run.started_at, 0))} ago",
    )
    yield f"{noun}s", _progress(run, details, noun)
    yield "failed", f"{counts.failed:,}"
    found_bytes = details.found_bytes if details else run.found_bytes
    yield "bytes", shown_bytes(counts.bytes) + (f" of {shown_bytes(found_bytes)}" if found_bytes else "")
    if details is None:
        return
    if not _is_done(run):
        yield "rate", f"{details.objects_rate:,.1f} {noun}s/s, {shown_bytes(details.bytes_rate)}/s"
        yield "left", _left(run, details)
    yield from _workers(details, over=_is_done(run))
    yield from _failures(details)
    yield from _behind(run, details, at)


def _state(run: Run) -> str:
    if run.counted:
        return "complete"
    words = {
        RunState.LISTING: "listing",
        RunState.SEALED: "listed, copying",
        RunState.ABANDONED: "abandoned",
        RunState.STANDING: "following events",
    }
    return words[run.state]


def _progress(run: Run, details: Details | None, noun: str) -> str:
    counts = run.counts
    parts = [f"{counts.ended:,} ended"]
    found = run.found if run.found is not None else details.found if details else 0
    if run.state is not RunState.STANDING and (found or run.found is not None):
        so_far = "" if run.found is not None else " so far"
        share = f", {counts.ended / found:.0%}" if found and run.found is not None else ""
        parts = [f"{counts.ended:,} of {counted(found, noun)}{so_far} ended{share}"]
    parts += [f"{counts.done:,} done", f"{counts.skipped:,} skipped"]
    if gone := run.breakdown.skips.get("gone"):
        parts.append(f"{gone:,} of them gone since they were listed")
    if details and any(details.listed) and not _is_done(run):
        parts.append(f"listed {details.listed[0]:,} and {details.listed[1]:,}")
    return ", ".join(parts)


def _left(run: Run, details: Details) -> str:
    if run.state is RunState.STANDING:
        return "goes on for ever"
    if details.left_seconds is None:
        return "nobody can know before all is listed" if run.found is None else "nothing moves at the moment"
    return shown_seconds(details.left_seconds)


def _workers(details: Details, *, over: bool) -> Iterable[Fact]:
    workers = [one for one in details.processes if one.role == "worker"]
    if over or not workers:
        return
    states = {state: sum(one.state is state for one in workers) for state in ProcessState}
    yield "workers", ", ".join(f"{count:,} {state.value}" for state, count in states.items() if count)
    for one in workers:
        if one.state is not ProcessState.ENDED:
            yield "", _worker(one)


def _worker(row: ProcessRow) -> str:
    if row.state is ProcessState.LOST:
        seen = time.strftime("%H:%M:%S", time.localtime(row.seen_at))
        return f"{shown_key(row.host)} {row.pid}: lost, last seen {seen}; it had {row.in_flight:,} in flight"
    return (
        f"{shown_key(row.host)} {row.pid}: {row.state.value}, {row.in_flight:,} in flight ({shown_bytes(row.in_flight_bytes)}), "
        f"{row.objects_rate:,.1f}/s, {shown_bytes(row.bytes_rate)}/s"
    )


def _failures(details: Details) -> Iterable[Fact]:
    label = "causes"
    for one in details.failed:
        again = "may pass by itself" if one.cause.retriable else "wants mending first"
        yield label, f"{one.code} {one.count:,}: {one.cause.label}; {again}. {one.cause.hint}"
        label = ""
        if one.examples:
            more = ", ..." if one.count > EXAMPLES_SHOWN else ""
            yield "", "  for example " + ", ".join(map(shown_key, one.examples[:EXAMPLES_SHOWN])) + more


def _behind(run: Run, details: Details, at: float) -> Iterable[Fact]:
    if run.breakdown.proofs:
        yield "proven by", by_count(run.breakdown.proofs)
    if run.breakdown.reasons:
        yield "because", by_count(run.breakdown.reasons)
    if run.breakdown.skips:
        yield "skipped", by_count(run.breakdown.skips)
    if details.lag:
        lag = details.lag
        half, most = shown_seconds(lag.quantile(0.5)), shown_seconds(lag.quantile(0.99))
        last = f"last {shown_seconds(lag.last_seconds)}, {shown_seconds(max(at - lag.last_at, 0))} ago"
        yield "event lag", f"{last}; of the last hour's half within {half}, 99% within {most}"
    yield from _by_side("requests", details.requests)
    again = {
        side: {RETRIES.get(cause, cause): count for cause, count in by.items()} for side, by in details.retries.items()
    }
    yield from _by_side("retries", again)
    if details.cost:
        yield "cost", _cost(details.cost)


def _by_side(label: str, counts: Mapping[str, Mapping[str, int]]) -> Iterable[Fact]:
    for side, by in counts.items():
        if by:
            yield label, f"{side}: {by_count(by)}"
            label = ""


def _cost(cost: Cost) -> str:
    taken = ", ".join(sorted(set(cost.regions.values())))
    return (
        f"about ${cost.usd:,.4f} so far (AWS's prices of {cost.prices_of}, {taken}); not priced: "
        f"{'; '.join(cost.not_priced)}"
    )


def _queue(depth: QueueDepth) -> Iterable[Fact]:
    about = "" if depth.exact else " (estimated by the queue)"
    waited = ""
    if depth.oldest_seconds is not None:
        waited = f"; the oldest message has waited {shown_seconds(depth.oldest_seconds)}"
    yield "queue", f"{depth.visible:,} waiting, {depth.leased:,} in work, {depth.dead:,} dead{about}{waited}"


def _idle(now: Status) -> Iterable[Fact]:
    if now.idle:
        yield "idle", f"{counted(len(now.idle), 'process', 'processes')} without a run yet"


def _past(run: Run) -> str:
    counts = run.counts
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started_at))
    found = "" if run.found is None else f" of {run.found:,}"
    return (
        f"{shown_key(run.run_id)} {began} {_state(run)}: {counts.done:,}{found} done, {counts.skipped:,} skipped, "
        f"{counts.failed:,} failed, {shown_bytes(counts.bytes)}"
    )


def _set(facts: Sequence[Fact], width: int) -> list[str]:
    """Each fact on lines of its own, broken at blanks, and within words only where one is longer than a line."""
    lines: list[str] = []
    for label, text in facts:
        name = f"{label}:" if label else ""
        lines += textwrap.wrap(
            text,
            width=max(width, NARROWEST),
            initial_indent=f"{name:<{LABEL}} ",
            subsequent_indent=" " * (LABEL + 1),
            break_on_hyphens=False,
        ) or [name]
    return lines

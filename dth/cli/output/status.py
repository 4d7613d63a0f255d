"""`dth status` as text: what is under way first, then the runs before it. Pure.

Every fact has a line that begins with its name; what is too long goes on below it. Nothing is ever cut off.
"""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from dth.causes import RETRIES, cause_of
from dth.cli.output.format import counted, shown_bytes, shown_key, shown_seconds
from dth.cli.output.summary import by_count
from dth.ledgers.base import Run
from dth.prices import Cost, in_dollars
from dth.queues.base import QueueDepth
from dth.settings import noun_of
from dth.states import RunState
from dth.stats import ProcessRow, ProcessState

if TYPE_CHECKING:
    from dth.app.status import Details, Status

LABEL = 10  # columns of a fact's name
NARROWEST = 40
EXAMPLES_SHOWN = 3
WORKERS_SHOWN = 12

Fact = tuple[str, str]
"""A name and what is to be said; "" goes on with the fact above."""


def screen(now: Status, width: int, clock: float | None = None) -> list[str]:
    """Lines of at most `width` columns. `clock` is the time, in seconds since the epoch."""
    at = time.time() if clock is None else clock
    if not now.runs:
        return _set([("", "No run of this job yet."), *_queue(now.depth), *_idle(now)], width)
    failing = [run for run in now.result() if run.counts.failed]
    shown = [run for number, run in enumerate(now.runs) if number == 0 or run in failing or not _is_done(run)]
    lines: list[str] = []
    for number, run in enumerate(shown):
        details = now.details.get(run.run_id)
        facts = list(_first(run, details, at))
        if run is now.result()[0] and now.continued:
            facts.append(("continues", ", ".join(map(shown_key, now.continued))))
        if number == 0:
            facts += [*_queue(now.depth), *_idle(now)]
        if details:
            facts += [*_failures(details), *_behind(run, details, at)]
        lines += ["", *_set(facts, width)] if lines else _set(facts, width)
    others = [run for run in now.runs if run not in shown]
    if others:
        lines += ["", *_set([("" if number else "earlier", _past(run)) for number, run in enumerate(others)], width)]
    return lines


def fitted(lines: Sequence[str], rows: int) -> list[str]:
    """The first of them, so that a terminal of so many rows does not scroll away what matters most."""
    if len(lines) < rows:
        return list(lines)
    kept = max(rows - 2, 1)
    return [*lines[:kept], f"({len(lines) - kept:,} more lines: use a taller window, or leave out --watch)"]


def _is_done(run: Run) -> bool:
    return run.counted or run.state is RunState.ABANDONED


def _first(run: Run, details: Details | None, at: float) -> Iterable[Fact]:
    """What matters most while a run goes on."""
    counts, noun = run.counts, noun_of(run.job_settings)
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started_at))
    yield "run", f"{shown_key(run.run_id)}, started {began}, {shown_seconds(max(at - run.started_at, 0))} ago"
    yield "state", _state(run)
    yield f"{noun}s", _progress(run, details, noun)
    yield "failed", f"{counts.failed:,}"
    found_bytes = details.found_bytes if details else run.found_bytes
    yield "bytes", shown_bytes(counts.bytes) + (f" of {shown_bytes(found_bytes)}" if found_bytes else "")
    if details and not _is_done(run):
        yield "rate", f"{details.objects_rate:,.1f} {noun}s/s, {shown_bytes(details.bytes_rate)}/s"
        yield "time left", _left(run, details)
        yield from _workers(details)


_STATES = {
    RunState.LISTING: "listing and copying",
    RunState.SEALED: "copying; everything is listed",
    RunState.ABANDONED: "abandoned: its finder died or gave up; the next run lists the rest",
    RunState.STANDING: "following events",
}


def _state(run: Run) -> str:
    if run.counted:
        return "over, with failures" if run.counts.failed else "complete"
    return _STATES[run.state]


def _progress(run: Run, details: Details | None, noun: str) -> str:
    counts = run.counts
    parts = [f"{counts.ended:,} ended"]
    found = run.found if run.found is not None else details.found if details else 0
    if run.state is not RunState.STANDING and (found or run.found is not None):
        so_far = "" if run.found is not None else " so far"
        share = f" ({counts.ended / found:.0%})" if found and run.found is not None else ""
        parts = [f"{counts.ended:,} of {counted(found, noun)}{so_far} ended{share}"]
    parts += [f"{counts.done:,} done", f"{counts.skipped:,} skipped"]
    listed = ""
    if details and any(details.listed) and run.state is RunState.LISTING:
        listed = f"; listed {details.listed[0]:,} at the source, {details.listed[1]:,} at the destination"
    return ", ".join(parts) + listed


def _left(run: Run, details: Details) -> str:
    if run.state is RunState.STANDING:
        return "none: it follows events until it is stopped"
    if details.left_seconds is None:
        return "unknown until everything is listed" if run.found is None else "unknown: nothing is moving"
    return shown_seconds(details.left_seconds)


def _workers(details: Details) -> Iterable[Fact]:
    workers = [one for one in details.processes if one.role == "worker"]
    if not workers:
        return
    states = {state: sum(one.state is state for one in workers) for state in ProcessState}
    in_flight = sum(one.in_flight for one in details.alive)
    yield (
        "workers",
        ", ".join(f"{count:,} {state.value}" for state, count in states.items() if count)
        + f"; {in_flight:,} in flight",
    )
    shown = [one for one in workers if one.state is not ProcessState.ENDED]
    shown.sort(key=lambda one: (one.state is ProcessState.LOST, -one.seen_at if one.state is ProcessState.LOST else 0))
    for one in shown[:WORKERS_SHOWN]:
        yield "", _worker(one)
    if len(shown) > WORKERS_SHOWN:
        yield "", f"and {len(shown) - WORKERS_SHOWN:,} more, all in --json"


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
        then = "may pass by itself" if one.cause.retriable else "needs mending first"
        yield label, f"{one.count:,} {one.code}: {one.cause.label}; {then}"
        label = ""
        yield "", f"  {one.cause.hint}"
        for key in one.examples[:EXAMPLES_SHOWN]:
            yield "", f"  - {shown_key(key)}"
        if one.count > EXAMPLES_SHOWN:
            yield "", "  - ..."


def _behind(run: Run, details: Details, at: float) -> Iterable[Fact]:
    if run.breakdown.proofs:
        yield "proven by", by_count(run.breakdown.proofs)
    if run.breakdown.reasons:
        yield "reasons", by_count(run.breakdown.reasons)
    if run.breakdown.skips:
        yield "skipped", by_count({_skip(name): count for name, count in run.breakdown.skips.items()})
    if lag := details.lag:
        half, most = shown_seconds(lag.quantile(0.5)), shown_seconds(lag.quantile(0.99))
        last = f"last {shown_seconds(lag.last_seconds)} ({shown_seconds(max(at - lag.last_at, 0))} ago)"
        yield "event lag", f"{last}; in the last hour half within {half}, 99% within {most}"
    yield from _by_side("requests", details.requests)
    again = {
        side: {RETRIES.get(cause, cause): count for cause, count in by.items()} for side, by in details.retries.items()
    }
    yield from _by_side("retries", again)
    if details.cost:
        yield "cost", _cost(details.cost)


def _skip(name: str) -> str:
    label = cause_of(name).label
    return label[:1].lower() + label[1:]


def _by_side(label: str, counts: Mapping[str, Mapping[str, int]]) -> Iterable[Fact]:
    for side, by in counts.items():
        if by:
            yield label, f"{side}: {by_count(by)}"
            label = ""


def _cost(cost: Cost) -> str:
    taken = ", ".join(sorted(set(cost.regions.values())))
    return (
        f"about {in_dollars(cost.usd)} so far (AWS's prices of {cost.prices_of}, {taken}); not priced: "
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


_INSEPARABLE = re.compile(
    r"(?<=\d) (?=(?:min|s|h|d|[KMGT]?i?B)\b)|(?<=min) (?=\d)|(?<=\bh) (?=\d)"
)  # a number and its unit
_BLANK = "\0"


def _set(facts: Sequence[Fact], width: int) -> list[str]:
    """Each fact on lines of its own, broken at blanks, and within words only where one is longer than a line. What goes on
    below stands under the text's beginning."""
    lines: list[str] = []
    for label, text in facts:
        name = f"{label}:" if label else ""
        words = text.lstrip(" ")
        deeper = len(text) - len(words) + 2 * words.startswith("- ")
        wrapped = textwrap.wrap(
            _INSEPARABLE.sub(_BLANK, text),
            width=max(width, NARROWEST),
            initial_indent=f"{name:<{LABEL}} ",
            subsequent_indent=" " * (LABEL + 1 + deeper),
            break_on_hyphens=False,
        )
        lines += [line.replace(_BLANK, " ") for line in wrapped] or [name]
    return lines

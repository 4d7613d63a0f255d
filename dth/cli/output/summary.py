"""The end of a command in words: a headline, then what explains it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from dth.causes import RETRIES, cause_of
from dth.cli.output.format import counted, shown_bytes, shown_key, shown_seconds
from dth.events import Estimated
from dth.prices import Cost, in_dollars
from dth.summary import ExitCode, Summary

_SHORTEST = 0.001  # a rate over less time says nothing


def headline(summary: Summary) -> str:
    """One line: how it ended and how much was done."""
    if summary.planned or summary.planned_deletes:
        what = f"{counted(summary.planned, summary.noun)}, {shown_bytes(summary.planned_bytes)}"
        gone = f", {counted(summary.planned_deletes, summary.noun)} deleted" if summary.planned_deletes else ""
        run, reach = (
            ("Dry run", "") if summary.exit_code != ExitCode.INTERRUPTED else ("Interrupted dry run", " so far")
        )
        return f"{run}: {what} would be copied{gone}{reach}; nothing was written"
    if summary.explained:
        return "Nothing was written: --explain only says what would be done"
    if summary.listed:
        return f"{counted(summary.listed, summary.noun)} chosen; nothing was compared"
    seconds = shown_seconds(summary.seconds)
    deleted = f", {summary.deleted:,} deleted" if summary.deleted else ""
    copied = counted(summary.done - summary.deleted, summary.noun)
    moved = f"{copied} copied, {shown_bytes(summary.bytes)}{deleted} in {seconds}"
    match summary.exit_code:
        case ExitCode.INTERRUPTED:
            return f"Interrupted: {moved}; run it again to go on from here"
        case 0:
            return _good_end(summary, moved, seconds)
        case _:
            failed = max(summary.failed, sum(summary.failure_codes.values()))  # some are of no object: a list, say
            return f"Not complete: {failed:,} failed, {moved}"


def _good_end(summary: Summary, moved: str, seconds: str) -> str:
    if not summary.done and summary.skipped == summary.found:
        return f"Nothing to copy: {counted(summary.compared, summary.noun)} compared in {seconds}"
    if summary.found and not summary.done + summary.skipped:
        return f"Found {counted(summary.found, summary.noun)} to copy in {seconds}"
    if summary.seconds < _SHORTEST:
        return f"Complete: {moved}"
    rates = f"{summary.done / summary.seconds:,.0f} {summary.noun}s/s, {shown_bytes(summary.bytes / summary.seconds)}/s"
    return f"{'Complete' if summary.complete else 'Stopped'}: {moved} ({rates})"


def details(summary: Summary, *, verbose: bool) -> list[str]:
    """Lines below the headline."""
    lines = []
    nothing = summary.skipped - summary.gone
    if summary.noun == "image":
        if summary.done and nothing:
            lines.append(f"{counted(nothing, 'image')} needed nothing: equal digests")
    elif summary.compared and summary.found:
        or_deleted = " or deleted" if summary.deleted else ""
        skipped = f", {nothing:,} of them needed nothing any more" if nothing else ""
        lines.append(
            f"compared {counted(summary.compared, summary.noun)}, {summary.found:,} had to be copied{or_deleted}{skipped}"
        )
    lines += _surprises(summary)
    if summary.not_selected:
        lines.append(f"{counted(summary.not_selected, summary.noun)} not selected")
    lines += _failures(summary)
    if summary.undecided:
        lines.append(f"{counted(summary.undecided, summary.noun)} kept although nothing proves them equal")
    if verbose or summary.noun == "object":
        lines += [f"requests to the {side}: {by_count(counts)}" for side, counts in summary.requests.items() if counts]
    for side, causes in summary.retries.items():
        lines.append(
            f"asked the {side} again: {by_count({RETRIES.get(cause, cause): n for cause, n in causes.items()})}"
        )
    if summary.estimate and summary.planned:
        lines += _estimated(summary.estimate)
    elif summary.cost and summary.noun == "object":
        lines += priced(summary.cost)
    return lines


def _surprises(summary: Summary) -> list[str]:
    """What turned out otherwise than it was listed."""
    lines = []
    if summary.gone:
        lines.append(f"{counted(summary.gone, summary.noun)} had been deleted since the listing")
    if summary.untrue:
        listed = counted(summary.untrue, summary.noun)
        lines.append(f"{listed} listed with a size or ETag that the object itself contradicts: the listing is not true")
    return lines


def _failures(summary: Summary) -> list[str]:
    """What failed, by code with what to do about each, and the first objects by name; and what was put aside."""
    lines = []
    if summary.failures or summary.failure_codes:
        lines.append("failed, by error code: " + by_count(summary.failure_codes))
        lines += [f"  {code}: {cause_of(code).hint}" for code in summary.failure_codes]
        lines += [f"  {shown_key(one.key)}: {one.code}: {shown_key(one.error)}" for one in summary.failures]
        if summary.failed > len(summary.failures):
            lines.append(f"  and {summary.failed - len(summary.failures):,} more; all are in the report")
    if summary.buried:
        lines.append(
            f"{counted(summary.buried, 'message')} moved to the dead letters: they are garbage, or not signed by a run"
        )
    return lines


def _estimated(plan: Estimated) -> list[str]:
    """What a plan would cost and take."""
    sizes = []
    for one in plan.sizes:
        bound = f"up to {shown_bytes(one['up_to'])}" if one["up_to"] else "larger"
        sizes.append(f"  {bound:<15} {one['objects']:>12,} {shown_bytes(one['bytes']):>9}")
    lines = ["sizes:", *sizes, f"at {shown_bytes(plan.rate)}/s the copy takes {shown_seconds(plan.seconds)}"]
    for side, counts in plan.requests.items():
        lines.append(f"it would ask the {side} about: {by_count(counts)}")
    if plan.cost is None:
        return [*lines, "no price of this job is known"]
    return lines + priced(Cost(**{**plan.cost, "not_priced": tuple(plan.cost["not_priced"])}))


def priced(cost: Cost) -> list[str]:
    """What it costs, which prices were taken, and what is missing from the sum."""
    parts = [f"requests to the {side} {in_dollars(usd)}" for side, usd in cost.requests_usd.items()]
    if cost.egress_usd is not None:
        parts.append(f"bytes that leave the source's region {in_dollars(cost.egress_usd)}")
    taken = ", ".join(sorted(set(cost.regions.values())))
    return [
        f"costs about {in_dollars(cost.usd)}: {', '.join(parts)} (AWS's prices of {cost.prices_of}, {taken})",
        f"not priced: {'; '.join(cost.not_priced)}",
    ]


def by_count(counts: Mapping[str, int]) -> str:
    """`etag 12, crc 3`, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered)

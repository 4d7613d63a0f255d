"""What `dth verify` found, in words. Pure."""

from __future__ import annotations

from dth.cli.output.format import counted, shown_bytes, shown_key, shown_seconds
from dth.cli.output.summary import by_count
from dth.events import Difference
from dth.states import Comparison
from dth.summary import Verified

_WORDS = {
    Comparison.MISSING: "missing at the destination",
    Comparison.EXTRA: "only at the destination",
    Comparison.SIZE: "of another size",
    Comparison.CONTENT: "of other content",
    Comparison.METADATA: "with other metadata",
    Comparison.CHANGED: "changed while being compared",
    Comparison.NEEDS_RESTORE: "archived, to be restored before reading",
    Comparison.FAILED: "that could not be read",
}


def difference(event: Difference) -> str:
    """One line, `kind key -> key: detail`."""
    where = "" if event.dest_key == event.key else f" -> {shown_key(event.dest_key)}"
    detail = f": {shown_key(event.detail)}" if event.detail else ""
    return f"{event.kind} {shown_key(event.key)}{where}{detail}"


def verdict(summary: Verified) -> str:
    """The headline."""
    seconds = shown_seconds(summary.seconds)
    compared = counted(summary.compared, "object")
    if not summary.complete:
        return f"Interrupted: {compared} compared in {seconds}, {summary.differences:,} of them different so far"
    if summary.differences:
        return f"Different: {summary.differences:,} of {compared} ({seconds})"
    unproven = summary.counts.get(Comparison.NOT_VERIFIABLE, 0)
    if unproven:
        return f"No difference found: {compared} in {seconds}, {unproven:,} of them by size only"
    return f"Equal: {compared} in {seconds}" if summary.compared else f"Equal: no object on either side ({seconds})"


def findings(summary: Verified, *, verbose: bool) -> list[str]:
    """Lines below the headline."""
    lines = [f"{count:,} {_WORDS[kind]}" for kind in _WORDS if (count := summary.counts.get(kind, 0))]
    if summary.counts.get(Comparison.EQUAL):
        lines.append(f"{summary.counts[Comparison.EQUAL]:,} equal, proven by {by_count(summary.verified_by)}")
    if unproven := summary.counts.get(Comparison.NOT_VERIFIABLE, 0):
        lines.append(f"{unproven:,} of one size, their ETags not comparable: --download would read them")
    if summary.bytes:
        rate = shown_bytes(summary.bytes / max(summary.seconds, 0.001))
        lines.append(f"{shown_bytes(summary.bytes)} read on each side ({rate}/s)")
    if summary.differences:
        lines.append(f"all differences are in {summary.report}")
    if verbose:
        lines += [f"requests to the {side}: {by_count(counts)}" for side, counts in summary.requests.items() if counts]
    return lines

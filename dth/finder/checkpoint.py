"""How far a run has got, kept in the ledger, so that the run after one that died lists only what is left.

*Record, then send* decides what a checkpoint may say: a key is behind it only where the queue has taken every message that was
made of the keys up to there. A checkpoint is a claim about the listings of yesterday, so it is believed only by a run with
the very same job settings, for a day at most, and only while nothing that lies behind it has failed. Whatever is doubtful
begins anew: that costs a listing, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from dth.finder.ranges import KeyRange
from dth.ledgers.base import Ledger
from dth.states import RunState
from dth.values import value

OLDEST_SECONDS = 86_400.0
"""Since the first run of a chain of taken-over ones began. What changes behind a checkpoint is seen by the run after, so a
chain must end; a billion keys are listed anew within hours. It is also well below what a queue keeps messages for (SQS: four
days unless told otherwise), so that what the dead run sent has not been forgotten."""

CHAIN_MAX = 16
"""Runs that may follow one another in a day. A finder that dies so often gains nothing from going on."""

TEXT_MAX = 32 * 1024
"""Characters of a checkpoint (ASCII): 32 write units of DynamoDB, an item of which holds 400 KiB. 16 listers need some 3 KiB."""

_NOTE = "checkpoint"
_CONTINUES = "continues/"
_VERSION = 1


@value
class Checkpoint:
    """What is left to list of a run, in order and without overlaps. `runs` led to it, the oldest first; the first of them
    began at `began_at`. `needs_restore` archived objects lie behind it: no message names them."""

    settings: str
    began_at: float
    runs: tuple[str, ...]
    ranges: tuple[KeyRange, ...] = ()
    needs_restore: int = 0

    def reached(self, ranges: Sequence[KeyRange], needs_restore: int) -> Checkpoint:
        """The same run, further on."""
        return replace(self, ranges=tuple(sorted(ranges)), needs_restore=needs_restore)

    def to_json(self) -> str:
        """One text of at most `TEXT_MAX` characters; "" where even one range is too long for it."""
        ranges = list(self.ranges)
        while ranges:
            text = json.dumps({
                "version": _VERSION,
                "settings": self.settings,
                "began_at": self.began_at,
                "runs": self.runs,
                "ranges": ranges,
                "needs_restore": self.needs_restore,
            })  # fmt: skip
            if len(text) <= TEXT_MAX:
                return text
            ranges = _wider(ranges)
        return ""


def _wider(ranges: list[KeyRange]) -> list[KeyRange]:
    """Half as many: pairs of neighbours, with what lies between them. [] for one."""
    if len(ranges) < 2:  # noqa: PLR2004 - a pair
        return []
    pairs = [ranges[at : at + 2] for at in range(0, len(ranges), 2)]
    return [KeyRange(pair[0].after, pair[-1].until) for pair in pairs]


def from_json(text: str) -> Checkpoint | None:
    """The checkpoint; None for a text that is none, or another version's."""
    try:
        fields = json.loads(text)
        if fields["version"] != _VERSION:
            return None
        return Checkpoint(
            str(fields["settings"]),
            float(fields["began_at"]),
            tuple(map(str, fields["runs"])),
            tuple(KeyRange(str(after), str(until)) for after, until in fields["ranges"]),
            int(fields["needs_restore"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def beginning(job_settings: str, run_id: str, now: float) -> Checkpoint:
    """Of a run that lists everything."""
    return Checkpoint(hashlib.sha256(job_settings.encode()).hexdigest(), now, (run_id,))


@value
class Stored:
    """What the ledger holds: something at all, and what a run may go on from."""

    stored: bool
    taken: Checkpoint | None


async def take_over(ledger: Ledger, job_id: str, fresh: Checkpoint) -> Stored:
    """Where the run of `fresh`, which is about to begin, goes on: at the stored checkpoint, in the chain of its runs, where
    that may be believed."""
    text = await ledger.get_note(job_id, _NOTE)
    found = from_json(text) if text else None
    if found is None or not await _believed(found, ledger, fresh):
        return Stored(bool(text), None)
    return Stored(stored=True, taken=replace(found, runs=(*found.runs, *fresh.runs)))


async def _believed(found: Checkpoint, ledger: Ledger, fresh: Checkpoint) -> bool:
    if not found.ranges or found.settings != fresh.settings or len(found.runs) >= CHAIN_MAX:
        return False
    if not 0 <= fresh.began_at - found.began_at <= OLDEST_SECONDS:
        return False
    for run_id in found.runs:
        run = await ledger.run(run_id)
        # What failed behind the checkpoint would not be found again. What still lists may yet fail, or write on.
        if run is None or run.state is not RunState.ABANDONED or run.counts.failed:
            return False
    return True


async def keep(ledger: Ledger, job_id: str, checkpoint: Checkpoint) -> None:
    """Write it in place of the last one."""
    await ledger.put_note(job_id, _NOTE, checkpoint.to_json())


async def forget(ledger: Ledger, job_id: str) -> None:
    """The next run lists everything."""
    await ledger.put_note(job_id, _NOTE, "")


async def note_continued(ledger: Ledger, job_id: str, taken: Checkpoint) -> None:
    """Remember which runs the last one of the chain continues. What the others sent may still fail, under their names, and
    the last one does not find it again."""
    await ledger.put_note(job_id, _CONTINUES + taken.runs[-1], json.dumps(taken.runs[:-1]))


async def continued_by(ledger: Ledger, job_id: str, run_id: str) -> tuple[str, ...]:
    """The runs that a run continues, the oldest first; () where it listed everything."""
    text = await ledger.get_note(job_id, _CONTINUES + run_id)
    return tuple(map(str, json.loads(text))) if text else ()

"""A comparison of two locations, from the listings to the counts.

What the listings decide is counted in passing; what needs requests goes through a bounded queue to tasks that the
limiter and the byte budget hold back. Memory is the pages in flight, the queue and the budget.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dth.error_groups import first_error
from dth.errors import DthError
from dth.events import Difference, Emit, VerifyProgress
from dth.finder.compare import ARCHIVED_CLASSES
from dth.finder.etag_proof import EtagProof
from dth.finder.evidence import EQUAL_BY_ETAG, Evidence, Judgement
from dth.finder.listing import Listing
from dth.finder.ranges import EVERYTHING
from dth.finder.select import Selection
from dth.flow.breaker import Breaker
from dth.flow.budget import ByteBudget
from dth.flow.limiter import Limiter
from dth.model import Entry, KeyMapping
from dth.states import Comparison, Side, VerifiedBy
from dth.stores.base import ObjectStore
from dth.verify.check import Checker
from dth.verify.pairs import Listed, Lonely, Pair, Pairing
from dth.verify.report import Compared, CompareReport

IN_FLIGHT = 128  # objects that are looked at together, at most
ASKED = 32  # of the keys that one side alone has listed, how many are asked for at the other
_LEFT_OUT = {
    Side.SOURCE: "the destination holds it, although its listing left it out",
    Side.DESTINATION: "the source holds it, although its listing left it out",
}
_WAITING = 1024  # pairs
_LINES = 512  # of the report, written together
_PROGRESS_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """What a comparison needs to know. Sizes in bytes; `in_flight` 0 is adaptive."""

    mapping: KeyMapping
    download: bool
    metadata: bool
    in_flight: int
    memory_budget: int
    sort_memory: int
    sort_directory: str
    select: Selection | None = None
    tags: bool = False


@dataclass(slots=True)
class Findings:
    """What was found so far. `bytes` were read at each of the two sides; `over`: everything was compared."""

    comparisons: Counter[Comparison] = field(default_factory=Counter)
    proofs: Counter[str] = field(default_factory=Counter)
    listed: Listed = field(default_factory=Listed)
    bytes: int = 0
    over: bool = False

    @property
    def differences(self) -> int:
        """Keys whose sides differ."""
        return sum(count for comparison, count in self.comparisons.items() if comparison.differs)


@dataclass(frozen=True, slots=True)
class Flow:
    """The two bounds; see `multipart.context.Flow`."""

    limiter: Limiter
    budget: ByteBudget


async def verify(
    source: ObjectStore,
    destination: ObjectStore,
    settings: VerifySettings,
    report: CompareReport,
    findings: Findings,
    emit: Emit,
) -> None:
    """Compare everything; `findings` grows meanwhile, and is `over` when this returns. Writes to neither side.

    Raises the first error of a listing, so that a listing that failed is never an equal one, and errors that are not
    one object's. What was found by then is in the report, also when cancelled.
    """
    comparing = _Comparing(source, destination, settings, report, findings, emit)
    try:
        await comparing.run()
    except BaseExceptionGroup as group:
        error = first_error(group)
        raise error from error.__cause__
    finally:
        comparing.flush_now()
    findings.over = True


class _Comparing:
    """One comparison under way."""

    def __init__(
        self,
        source: ObjectStore,
        destination: ObjectStore,
        settings: VerifySettings,
        report: CompareReport,
        findings: Findings,
        emit: Emit,
    ) -> None:
        self._settings = settings
        self._source, self._destination = source, destination
        self._asks = dict.fromkeys(Side, ASKED)
        self._mapping = settings.mapping
        self._rules = destination.capabilities.key_rules
        self._report = report
        self._findings = findings
        self._emit = emit
        self._lines: list[Compared] = []
        self._said = 0.0
        limiter = Limiter(fixed=settings.in_flight, upper=max(IN_FLIGHT, settings.in_flight))
        self._tasks = settings.in_flight or IN_FLIGHT
        self._todo: asyncio.Queue[Pair] = asyncio.Queue(_WAITING)
        self._checker = Checker(
            source,
            destination,
            settings.mapping,
            Evidence.of(source.capabilities, destination.capabilities),
            settings.download,
            settings.metadata,
            settings.tags,
            Flow(limiter, ByteBudget(settings.memory_budget)),
            Breaker(),
            EtagProof(source),
            EtagProof(destination),
            self._passed,
        )
        self._lonely = Lonely(settings.sort_directory)
        self._pairing = Pairing(
            self._listing(source, Side.SOURCE, settings.mapping.source_prefix),
            self._listing(destination, Side.DESTINATION, settings.mapping.dest_listing_prefix),
            settings.mapping,
            settings.sort_directory,
            self._accept,
            self._lonely,
            findings.listed,
            settings.select,
        )

    def _listing(self, store: ObjectStore, side: Side, prefix: str) -> Listing:
        memory, directory = self._settings.sort_memory, self._settings.sort_directory
        return Listing(store, side, prefix, EVERYTHING, memory, directory, self._emit)

    async def run(self) -> None:
        """All pairs, then what only one side has."""
        try:
            async with asyncio.TaskGroup() as tasks:
                looking = [tasks.create_task(self._look()) for _ in range(self._tasks)]
                await self._pairing.run()
                await self._todo.join()
                for task in looking:
                    task.cancel()
            async for block in self._lonely.blocks():
                held = await self._held(block)
                for side, entry in block:
                    found = self._missing(entry) if side is Side.SOURCE else self._extra(entry)
                    self._note(replace(found, detail=_LEFT_OUT[side]) if entry in held else found)
                await self._flush()
        finally:
            self._lonely.close()

    async def _held(self, block: Sequence[tuple[Side, Entry]]) -> set[Entry]:
        """Those that the other side holds all the same: its listing left them out, or they are new. The first of each side are
        asked for, which is enough to tell a listing that cannot be trusted."""
        asked = []
        for side, entry in block:
            if self._asks[side] > 0:
                self._asks[side] -= 1
                asked.append((side, entry))
        answers = await asyncio.gather(*(self._other_side_has(*one) for one in asked))
        return {entry for (_, entry), there in zip(asked, answers, strict=True) if there}

    async def _other_side_has(self, side: Side, entry: Entry) -> bool:
        try:
            if side is Side.SOURCE:
                await self._destination.head(self._mapping.dest_key(entry.key))
            else:
                await self._source.head(self._extra(entry).key)
        except DthError:
            return False  # absent, or nobody knows
        return True

    async def _accept(self, pairs: Sequence[Pair]) -> None:
        at_once, uncounted, silent = self._checker.at_once, 0, not self._report.keeps(Comparison.EQUAL)
        for ours, theirs in pairs:
            judgement = at_once(ours, theirs)
            if judgement is EQUAL_BY_ETAG and silent:
                uncounted += 1  # nearly all pairs end here
            elif judgement is None:
                await self._todo.put((ours, theirs))
            else:
                self._note_pair(ours, theirs, judgement)
        if uncounted:
            self._findings.comparisons[Comparison.EQUAL] += uncounted
            self._findings.proofs[VerifiedBy.ETAG.value] += uncounted
        await self._flush()

    async def _look(self) -> None:
        while True:
            ours, theirs = await self._todo.get()
            self._note_pair(ours, theirs, await self._checker.look(ours, theirs))
            self._todo.task_done()
            self._progress()
            if len(self._lines) >= _LINES:
                await self._flush()

    def _note_pair(self, ours: Entry, theirs: Entry, judgement: Judgement) -> None:
        findings = self._findings
        comparison = judgement.comparison
        findings.comparisons[comparison] += 1
        if comparison is Comparison.EQUAL and judgement.verified_by:
            findings.proofs[judgement.verified_by.value] += 1
        if self._report.keeps(comparison):
            self._say(
                Compared(
                    ours.key,
                    theirs.key,
                    comparison,
                    judgement.detail,
                    ours.size,
                    theirs.size,
                    ours.etag,
                    theirs.etag,
                    judgement.verified_by,
                    judgement.offset,
                    judgement.error_code,
                )
            )

    def _note(self, found: Compared) -> None:
        self._findings.comparisons[found.comparison] += 1
        self._say(found)

    def _say(self, found: Compared) -> None:
        self._lines.append(found)
        if found.comparison.differs:
            self._emit(Difference(found.comparison.value, found.key, found.dest_key, found.detail))
        self._progress()

    def _missing(self, entry: Entry) -> Compared:
        dest_key = self._mapping.dest_key(entry.key)
        why, code = self._rules.refusal(dest_key, entry.size), "key_refused"
        if not why:
            archived = entry.storage_class in ARCHIVED_CLASSES
            why, code = ("archived at the source: restore it before it can be copied", "") if archived else ("", "")
        return Compared(
            entry.key, dest_key, Comparison.MISSING, why, entry.size, None, entry.etag, "", None, None, code
        )

    def _extra(self, entry: Entry) -> Compared:
        """`key` is the source key that would be there."""
        key = self._mapping.source_prefix + entry.key.removeprefix(self._mapping.dest_listing_prefix)
        return Compared(key, entry.key, Comparison.EXTRA, "", None, entry.size, "", entry.etag, None, None, "")

    def _passed(self, size: int) -> None:
        self._findings.bytes += size
        self._progress()

    def _progress(self) -> None:
        now = time.monotonic()
        if now < self._said + _PROGRESS_SECONDS:
            return
        self._said = now
        found = self._findings
        compared = found.comparisons.total()
        self._emit(
            VerifyProgress(found.listed.source, found.listed.destination, compared, found.differences, found.bytes)
        )

    async def _flush(self) -> None:
        self._progress()
        if lines := self._taken():
            await self._report.write(lines)

    def flush_now(self) -> None:
        """What is left, at the end of everything."""
        if lines := self._taken():
            self._report.write_now(lines)

    def _taken(self) -> list[Compared]:
        lines, self._lines = self._lines, []
        return lines

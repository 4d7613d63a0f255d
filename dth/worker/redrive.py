"""Dead letters back to work: their entries travel again as a new run's, because sealed totals never change.

Record, then send, then forget: a death in between leaves letters that are sent again by the next redrive, and a run that
is ABANDONED.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from dth.errors import LeaseLost
from dth.events import Emit, RunSealed, RunStarted
from dth.ledgers.base import Ledger, Run
from dth.messages import ImageMessage, Message, MessageInvalid, ObjectEntry, ObjectsMessage, decode, encode, entry_size
from dth.model import Counts
from dth.queues.base import DeadLetter, Queue
from dth.settings import noun_of
from dth.states import RunState
from dth.stats import NOTHING
from dth.worker.admission import Admission
from dth.worker.breakdown import given_up
from dth.worker.dead_letters import LOOKED_AT, names_in
from dth.worker.outcomes import BURIED, failed_in, refused_row

PACKED = 100  # entries a message
PACKED_BYTES = 4 << 20  # of content; a larger object travels alone, because only then all workers may share it
ENVELOPE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters: of one run, of keys with a prefix, with a reason that holds a text; empty takes all."""

    run_id: str = ""
    prefix: str = ""
    reason: str = ""

    def takes(self, message: ObjectsMessage | ImageMessage, letter: DeadLetter) -> bool:
        """Whether the letter is meant. A message of several objects is, where one of them is."""
        keys = [name for name, _ in names_in(message)]
        return (
            (not self.run_id or message.run_id == self.run_id)
            and any(key.startswith(self.prefix) for key in keys)
            and self.reason in letter.reason
        )


@dataclass(slots=True)
class _Again:
    """One new run: for all letters of one old run."""

    run: Run
    entries: list[ObjectEntry] = field(default_factory=list)
    images: list[ImageMessage] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    room: int = 0
    found: int = 0
    bytes: int = 0
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Redriven:
    """`runs` are the new ones; `left` letters were no messages of ours, deletes (a next run decides those anew), or of no run that the ledger knows."""

    runs: tuple[str, ...]
    objects: int
    left: int


class Redrive:
    """One pass over the dead letters. `rate`: objects a second at most, 0 for as fast as it goes."""

    def __init__(
        self,
        queue: Queue,
        ledger: Ledger,
        process: str,
        *,
        wanted: Wanted,
        rate: float,
        lease_seconds: float,
        emit: Emit,
    ) -> None:
        self._queue = queue
        self._ledger = ledger
        self._process = process
        self._wanted = wanted
        self._rate = rate
        self._lease_seconds = lease_seconds
        self._emit = emit
        self._admission = Admission(ledger)
        self._runs: dict[str, _Again] = {}
        self._left = 0

    async def run(self, stopped: Callable[[], bool]) -> Redriven:
        """Send what is wanted; letters that are not stay. Its runs are sealed at the end, also when `stopped`."""
        for letter in await self._queue.dead_letters(LOOKED_AT):
            if stopped():
                break
            await self._letter(letter)
        for again in self._runs.values():
            await self._flush(again)
            await self._ledger.seal_run(again.run.run_id, self._process, again.found, again.bytes, {})
            self._emit(RunSealed(again.run.run_id, again.found, again.bytes, 0, {}))
        done = [again for again in self._runs.values() if again.found]
        return Redriven(tuple(again.run.run_id for again in done), sum(again.found for again in done), self._left)

    async def _letter(self, letter: DeadLetter) -> None:
        try:
            message = decode(letter.body)
        except MessageInvalid:
            self._left += 1
            return
        if not isinstance(message, ObjectsMessage | ImageMessage):  # deletes: what they were decided on is old by now
            self._left += 1
            return
        if await self._admission.refusal(letter.body, message):
            self._left += 1
            return
        if not self._wanted.takes(message, letter):
            return
        old = await self._ledger.run(message.run_id)
        if old is None:
            self._left += 1
            return
        again = await self._again(old)
        failed = await self._failed(message, letter.reason)
        if isinstance(message, ImageMessage):
            again.images += [message] * len(failed)
            again.letters.append(letter)
            if len(again.images) >= PACKED:
                await self._flush(again)
            return
        entries = [message.objects[index] for index in failed]
        size = sum(map(entry_size, entries))
        content = sum(entry.size for entry in entries + again.entries)
        full = len(again.entries) + len(entries) > PACKED or size > again.room or content > PACKED_BYTES
        if again.entries and full:
            await self._flush(again)
        again.room -= size
        again.entries += [entry.model_copy(update={"attempt": 0}) for entry in entries]
        again.letters.append(letter)

    async def _failed(self, message: ObjectsMessage | ImageMessage, why: str) -> Sequence[int]:
        """The entries that ended FAILED, by position. A message that nobody counted is, first: its own run must end."""
        names = names_in(message)
        count = len(names)
        if BURIED in message.message_id:
            return range(count)
        row = await self._ledger.outcome(message.message_id)
        if row is None:
            row = await self._ledger.record(refused_row(message, count), self._process, *given_up(message, names, why))
        if row.remainder:
            await self._queue.send(await self._admission.signed(row.run_id, [row.remainder]))
        return failed_in(row.bitmap, count)

    async def _again(self, old: Run) -> _Again:
        if found := self._runs.get(old.run_id):
            return found
        now = time.time()
        run = replace(
            old,
            run_id=uuid.uuid4().hex[:16],
            state=RunState.LISTING,
            finder=self._process,
            lease_until=now + self._lease_seconds,
            started_at=now,
            found=None,
            found_bytes=0,
            reasons={},
            counts=Counts(),
            breakdown=NOTHING,
        )
        await self._ledger.start_run(run, overlap=True)
        self._emit(RunStarted(run.run_id, f"dead letters of run {old.run_id}", "", noun_of(old.job_settings)))
        again = self._runs[old.run_id] = _Again(run, room=self._queue.message_bytes - ENVELOPE_BYTES)
        return again

    async def _flush(self, again: _Again) -> None:
        bodies = [encode(message) for message in self._messages(again)]
        if bodies:
            await self._queue.send(await self._admission.signed(again.run.run_id, bodies))
        sent = len(again.entries) + len(again.images)
        again.found += sent
        again.bytes += sum(entry.size for entry in again.entries)
        await self._queue.forget(again.letters)
        if self._rate > 0 and sent:
            await asyncio.sleep(sent / self._rate)
        again.entries, again.images, again.letters = [], [], []
        again.room = self._queue.message_bytes - ENVELOPE_BYTES
        try:
            await self._ledger.extend_run(again.run.run_id, self._process, time.time() + self._lease_seconds)
        except LeaseLost:
            return  # somebody took this process for dead and abandoned the run: what was sent is worked all the same

    @staticmethod
    def _messages(again: _Again) -> Iterator[Message]:
        """The entries in one message, and each image in its own, under ids of the new run."""
        run = again.run
        if again.entries:
            again.messages += 1
            number = f"{run.run_id}-{again.messages}"
            yield ObjectsMessage(job_id=run.job_id, run_id=run.run_id, message_id=number, objects=again.entries)
        for image in again.images:
            again.messages += 1
            number = f"{run.run_id}-{again.messages}"
            yield image.model_copy(update={"run_id": run.run_id, "message_id": number, "attempt": 1})

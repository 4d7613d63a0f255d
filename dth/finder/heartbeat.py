"""The finder's heartbeat: the run's lease is extended, and how far the run has got is written beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from dth.errors import LedgerError
from dth.events import Emit, Notice
from dth.finder.checkpoint import Checkpoint, beginning, forget, keep, note_continued, take_over
from dth.finder.ranges import EVERYTHING, KeyRange
from dth.ledgers.base import Ledger
from dth.values import value


@value
class Place:
    """How far the run had got at one moment; true of the queue, too, once it has taken message `number`."""

    ranges: Sequence[KeyRange]
    needs_restore: int
    number: int


class Heartbeat:
    """`run` until cancelled: beats three times as often as the lease ends."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        job_id: str,
        run_id: str,
        finder: str,
        lease_seconds: float,
        lease_until: float,
        emit: Emit,
    ) -> None:
        self.ledger = ledger
        self._job_id = job_id
        self._run_id = run_id
        self._finder = finder
        self._lease_seconds = lease_seconds
        self.lease_until = lease_until
        self._emit = emit
        self._pending: Place | None = None
        self._checkpoint: Checkpoint | None = None
        self._writing = asyncio.Lock()
        self._stored = False

    async def begin(self, job_settings: str, *, go_on: bool) -> Checkpoint | None:
        """With `go_on` write checkpoints from now on; returns the one at which this run goes on, where there is one."""
        fresh = beginning(job_settings, self._run_id, time.time())
        found = await take_over(self.ledger, self._job_id, fresh)
        self._stored = found.stored
        if not go_on:
            return None
        self._checkpoint = found.taken or fresh
        if found.taken:
            await note_continued(self.ledger, self._job_id, found.taken)
        return found.taken

    async def run(self, look: Callable[[], Place | None], sent: Callable[[int], bool]) -> None:
        """`look` says how far the run has got (None: not to be written), `sent` whether the queue took a message and all
        before it. Raises LeaseLost where another took the run, and the ledger's error once the lease would be over: a
        ledger that is away for a moment stops nothing."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            wanted = time.time() + self._lease_seconds
            try:
                await self.ledger.extend_run(self._run_id, self._finder, wanted)
                self.lease_until = wanted
                async with self._writing:
                    await self._note(look, sent)
            except LedgerError as error:
                if time.time() >= self.lease_until:
                    raise
                text = f"run {self._run_id}: its lease or its checkpoint was not written: {error}"
                self._emit(Notice("warning", error.code, text))

    async def _note(self, look: Callable[[], Place | None], sent: Callable[[int], bool]) -> None:
        """Write the place of a beat ago, where its messages have been sent meanwhile; then look again."""
        if self._checkpoint is None:
            return
        place = self._pending
        if place and sent(place.number):
            reached = self._checkpoint.reached(place.ranges, place.needs_restore)
            if reached != self._checkpoint and reached.ranges != (EVERYTHING,):
                self._stored = True
                await keep(self.ledger, self._job_id, reached)
                self._checkpoint = reached
            self._pending = None
        self._pending = self._pending or look()

    async def misled(self) -> None:
        """A listing was not what its store vouches for: what was concluded from it is worth nothing, now and later."""
        async with self._writing:
            self._checkpoint = None
            await self.forget()

    async def forget(self) -> None:
        """The next run lists everything."""
        if self._stored:
            await forget(self.ledger, self._job_id)
            self._stored = False

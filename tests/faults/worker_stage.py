"""A worker on stage: a shipped queue and ledger, a copy made of a script, and a fuse that kills it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

from dth.errors import DthError, LedgerError
from dth.events import Event
from dth.ledgers.base import Ledger, OutcomeRow, Run
from dth.ledgers.sqlite import SqliteLedger
from dth.messages import ImageMessage, Message, ObjectEntry, ObjectsMessage, decode, encode
from dth.model import Counts, ImageEnd, ImageRecord, KeyMapping, ObjectRecord
from dth.queues.base import Queue
from dth.queues.sqlite import SqliteQueue
from dth.retry import RetryPolicy
from dth.signing import signed
from dth.states import Outcome, RunState
from dth.stores.base import ObjectStore
from dth.transfer.context import CopyContext, Job
from dth.transfer.options import CopyOptions, Verify
from dth.transfer.result import Copied
from dth.usage import Asked
from dth.worker import run as run_module
from dth.worker.dead_letters import names_in
from dth.worker.images import Images
from dth.worker.outcomes import Ended, next_id
from dth.worker.run import WorkerSettings, work

AT_ONCE = RetryPolicy(attempts=0, base_seconds=0.0, cap_seconds=0.0)
RUN = "run"
JOB = "job"


class _Nothing:
    """A side that nobody asks for anything."""

    requests: Mapping[str, int] = {}
    retries: Mapping[str, int] = {}
    priced_region = ""


NOTHING = _Nothing()

Step = Outcome | DthError | Exception | Callable[[], Awaitable[None]]


def done(size: int = 1) -> Copied:
    return Copied(Outcome.DONE, size, "e", "e", None)


@contextlib.asynccontextmanager
async def standing_run(folder: Path, run_id: str) -> AsyncIterator[tuple[SqliteQueue, SqliteLedger]]:
    """Queue and ledger of `JOB`, whose run of events stands open."""
    async with contextlib.AsyncExitStack() as stack:
        queue = await SqliteQueue.open(
            folder / "queue", owner="t", lease_seconds=60, message_bytes=100_000, receive_limit=20
        )
        stack.push_async_callback(queue.close)
        ledger = await SqliteLedger.open(folder / "ledger")
        stack.push_async_callback(ledger.close)
        now = time.time()
        await ledger.start_run(Run(run_id, JOB, RunState.STANDING, "{}", "events", 0.0, now, None, 0, {}, Counts()))
        yield queue, ledger


class Died(BaseException):
    """The process is gone."""


class Fuse:
    """Burns at the n-th wrapped call (`only`: of that name), before or after it has acted; from then on nothing acts
    any more."""

    def __init__(self, at: int, *, after: bool, only: str = "") -> None:
        self.calls = 0
        self.at = at
        self.after = after
        self.only = only
        self.blown = False

    def wrap(self, target: Any, names: Sequence[str]) -> Any:
        fuse = self

        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                attribute = getattr(target, name)
                return fuse.guard(attribute, name) if name in names else attribute

        return Wrapped()

    def guard(self, call: Callable[..., Awaitable[Any]], name: str = "copy") -> Callable[..., Awaitable[Any]]:
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            if self.blown:
                raise Died
            self.calls += self.only in {"", name}
            mine = self.calls == self.at and self.only in {"", name}
            if mine and not self.after:
                self.blown = True
                raise Died
            try:
                return await call(*args, **kwargs)
            finally:
                self.blown = self.blown or mine
                if self.blown:
                    raise Died  # also instead of the call's own error

        return guarded


class Script:
    """A copy that does for each key what its steps say, the last one for ever; a key without steps is DONE."""

    def __init__(self, steps: dict[str, list[Step]] | None = None) -> None:
        self.steps = steps or {}
        self.tries: Counter[str] = Counter()
        self.attempts: defaultdict[str, list[int]] = defaultdict(list)
        self.redelivered: list[str] = []
        self.in_flight = 0
        self.highest = 0

    async def __call__(self, entry: ObjectEntry, context: CopyContext) -> Copied:
        self.in_flight += 1
        self.highest = max(self.highest, self.in_flight)
        try:
            return await self._play(entry, context)
        finally:
            self.in_flight -= 1

    async def _play(self, entry: ObjectEntry, context: CopyContext) -> Copied:
        tried = self.tries[entry.key]
        self.tries[entry.key] += 1
        if context.redelivered:
            self.redelivered.append(entry.key)
        await asyncio.sleep(0)
        steps = self.steps.get(entry.key, [Outcome.DONE])
        step = steps[min(tried, len(steps) - 1)]
        if isinstance(step, Outcome):
            return Copied(step, entry.size if step is Outcome.DONE else 0, "e", "e", None)
        if isinstance(step, Exception):
            raise step
        await step()
        return done(entry.size)


class ScriptedImages:
    """Images that do for each source what their steps say, the last one for ever; without steps one is DONE."""

    def __init__(self, steps: dict[str, list[Step]] | None = None, *, at_once: int = 2, silent: bool = False) -> None:
        self.steps = steps or {}
        self.at_once = at_once
        self.silent = silent
        self.tries: Counter[str] = Counter()
        self.in_flight = self.highest = 0

    def refusal(self, message: ImageMessage) -> str:
        return "not of this run" if message.source.startswith("forged") else ""

    async def copy(self, message: ImageMessage, attempt: int) -> ImageEnd:
        self.in_flight += 1
        self.highest = max(self.highest, self.in_flight)
        try:
            await asyncio.sleep(0)
            tried = self.tries[message.source]
            self.tries[message.source] += 1
            steps = self.steps.get(message.source, [Outcome.DONE])
            step = steps[min(tried, len(steps) - 1)]
            if isinstance(step, Exception):
                raise step
            outcome = step if isinstance(step, Outcome) else Outcome.DONE
            if not isinstance(step, Outcome):
                await step()
            return ImageEnd(outcome, 1, (self.record(message, Ended(outcome, attempt)),))
        finally:
            self.in_flight -= 1

    @property
    def sides(self) -> tuple[Asked, Asked]:
        return NOTHING, NOTHING

    async def answers_nobody(self, message: ImageMessage) -> bool:
        return self.silent

    def record(self, message: ImageMessage, ended: Ended) -> ImageRecord:
        assert ended.outcome or ended.error
        outcome = ended.outcome or Outcome.FAILED
        counts: dict[str, Any] = dict.fromkeys(
            ("moved_bytes", "skipped_bytes", "blobs_uploaded", "blobs_mounted", "blobs_present", "mounts_refused"), 0
        )
        return ImageRecord(
            message.run_id, message.source, message.destination, message.digest, outcome, **counts, foreign_layers=0,
            attempt=ended.attempt, referrer_of="", error_code=ended.error_code, error=ended.error,
        )  # fmt: skip


async def no_images(run_id: str) -> Images:
    """For workers that meet none."""
    raise AssertionError(f"nobody sent images of {run_id}")


class Kept:
    """A report in memory."""

    only_failed = False

    def __init__(self) -> None:
        self.records: list[Any] = []

    async def write(self, records: Sequence[ObjectRecord]) -> None:
        self.records.extend(records)

    async def write_images(self, records: Sequence[ImageRecord]) -> None:
        self.records.extend(records)


class StageQueue(Queue, Protocol):
    """A queue whose dead workers' leases a test may end."""

    async def reclaim(self, owner: str | None = None) -> int:
        """End all leases (there is one owner on a stage)."""
        ...


class Stage:
    """Queue, ledger and what was heard; `work` plays one worker process on them."""

    def __init__(self, queue: StageQueue, ledger: Ledger) -> None:
        self.queue = queue
        self.ledger = ledger
        self.events: list[Event] = []
        self.report = Kept()
        self.stop = asyncio.Event()
        self.opened: list[str] = []
        self.images = ScriptedImages()

    async def open_images(self, run_id: str) -> Images:
        if await self.ledger.run(run_id) is None:
            raise LedgerError(f"no run {run_id}")
        return self.images

    async def open_job(self, run_id: str) -> Job:
        self.opened.append(run_id)
        nothing = cast("ObjectStore", NOTHING)
        options = CopyOptions(
            include_metadata=True,
            storage_class="",
            acl="",
            sse="",
            sse_kms_key_id="",
            verify=Verify.TRANSFER,
            no_clobber=False,
            multipart_threshold=1,
            part_size=0,
            giant_threshold=1 << 62,
        )
        return Job(JOB, nothing, nothing, KeyMapping("", "", strip=True), options)

    async def begin(self, *, run_id: str = RUN, lease_until: float | None = None) -> None:
        now = time.time()
        await self.ledger.start_run(
            Run(
                run_id=run_id,
                job_id=JOB,
                state=RunState.LISTING,
                job_settings="{}",
                finder="finder",
                lease_until=now + 600 if lease_until is None else lease_until,
                started_at=now,
                found=None,
                found_bytes=0,
                reasons={},
                counts=Counts(),
            )
        )

    async def send(self, *messages: Message) -> None:
        await self.queue.send([await self.signed(message) for message in messages])

    async def signed(self, message: Message) -> str:
        """As whoever may read the ledger sends it."""
        return signed(encode(message), await self.ledger.run_key(message.run_id))

    async def send_keys(self, *groups: Sequence[str], run_id: str = RUN) -> int:
        await self.send(*(objects(keys, f"{run_id}-{n}", run_id) for n, keys in enumerate(groups)))
        return sum(map(len, groups))

    async def seal(self, found: int, run_id: str = RUN) -> None:
        await self.ledger.seal_run(run_id, "finder", found, found, {"missing": found})

    async def ready(self, *groups: Sequence[str]) -> int:
        """A sealed run with one message for each group of keys."""
        await self.begin()
        found = await self.send_keys(*groups)
        await self.seal(found)
        return found

    async def work(
        self,
        script: Callable[[ObjectEntry, CopyContext], Awaitable[Copied]] | None = None,
        fuse: Fuse | None = None,
        **changes: Any,
    ) -> Counts:
        script = script or Script()
        queue, ledger, copy = cast("Queue", self.queue), self.ledger, script
        if fuse:
            queue = fuse.wrap(queue, ("send", "receive", "extend", "ack", "release", "bury"))
            ledger = fuse.wrap(ledger, ("record", "outcome"))
            copy = cast("Any", fuse.guard(script))
        async with asyncio.timeout(60):
            return await work(
                self.open_job,
                queue,
                ledger,
                settings(**changes),
                self.events.append,
                self.report,
                self.stop,
                open_images=self.open_images,
                copy=copy,
                back_off=AT_ONCE,
            )

    async def clear(self, script: Callable[[ObjectEntry, CopyContext], Awaitable[Copied]] | None = None) -> None:
        """Work on until the queue is empty: a counted run may leave messages whose row is written but not acted on."""
        await self.queue.reclaim()  # a worker that sees its run over may leave a repeated message under lease
        working = asyncio.create_task(self.work(script, until_empty=False))
        while (depth := await self.queue.depth()).visible or depth.leased:
            await asyncio.sleep(0.005)
        self.stop.set()
        await working
        self.stop.clear()

    async def counts(self, run_id: str = RUN) -> Counts:
        """The run's counters, which what stands behind them must add up to."""
        run = await self.ledger.run(run_id)
        assert run
        counts, behind = run.counts, run.breakdown
        sums = [sum(part.values()) for part in (behind.proofs, behind.reasons, behind.skips, behind.causes)]
        assert sums == [counts.done, counts.done, counts.skipped, counts.failed], (counts, behind)
        return counts

    async def rows(self, message_id: str = f"{RUN}-0") -> list[OutcomeRow]:
        """The outcome rows of a message and of its remainders, in order."""
        rows: list[OutcomeRow] = []
        while row := await self.ledger.outcome(message_id):
            rows.append(row)
            message_id = next_id(message_id)
        return rows

    async def dead(self) -> dict[str, str]:
        """Reasons by key."""
        letters = {}
        for letter in await self.queue.dead_letters(1000):
            for name, _ in names_in(decode(letter.body)):
                letters[name] = letter.reason
        return letters

    def heard(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def objects(keys: Sequence[str], message_id: str, run_id: str = RUN) -> ObjectsMessage:
    return ObjectsMessage(
        job_id=JOB, run_id=run_id, message_id=message_id, objects=[ObjectEntry(key=key, size=1) for key in keys]
    )


def image(source: str, message_id: str, run_id: str = RUN, digest: str = "sha256:0") -> ImageMessage:
    return ImageMessage(
        job_id=JOB, run_id=run_id, message_id=message_id, source=source, destination=source, digest=digest
    )


def settings(**changes: Any) -> WorkerSettings:
    values: dict[str, Any] = {
        "process": "p1",
        "job_id": JOB,
        "worker_number": 4,
        "max_in_flight": 1000,
        "memory_budget": 1 << 20,
        "lease_seconds": 60.0,
        "lease_cap_seconds": 43_200.0,
        "grace_seconds": 5.0,
        "max_attempts": 5,
        "until_empty": True,
        "poll_seconds": 0.01,
        "stall_seconds": 60.0,
    }
    return WorkerSettings(**(values | changes))


def make_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the ledger as often as the queue is polled."""
    monkeypatch.setattr(run_module, "SHORTEST_PAUSE_SECONDS", 0.005)


@contextlib.asynccontextmanager
async def on_stage(folder: Path, lease_seconds: float = 60.0) -> AsyncIterator[Stage]:
    """A stage whose queue and ledger live in `folder`."""
    async with contextlib.AsyncExitStack() as stack:
        queue = await SqliteQueue.open(
            folder / "queue.sqlite",
            owner="worker",
            lease_seconds=lease_seconds,
            message_bytes=262_144,
            receive_limit=20,
        )
        stack.push_async_callback(queue.close)
        ledger = await SqliteLedger.open(folder / "ledger.sqlite")
        stack.push_async_callback(ledger.close)
        yield Stage(queue, ledger)

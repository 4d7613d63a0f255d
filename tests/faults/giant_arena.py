"""One giant object, four workers on one queue and ledger, and a schedule of what goes wrong, made before it begins."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from dth.errors import AnswerInvalid, ConnectionLost, ServerFault
from dth.events import Event
from dth.ledgers.base import Run
from dth.ledgers.sqlite import SqliteLedger
from dth.messages import ObjectEntry, ObjectsMessage, PartsMessage, decode, encode
from dth.model import Counts, KeyMapping
from dth.queues.base import Queue
from dth.queues.sqlite import SqliteQueue
from dth.signing import signed
from dth.states import Outcome, RunState
from dth.stores.base import ObjectStore, Written
from dth.transfer.context import Job
from dth.transfer.options import CopyOptions, Verify
from dth.worker.images import Images
from dth.worker.process import WorkerProcess
from dth.worker.run import work
from dth.worker.shared.mend import Mender
from tests.faults.worker_stage import AT_ONCE, JOB, RUN, Died, Fuse, Kept, settings

KEY = "giant/object"
LEASE_SECONDS = 1.0
WORKERS = 4
ATTEMPTS = 3
MEND_EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 300.0

QUEUE_STEPS = ("send", "receive", "extend", "ack", "release", "bury")
LEDGER_STEPS = (
    "record", "outcome", "claim_upload", "update_upload", "close_upload", "upload", "put_parts", "get_note", "put_note",
)  # fmt: skip
STORE_STEPS = ("head", "get", "create_upload", "upload_part", "complete_upload", "abort_upload")


class Trouble(StrEnum):
    """What befalls the object, besides deaths and doubled messages."""

    NOTHING = "nothing"
    PART_TRIPS = "part_trips"  # a part fails now and then
    PART_FAILS = "part_fails"  # a part fails for ever
    OVERWRITTEN = "overwritten"  # the source, when a certain part is first read
    OVERWRITTEN_TWICE = "overwritten_twice"
    DELETED = "deleted"
    COMPLETE_LOST = "complete_lost"  # it happens, and the answer is lost
    COMPLETE_ERROR = "complete_error"  # 200 with an error inside, and nothing happens
    MESSAGES_LOST = "messages_lost"


Trap = tuple[str, int, bool]

TRAPS = (
    ("claim_upload", 1), ("create_upload", 1), ("update_upload", 1), ("update_upload", 2), ("record", 1), ("send", 1),
    ("send", 2), ("ack", 1), ("put_parts", 1), ("put_parts", 9), ("put_note", 1), ("complete_upload", 1), ("record", 2),
    ("record", 3), ("close_upload", 1), ("abort_upload", 1), ("bury", 1), ("put_note", 2), ("update_upload", 3),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that will go wrong; the same for the same seed. `deaths` are the steps at which a worker dies, and
    whether that step still acts; the leases of every second are left to lapse. `traps` kill whoever comes to the n-th call of
    that name, so that the few steps which end an upload are met as often as the many which move it. `mended`: the net is there
    from the start; else workers must come to the end without it."""

    seed: int
    trouble: Trouble
    part: int
    times: int
    deaths: tuple[tuple[int, bool], ...]
    traps: tuple[Trap, ...]
    doubled: float
    mended: bool

    @classmethod
    def of(cls, seed: int, parts: int) -> Schedule:
        dice = random.Random(f"giant {seed}")
        troubles = list(Trouble)
        return cls(
            seed=seed,
            trouble=troubles[seed % len(troubles)],
            part=dice.randint(1, parts),
            times=dice.randint(1, 4),
            deaths=tuple((dice.randint(3, 120), dice.random() < 0.5) for _ in range(dice.randint(2, 8))),
            traps=tuple((*dice.choice(TRAPS), dice.random() < 0.5) for _ in range(2)),
            doubled=dice.choice([0.0, 0.1, 0.5]),
            mended=troubles[seed % len(troubles)] is Trouble.MESSAGES_LOST or dice.random() < 0.3,
        )

    @property
    def outcome(self) -> Outcome:
        """How the object must end."""
        return {Trouble.DELETED: Outcome.SKIPPED, Trouble.PART_FAILS: Outcome.FAILED}.get(self.trouble, Outcome.DONE)

    @property
    def generations(self) -> int:
        """How often the source is written over."""
        return {Trouble.OVERWRITTEN: 1, Trouble.OVERWRITTEN_TWICE: 2}.get(self.trouble, 0)


@dataclass
class Places:
    """Where the object is and shall be. `overwrite` writes the n-th later generation at the source, `delete` removes it.
    `fails_by_itself`: the destination's server sees to what befalls Complete, on the wire."""

    source: ObjectStore
    destination: ObjectStore
    entry: ObjectEntry
    part_size: int
    overwrite: Callable[[int], Awaitable[None]]
    delete: Callable[[], Awaitable[None]]
    fails_by_itself: bool = False


@dataclass
class Happened:
    """What has come to pass, over all workers."""

    schedule: Schedule
    overwritten: int = 0
    deleted: bool = False
    trips: int = 0
    lost_answers: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    steps: Counter[str] = field(default_factory=Counter)
    sprung: set[Trap] = field(default_factory=set)


class FaultySource:
    """The source, until the schedule's part is read."""

    def __init__(self, places: Places, happened: Happened) -> None:
        self._places = places
        self._happened = happened

    def __getattr__(self, name: str) -> Any:
        return getattr(self._places.source, name)

    async def get(self, key: str, *, pinned: Any, span: Any = None) -> Any:
        schedule = self._happened.schedule
        if span is not None and span.start == (schedule.part - 1) * self._places.part_size:
            await asyncio.shield(self._befall())  # it happens, whether or not this worker lives to see it
        return await self._places.source.get(key, pinned=pinned, span=span)

    async def _befall(self) -> None:
        """What the schedule has for the source, once; nobody reads the part before it has happened."""
        happened, schedule = self._happened, self._happened.schedule
        async with happened.lock:
            if happened.overwritten < schedule.generations:
                await self._places.overwrite(happened.overwritten + 1)
                happened.overwritten += 1
            if schedule.trouble is Trouble.DELETED and not happened.deleted:
                await self._places.delete()
                happened.deleted = True


class FaultyDestination:
    """The destination, with small parts allowed, and what the schedule does to its answers."""

    def __init__(self, places: Places, happened: Happened, part_min: int) -> None:
        self._store = places.destination
        self._by_itself = places.fails_by_itself
        self._happened = happened
        self.capabilities = replace(places.destination.capabilities, part_min=part_min)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def upload_part(self, key: str, upload_id: str, number: int, *args: Any) -> Written:
        happened, schedule = self._happened, self._happened.schedule
        if number == schedule.part:
            if schedule.trouble is Trouble.PART_FAILS:
                raise ServerFault("this part never gets there")
            if schedule.trouble is Trouble.PART_TRIPS and happened.trips < schedule.times:
                happened.trips += 1
                raise ServerFault("this part trips")
        return await self._store.upload_part(key, upload_id, number, *args)

    async def complete_upload(self, key: str, upload_id: str, parts: Any, **options: Any) -> Written:
        happened, schedule = self._happened, self._happened.schedule
        again = happened.lost_answers < schedule.times and not self._by_itself
        if again and schedule.trouble is Trouble.COMPLETE_ERROR:
            happened.lost_answers += 1
            raise AnswerInvalid("200 with an error inside")
        written = await self._store.complete_upload(key, upload_id, parts, **options)
        if again and schedule.trouble is Trouble.COMPLETE_LOST:
            happened.lost_answers += 1
            raise ConnectionLost("the answer to Complete is lost")
        return written


class Mortality(Fuse):
    """A worker's: it dies at its own n-th step, or in a trap, which kills once."""

    def __init__(self, at: int, *, after: bool, happened: Happened) -> None:
        super().__init__(at, after=after)
        self._happened = happened

    def wrap(self, target: Any, names: Sequence[str]) -> Any:
        mortality = self

        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                attribute = getattr(target, name)
                return mortality.named(name, attribute) if name in names else attribute

        return Wrapped()

    def named(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def step(*args: Any, **kwargs: Any) -> Any:
            happened = self._happened
            happened.steps[name] += 1
            for trap in happened.schedule.traps:
                if trap[:2] == (name, happened.steps[name]) and trap not in happened.sprung and not self.blown:
                    happened.sprung.add(trap)
                    self.at, self.after = self.calls + 1, trap[2]
            return await self.guard(call)(*args, **kwargs)

        return step


class UnreliableQueue:
    """A queue that sends some messages twice, and loses some messages of parts where the schedule says so."""

    def __init__(self, queue: SqliteQueue, schedule: Schedule, dice: random.Random, lost: Counter[str]) -> None:
        self._queue = queue
        self._lost = lost
        self._schedule = schedule
        self._dice = dice

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def send(self, bodies: Sequence[str]) -> None:
        sent = []
        for body in bodies:
            if self._loses(body):
                continue
            sent += [body] * (1 + (self._dice.random() < self._schedule.doubled))
        await self._queue.send(sent)

    def _loses(self, body: str) -> bool:
        """A fifth of the messages of parts, each twice at most: three times in a row means that they cannot arrive."""
        message = decode(body)
        if self._schedule.trouble is not Trouble.MESSAGES_LOST or not isinstance(message, PartsMessage):
            return False
        if self._lost[message.message_id] >= ATTEMPTS - 1 or self._dice.random() > 0.2:
            return False
        self._lost[message.message_id] += 1
        return True


class Arena:
    """Plays a schedule. `run` and `left` say afterwards how it ended."""

    def __init__(
        self, folder: Path, places: Places, schedule: Schedule, part_min: int, *, workers: int = WORKERS
    ) -> None:
        self._workers = workers
        self._folder = folder
        self._places = places
        self._schedule = schedule
        self._part_min = part_min
        self._dice = random.Random(f"play {schedule.seed}")
        self._deaths = list(schedule.deaths)
        self.happened = Happened(schedule)
        self.report = Kept()
        self.events: list[Event] = []
        self.died = 0

    async def play(self) -> Run:
        """Until the run is counted, the queue is empty and nothing is left to mend; the run as it ended."""
        async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE_SECONDS):
            self._ledger = await SqliteLedger.open(self._folder / "ledger")
            stack.push_async_callback(self._ledger.close)
            self._queue = await self._open_queue("arena", stack)
            await self._begin()
            async with asyncio.TaskGroup() as group:
                mending = group.create_task(self._mend_for_ever())
                async with asyncio.TaskGroup() as workers:
                    for number in range(self._workers):
                        workers.create_task(self._worker(number, stack))
                mending.cancel()
            await self._clear(stack)
            run = await self._ledger.run(RUN)
            assert run
            assert [row async for row in self._ledger.uploads(JOB)] == []
            self.letters = await self._queue.dead_letters(100)
            depth = await self._queue.depth()
            assert (depth.visible, depth.leased) == (0, 0)
            return run

    async def _open_queue(self, owner: str, stack: AsyncExitStack) -> SqliteQueue:
        queue = await SqliteQueue.open(
            self._folder / "queue", owner=owner, lease_seconds=LEASE_SECONDS, message_bytes=262_144, receive_limit=1000
        )
        stack.push_async_callback(queue.close)
        return queue

    async def _begin(self) -> None:
        now = time.time()
        run = Run(RUN, JOB, RunState.LISTING, "{}", "finder", now + 600, now, None, 0, {}, Counts())
        await self._ledger.start_run(run)
        message = ObjectsMessage(job_id=JOB, run_id=RUN, message_id=f"{RUN}-1", objects=[self._places.entry])
        await self._queue.send([signed(encode(message), await self._ledger.run_key(RUN))])
        await self._ledger.seal_run(RUN, "finder", 1, self._places.entry.size, {"missing": 1})

    def _job(self, fuse: Fuse | None) -> Job:
        source: Any = FaultySource(self._places, self.happened)
        destination: Any = FaultyDestination(self._places, self.happened, self._part_min)
        if fuse:
            source, destination = fuse.wrap(source, STORE_STEPS), fuse.wrap(destination, STORE_STEPS)
        options = CopyOptions(
            include_metadata=True, storage_class="", acl="", sse="", sse_kms_key_id="", verify=Verify.TRANSFER,
            no_clobber=False, multipart_threshold=self._places.part_size, part_size=self._places.part_size,
            giant_threshold=2 * self._places.part_size,
        )  # fmt: skip
        return Job(JOB, source, destination, KeyMapping("", "", strip=True), options)

    async def _worker(self, number: int, stack: AsyncExitStack) -> None:
        """A worker, replaced by another when it dies."""
        life = 0
        while True:
            life += 1
            name = f"worker-{number}-{life}"
            at, after = self._deaths.pop() if self._deaths else (1 << 60, False)
            fuse = Mortality(at, after=after, happened=self.happened)
            queue = await self._open_queue(name, stack)
            with suppress(Died):
                await self._work(name, fuse, queue, until_empty=True)
            if not fuse.blown:
                return
            self.died += 1
            if self.died % 2:  # as a parent does whose child died; else the leases must lapse
                await queue.reclaim(name)
                await self._ledger.reclaim(name)

    async def _work(
        self, name: str, fuse: Fuse | None, queue: SqliteQueue, *, until_empty: bool, stop: asyncio.Event | None = None
    ) -> None:
        flaky: Any = UnreliableQueue(queue, self._schedule, self._dice, self.happened.lost)
        ledger: Any = self._ledger
        job = self._job(fuse)

        async def open_job(_run_id: str) -> Job:
            return job

        if fuse:
            flaky, ledger = fuse.wrap(flaky, QUEUE_STEPS), fuse.wrap(ledger, LEDGER_STEPS)
        own = settings(
            process=name,
            lease_seconds=LEASE_SECONDS,
            max_attempts=ATTEMPTS,
            until_empty=until_empty,
            memory_budget=64 << 20,
        )
        stop = stop or asyncio.Event()
        await work(
            open_job, flaky, ledger, own, self.events.append, self.report, stop, open_images=no_images, back_off=AT_ONCE
        )

    async def _mend_for_ever(self) -> None:
        while True:
            await asyncio.sleep(MEND_EVERY_SECONDS)
            if self._schedule.mended:
                await self._mend()

    async def _mend(self) -> None:
        """What `dth complete-multipart` does about shared uploads."""
        job = self._job(None)

        async def open_job(_run_id: str) -> Job:
            return job

        depth = await self._queue.depth()
        queue = cast("Queue", UnreliableQueue(self._queue, self._schedule, self._dice, self.happened.lost))
        own = settings(process="mender", lease_seconds=LEASE_SECONDS, max_attempts=ATTEMPTS)
        process = WorkerProcess(open_job, queue, self._ledger, own, self.events.append, self.report)
        mender = Mender(process, depth)
        for row in [row async for row in self._ledger.uploads(JOB)]:
            if row.sharing:
                await mender.mend(row)

    async def _clear(self, stack: AsyncExitStack) -> None:
        """Work what is left in the queue of messages that came twice, and mend until nothing is open."""
        stop = asyncio.Event()
        queue = await self._open_queue("last", stack)
        working = asyncio.create_task(self._work("last", None, queue, until_empty=False, stop=stop))
        while (
            (depth := await self._queue.depth()).visible
            or depth.leased
            or [row async for row in self._ledger.uploads(JOB)]
        ):
            await asyncio.sleep(0.05)
            await self._mend()
        stop.set()
        await working


async def no_images(run_id: str) -> Images:
    raise AssertionError(f"run {run_id} is no run of images")

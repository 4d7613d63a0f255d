"""The worker processes of this machine: started as work appears, watched, replaced, ended.

A child is `python -m dth.cli.child`, or the same forked from a zygote (`dth.zygote`) that was made before anything was
opened: in both cases no lock or connection is shared by accident. Its stdin carries one JSON line of settings and then stays open: `drain` asks for a graceful stop, and its end means that the
parent is gone, however that happened. Its stdout carries events, a JSON line each.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from dth import errors
from dth.errors import DthError, StartFailed
from dth.events import Emit, Notice, WorkerFailed, WorkerStopped, from_json
from dth.values import value
from dth.zygote import LINE_BYTES, Zygote

REPLACEMENTS = 20  # deaths in a row, each of a child that had lived for less than STEADY_SECONDS
STEADY_SECONDS = 60.0
BACK_OFF_SECONDS = 1.0  # at most, before another one is started, once that many have died in a row:
PATIENT_DEATHS = 5
LOOK_SECONDS = (
    1.0  # of silence are counted at most from one look to the next: this process may have been stopped itself
)
HUNG_SECONDS = 15.0  # of silence at least: children say something each second, but a machine may be very busy
WORDS = "worker_died"  # the code of the notice by which a child tells what it dies of


@value
class ChildTask:
    """What a child is told: its name among the children, the settings, whether runs of other settings are refused
    (`strict`), and whether it ends when the job's runs are over."""

    process: str
    settings: str
    strict: bool
    until_empty: bool

    def line(self) -> bytes:
        """As it goes through the pipe."""
        return json.dumps(dataclasses.asdict(self)).encode("ascii") + b"\n"


class WorkerStdin(Protocol):
    """The writing end of a worker's stdin."""

    def write(self, data: bytes) -> None:
        """Send, without waiting."""

    def is_closing(self) -> bool:
        """Whether nothing reaches it any more."""


class WorkerProcess(Protocol):
    """A running worker, however it was made."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def stdin(self) -> WorkerStdin | None:
        """Where orders go."""

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """Where events come from."""

    async def wait(self) -> int:
        """Its exit code; negative: the signal that killed it."""

    def kill(self) -> None:
        """SIGKILL; nothing where it has ended. May raise ProcessLookupError."""


Start = Callable[[int], Awaitable[WorkerProcess]]
"""Makes a worker that inherits a lock's descriptor (-1: there is none)."""


async def spawn(lock: int) -> WorkerProcess:
    """A worker in a Python of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "dth.cli.child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
        pass_fds=(lock,) if lock >= 0 else (),
        env={**os.environ, "PYTHONUNBUFFERED": "0"},
    )


def fork_or_spawn(zygote: Zygote | None) -> Start:
    """Fork workers from `zygote` as long as it can; else spawn them."""

    async def start(lock: int) -> WorkerProcess:
        if zygote:
            with contextlib.suppress(OSError):
                return await zygote.start(lock)
        return await spawn(lock)

    return start


class Child:
    """One worker process."""

    def __init__(self, process: WorkerProcess, task: ChildTask, emit: Emit) -> None:
        self.name = task.process
        self._process = process
        self._emit = emit
        self.failure: WorkerFailed | None = None
        self.leaving = False
        """Whether it was asked to end."""
        self.last_words = ""
        self.born = time.monotonic()
        self._silent = 0.0

    @classmethod
    async def start(cls, start: Start, task: ChildTask, emit: Emit, lock: int, orders: Sequence[str] = ()) -> Child:
        """Start it and hand it its task, with orders that hold from its beginning. It inherits `lock` (-1: there is none)."""
        child = cls(await start(lock), task, emit)
        assert child._process.stdin
        with contextlib.suppress(ConnectionError):  # dead already: `run` will say so
            child._process.stdin.write(task.line() + "".join(f"{order}\n" for order in orders).encode("ascii"))
        return child

    async def run(self) -> int:
        """Forward its events until it ends; its exit code (negative: the signal that killed it)."""
        assert self._process.stdout
        try:
            async for line in self._process.stdout:
                self._forward(line)
            code = await self._process.wait()
        except BaseException:
            self.kill()
            await asyncio.shield(self._process.wait())
            raise
        self._emit(WorkerStopped(self.name, self._process.pid, code))
        return code

    def _forward(self, line: bytes) -> None:
        try:
            event = from_json(line.decode("ascii"))
        except (ValueError, KeyError, TypeError):
            return  # the last line of a killed child may be cut
        self._silent = 0.0
        if isinstance(event, WorkerFailed):
            self.failure = event
        elif isinstance(event, Notice) and event.code == WORDS:
            self.last_words = event.text
        else:
            self._emit(event)

    def drain(self) -> None:
        """Ask it to finish or give back what it holds, and end."""
        if not self.leaving:
            self.leaving = True
            self.order("drain")

    def order(self, line: str) -> None:
        """Tell it one thing; nothing where it has ended."""
        stdin = self._process.stdin
        if stdin and not stdin.is_closing():
            stdin.write(line.encode("ascii") + b"\n")

    def is_hung(self, passed: float, patience: float) -> bool:
        """Whether it has said nothing for so long, `passed` more seconds included. True once."""
        before, self._silent = self._silent, self._silent + passed
        return before <= patience < self._silent

    def kill(self) -> None:
        """End it now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


class Children:
    """Keeps up to `most` workers alive until they end by themselves or are drained.

    `most` may change while they run: those that are too many are asked to end. `orders` are those that a new one begins with.
    One that says nothing for `stall_seconds` (and `HUNG_SECONDS` at least) hangs: it is killed, and replaced as any that died.
    """

    def __init__(
        self,
        make_task: Callable[[int], ChildTask],
        *,
        most: int,
        lock: int,
        emit: Emit,
        bereaved: Callable[[str], Awaitable[None]],
        start: Start = spawn,
        stall_seconds: float = 300.0,
    ) -> None:
        self._patience = max(stall_seconds, HUNG_SECONDS)
        self._looked = time.monotonic()
        self._not_before = 0.0
        self._make_task = make_task
        self.most = most
        self.orders: Callable[[], Sequence[str]] = tuple
        self._lock = lock
        self._emit = emit
        self._bereaved = bereaved
        self._start = start
        self._alive: dict[str, Child] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._started = 0
        self._deaths = 0
        self._draining = False
        self.finished = 0
        """How many ended well by themselves."""

    @property
    def alive(self) -> int:
        """How many run."""
        return len(self._alive)

    @property
    def watches(self) -> set[asyncio.Task[None]]:
        """A task for each that runs, which is done when it has ended."""
        return self._watches

    @property
    def staying(self) -> list[Child]:
        """Those that were not asked to end."""
        return [child for child in self._alive.values() if not child.leaving]

    async def ensure(self, wanted: int, group: asyncio.TaskGroup) -> None:
        """Start children until `wanted` (at most `most`) run; they are watched by tasks of `group`."""
        self._end_hung()
        for child in self.staying[self.most :]:
            child.drain()
        if time.monotonic() < self._not_before:
            return
        while not self._draining and len(self.staying) < min(wanted, self.most):
            self._started += 1
            task = self._make_task(self._started)
            child = await Child.start(self._start, task, self._emit, self._lock, self.orders())
            self._alive[child.name] = child
            watch = group.create_task(self._watch(child))
            self._watches.add(watch)
            watch.add_done_callback(self._watches.discard)

    def _end_hung(self) -> None:
        """Kill those that hang. Their silence is counted look by look: if this process was stopped, theirs is not to blame."""
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, LOOK_SECONDS), now
        for child in list(self._alive.values()):
            if child.is_hung(passed, self._patience):
                text = f"worker {child.name} has said nothing for {self._patience:.0f} s: it is ended and replaced"
                self._emit(Notice("warning", "worker_hung", text))
                child.kill()

    async def ended(self) -> None:
        """Wait until none runs."""
        while self._watches:
            await asyncio.wait(self._watches, timeout=LOOK_SECONDS)
            self._end_hung()

    async def _watch(self, child: Child) -> None:
        """Wait for its end; what a dead one held is freed at once. A failure that it named is raised here."""
        try:
            code = await child.run()
        finally:
            self._alive.pop(child.name, None)
        if child.failure:
            raise _as_error(child.failure)
        if code == 0:
            self.finished += 0 if child.leaving else 1
            return
        self._deaths = self._deaths + 1 if time.monotonic() - child.born < STEADY_SECONDS else 1
        await self._bereaved(child.name)
        if self._deaths > REPLACEMENTS:
            raise StartFailed(
                f"worker processes died {self._deaths} times in a row, each soon after its start; the last "
                f"{_death(code, child.last_words)}; giving up"
            )
        if self._deaths > PATIENT_DEATHS:
            self._not_before = time.monotonic() + BACK_OFF_SECONDS

    def drain(self) -> None:
        """Ask all to finish; none is started any more."""
        self._draining = True
        for child in self._alive.values():
            child.drain()


def _death(code: int, last_words: str) -> str:
    """How a child ended, as the end of a sentence."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        memory = " (was the machine short of memory?)" if -code == signal.SIGKILL else ""
        return f"was ended by {name}{memory}"
    return f"ended with exit code {code}" + (f": {last_words}" if last_words else "")


def _as_error(failure: WorkerFailed) -> DthError:
    """The error that the child raised, as the same class where its message alone makes one."""
    for cls in _descendants(DthError):
        if cls.code == failure.error_code and cls is not errors.RunUnderWay:
            return cls(failure.error)
    return DthError(failure.error)


def _descendants(cls: type[DthError]) -> list[type[DthError]]:
    return [cls, *(deeper for child in cls.__subclasses__() for deeper in _descendants(child))]

"""Watches the processes of runs: starts them, reads what they say, goes on where one died, notes how runs end.

What is true stands in the database and in the attempt's folder, never in this process alone: an attempt is noted before its
process is started, and a process says itself who it is and how it ended. So the hub may be killed anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dth.database import Database
from dth.errors import DthError
from dth.hub.base import TaskRow
from dth.hub.here import processes, runs
from dth.hub.here.folder import HubFolder
from dth.hub.here.output import read_events
from dth.hub.here.processes import Life, Standing
from dth.hub.here.rates import Rates
from dth.hub.here.runs import AGAIN, PAUSE, RUN, STOP, Active
from dth.hub.here.tasks import get_task
from dth.hub.states import RunKind, TaskState
from dth.summary import ExitCode

TICK_SECONDS = 1.0
DEATHS = 5  # in a row, without progress, and each within STEADY_SECONDS
STEADY_SECONDS = 30.0
PATIENCE_SECONDS = 90.0  # from being asked to end until being ended: the longest grace by default, and some
_log = logging.getLogger("dth.hub")

_COMPLETE = (ExitCode.COMPLETE, ExitCode.SOME_FAILED)


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has just ended, for notifications."""

    task: TaskRow
    state: TaskState
    cause: str
    detail: str
    run: Active


Tell = Callable[[Ended], Awaitable[None]]
ReadTotals = Callable[[TaskRow, Active], Awaitable[None]]


class Supervisor:
    """One a hub. `at_once`: so many runs have a process at the same time, the others wait for a place."""

    def __init__(
        self, database: Database, folder: HubFolder, *, at_once: int, read_totals: ReadTotals, tell: Tell
    ) -> None:
        self._database = database
        self._folder = folder
        self._at_once = at_once
        self._read_totals = read_totals
        self._tell = tell
        self._rates = Rates()
        self._awake = asyncio.Event()
        self._started: set[tuple[str, int]] = set()  # attempts whose process this hub has started itself

    def wake(self) -> None:
        """Look soon: somebody has changed what is wanted."""
        self._awake.set()

    async def rest(self) -> None:
        """Wait for the next look."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._awake.wait(), TICK_SECONDS)
        self._awake.clear()

    async def tick(self) -> None:
        """Look at every run once."""
        found = await self._database.read(runs.active_runs)
        self._rates.keep({run.id for run in found})
        with_process = 0
        for run in found:
            try:
                with_process += await self._look_at(run, room=with_process < self._at_once)
            except DthError:
                raise
            except Exception:  # noqa: BLE001 - one run's defect must not keep the others from being watched
                _log.exception("looking at run %s", run.id)
        processes.reap()

    async def _look_at(self, run: Active, *, room: bool) -> bool:
        """Whether the run has a process now."""
        if run.attempt == 0:
            return await self._without_process(run, room=room)
        folder = self._attempt(run)
        standing = await asyncio.to_thread(processes.look, folder)
        if standing.life is Life.COMING and ((run.id, run.attempt) not in self._started or processes.is_late(folder)):
            standing = await asyncio.to_thread(processes.take_back, folder)
        await self._read(run)
        if standing.life in {Life.COMING, Life.ALIVE}:
            await self._alive(run, standing)
            return True
        if run.asked_at == -1.0:  # ended, and noted: paused, or waiting before the next attempt
            return await self._without_process(run, room=room)
        await self._ended(run, standing)
        return False

    async def _read(self, run: Active) -> None:
        """Take what the process has said since."""
        before = run.figures.sum("done")
        output = self._folder.run(run.task_id, run.id) / "output.jsonl"
        async for events, position in read_events(output, run.position):
            for event in events:
                run.figures.take(event)
            run.position = position
        if run.figures.sum("done") > before:
            run.deaths = 0

    async def _alive(self, run: Active, standing: Standing) -> None:
        now = time.time()
        if run.wanted != RUN:
            if run.asked_at is None:
                processes.ask_to_end(standing)
                run.asked_at = now if standing.life is Life.ALIVE else None
            elif now - run.asked_at > PATIENCE_SECONDS:
                processes.kill(standing)
        state = TaskState.RUNNING if run.figures.engine_runs or run.kind is RunKind.VERIFY else TaskState.STARTING
        if run.wanted == STOP:
            state = TaskState.STOPPING
        points = self._rates.sample(run, now)
        run.seen_at = now

        def work(db: Any) -> None:
            runs.note_progress(db, run, state)
            runs.change_run(db, run.id, deaths=run.deaths)
            self._rates.write(db, run, points)

        await self._database.write(work, durable=False)

    async def _ended(self, run: Active, standing: Standing) -> None:
        """The process is gone; what becomes of the run."""
        await self._read(run)  # what it said last
        if standing.pid:
            points = self._rates.sample(run, time.time())
            await self._database.write(lambda db: self._rates.write(db, run, points), durable=False)
        self._rates.forget(run)
        code = standing.exit_code
        task = await self._database.read(lambda db: get_task(db, run.task_id))
        if task and run.kind in {RunKind.SYNC, RunKind.REDRIVE}:
            await self._read_totals(task, run)
        if code in _COMPLETE and run.figures.error_code == "run_under_way":
            await self._end(run, TaskState.FAILED, code, "run_under_way", run.figures.error)
        elif code == ExitCode.COMPLETE and run.step + 1 < len(run.commands):
            await self._again(run, step=run.step + 1)
        elif code in _COMPLETE:
            await self._complete(run, code)
        elif run.wanted == STOP:
            await self._end(run, TaskState.STOPPED, code, "stopped", "")
        elif run.wanted == PAUSE:
            await self._pause(run)
        elif run.wanted == AGAIN:
            await self._again(run, step=run.step)
        elif code is None or code == ExitCode.INTERRUPTED:
            await self._died(run, standing)
        else:
            await self._end(run, TaskState.FAILED, code, run.figures.error_code or "broken", self._why(run))

    async def _complete(self, run: Active, code: int) -> None:
        if run.kind is RunKind.VERIFY:
            state = run.before if run.before not in {TaskState.STARTING, TaskState.RUNNING} else TaskState.DONE
            cause = "" if code == ExitCode.COMPLETE else "differences"
            await self._end(run, state, code, cause, "" if not cause else "the two sides differ; see the report")
            return
        failed = run.figures.sum("failed")
        if code == ExitCode.COMPLETE:
            await self._end(run, TaskState.DONE, code, "", "")
        else:
            detail = f"{failed:,} {run.figures.noun}s failed" if failed else self._why(run)
            await self._end(run, TaskState.FAILED, code, "some_failed", detail)

    async def _died(self, run: Active, standing: Standing) -> None:
        """Killed, or interrupted by somebody else: go on, unless it keeps happening."""
        if time.time() - processes.began(self._attempt(run)) > STEADY_SECONDS:
            run.deaths = 0  # no crash loop: that ends sooner
        deaths = run.deaths + (1 if standing.pid and run.asked_at is None else 0)
        if deaths > DEATHS:
            why = self._why(run) or "no reason was given; was the machine short of memory?"
            await self._end(run, TaskState.FAILED, standing.exit_code, "died", f"it died {deaths} times: {why}")
            return
        run.deaths = deaths
        await self._again(run, step=run.step, wait=min(2.0**deaths, 60.0) if deaths > 1 else 0.0)

    async def _again(self, run: Active, *, step: int, wait: float = 0.0) -> None:
        run.asked_at = -1.0
        run.step, run.not_before = step, time.time() + wait

        def work(db: Any) -> None:
            runs.note_progress(db, run, TaskState.STARTING)
            runs.change_run(db, run.id, step=run.step, not_before=run.not_before, deaths=run.deaths)

        await self._database.write(work, durable=True)

    async def _pause(self, run: Active) -> None:
        run.asked_at = -1.0
        run.figures.begin_attempt()
        await self._database.write(lambda db: runs.note_progress(db, run, TaskState.PAUSED), durable=True)

    async def _without_process(self, run: Active, *, room: bool) -> bool:
        if run.wanted == STOP:
            await self._end(run, TaskState.STOPPED, None, "stopped", "")
        elif run.wanted == PAUSE:
            await self._database.write(lambda db: runs.note_progress(db, run, TaskState.PAUSED), durable=False)
        elif room and time.time() >= run.not_before:
            await self._start(run)
            return True
        return False

    async def _start(self, run: Active) -> None:
        run.attempt += 1
        run.asked_at = None
        run.figures.begin_attempt()

        def work(db: Any) -> bool:
            now = runs.active_run(db, run.task_id)
            if now is None or now.wanted not in {RUN, AGAIN} or now.attempt != run.attempt - 1:
                return False
            runs.change_run(db, run.id, attempt=run.attempt, wanted=RUN)
            runs.note_progress(db, run, TaskState.STARTING)
            return True

        if not await self._database.write(work, durable=True):
            return
        folder = self._folder.run(run.task_id, run.id)
        self._started.add((run.id, run.attempt))
        await asyncio.to_thread(
            processes.start,
            self._attempt(run),
            run.commands[run.step],
            folder / "output.jsonl",
            folder / "errors.txt",
        )

    async def _end(self, run: Active, state: TaskState, code: int | None, cause: str, detail: str) -> None:
        run.figures.begin_attempt()
        await self._database.write(
            lambda db: runs.end(db, run, state=state, exit_code=code, cause=cause, detail=detail), durable=True
        )
        task = await self._database.read(lambda db: get_task(db, run.task_id))
        if task:
            await self._tell(Ended(task, state, cause, detail, run))

    def _attempt(self, run: Active) -> Path:
        return self._folder.run(run.task_id, run.id) / str(run.attempt)

    def _why(self, run: Active) -> str:
        """What the process said last of why it gave up."""
        if run.figures.error:
            return run.figures.error
        try:
            tail = (self._folder.run(run.task_id, run.id) / "errors.txt").read_bytes()[-2000:]
        except OSError:
            return ""
        lines = tail.decode("utf-8", "replace").strip().splitlines()
        return json.dumps(lines[-1])[1:-1] if lines else ""

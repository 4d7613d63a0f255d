"""Starts tasks when their schedule says so: once for each time, once for all that were missed, never two at a time."""

from __future__ import annotations

import logging
import sqlite3
import time

from dth.database import Database
from dth.errors import DthError
from dth.hub.base import Refused, TaskRow
from dth.hub.here.launcher import LocalLauncher
from dth.hub.here.tasks import change_task, get_task
from dth.hub.schedule import Once, parse_schedule
from dth.hub.states import RunKind

AGAIN_SECONDS = 60.0  # when what kept a one-time task from starting is looked at again
_log = logging.getLogger("dth.hub")


class Scheduler:
    """One a hub."""

    def __init__(self, database: Database, launcher: LocalLauncher) -> None:
        self._database = database
        self._launcher = launcher

    async def tick(self) -> None:
        """Start what is due."""
        now = time.time()
        for task in await self._database.read(lambda db: _due(db, now)):
            await self._start(task, now)

    async def _start(self, task: TaskRow, now: float) -> None:
        due = task.next_run_at
        assert due is not None
        try:
            await self._launcher.start_for(task, RunKind.SYNC, {}, scheduled_for=due)
        except Refused as error:
            _log.info("task %s is due, and is not started: %s", task.id, error)
            schedule = parse_schedule(task.schedule)
            following = now + AGAIN_SECONDS if isinstance(schedule, Once) else schedule.next(now) if schedule else None
        except DthError as error:  # a time that was started before the hub was killed is such a case
            _log.warning("task %s cannot be started: %s", task.id, error)
            schedule = parse_schedule(task.schedule)
            following = schedule.next(now) if schedule else None
        else:
            return

        def work(db: sqlite3.Connection) -> None:
            there = get_task(db, task.id)
            if there and there.next_run_at == due:
                change_task(db, task.id, next_run_at=following)

        await self._database.write(work, durable=True)


def _due(db: sqlite3.Connection, now: float) -> list[TaskRow]:
    ids = db.execute(
        "SELECT id FROM tasks WHERE next_run_at IS NOT NULL AND next_run_at <= ? ORDER BY next_run_at LIMIT 1000",
        (now,),
    ).fetchall()
    return [task for (task_id,) in ids if (task := get_task(db, task_id))]

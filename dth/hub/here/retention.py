"""How long runs are kept: a number of them, and a number of days. The newest of each task always stays."""

from __future__ import annotations

import asyncio
import sqlite3
import time

from dth.database import Database
from dth.hub.here.folder import HubFolder, remove

HOUR = 3600.0
AT_ONCE = 500  # in one go


class Retention:
    """Forgets old runs, with their files."""

    def __init__(self, database: Database, folder: HubFolder, *, runs: int, days: int) -> None:
        self._database = database
        self._folder = folder
        self._runs = runs
        self._days = days
        self._looked_at = -HOUR

    async def tick(self) -> None:
        """Once an hour."""
        if time.monotonic() - self._looked_at < HOUR:
            return
        self._looked_at = time.monotonic()
        await self.forget(time.time())

    async def forget(self, now: float) -> int:
        """Forget what is too old or too much; how many runs that were. Files go first: a death in between leaves a run without
        files, which the next pass forgets."""
        old = await self._database.read(lambda db: _old(db, self._runs, now - self._days * 86_400))
        for task_id, run_id in old:
            await asyncio.to_thread(remove, self._folder.run(task_id, run_id))
        ids = [(run_id,) for _, run_id in old]
        await self._database.write(lambda db: db.executemany("DELETE FROM runs WHERE id = ?", ids), durable=False)
        return len(old)


def _old(db: sqlite3.Connection, most: int, oldest: float) -> list[tuple[str, str]]:
    return db.execute(
        """SELECT task_id, id FROM (
               SELECT task_id, id, ended_at, row_number() OVER (PARTITION BY task_id ORDER BY started_at DESC) AS place FROM runs
           ) AS numbered JOIN (SELECT id AS of_task, latest_run FROM tasks) ON of_task = task_id
           WHERE ended_at IS NOT NULL AND id <> latest_run AND place > 1 AND (place > ? OR ended_at < ?) LIMIT ?""",
        (most, oldest, AT_ONCE),
    ).fetchall()

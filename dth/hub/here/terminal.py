"""Jobs of the command line, shown beside the hub's tasks.

A state folder that no task has made becomes a task, by what its ledger says: it can be looked at, and run again from here. Where
a process that the hub did not start works on a job, the task says so, and the hub starts no second one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from dth.app.status import Status
from dth.app.status import status as look
from dth.database import Database
from dth.errors import DthError
from dth.hub.base import TaskRow
from dth.hub.figures import Figures
from dth.hub.here import outside
from dth.hub.here.folder import HubFolder
from dth.hub.here.live import is_paused
from dth.hub.here.runs import OUTSIDE, new_run_id
from dth.hub.here.tasks import change_task, save_task
from dth.hub.here.totals import take_breakdowns
from dth.hub.states import RunKind, TaskState, TaskType
from dth.ledgers.base import Run
from dth.settings import TransferJob, job_id, load_settings, noun_of, settings_of
from dth.states import RunState

SECONDS = 3.0  # between two looks
AT_ONCE = 20  # ledgers read in one look
_SPACE = uuid.UUID("6f9e3c4a-6c1b-4d52-9a55-5d7a0f1f7b3e")
_log = logging.getLogger("dth.hub")


class TerminalJobs:
    """Looks at all state folders now and then."""

    def __init__(self, database: Database, folder: HubFolder) -> None:
        self._database = database
        self._folder = folder
        self._looked_at = 0.0
        self._seen: dict[str, tuple[int, float]] = {}  # who held the lock, and when the ledger changed last

    async def tick(self) -> None:
        """Look, unless that was done a moment ago."""
        if time.monotonic() - self._looked_at < SECONDS:
            return
        self._looked_at = time.monotonic()
        folders = await asyncio.to_thread(_folders, self._folder.root)
        known, busy = await self._database.read(_known)
        read = 0
        for job, (pid, changed) in folders.items():
            if job in busy or self._seen.get(job) == (pid, changed):
                continue
            there = known.get(job)
            if there is None or there[1]:
                read += 1
                if read > AT_ONCE:
                    continue
                await self._read(job, pid)
            if there and there[0] != pid:
                await self._database.write(partial(_hold, job=job, pid=pid), durable=False)
            self._seen[job] = (pid, changed)

    async def _read(self, job: str, pid: int) -> None:
        """Take over what the ledger of a job says."""
        try:
            named = {"job_id": job, "state": str(self._folder.root)}
            here = load_settings(named, {}, None, locations_required=False)
            found = await look(here)
            paused = bool(pid) and await is_paused(here)
            runs = [run for run in found.runs if run.state is not RunState.STANDING]
            if runs and noun_of(runs[0].job_settings) == "object":
                await self._database.write(lambda db: _keep(db, job, pid, runs[0], found, paused=paused), durable=False)
        except (DthError, ValueError) as error:
            _log.info("the state of job %s cannot be read: %s", job, error)


def _folders(root: Path) -> dict[str, tuple[int, float]]:
    found = {}
    for folder in root.iterdir() if root.is_dir() else ():
        try:
            changed = max(
                (folder / name).stat().st_mtime for name in ("ledger.db", "ledger.db-wal") if (folder / name).exists()
            )
        except (OSError, ValueError):
            continue  # no job's state
        found[folder.name] = (outside.holder(folder), changed)
    return found


def _known(db: sqlite3.Connection) -> tuple[dict[str, tuple[int, bool]], set[str]]:
    """Who holds which job, as far as was noted, and whether it came from outside; and jobs that the hub itself works on."""
    known = {
        job: (pid, bool(outside))
        for job, pid, outside in db.execute("SELECT job_id, max(pid), max(outside) FROM tasks GROUP BY job_id")
    }
    active = "SELECT t.job_id FROM runs r JOIN tasks t ON t.id = r.task_id WHERE r.ended_at IS NULL AND r.wanted <> 'outside'"
    return known, {job for (job,) in db.execute(active)}


def _hold(db: sqlite3.Connection, *, job: str, pid: int) -> None:
    db.execute("UPDATE tasks SET pid = ? WHERE job_id = ?", (pid, job))


def _keep(db: sqlite3.Connection, job: str, pid: int, newest: Run, found: Status, *, paused: bool) -> None:
    task_id = str(uuid.uuid5(_SPACE, job))
    failed = newest.counts.failed
    left = found.depth.visible + found.depth.leased
    state = (
        TaskState.PAUSED
        if paused
        else TaskState.RUNNING
        if pid
        else TaskState.FAILED
        if failed or newest.state is RunState.ABANDONED
        else TaskState.DONE
    )
    if not pid and left:
        state = TaskState.STOPPED
    settings = _as_given(json.loads(newest.job_settings), job)
    task = TaskRow(id=task_id, type=TaskType.S3EC2, settings=settings, state=state, outside=True)
    row = db.execute("SELECT latest_run, outside FROM tasks WHERE id = ?", (task_id,)).fetchone()
    if row and not row[1]:
        return  # it was run from here meanwhile
    if row is None:
        save_task(db, task, None, job)
    figures = Figures()
    counts = newest.counts
    totals = figures.run(newest.run_id)
    totals.update(done=counts.done, skipped=counts.skipped, failed=failed, bytes=counts.bytes)
    totals.update(found=newest.found, found_bytes=newest.found_bytes, sealed=newest.state is RunState.SEALED)
    figures.reasons = dict(newest.reasons)
    take_breakdowns(figures, [newest])
    run_id = row[0] if row and row[0] else new_run_id()
    ended = None if pid else time.time()
    values = (
        run_id,
        task_id,
        RunKind.SYNC.value,
        OUTSIDE,
        newest.started_at,
        time.time(),
        json.dumps(figures.to_json()),
    )
    db.execute(
        "INSERT INTO runs (id, task_id, kind, wanted, commands, started_at, seen_at, figures) VALUES (?, ?, ?, ?, '{}', ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET figures = excluded.figures, seen_at = excluded.seen_at, started_at = excluded.started_at",
        values,
    )
    code = None if pid else 3 if failed else 0
    db.execute("UPDATE runs SET ended_at = ?, exit_code = ? WHERE id = ?", (ended, code, run_id))
    change_task(
        db, task_id, state=state.value, pid=pid, latest_run=run_id, failed=failed, updated_at=time.time(),
        created_at=newest.started_at,
    )  # fmt: skip


def _as_given(stored: Mapping[str, Any], job: str) -> dict[str, str]:
    """Settings as somebody would have written them: those that are not defaults."""
    known = settings_of(TransferJob)
    given: dict[str, str] = {}
    for name, value in stored.items():
        one = known.get(name)
        if one is None or name == "job_id" or value in (None, "", [], ()) or value == one.default:
            continue
        given[name] = (
            ",".join(value)
            if isinstance(value, list)
            else str(value).lower()
            if isinstance(value, bool)
            else str(value)
        )
    if job_id(load_settings(given, {}, None, locations_required=False, required=())) != job:
        given["job_id"] = job
    return given

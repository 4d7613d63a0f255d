"""Tasks and runs in SQLite."""

from __future__ import annotations

import base64
import binascii
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dth.database import Database
from dth.hub import forms
from dth.hub.base import Page, Refused, Revision, RunRow, TaskQuery, TaskRow
from dth.hub.figures import Figures
from dth.hub.here.folder import HubFolder, remove
from dth.hub.states import RunKind, TaskSort, TaskState, TaskType
from dth.settings import ImageJob, TransferJob, image_job_id, job_id

MAX_PAGE = 500
_ORDER = {
    TaskSort.CREATED_DESC: ("created_at", "DESC"),
    TaskSort.UPDATED_DESC: ("updated_at", "DESC"),
    TaskSort.NAME: ("name", "ASC"),
    TaskSort.STATE: ("state", "ASC"),
    TaskSort.FAILED_DESC: ("failed", "DESC"),
}
_COLUMNS = (
    "id, type, name, description, settings, extras, schedule, revision, created_at, updated_at, stopped_at, state, cause, "
    "detail, next_run_at, latest_run, pid, outside"
)
RUN_COLUMNS = "id, task_id, kind, started_at, ended_at, wanted, exit_code, cause, detail, figures"


class SqliteTasks:
    """See `base.Tasks`."""

    def __init__(self, database: Database, folder: HubFolder) -> None:
        self._database = database
        self._folder = folder

    async def get(self, task_id: str) -> TaskRow | None:
        """See `base.Tasks`."""
        return await self._database.read(lambda db: get_task(db, task_id))

    async def page(self, query: TaskQuery) -> Page:
        """See `base.Tasks`."""
        return await self._database.read(lambda db: _page(db, query))

    async def save(self, task: TaskRow, revision: int | None) -> TaskRow:
        """See `base.Tasks`. Also writes the job file, which a run reads when it begins."""
        job = engine_job_id(task)
        saved = await self._database.write(lambda db: save_task(db, task, revision, job), durable=True)
        self._folder.write_job(self._folder.job_file(saved.id), saved.settings)
        return saved

    async def delete(self, task_id: str, *, keep_records: bool) -> None:
        """See `base.Tasks`. The engine's state goes with the last task that uses it, unless records are kept."""
        job = await self._database.write(lambda db: _delete(db, task_id), durable=True)
        if keep_records:
            self._folder.job_file(task_id).unlink(missing_ok=True)
            return
        remove(self._folder.task(task_id))
        if job:
            remove(self._folder.root / job)

    async def run(self, run_id: str) -> RunRow | None:
        """See `base.Tasks`."""
        found = await self.latest([run_id])
        return found.get(run_id)

    async def runs(self, task_id: str, limit: int, after: str) -> Page:
        """See `base.Tasks`."""
        limit = max(1, min(limit, MAX_PAGE))
        before = _float(read_cursor(after)[0]) if after else float("inf")

        def work(db: sqlite3.Connection) -> Page:
            rows = db.execute(
                f"SELECT {RUN_COLUMNS} FROM runs WHERE task_id = ? AND started_at < ? ORDER BY started_at DESC LIMIT ?",  # noqa: S608 - names are ours
                (task_id, before, limit + 1),
            ).fetchall()
            items = [run_of(row) for row in rows[:limit]]
            return Page(items, write_cursor(items[-1].started_at, "") if len(rows) > limit else "")

        return await self._database.read(work)

    async def revisions(self, task_id: str, limit: int, after: str) -> Page:
        """See `base.Tasks`."""
        limit = max(1, min(limit, MAX_PAGE))
        below = _float(read_cursor(after)[0]) if after else float("inf")

        def work(db: sqlite3.Connection) -> Page:
            rows = db.execute(
                "SELECT revision, at, row FROM revisions WHERE task_id = ? AND revision < ? ORDER BY revision DESC LIMIT ?",
                (task_id, below, limit + 1),
            ).fetchall()
            kept = [(number, at, json.loads(row)) for number, at, row in rows]
            items = [
                Revision(number, at, fields, kept[place + 1][2] if place + 1 < len(kept) else None)
                for place, (number, at, fields) in enumerate(kept[:limit])
            ]
            return Page(items, write_cursor(items[-1].number, "") if len(kept) > limit else "")

        return await self._database.read(work)

    async def command(self, task: TaskRow) -> str:
        """See `base.Tasks`."""
        return forms.command_line(task.type, self._folder.job_file(task.id))

    async def latest(self, run_ids: Sequence[str]) -> Mapping[str, RunRow]:
        """See `base.Tasks`."""
        ids = [run_id for run_id in run_ids if run_id][:MAX_PAGE]

        def work(db: sqlite3.Connection) -> dict[str, RunRow]:
            marks = ",".join("?" * len(ids))
            rows = db.execute(f"SELECT {RUN_COLUMNS} FROM runs WHERE id IN ({marks})", ids).fetchall()  # noqa: S608 - marks
            return {row[0]: run_of(row) for row in rows}

        return await self._database.read(work) if ids else {}


def get_task(db: sqlite3.Connection, task_id: str) -> TaskRow | None:
    """The task; None where there is none."""
    row = db.execute(f"SELECT {_COLUMNS} FROM tasks WHERE id = ?", (task_id,)).fetchone()  # noqa: S608 - names are ours
    return task_of(row) if row else None


def task_of(row: Sequence[Any]) -> TaskRow:
    """A row of `_COLUMNS`."""
    return TaskRow(
        id=row[0],
        type=TaskType(row[1]),
        name=row[2],
        description=row[3],
        settings=json.loads(row[4]),
        extras=json.loads(row[5]),
        schedule=row[6],
        revision=row[7],
        created_at=row[8],
        updated_at=row[9],
        stopped_at=row[10],
        state=TaskState(row[11]),
        cause=row[12],
        detail=row[13],
        next_run_at=row[14],
        latest_run=row[15],
        pid=row[16],
        outside=bool(row[17]),
    )


def run_of(row: Sequence[Any]) -> RunRow:
    """A row of `RUN_COLUMNS`."""
    return RunRow(
        id=row[0],
        task_id=row[1],
        kind=RunKind(row[2]),
        started_at=row[3],
        ended_at=row[4],
        paused=row[5] == "pause",
        exit_code=row[6],
        cause=row[7],
        detail=row[8],
        figures=Figures.from_json(json.loads(row[9])),
    )


def engine_job_id(task: TaskRow) -> str:
    """The engine's name of the job: the same as of the same places on the command line, so that neither doubles the other."""
    job = forms.job_of(task.type, task.settings)
    return image_job_id(job) if isinstance(job, ImageJob) else job_id(job) if isinstance(job, TransferJob) else ""


def change_task(db: sqlite3.Connection, task_id: str, **values: Any) -> None:
    """Change some columns of a task."""
    names = ", ".join(f"{name} = ?" for name in values)
    db.execute(f"UPDATE tasks SET {names} WHERE id = ?", (*values.values(), task_id))  # noqa: S608 - names are ours


def save_task(db: sqlite3.Connection, task: TaskRow, revision: int | None, job: str) -> TaskRow:
    """Add or change it: see `base.Tasks`."""
    now = time.time()
    there = get_task(db, task.id)
    if there and revision is not None and there.revision != revision:
        raise Refused(
            "stale",
            f"the task was changed meanwhile: it is at revision {there.revision}, you edited {revision}",
            "load it again, look at what changed, and make your change once more",
        )
    settings = task.settings
    buckets = "\n".join(v for v in (settings.get("src_bucket"), settings.get("dest_bucket")) if v)
    search = " ".join([task.id, task.name, task.description, *settings.values()]).lower()
    new = replace(task, revision=there.revision + 1 if there else 1, updated_at=now)
    new = replace(new, created_at=there.created_at if there else now)
    values = {
        "type": new.type.value, "name": new.name, "description": new.description, "settings": json.dumps(dict(settings)),
        "extras": json.dumps(dict(new.extras)), "schedule": new.schedule, "revision": new.revision,
        "created_at": new.created_at, "updated_at": now, "state": new.state.value, "cause": new.cause, "detail": new.detail,
        "next_run_at": new.next_run_at, "job_id": job, "outside": int(new.outside), "buckets": buckets, "search": search,
    }  # fmt: skip
    if there:
        change_task(db, new.id, **values)
    else:
        values |= {"id": new.id, "latest_run": "", "stopped_at": None}
        db.execute(
            f"INSERT INTO tasks ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",  # noqa: S608 - names are ours
            tuple(values.values()),
        )
    keep_revision(db, new)
    return new


def keep_revision(db: sqlite3.Connection, task: TaskRow) -> None:
    """Keep the task as it is now."""
    row = {
        "name": task.name, "description": task.description, "settings": dict(task.settings), "schedule": task.schedule,
    }  # fmt: skip
    values = (task.id, task.revision, task.updated_at, json.dumps(row))
    db.execute("INSERT OR REPLACE INTO revisions VALUES (?, ?, ?, ?)", values)


def _delete(db: sqlite3.Connection, task_id: str) -> str:
    """The id of the job whose state nobody else uses; "" where somebody does."""
    if db.execute("SELECT 1 FROM runs WHERE task_id = ? AND ended_at IS NULL", (task_id,)).fetchone():
        raise Refused("under_way", "a run of this task is under way", "stop it first")
    row = db.execute("SELECT job_id FROM tasks WHERE id = ?", (task_id,)).fetchone()
    for table in ("tasks", "runs", "series", "revisions"):
        column = "id" if table == "tasks" else "task_id"
        db.execute(f"DELETE FROM {table} WHERE {column} = ?", (task_id,))  # noqa: S608 - names are ours
    if not row or db.execute("SELECT 1 FROM tasks WHERE job_id = ?", (row[0],)).fetchone():
        return ""
    return str(row[0])


def _page(db: sqlite3.Connection, query: TaskQuery) -> Page:
    where, values = _conditions(query)
    states = [state.value for state in query.states]
    all_of = f"SELECT state, count(*) FROM tasks WHERE {where} GROUP BY state"  # noqa: S608 - conditions hold marks
    counts = dict(db.execute(all_of, values).fetchall())
    if states:
        where += f" AND state IN ({','.join('?' * len(states))})"
        values += states
    column, direction = _ORDER[query.sort]
    chosen, chosen_values = where, list(values)
    if query.after:
        last, last_id = read_cursor(query.after)
        sign = "<" if direction == "DESC" else ">"
        chosen += f" AND ({column}, id) {sign} (?, ?)"
        chosen_values += [last, last_id]
    limit = max(1, min(query.limit, MAX_PAGE))
    rows = db.execute(
        f"SELECT {_COLUMNS}, {column} FROM tasks WHERE {chosen} ORDER BY {column} {direction}, id {direction} LIMIT ?",  # noqa: S608
        (*chosen_values, limit + 1),
    ).fetchall()
    after = write_cursor(rows[limit - 1][-1], rows[limit - 1][0]) if len(rows) > limit else ""
    total = sum(count for state, count in counts.items() if not states or state in states)
    return Page([task_of(row) for row in rows[:limit]], after, total, counts)


def _conditions(query: TaskQuery) -> tuple[str, list[Any]]:
    where, values = ["1"], list[Any]()
    if query.type:
        where.append("type = ?")
        values.append(query.type.value)
    if query.text:
        where.append("instr(search, ?) > 0")
        values.append(query.text.lower())
    if query.bucket:
        where.append("instr(char(10) || buckets || char(10), char(10) || ? || char(10)) > 0")
        values.append(query.bucket)
    return " AND ".join(where), values


def write_cursor(*place: Any) -> str:
    """A place in a list, as an opaque word."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def read_cursor(text: str) -> list[Any]:
    """The reverse. Raises Refused for what is none."""
    try:
        place = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
    except (ValueError, binascii.Error):
        place = None
    if not isinstance(place, list) or not place or not all(isinstance(one, str | int | float) for one in place):
        raise Refused("bad_request", "`after` is no cursor of this list", "leave it out to begin at the start")
    return [*place, ""][:2] if len(place) < 2 else place  # noqa: PLR2004 - value and id


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0

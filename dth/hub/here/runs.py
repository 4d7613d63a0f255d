"""Runs that are under way, as the supervisor needs them."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dth.hub.base import Refused, RunRow, TaskRow
from dth.hub.figures import Figures
from dth.hub.here.tasks import RUN_COLUMNS, change_task, get_task, run_of
from dth.hub.states import RunKind, TaskState

RUN, PAUSE, STOP = "run", "pause", "stop"
OUTSIDE = "outside"  # of a process that the hub did not start: it is only looked at
AGAIN = "again"  # end the process gracefully, and go on at once with what the job file says now
_COLUMNS = "id, task_id, kind, wanted, commands, step, attempt, deaths, not_before, asked_at, position, seen_at, figures, started_at"


@dataclass(slots=True)
class Active:
    """A run that has not ended. `commands` are the argument lists of its steps; `attempt` numbers its processes, 0 before the
    first; `deaths` counts those in a row that ended without a word and without progress; `position` is how much of the
    output has been read; `asked_at` is when its process was asked to end; `before` is the task's state before it."""

    id: str
    task_id: str
    kind: RunKind
    wanted: str
    commands: list[list[str]]
    before: TaskState
    step: int
    attempt: int
    deaths: int
    not_before: float
    asked_at: float | None
    position: int
    seen_at: float
    figures: Figures
    started_at: float


def active_of(row: Sequence[Any]) -> Active:
    """A row of `_COLUMNS`."""
    plan = json.loads(row[4])
    return Active(
        id=row[0],
        task_id=row[1],
        kind=RunKind(row[2]),
        wanted=row[3],
        commands=plan["commands"],
        before=TaskState(plan["before"]),
        step=row[5],
        attempt=row[6],
        deaths=row[7],
        not_before=row[8],
        asked_at=row[9],
        position=row[10],
        seen_at=row[11],
        figures=Figures.from_json(json.loads(row[12])),
        started_at=row[13],
    )


def active_runs(db: sqlite3.Connection) -> list[Active]:
    """All of them, the oldest first."""
    where = "ended_at IS NULL AND wanted <> 'outside' ORDER BY started_at"
    rows = db.execute(f"SELECT {_COLUMNS} FROM runs WHERE {where}").fetchall()  # noqa: S608 - names are ours
    return [active_of(row) for row in rows]


def active_run(db: sqlite3.Connection, task_id: str) -> Active | None:
    """A task's run that is under way."""
    where = "task_id = ? AND ended_at IS NULL AND wanted <> 'outside'"
    row = db.execute(f"SELECT {_COLUMNS} FROM runs WHERE {where}", (task_id,)).fetchone()  # noqa: S608 - names are ours
    return active_of(row) if row else None


def begin(
    db: sqlite3.Connection,
    task: TaskRow,
    kind: RunKind,
    commands: Sequence[Sequence[str]],
    *,
    run_id: str,
    scheduled_for: float | None = None,
    next_run_at: float | None,
) -> RunRow:
    """Note a run; its first process is started by the supervisor. Refused `under_way` where the task, or another one of the
    same places, has one already."""
    now = time.time()
    job = db.execute("SELECT job_id FROM tasks WHERE id = ?", (task.id,)).fetchone()
    if not job:
        raise Refused("no_such_task", "there is no such task")
    other = db.execute(
        "SELECT t.name, t.id FROM runs r JOIN tasks t ON t.id = r.task_id WHERE r.ended_at IS NULL AND t.job_id = ?",
        job,
    ).fetchone()
    if other:
        whose = "this task" if other[1] == task.id else f"the task {other[0] or other[1]!r}, which has the same places,"
        raise Refused("under_way", f"a run of {whose} is under way", "wait for its end, or stop it")
    plan = json.dumps({"commands": [list(one) for one in commands], "before": task.state.value})
    fields = {
        "id": run_id, "task_id": task.id, "kind": kind.value, "wanted": RUN, "commands": plan, "started_at": now,
        "seen_at": now, "scheduled_for": scheduled_for, "figures": json.dumps(Figures().to_json()),
    }  # fmt: skip
    marks = ", ".join("?" * len(fields))
    db.execute(f"INSERT INTO runs ({', '.join(fields)}) VALUES ({marks})", tuple(fields.values()))  # noqa: S608 - ours
    change_task(
        db, task.id, state=TaskState.STARTING.value, cause="", detail="", latest_run=run_id, stopped_at=None,
        next_run_at=next_run_at, updated_at=now, pid=0, outside=0,
    )  # fmt: skip
    return run_of(db.execute(f"SELECT {RUN_COLUMNS} FROM runs WHERE id = ?", (run_id,)).fetchone())  # noqa: S608


def new_run_id() -> str:
    """An id that sorts by time."""
    return f"{int(time.time() * 1000):012x}{uuid.uuid4().hex[:8]}"


def change_run(db: sqlite3.Connection, run_id: str, **values: Any) -> None:
    """Change some columns of a run."""
    names = ", ".join(f"{name} = ?" for name in values)
    db.execute(f"UPDATE runs SET {names} WHERE id = ?", (*values.values(), run_id))  # noqa: S608 - names are ours


def want(db: sqlite3.Connection, task_id: str, wanted: str) -> Active | None:
    """Say what is to become of the task's run; the run, or None where none is under way."""
    run = active_run(db, task_id)
    if run is None:
        return None
    change_run(db, run.id, wanted=wanted, **({"not_before": 0.0} if wanted == RUN else {}))
    return replace(run, wanted=wanted)


def note_progress(db: sqlite3.Connection, run: Active, state: TaskState) -> None:
    """What has been read of a run's output, and what follows from it: both or neither."""
    change_run(
        db, run.id, position=run.position, seen_at=run.seen_at, figures=json.dumps(run.figures.to_json()),
        asked_at=run.asked_at,
    )  # fmt: skip
    task = get_task(db, run.task_id)
    if task and (task.state is not state or run.figures.sum("failed")):
        change_task(db, run.task_id, state=state.value, failed=run.figures.sum("failed"))


def end(
    db: sqlite3.Connection, run: Active, *, state: TaskState, exit_code: int | None, cause: str, detail: str
) -> None:
    """A run is over, and the task's state follows."""
    now = time.time()
    change_run(
        db, run.id, ended_at=now, position=run.position, seen_at=now, figures=json.dumps(run.figures.to_json()),
        exit_code=exit_code, cause=cause, detail=detail,
    )  # fmt: skip
    task = get_task(db, run.task_id)
    if task is None:
        return
    if state in {TaskState.DONE, TaskState.FAILED} and task.next_run_at is not None:
        state = TaskState.WAITING
    stopped = {"stopped_at": now} if state is TaskState.STOPPED else {}
    change_task(
        db, run.task_id, state=state.value, cause=cause, detail=detail, updated_at=now,
        failed=run.figures.sum("failed"), **stopped,
    )  # fmt: skip

"""The log of a task: what the processes of its newest run printed, read by position."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dth.database import Database
from dth.hub.base import LogLine, LogQuery, Page
from dth.hub.here.folder import HubFolder
from dth.hub.here.tasks import get_task, read_cursor, write_cursor
from dth.hub.states import LogLevel

MAX_LINES = 1000
READ_BYTES = 4 << 20  # a page is found within so much of the file, or its cursor says where to look on
TAIL_BYTES = 256 << 10
_RANK = {LogLevel.ERROR: 0, LogLevel.WARNING: 1, LogLevel.INFO: 2, LogLevel.DEBUG: 3}
_DEBUG = {
    "Moved",
    "BytesMoved",
    "InFlight",
    "ListingProgress",
    "VerifyProgress",
    "SortProgress",
    "Planned",
    "Requests",
    "Vitals",
}


class FileLogs:
    """See `base.Logs`."""

    def __init__(self, database: Database, folder: HubFolder) -> None:
        self._database = database
        self._folder = folder

    async def page(self, query: LogQuery) -> tuple[Page, bool]:
        """See `base.Logs`. Without a cursor, the last lines of the newest run; then what follows."""
        task = await self._database.read(lambda db: get_task(db, query.task_id))
        if task is None or not task.latest_run:
            return Page([]), False
        run_id, position = task.latest_run, -1
        if query.after:
            place = read_cursor(query.after)
            run_id, position = str(place[0]), int(place[1])
            if not run_id.isalnum():
                run_id, position = task.latest_run, -1
        output = self._folder.run(task.id, run_id) / "output.jsonl"
        row = await self._database.read(
            lambda db: db.execute(
                "SELECT started_at, ended_at FROM runs WHERE id = ? AND task_id = ?", (run_id, task.id)
            ).fetchone()
        )
        if row is None:
            return Page([]), False
        lines, position = await asyncio.to_thread(_lines, output, position, query, row[0])
        return Page(lines, write_cursor(run_id, position)), row[1] is None

    async def processes(self, task_id: str) -> Sequence[str]:
        """See `base.Logs`."""
        task = await self._database.read(lambda db: get_task(db, task_id))
        if task is None or not task.latest_run:
            return []
        row = await self._database.read(
            lambda db: db.execute("SELECT figures FROM runs WHERE id = ?", (task.latest_run,)).fetchone()
        )
        workers = json.loads(row[0]).get("workers", {}) if row else {}
        return ["sync", *(name.rpartition("/")[2] for name in workers)]


def _lines(path: Path, position: int, query: LogQuery, started: float) -> tuple[list[LogLine], int]:
    """The lines from a position on (-1: the last ones), and the position behind them."""
    limit = max(1, min(query.limit, MAX_LINES))
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            last = position < 0
            start = max(0, size - TAIL_BYTES) if last else min(position, size)
            file.seek(start)
            data = file.read(READ_BYTES)
    except FileNotFoundError:
        return [], 0
    if last and start:
        cut = data.find(b"\n") + 1
        start, data = start + cut, data[cut:]
    found: list[LogLine] = []
    end = start
    at = started
    for raw in data.splitlines(keepends=True):
        if not raw.endswith(b"\n"):
            break
        end += len(raw)
        line = _line(raw, at)
        if line:
            at = line.at
            if _wanted(line, query):
                found.append(line)
                if len(found) >= limit and not last:
                    break
    return found[-limit:], end


def _wanted(line: LogLine, query: LogQuery) -> bool:
    if _RANK[line.level] > _RANK[query.level or LogLevel.INFO]:
        return False
    if query.process and line.process != query.process:
        return False
    return query.contains.lower() in line.text.lower()


def _line(raw: bytes, at: float) -> LogLine | None:
    try:
        event: Mapping[str, Any] = json.loads(raw)
        kind = event["event"]
    except (ValueError, KeyError, TypeError):
        text = raw.decode("utf-8", "backslashreplace").rstrip("\n")
        return LogLine(at, LogLevel.INFO, "sync", json.dumps(text)[1:-1]) if text else None
    level, code = _level(kind, event)
    process = str(event.get("process") or "sync").rpartition("/")[2]
    stamp = event.get("at")
    return LogLine(float(stamp) if isinstance(stamp, int | float) else at, level, process, _text(kind, event), code)


def _level(kind: str, event: Mapping[str, Any]) -> tuple[LogLevel, str]:
    match kind:
        case "error":
            return LogLevel.ERROR, str(event.get("code", ""))
        case "ObjectFailed":
            return (LogLevel.ERROR if event.get("final") else LogLevel.WARNING), str(event.get("error_code", ""))
        case "Notice":
            return (LogLevel.WARNING if event.get("level") == "warning" else LogLevel.INFO), str(event.get("code", ""))
        case "WorkerStopped" if event.get("exit_code"):
            return LogLevel.WARNING, "worker_died"
        case "RunAbandoned" | "WorkerFailed" | "Difference":
            return LogLevel.WARNING, ""
        case _:
            return (LogLevel.DEBUG if kind in _DEBUG else LogLevel.INFO), ""


def _text(kind: str, event: Mapping[str, Any]) -> str:
    """A sentence where the event has one, else its fields. Keys are shown as JSON shows them: nothing raw."""
    if found := _sentence(kind, event):
        return found
    rest = {name: value for name, value in event.items() if name not in {"event", "process", "at"}}
    return f"{kind} {json.dumps(rest, separators=(', ', ': '))}"[:4000]


def _sentence(kind: str, event: Mapping[str, Any]) -> str:
    found = ""
    match kind:
        case "Notice":
            found = str(event.get("text", ""))
        case "error":
            found = str(event.get("message", ""))
        case "ObjectFailed":
            again = "failed" if event.get("final") else "failed, and will be tried again"
            found = f"{json.dumps(event.get('key'))} {again}: {event.get('error')}"
        case "WorkerStarted":
            found = f"worker started, pid {event.get('pid')}"
        case "WorkerStopped":
            found = f"worker ended, exit code {event.get('exit_code')}"
        case "RunOver" | "Summary" if "done" in event:
            counts = ", ".join(f"{event.get(name)} {name}" for name in ("found", "done", "skipped", "failed"))
            found = f"the {'run' if kind == 'RunOver' else 'command'} is over: {counts}, {event.get('bytes')} bytes"
        case _:
            pass
    return found

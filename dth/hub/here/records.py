"""Records of ended objects, from a run's report: a file of JSON lines that is read by position, never whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dth.causes import cause_of
from dth.database import Database
from dth.hub.base import Page, RecordQuery, TaskRow
from dth.hub.here.folder import HubFolder
from dth.hub.here.story import Story
from dth.hub.here.tasks import get_task, read_cursor, write_cursor

MAX_RECORDS = 1000
STORY_RUNS = 20  # the newest ones that a key's story looks at
STORY_BYTES = 64 << 20  # of their reports, in one request
READ_BYTES = 8 << 20  # a request looks through so much at most; then its cursor says where to look on
CHUNK_BYTES = 1 << 20


class ReportRecords:
    """See `base.Records`."""

    def __init__(self, database: Database, folder: HubFolder) -> None:
        self._database = database
        self._folder = folder
        self._story = Story(folder)

    async def page(self, query: RecordQuery) -> Page:
        """See `base.Records`. A page may hold fewer than asked for, or none, and yet not be the last."""
        task = await self._database.read(lambda db: get_task(db, query.task_id))
        run_id = query.run_id or (task.latest_run if task else "")
        if not run_id or not run_id.isalnum():
            return Page([])
        position = 0
        if query.after:
            place = read_cursor(query.after)
            position = int(place[1]) if isinstance(place[1], int) else 0
        path = self._folder.run(query.task_id, run_id) / "records.jsonl"
        items, end, more = await asyncio.to_thread(_records, path, position, query, run_id)
        total = None
        if not (query.outcomes or query.code or query.prefix):
            total = await self._total(run_id)
        return Page(items, write_cursor(run_id, end) if more else "", total)

    async def _total(self, run_id: str) -> int | None:
        row = await self._database.read(
            lambda db: db.execute("SELECT figures FROM runs WHERE id = ?", (run_id,)).fetchone()
        )
        if row is None:
            return None
        runs = json.loads(row[0]).get("engine_runs", {}).values()
        return sum(int(one[name]) for one in runs for name in ("done", "skipped", "failed"))

    async def story(self, task: TaskRow, key: str) -> Mapping[str, Any]:
        """See `base.Records`. Its records are those of the newest runs, as far as a request's share of reading goes."""
        told = await self._story.explain(task, key)
        whole = str(told["key"])
        runs = await self._database.read(
            lambda db: db.execute(
                "SELECT id FROM runs WHERE task_id = ? ORDER BY started_at DESC LIMIT ?", (task.id, STORY_RUNS)
            ).fetchall()
        )
        found: list[Any] = []
        left = STORY_BYTES
        for (run_id,) in runs:
            position, more = 0, True
            query = RecordQuery(task.id, run_id, prefix=whole, limit=20)
            path = self._folder.run(task.id, run_id) / "records.jsonl"
            while more and left > 0:
                items, end, more = await asyncio.to_thread(_records, path, position, query, run_id)
                found += [one for one in items if one["key"] == whole]
                left -= end - position
                position = end
        return {**told, "records": found}


def _records(path: Path, position: int, query: RecordQuery, run_id: str) -> tuple[list[dict[str, Any]], int, bool]:
    """Those that are wanted from a position on, the position behind the last one looked at, and whether more follow."""
    limit = max(1, min(query.limit, MAX_RECORDS))
    found: list[dict[str, Any]] = []
    outcomes = {one.lower() for one in query.outcomes}
    needles = _needles(query)
    end = position
    try:
        with path.open("rb") as file:
            while end - position < READ_BYTES:
                file.seek(end)
                data = file.read(CHUNK_BYTES)
                whole = data.rfind(b"\n") + 1
                if not whole:
                    return found, end, False
                for raw, behind in _lines(data[:whole], needles):
                    record = _record(raw, run_id) if _may_hold(raw, needles) else None
                    if record and _wanted(record, query, outcomes):
                        found.append(record)
                        if len(found) >= limit:
                            return found, end + behind, True
                end += whole
                if len(data) < CHUNK_BYTES:
                    return found, end, False
    except FileNotFoundError:
        return [], 0, False
    return found, end, True


def _needles(query: RecordQuery) -> list[tuple[bytes, ...]]:
    """What a wanted line holds: one text of each group. A line that does is parsed and looked at closely. Reports are ASCII JSON;
    those of `dth verify` have a comparison where others have an outcome."""
    groups: list[tuple[bytes, ...]] = [
        (json.dumps(text)[1:-1].encode("ascii"),) for text in (query.prefix, query.code) if text
    ]
    if query.outcomes:
        said = [json.dumps(one.lower()).encode("ascii") for one in query.outcomes]
        groups.append((*said, b'"comparison"'))
    return groups


def _lines(data: bytes, needles: Sequence[tuple[bytes, ...]]) -> Iterator[tuple[bytes, int]]:
    """Lines of `data`, which ends with one, each with the offset behind it; with needles only those that hold one of the first
    group. Most lines of a long report are never cut out, let alone parsed."""
    at = 0
    if not needles:
        for raw in data.splitlines(keepends=True):
            at += len(raw)
            yield raw, at
        return
    there = [one for one in needles[0] if one in data]
    while hits := [hit for one in there if (hit := data.find(one, at)) >= 0]:
        start = data.rfind(b"\n", at, min(hits)) + 1 or at
        at = data.find(b"\n", min(hits)) + 1
        yield data[start:at], at


def _may_hold(data: bytes, needles: Sequence[tuple[bytes, ...]]) -> bool:
    return all(any(one in data for one in group) for group in needles)


def _wanted(record: Mapping[str, Any], query: RecordQuery, outcomes: set[str]) -> bool:
    if outcomes and str(record["outcome"]).lower() not in outcomes:
        return False
    if query.code and record["code"] != query.code:
        return False
    return str(record["key"]).startswith(query.prefix)


def _record(raw: bytes, run_id: str) -> dict[str, Any] | None:
    """A line of the report in the schema's shape; None for what is none. Differences of `dth verify` are records, too."""
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    comparison = line.get("comparison")
    outcome = str(line.get("outcome") or ("done" if comparison in {"equal", "not_verifiable"} else "failed"))
    image = "digest" in line
    key = line.get("key") or line.get("source") or ""
    return {
        "key": key,
        "destKey": line.get("dest_key") or line.get("destination"),
        "outcome": outcome.upper(),
        "reason": line.get("reason") or comparison or None,
        "size": line["moved_bytes"] + line["skipped_bytes"] if image else line.get("size"),
        "verifiedBy": line.get("verified_by") or None,
        "sourceEtag": line.get("source_etag") or None,
        "destEtag": line.get("dest_etag") or None,
        "attempts": line.get("attempt") or 1,
        "code": line.get("error_code") or None,
        "label": cause_of(line["error_code"]).label if line.get("error_code") else None,
        "error": line.get("error") or line.get("detail") or None,
        "runId": run_id,
        "at": None,
        "image": _image(line) if image else None,
    }


def _image(line: Mapping[str, Any]) -> dict[str, Any]:
    name = str(line.get("source") or "")
    repository, tag = name.partition("@")[0], None
    if ":" in repository.rpartition("/")[2]:
        repository, _, tag = repository.rpartition(":")
    return {
        "repository": repository,
        "tag": tag,
        "digest": line["digest"],
        "platforms": [],
        "referrers": 0,
        "bytes": line.get("moved_bytes") or 0,
        "mounted": line.get("skipped_bytes") or 0,
        "referrerOf": line.get("referrer_of") or None,
        "removed": bool(line.get("removed")),
    }

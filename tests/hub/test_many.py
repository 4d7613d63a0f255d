"""Many tasks and many records: what an answer costs must not grow with the whole. Full size: 10,000
tasks and a report of 1,000,000 lines, `DTH_TEST_FULL=1 ... pytest -s tests/hub/test_many.py`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import time
import uuid
from pathlib import Path

import pytest

from tests.e2e.harness import FULL, scaled

from .hubs import HubProcess, alone

TASKS = scaled(10_000)
LINES = scaled(1_000_000)
MOST_SECONDS, MOST_MIB = 0.2, 150
RUN = "0" * 12 + "cafecafe"


def fill(hub: HubProcess) -> str:
    """Tasks as if they had been made; the last one has a run with a long report. Its id."""
    figures = {
        "engine_runs": {"r": {"found": LINES, "found_bytes": LINES, "done": LINES, "skipped": 0, "failed": 0, "bytes": LINES, "deleted": 0, "sealed": True}},
        "reasons": {"missing": LINES}, "requests": {"source": {"GetObject": LINES}, "destination": {"PutObject": LINES}},
    }  # fmt: skip
    now = time.time()
    with contextlib.closing(sqlite3.connect(hub.state / "hub" / "hub.db")) as database, database:
        for number in range(TASKS):
            task_id = str(uuid.UUID(int=number))
            settings = {
                "src_bucket": f"source-{number % 100}",
                "dest_bucket": "destination",
                "src_prefix": f"p/{number}/",
            }
            run_id = RUN if number == TASKS - 1 else f"{number:020x}"
            state = ("DONE", "FAILED", "WAITING", "DRAFT")[number % 4]
            database.execute(
                "INSERT INTO tasks VALUES (?, 'S3EC2', ?, '', ?, '{}', '', 1, ?, ?, NULL, ?, '', '', NULL, ?, ?, ?, ?, ?, 0, 0)",
                (task_id, f"task {number}", json.dumps(settings), now + number, now + number, state, run_id, number % 7,
                 f"job{number}", f"{settings['src_bucket']}\ndestination", f"task {number} {settings['src_bucket']}"),
            )  # fmt: skip
            database.execute(
                "INSERT INTO runs (id, task_id, kind, wanted, commands, started_at, ended_at, seen_at, figures, exit_code) "
                "VALUES (?, ?, 'SYNC', 'run', '{}', ?, ?, ?, ?, 0)",
                (run_id, task_id, now, now, now, json.dumps(figures)),
            )
    folder = hub.state / "hub" / "tasks" / task_id / "runs" / RUN
    folder.mkdir(parents=True)
    with (folder / "records.jsonl").open("w") as report:
        for number in range(LINES):
            failed = number % 1000 == 999
            line = {
                "run_id": "r", "key": f"k/{number:08}", "dest_key": f"k/{number:08}", "size": 1, "outcome": "failed" if failed else "done",
                "reason": "missing", "source_etag": "e" * 32, "dest_etag": "e" * 32, "verified_by": "content_md5", "attempt": 1,
                "error_code": "access_denied" if failed else "", "error": "",
            }  # fmt: skip
            report.write(json.dumps(line, separators=(",", ":")) + "\n")
    return task_id


def used(pid: int) -> tuple[float, float, int]:
    """CPU seconds, MiB of memory, bytes read from files so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    read = next(
        int(line.split()[1]) for line in Path(f"/proc/{pid}/io").read_text().splitlines() if line.startswith("rchar")
    )
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20, read


def told(name: str, seconds: float, memory: float) -> None:
    """Say what an answer costs; at full size it has a bound (CPU, so a busy machine changes little)."""
    print(f"\n{name}: {seconds * 1000:.0f} ms CPU, {memory:.0f} MiB", end="")  # noqa: T201
    assert not FULL or (seconds < MOST_SECONDS and memory < MOST_MIB), name


LISTS = {
    "tasks": "{ tasks(limit: 50) { items { id name state source { url } destination { url } latest { done failed bytes } problems { code } nextRunAt } after total counts { name count } } }",
    "filtered": '{ tasks(limit: 50, sort: FAILED_DESC, filter: { text: "source-7", states: [FAILED, DONE] }) { items { id } total } }',
    "locations": "{ locations { side location { url } tasks lastCheck { ok } } }",
    "original": "{ listTasksV2(page: 3, count: 20) { items { id description progress parameters { ParameterKey } } total } }",
}


def test_lists_of_many_tasks_and_a_long_report_are_answered_in_pieces(tmp_path: Path) -> None:
    hub = alone(tmp_path).start()
    try:
        hub.stop()
        last = fill(hub)
        hub.start()
        assert hub.process
        hub.ask("{ hub { user } }")
        for name, query in LISTS.items():
            before = used(hub.process.pid)
            for _ in range(5):
                answer = hub.ask(query)
            after = used(hub.process.pid)
            told(name, (after[0] - before[0]) / 5, after[1])
        assert answer["listTasksV2"]["total"] == TASKS
        found = hub.ask(LISTS["tasks"])["tasks"]
        assert (len(found["items"]), found["total"]) == (50, TASKS)
        seen: list[str] = []
        place = None
        for _ in range(4):
            page = hub.ask("query($a: String) { tasks(limit: 7, after: $a) { items { id } after } }", a=place)["tasks"]
            seen += [one["id"] for one in page["items"]]
            place = page["after"]
        assert seen == [str(uuid.UUID(int=number)) for number in range(TASKS - 1, TASKS - 29, -1)]

        records = "query($id: ID!, $a: String, $o: [Outcome!], $p: String) { records(taskId: $id, limit: 100, after: $a, outcomes: $o, prefix: $p) { items { key outcome } after total } }"
        before = used(hub.process.pid)
        first = hub.ask(records, id=last)["records"]
        plain = used(hub.process.pid)
        assert first["total"] == LINES
        assert [one["key"] for one in first["items"]] == [f"k/{number:08}" for number in range(100)]
        following = hub.ask(records, id=last, a=first["after"])["records"]
        assert following["items"][0]["key"] == "k/00000100"
        assert plain[2] - before[2] < 3 << 20  # a page reads a piece of the file, never the file
        told("records", plain[0] - before[0], plain[1])
        failed: list[str] = []
        cursor, asked = None, 0
        before = used(hub.process.pid)
        while len(failed) < LINES // 1000 and asked < 200:
            page = hub.ask(records, id=last, o=["FAILED"], a=cursor)["records"]
            failed += [one["key"] for one in page["items"]]
            cursor, asked = page["after"], asked + 1
            if cursor is None:
                break
        after = used(hub.process.pid)
        told("failed records", (after[0] - before[0]) / asked, after[1])
        assert failed == [f"k/{number:08}" for number in range(999, LINES, 1000)]
        story = hub.ask(records, id=last, p=f"k/{LINES - 1:08}")["records"]
        while not story["items"] and story["after"]:
            story = hub.ask(records, id=last, p=f"k/{LINES - 1:08}", a=story["after"])["records"]
        assert [one["key"] for one in story["items"]] == [f"k/{LINES - 1:08}"]
        cpu, memory, _ = used(hub.process.pid)
        print(f"\n{asked} pages of failures; {cpu:.1f} s CPU in all, {memory:.0f} MiB")  # noqa: T201
        assert memory < MOST_MIB
    finally:
        hub.end()


def test_tasks_that_are_due_in_one_minute_run_one_after_the_other(tmp_path: Path) -> None:
    count = scaled(100, 20)
    hub = alone(tmp_path, "--at-once", "2").start()
    try:
        ids = []
        for number in range(count):
            settings = {
                "src_bucket": "source", "dest_bucket": "destination", "dest_prefix": str(number), "connect_seconds": "0.5",
                "src_endpoint": "http://127.0.0.1:9", "dest_endpoint": "http://127.0.0.1:9",
            }  # fmt: skip
            ids.append(hub.save(settings, schedule="0 3 * * *")["id"])
        hub.kill()
        due = time.time() - 86_400 - 10  # the hub was off for a day
        with contextlib.closing(sqlite3.connect(hub.state / "hub" / "hub.db")) as database, database:
            database.execute("UPDATE tasks SET next_run_at = ?", (due,))
        hub.start()
        most = 0
        deadline = time.monotonic() + (1500 if FULL else 300)
        while time.monotonic() < deadline:
            mains = [pid for pid in hub.children() if _leads(pid)]
            most = max(most, len(mains))
            ended = hub.ask("{ tasks(limit: 500) { items { latest { endedAt exitCode } nextRunAt } } }")["tasks"][
                "items"
            ]
            if all(one["latest"] and one["latest"]["endedAt"] for one in ended):
                break
            time.sleep(0.3)
        assert [one["latest"]["exitCode"] for one in ended] == [4] * count
        assert all(one["nextRunAt"].endswith("03:00:00.000Z") for one in ended)
        assert most <= 2
        for task_id in ids[:3]:
            runs = hub.task(task_id, "runs { items { id } }")["runs"]["items"]
            assert len(runs) == 1  # one for the time that was missed
    finally:
        hub.end()


def _leads(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid) == pid
    return False


def test_a_series_has_points_enough_for_a_chart_and_no_more() -> None:
    from dth.hub.here.rates import KEPT, spread

    assert spread(10.0, 100.0, 100.0, 5) == [(100, 10.0)]
    assert spread(10.0, 102.0, 107.0, 5) == [(100, 6.0), (105, 4.0)]
    off = spread(86_400.0, 0.0, 86_400.0, 5)
    assert len(off) <= KEPT + 1
    day = spread(86_400.0, 0.0, 86_400.0, 7200)
    assert sum(value for _, value in day) == pytest.approx(86_400.0)
    assert len(day) == 12
    assert asyncio  # the hub's own loop is another process's

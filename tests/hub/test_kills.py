"""The hub and its children are killed at random moments: no run is doubled, none is lost, and no process is left."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from dth.hub.here.supervisor import DEATHS
from tests.e2e.harness import FULL
from tests.servers.s3server import S3Server

from .hubs import HubProcess, hub_between, until
from .test_life import contents, filled, new_bucket

pytestmark = [pytest.mark.seaweed, pytest.mark.slow]

KILLS = 20 if FULL else 4


def test_the_hub_and_its_children_may_die_at_any_moment(tmp_path: Path, seaweed: S3Server) -> None:
    chance = random.Random(int(os.environ.get("DTH_TEST_SEED", "15")))
    hub, base = hub_between(tmp_path, seaweed, seaweed)
    count = 400
    source, destination = filled(seaweed, count, 20_000), new_bucket(seaweed)
    hub.start()
    settings = {
        **base,
        "src_bucket": source,
        "dest_bucket": destination,
        "pack_objects": "5",  # so that there is progress between two kills
        "bandwidth": str(count * 20_000 // (KILLS * 6)),
    }
    try:
        task = hub.save(settings, name="killed")
        idle = (0, 0)
        for number in range(2 * KILLS):
            time.sleep(chance.uniform(0.0, 3.0))
            if number % 2:
                idle = _wait_where_it_would_give_up(hub, task["id"], idle)
                _kill_a_child(hub, chance)
                continue
            hub.kill()
            hub.start()
            _true(hub, task["id"])
        if FULL or chance.random() < 2:
            unlimited = "mutation($id: ID!) { limitTask(id: $id, bandwidth: 0) { id } }"
            if hub.task(task["id"])["state"] in {"STARTING", "RUNNING"}:
                hub.ask(unlimited, id=task["id"])
        ended = hub.wait(task["id"], "DONE", "FAILED", seconds=300)
        assert ended["state"] == "DONE", ended
        assert contents(seaweed, destination) == contents(seaweed, source)
        assert ended["latest"]["reconciles"] is True
        runs = hub.task(task["id"], "runs { items { id endedAt } }")["runs"]["items"]
        assert len(runs) == 1, "a run was doubled"
        until(lambda: hub.children() == [], lambda: str(hub.children()))
    finally:
        hub.end()
    assert hub.children() == []


def _kill_a_child(hub: HubProcess, chance: random.Random) -> None:
    pids = hub.children()
    if pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(pids), signal.SIGKILL)


def _wait_where_it_would_give_up(hub: HubProcess, task_id: str, idle: tuple[int, int]) -> tuple[int, int]:
    """A run that dies again and again without moving anything is given up; kills at any moment, but not so many. `idle`: kills
    since something was moved, and how much had been moved then."""
    kills, before = idle

    def done() -> int:
        latest = hub.task(task_id)["latest"]
        return int(latest["done"]) if latest else 0

    if done() > before:
        return 1, done()
    if kills < DEATHS - 1:
        return kills + 1, before
    until(lambda: done() > before or hub.task(task_id)["state"] in {"DONE", "FAILED"}, lambda: str(hub.task(task_id)))
    return 1, done()


def _true(hub: HubProcess, task_id: str) -> None:
    """What the list says of the task is so: at most one process of it runs, and a task that has ended has none."""
    task = hub.task(task_id)
    processes = [pid for pid in hub.children() if _is_sync(pid)]
    assert len(processes) <= 1, processes
    if task["state"] in {"DONE", "FAILED", "STOPPED"}:
        assert processes == []


def _is_sync(pid: int) -> bool:
    """A command's main process leads its session; workers, and what forks them, are others of it."""
    try:
        return os.getsid(pid) == pid and b"dth.cli.attempt" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_hub_that_died_between_noting_a_process_and_starting_it_starts_it_once(
    tmp_path: Path, seaweed: S3Server
) -> None:
    hub, base = hub_between(tmp_path, seaweed, seaweed)
    source, destination = filled(seaweed, 5, 1000), new_bucket(seaweed)
    hub.start()
    try:
        task = hub.save({**base, "src_bucket": source, "dest_bucket": destination}, run=False)
        hub.kill()
        run_id = "0" * 12 + "deadbeef"
        job = hub.state / "hub" / "tasks" / task["id"] / "job.json"
        with contextlib.closing(sqlite3.connect(hub.state / "hub" / "hub.db")) as database, database:
            commands = f'{{"commands": [["sync", "--job", "{job}", "--json"]], "before": "DRAFT"}}'
            database.execute(
                "INSERT INTO runs (id, task_id, kind, wanted, commands, attempt, started_at, seen_at, figures) "
                "VALUES (?, ?, 'SYNC', 'run', ?, 1, ?, ?, '{}')",
                (run_id, task["id"], commands, time.time(), time.time()),
            )
            database.execute("UPDATE tasks SET state = 'STARTING', latest_run = ? WHERE id = ?", (run_id, task["id"]))
        hub.start()
        assert hub.wait(task["id"], "DONE", "FAILED")["state"] == "DONE"
        assert contents(seaweed, destination) == contents(seaweed, source)
        assert (hub.state / "hub" / "tasks" / task["id"] / "runs" / run_id / "1" / "pid").read_text().startswith("0 ")
    finally:
        hub.end()


def test_a_process_that_comes_after_it_was_taken_back_does_nothing(tmp_path: Path) -> None:
    import subprocess
    import sys

    from dth.hub.here import processes

    folder = tmp_path / "1"
    standing = processes.take_back(folder)
    assert standing.life is processes.Life.DEAD
    argv = [sys.executable, "-m", "dth.cli.attempt", str(folder), "--version"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (75, "")
    assert not (folder / "exit").exists()

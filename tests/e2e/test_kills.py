"""Killed at any moment, by any of its processes: the next sync goes on, and nothing is lost, doubled or left open."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.servers.s3server import S3Server

from .corpus import corpus, fill, inventory, open_uploads
from .harness import FULL, HANG_SECONDS, Dth, between, scaled

pytestmark = pytest.mark.slow

KILLS = 20 if FULL else 6
INSIDE_A_MULTIPART = 5 if FULL else 1
TARGETS = ("tree", "parent", "worker")


def processes_below(pid: int) -> list[int]:
    """Children of a process, and theirs; of what ends while it is looked at, nothing."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += [int(child), *processes_below(int(child))]
    return found


def kill(pid: int, target: str) -> None:
    """SIGKILL the whole tree, the parent alone, or one worker alone."""
    below = processes_below(pid)
    if target == "tree":
        victims = [pid, *below]
    elif target == "parent" or not below:
        victims = [pid]
    else:
        victims = [random.choice(below)]
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)


def start_and_kill(dth: Dth, arguments: list[str], *, target: str, moment: float, until: object = None) -> bool:
    """Start a sync and kill `target` at about `moment`; True where it was still running."""
    process = subprocess.Popen(
        dth.argv(*arguments), env=dict(dth.env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < moment:
        if callable(until) and until():
            break
        time.sleep(0.01)
    alive = process.poll() is None
    below = processes_below(process.pid) if alive else []
    if alive:
        kill(process.pid, target)
    if target == "worker":
        process.wait(HANG_SECONDS)  # one dead worker is replaced: the sync itself must end well
        assert process.returncode in {0, 3, -signal.SIGKILL}, process.returncode
    else:
        process.wait(HANG_SECONDS)
        deadline = time.monotonic() + 60
        while any(Path(f"/proc/{pid}").exists() for pid in below):
            assert time.monotonic() < deadline, "a worker outlived its parent"
            time.sleep(0.02)
    return alive


def test_syncs_killed_again_and_again_end_with_an_equal_destination(rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    objects = list(corpus(scaled(5_000, 8)))
    fill(rgw.client("a"), source, objects)
    for number in range(4):
        body = random.Random(number).randbytes(40 << 20)
        rgw.client("a").put_object(Bucket=source, Key=f"large/{number}", Body=body, Metadata={"n": str(number)})
    dth = between(tmp_path, rgw, rgw, "--processes", "2", "--part-size", "5MiB", "--worker-number", "8")
    arguments = ["sync", f"s3://{source}", f"s3://{destination}"]
    dice = random.Random(7)
    inside = 0

    def in_a_multipart() -> bool:
        return bool(open_uploads(rgw.client("b"), destination))

    for number in range(KILLS):
        wants_multipart = number % 3 == 2 or inside < INSIDE_A_MULTIPART
        if wants_multipart:  # something large must still be missing for a kill to fall inside an upload
            for n in range(4):
                rgw.client("b").delete_object(Bucket=destination, Key=f"large/{n}")
        else:
            for key in dice.sample([made.key for made in objects], len(objects) // 4):
                rgw.client("b").delete_object(Bucket=destination, Key=key)
        hit = start_and_kill(
            dth,
            arguments,
            target=TARGETS[number % 3],
            moment=60.0 if wants_multipart else dice.uniform(0.4, 3.0),
            until=in_a_multipart if wants_multipart else None,
        )
        inside += bool(hit and wants_multipart)
    last = dth(*arguments)
    assert inside >= INSIDE_A_MULTIPART
    assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)
    assert open_uploads(rgw.client("b"), destination) == []
    assert last.summary["failed"] == 0
    counts_are_exact(tmp_path)


def counts_are_exact(folder: Path) -> None:
    """Of each run: sealed ones counted to the last entry; counters equal the sum of the outcome rows of every run."""
    (file,) = (folder / "state").glob("*/ledger.db")
    with sqlite3.connect(file) as database:
        runs = database.execute("SELECT run_id, state, found FROM runs").fetchall()
        assert runs
        for run_id, state, found in runs:
            counted = database.execute(
                "SELECT coalesce(sum(done + skipped + failed), 0) FROM counters WHERE run_id = ?", (run_id,)
            ).fetchone()[0]
            recorded = database.execute(
                "SELECT coalesce(sum(done + skipped + failed), 0) FROM outcomes WHERE run_id = ?", (run_id,)
            ).fetchone()[0]
            assert counted == recorded
            assert state in {"sealed", "abandoned"}
            if state == "sealed":
                assert found == counted
    database.close()

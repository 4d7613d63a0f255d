"""What `dth status` shows of a ledger: on a real terminal of three widths, and as JSON."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from dth.app.status import status
from dth.cli.output.status import screen
from dth.embedded import StateFolder, process_name
from dth.ledgers.base import OutcomeRow, Run
from dth.ledgers.sqlite import SqliteLedger
from dth.model import Counts
from dth.prices import DATE
from dth.queues.sqlite import SqliteQueue
from dth.settings import TransferJob
from dth.states import RunState
from dth.stats import Breakdown, Failure, Lag, ProcessRow, ProcessState, bucket_of

JOB = "nightly"
LONG_KEY = "logs/2026/11/27/" + "a-rather-long-name-of-an-object-" * 6 + ".parquet"
CODES = {"access_denied": 300, "timed_out": 250, "key_refused": 150}


async def keep(state: Path, *, sealed: bool = True) -> None:
    """A run with failures of three causes, two workers and a finder, and one run before it."""
    folder = StateFolder(state, JOB)
    folder.make()
    ledger = await SqliteLedger.open(folder.ledger)
    now = time.time()
    here = process_name()
    for run_id, age in (("before", 90_000.0), ("0123456789abcdef", 725.0)):
        run = Run(
            run_id, JOB, RunState.LISTING, json.dumps({"dest_storage_class": ""}), here, now + 600, now - age, None, 0, {},
            Counts(),
        )  # fmt: skip
        await ledger.start_run(run, overlap=True)
        done = Counts(done=12_000, skipped=45, failed=700, bytes=123 << 30)
        behind = Breakdown(
            CODES, {"gone": 40, "unneeded": 5}, {"content_md5": 11_000, "etag": 1000}, {"missing": 12_000}
        )
        failures = [
            Failure(run_id, f"{LONG_KEY}{n}", code, "no", 1, "missing", 5, "m", now)
            for code in CODES
            for n in range(30)
        ]
        failures.append(failures[0])  # a worker died and its message came again
        await ledger.record(OutcomeRow(f"{run_id}-1", run_id, done, "", ""), "p", behind, failures)
        if sealed:
            await ledger.seal_run(
                run_id, here, 12_745 if run_id == "before" else 20_000, 200 << 30, {"missing": 20_000}
            )
    common: dict[str, Any] = {
        "job_id": JOB,
        "run_id": "0123456789abcdef",
        "host": "a-host-with-a-long-name.example",
        "started_at": now - 60,
    }
    lag = Lag(0.4, now, {bucket_of(0.5): 98, bucket_of(20.0): 2})
    for number in (1, 2):
        await ledger.put_process(
            ProcessRow(
                **common, process=f"{here}/{number}", role="worker", pid=os.getpid(), state=ProcessState.WORKING, seen_at=now,
                in_flight=16, in_flight_bytes=5 << 20, objects_rate=123.4, bytes_rate=6e7, lag=lag,
                requests={"source": {"GetObject": 6000}, "destination": {"PutObject": 6100, "CreateMultipartUpload": 3}},
                retries={"destination": {"throttled": 70, "reset": 3}}, regions={"source": "eu-west-1", "destination": ""},
            )
        )  # fmt: skip
    gone = ProcessRow(
        **common, process="elsewhere:9:1/1", role="worker", pid=9, state=ProcessState.WORKING, seen_at=now - 999
    )
    await ledger.put_process(gone)
    await ledger.close()
    queue = await SqliteQueue.open(
        folder.queue, owner="o", lease_seconds=60, message_bytes=9999, receive_limit=9, clock=lambda: now - 90
    )
    await queue.send(["a", "b"])
    await queue.close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    asyncio.run(keep(tmp_path))
    return tmp_path


def on_terminal(
    columns: int, *words: str, rows: int = 200, seconds: float = 300.0, until: str = r"earlier:\s+before"
) -> str:
    """What a command writes on a terminal so wide, until it holds such a line (and then Ctrl-C)."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}} | {
        "TERM": "xterm"
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "dth", *words], stdin=follower, stdout=follower, stderr=follower, env=environ,
        start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    seen, deadline = "", time.monotonic() + seconds
    try:
        while time.monotonic() < deadline and not re.search(rf"^{until}[^\n]*\n", seen, re.MULTILINE):
            if select.select([leader], [], [], 0.2)[0]:
                try:
                    seen += os.read(leader, 65536).decode()
                except OSError:
                    break
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(10)
        finally:
            os.close(leader)
    return seen


def shown(text: str) -> list[str]:
    """Lines as they stand on the terminal, without what only moves its cursor."""
    text = re.sub(r"\x1b\[\?[0-9]+[hl]|\x1b\[[0-9;]*[A-Za-z]", "", text.rpartition("\x1b[H")[2])
    return [line.rstrip("\r") for line in text.split("\n")]


VITAL = (
    r"^objects:\s+12,745 of 20,000",
    r"^failed:\s+700$",
    r"^rate:\s+246\.8 objects/s, 114 MiB/s$",
    r"^time left:\s+\d+ min",
)


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_a_watched_screen_shows_rate_failures_and_time_left_at_any_width_and_cuts_nothing(
    state: Path, columns: int
) -> None:
    lines = shown(on_terminal(columns, "status", "--job-id", JOB, "--state", str(state), "--watch"))
    assert max(map(len, lines)) <= columns
    text = "\n".join(lines)
    top = "\n".join(lines[:24])
    for fact in (*VITAL, "queue:     2 waiting, 0 in work, 0 dead; the oldest message has waited"):
        assert re.search(fact, top, re.MULTILINE), (fact, top)
    flat = re.sub(r"\s+", " ", text)
    for fact in (
        "2 working, 1 lost; 32 in flight",
        "300 access_denied: Not allowed; needs mending first",
        "250 timed_out: No answer in time; may pass by itself",
        "content_md5 11,000, etag 1,000",
        "gone since it was listed 40, needed nothing any more 5",
        "last 0.40 s (",
        "ago); in the last hour half within 0.5",
        "destination: asked to slow down 140, connection cut in the middle 6",
        "PutObject 12,200",
        f"prices of {DATE}, eu-west-1",
        "earlier: before 20",
    ):
        assert fact in flat, fact
    assert LONG_KEY + "0" in re.sub(r"\s+", "", text)


def test_a_low_window_scrolls_nothing_away_that_matters(state: Path) -> None:
    words = "status", "--job-id", JOB, "--state", str(state), "--watch"
    lines = shown(on_terminal(80, *words, rows=20, until=r"\("))
    assert lines[-1] == ""
    assert len(lines) == 20
    text = "\n".join(lines)
    for fact in VITAL:
        assert re.search(fact, text, re.MULTILINE), (fact, text)
    assert re.fullmatch(r"\(\d+ more lines: use a taller window, or leave out --watch\)", lines[-2])


def test_one_look_on_a_terminal_leaves_what_was_there(state: Path) -> None:
    assert "\x1b[H" not in on_terminal(100, "status", "--job-id", JOB, "--state", str(state))


def test_all_of_it_is_in_the_json(state: Path) -> None:
    words = [sys.executable, "-m", "dth", "status", "--job-id", JOB, "--state", str(state), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    *runs, queue = (json.loads(line) for line in done.stdout.splitlines())
    run = runs[0]
    assert len(runs) == 2
    want = {
        "run_id": "0123456789abcdef",
        "state": "sealed",
        "found": 20_000,
        "done": 12_000,
        "skipped": 45,
        "failed": 700,
    }
    assert want.items() <= run.items()
    assert {one["code"]: one["count"] for one in run["causes"]} == CODES
    assert all(len(one["examples"]) == 20 and one["hint"] and one["label"] for one in run["causes"])
    assert {one["code"] for one in run["causes"] if one["retriable"]} == {"timed_out"}
    assert sum(run["proofs"].values()) == sum(run["reasons"].values()) == run["done"]
    assert run["requests"]["source"] == {"GetObject": 12_000}
    assert run["retries"] == {"destination": {"throttled": 140, "reset": 6}}
    assert run["lag"]["events"] == 200
    assert abs(run["lag"]["p50_seconds"] - 0.5) < 0.05
    assert abs(run["lag"]["p99_seconds"] - 20) < 1
    assert run["cost"]["prices_of"] == DATE
    assert [one["state"] for one in run["workers"]].count("working") == 2
    assert queue["visible"] == 2
    assert 80 < queue["oldest_seconds"] < 300


def test_every_object_that_failed_is_listed_once_with_its_error(state: Path) -> None:
    words = [sys.executable, "-m", "dth", "status", "--job-id", JOB, "--state", str(state), "--failed"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    lines = done.stdout.splitlines()
    assert len(lines) == 30 * len(CODES)
    assert lines[0] == f"{next(iter(CODES))} {LONG_KEY}0: no"
    done = subprocess.run([*words, "--json"], capture_output=True, text=True, check=True, timeout=300)
    failures = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["event"] for one in failures} == {"Failure"}
    assert {one["run_id"] for one in failures} == {"0123456789abcdef"}
    assert {(one["code"], one["key"]) for one in failures} == {
        (code, f"{LONG_KEY}{n}") for code in CODES for n in range(30)
    }


def test_a_screen_says_what_nobody_can_know_yet(tmp_path: Path) -> None:
    asyncio.run(keep(tmp_path, sealed=False))
    now = asyncio.run(status(TransferJob(job_id=JOB, state=tmp_path)))
    text = "\n".join(screen(now, 80))
    assert "unknown until everything is listed" in text
    assert "listing and copying" in text

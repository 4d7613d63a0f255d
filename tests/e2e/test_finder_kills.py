"""A finder killed at any moment, and another run: what the first sent, and what the second finds, make the sides equal."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.servers.fault_proxy import FaultProxy
from tests.servers.s3server import S3Server

from .corpus import corpus, fill
from .harness import FULL, HANG_SECONDS, Dth, environment
from .test_kills import counts_are_exact

pytestmark = pytest.mark.slow

KILLS = 20 if FULL else 2
OBJECTS = 12_000 if FULL else 2_400  # pages of a thousand: several ranges
LATENCY = 0.1  # each way, so that a kill falls between two pages
WITHIN = 3.0 if FULL else 2.0  # seconds from the first request


def listed(client: Any, bucket: str) -> dict[str, tuple[int, str]]:
    """Sizes and MD5s by boto3."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {item["Key"]: (item["Size"], item["ETag"]) for page in pages for item in page.get("Contents", ())}


def has_checkpoint(folder: Path) -> bool:
    """Whether the ledger holds one."""
    files = list((folder / "state").glob("*/ledger.db"))
    if not files:
        return False
    try:
        with contextlib.closing(sqlite3.connect(f"file:{files[0]}?mode=ro", uri=True)) as database:
            return bool(database.execute("SELECT 1 FROM notes WHERE name = 'checkpoint'").fetchone())
    except sqlite3.OperationalError:  # not made yet
        return False


def find_and_kill(dth: Dth, folder: Path, *, moment: float, at_checkpoint: bool) -> bool:
    """SIGKILL a finder so many seconds after its first request, or after it has written a checkpoint; True where it was
    still running."""
    process = subprocess.Popen(
        dth.argv("find"), env=dict(dth.env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    began = time.monotonic()
    while process.poll() is None:
        if time.monotonic() - began >= (30 if at_checkpoint and not has_checkpoint(folder) else moment):
            break
        time.sleep(0.01)
    alive = process.poll() is None
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    process.wait(HANG_SECONDS)
    return alive


def test_a_finder_killed_at_any_moment_and_another_run_leave_both_sides_equal(rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    ours, theirs = rgw.client("a"), rgw.client("b")
    objects = list(corpus(OBJECTS, big=False))
    fill(ours, source, objects)
    dice = random.Random(11)
    killed = taken_over = 0
    with FaultProxy(rgw.endpoint) as far:
        flags = [
            *("--src-bucket", source, "--src-type", "Ceph_RGW", "--src-region", rgw.region, "--src-profile", "src-a"),
            *("--dest-bucket", destination, "--dest-type", "Ceph_RGW", "--dest-region", rgw.region),
            *("--dest-profile", "dest-b", "--src-endpoint", far.endpoint, "--dest-endpoint", far.endpoint),
            *("--state", str(tmp_path / "state"), "--lease-seconds", "1", "--json"),
        ]
        dth = Dth(environment(tmp_path, {"src-a": rgw, "dest-b": rgw}), flags)
        for number in range(KILLS):
            at_checkpoint = number % 3 == 1
            far.latency = 5 * LATENCY if at_checkpoint else LATENCY
            moment = dice.uniform(0.5, WITHIN) if not at_checkpoint else 0.0
            if find_and_kill(dth, tmp_path, moment=moment, at_checkpoint=at_checkpoint):
                killed += 1
            far.latency = 0.0
            again = dth("find")
            taken_over += any(event.get("code") == "taken_over" for event in again.events)
            dth("work", "--until-empty")
            assert listed(theirs, destination) == listed(ours, source)
            counts_are_exact(tmp_path)
            for made in dice.sample(objects, len(objects) // 8):
                theirs.delete_object(Bucket=destination, Key=made.key)
            for made in dice.sample(objects, 20):
                ours.put_object(Bucket=source, Key=made.key, Body=dice.randbytes(50))
    assert killed >= KILLS // 2
    assert taken_over

"""`dth work` on one machine, killed and started again: what the dead held is free at once, whatever their leases say."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.s3server import S3Server

from .corpus import corpus, fill, inventory, open_uploads
from .harness import between
from .test_kills import counts_are_exact, start_and_kill

pytestmark = pytest.mark.slow


def test_workers_killed_and_started_again_wait_for_no_lease_of_the_dead(rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    fill(rgw.client("a"), source, list(corpus(300)))
    for number in range(2):
        body = random.Random(number).randbytes(40 << 20)
        rgw.client("a").put_object(Bucket=source, Key=f"large/{number}", Body=body)
    lease = ("--lease-seconds", "3600")  # longer than this test may take
    dth = between(tmp_path, rgw, rgw, "--src-bucket", source, "--dest-bucket", destination, *lease)
    small = ("--part-size", "5MiB", "--pack-objects", "10")
    found = dth("find", *small).summary["found"]
    hit = start_and_kill(
        dth,
        ["work", "--processes", "2", "--worker-number", "2"],
        target="tree",
        moment=60.0,
        until=lambda: bool(open_uploads(rgw.client("b"), destination)),
    )
    assert hit
    worked = dth("work", "--until-empty").summary
    assert (worked["done"] + worked["skipped"], worked["failed"]) == (found, 0)
    assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)
    assert open_uploads(rgw.client("b"), destination) == []
    counts_are_exact(tmp_path)


def test_a_finder_killed_keeps_no_worker_waiting_for_its_lease(rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    fill(rgw.client("a"), source, list(corpus(300)))
    lease = ("--lease-seconds", "3600")
    dth = between(tmp_path, rgw, rgw, "--src-bucket", source, "--dest-bucket", destination, *lease)
    slow = ("--pack-objects", "1", "--high-water", "10")  # waits for workers with most of it found
    assert start_and_kill(
        dth,
        ["find", *slow],
        target="tree",
        moment=60.0,
        until=lambda: bool(messages(tmp_path)),
    )
    worked = dth("work", "--until-empty", "--processes", "1", expect=3).summary  # the run is ABANDONED
    assert worked["done"] > 0
    assert worked["failed"] == 0
    again = dth("find").summary
    assert dth("work", "--until-empty", "--processes", "1").summary["done"] == again["found"]
    assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)


def messages(folder: Path) -> int:
    """How many the queue holds; 0 before there is one."""
    for file in (folder / "state").glob("*/queue.db"):
        with closing(sqlite3.connect(file)) as database:
            if database.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'messages'").fetchone()[0]:
                return int(database.execute("SELECT count(*) FROM messages").fetchone()[0])
    return 0

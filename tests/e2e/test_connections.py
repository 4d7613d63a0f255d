"""How many connections a sync opens where the stores are near: what is slow there is the processor, not they."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers.s3server import S3Server

from .corpus import Made, fill
from .harness import between, scaled

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="counts in /proc")]

MOST = 2 * 40  # a side: both are one server here
ESTABLISHED = "01"


def connections_to(port: int) -> int:
    """Open connections of this machine to the port, as the kernel lists them."""
    ends = f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(ends) and row[3] == ESTABLISHED for row in rows)


def peak_while(work: Callable[[], None], port: int) -> int:
    """The most connections to the port that were open at once while `work` went on, beyond those open before."""
    before, most = connections_to(port), 0
    over = threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.02):
            most = max(most, connections_to(port) - before)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        work()
    finally:
        over.set()
        watching.join()
    return most


def test_a_near_store_gets_no_more_connections_than_move_something(seaweed: S3Server, tmp_path: Path) -> None:
    """The least of three peaks counts: where other tests take the processors, a near store looks like a slow one."""
    source = seaweed.make_bucket("a")
    count = scaled(10_000)
    fill(seaweed.client("a"), source, [Made(f"{n:06}", 1024, n) for n in range(count)])
    port = urlsplit(seaweed.endpoint).port or 0
    peaks: list[int] = []

    def sync() -> None:
        dth = between(tmp_path, seaweed, seaweed, "--processes", "2", "--no-server-side-copy")
        assert dth("sync", f"s3://{source}", f"s3://{seaweed.make_bucket('a')}").summary["done"] == count

    while len(peaks) < 3 and (not peaks or min(peaks) > MOST):
        peaks.append(peak_while(sync, port))
    assert 0 < min(peaks) <= MOST

"""`dth work --allow`: whoever writes the ledger says where a run goes, and the worker's own list has the last word."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers.s3server import S3Server

from .corpus import Made, fill, sizes
from .harness import Dth, between

pytestmark = pytest.mark.slow

JOB = ("--job-id", "job")


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server of somebody else's: its endpoint, and the Authorization header of every request that it hears."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _hear(self) -> None:
            heard.append(self.headers.get("Authorization", ""))
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _hear  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", heard
        finally:
            server.shutdown()
            thread.join()


def found(seaweed: S3Server, folder: Path) -> tuple[Dth, str, str]:
    """A worker's command, and the two buckets of a job whose finder has queued one object."""
    source, destination = seaweed.make_bucket("a"), seaweed.make_bucket("a")
    fill(seaweed.client("a"), source, [Made("k", 10, 1)])
    dth = between(folder, seaweed, seaweed, "--processes", "1")
    dth("find", "--src-bucket", source, "--dest-bucket", destination, *JOB)
    worker = Dth(dth.env, ("--state", str(folder / "state"), "--processes", "1", "--json"))
    return worker, source, destination


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_worker_sends_no_request_to_a_host_that_it_may_not_touch(
    side: str, seaweed: S3Server, tmp_path: Path
) -> None:
    """Somebody has rewritten the run's row, so that it reads from, or writes to, a server of theirs."""
    worker, _, destination = found(seaweed, tmp_path)
    host = urlsplit(seaweed.endpoint).netloc
    name = "src_endpoint" if side == "source" else "dest_endpoint"
    with listening() as (endpoint, heard):
        with closing(sqlite3.connect(tmp_path / "state" / "job" / "ledger.db")) as ledger, ledger:
            changed = ledger.execute(
                "UPDATE runs SET job_settings = json_set(job_settings, ?, ?)", (f"$.{name}", endpoint)
            )
            assert changed.rowcount == 1
        refused = worker("work", *JOB, "--until-empty", "--allow", host, expect=3)
        assert heard == []
        (buried,) = [event["reason"] for event in refused.events if event["event"] == "Buried"]
        assert f"has its {side} at {urlsplit(endpoint).netloc}/" in buried
        assert "--allow does not name" in buried
    assert sizes(seaweed.client("a"), destination) == {}


def test_a_worker_copies_within_what_it_may_touch(seaweed: S3Server, tmp_path: Path) -> None:
    worker, source, destination = found(seaweed, tmp_path)
    host = urlsplit(seaweed.endpoint).netloc
    both = ("--allow", f"{host}/{source}", "--allow", f"{host}/{destination}")
    assert worker("work", *JOB, "--until-empty", *both).summary["done"] == 1
    assert sizes(seaweed.client("a"), destination) == {"k": 10}

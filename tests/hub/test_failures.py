"""A store that refuses some objects: one group of failures with its remedy; mended and redriven, the group is gone.
A job of a terminal: shown, and not doubled."""

from __future__ import annotations

import http.client
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.e2e.harness import command
from tests.servers.s3server import S3Server

from .hubs import HubProcess, Told, hub_between, until
from .test_life import contents, filled, new_bucket

pytestmark = pytest.mark.seaweed

SLOW_DOWN = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>not so fast</Message></Error>'
REFUSAL = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>not this one</Message></Error>'


class Refusing:
    """Stands before a store, refuses to hand out some keys or to tell of others, and asks to slow down so many times."""

    def __init__(self, server: S3Server) -> None:
        self.keys: set[str] = set()
        self.heads: set[str] = set()
        self.slow = 0
        where = urlsplit(server.endpoint)
        refusing = self

        class Front(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if refusal := refusing.refusal(self.command, unquote(urlsplit(self.path).path)):
                    status, text = refusal
                    self._send(status, [("Content-Type", "application/xml")], text)
                    return
                connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
                try:
                    connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        connection.putheader(name, value)
                    connection.endheaders(body)
                    answer = connection.getresponse()
                    self._send(answer.status, answer.getheaders(), answer.read())
                finally:
                    connection.close()

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

            def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                        self.send_header(name, value)
                length = len(body)
                if self.command == "HEAD":
                    length = int(dict(headers).get("Content-Length", "0"))
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def refusal(self, method: str, path: str) -> tuple[int, bytes] | None:
        """Status and body of what is refused."""
        key = path.partition("/")[2].partition("/")[2]
        if method == "GET" and key in self.keys:
            return 403, REFUSAL
        if method == "HEAD" and key in self.heads:
            return 403, b""
        if method == "GET" and key and self.slow > 0:
            self.slow -= 1
            return 503, SLOW_DOWN
        return None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def refusing(seaweed: S3Server) -> Iterator[Refusing]:
    front = Refusing(seaweed)
    yield front
    front.close()


@pytest.fixture
def hub(tmp_path: Path, seaweed: S3Server) -> Iterator[tuple[HubProcess, dict[str, str]]]:
    running, settings = hub_between(tmp_path, seaweed, seaweed)
    yield running.start(), settings
    running.end()


FAILURES = "id state exitCode done failed found reconciles failures { code label hint count final retriable examples }"


def test_refused_objects_are_one_group_that_a_redrive_empties(
    hub: tuple[HubProcess, dict[str, str]], seaweed: S3Server, refusing: Refusing
) -> None:
    api, base = hub
    source, destination = filled(seaweed, 60, 2_000), new_bucket(seaweed)
    refusing.keys = {f"k/{number:05}" for number in range(3, 10)}
    task = api.save({**base, "src_endpoint": refusing.endpoint, "src_bucket": source, "dest_bucket": destination})
    failed = api.wait(task["id"], "FAILED", "DONE")
    assert failed["state"] == "FAILED"
    run = api.task(task["id"], f"latest {{ {FAILURES} }}")["latest"]
    assert (run["found"], run["done"], run["failed"], run["reconciles"], run["exitCode"]) == (60, 53, 7, True, 3)
    (group,) = run["failures"]
    assert (group["code"], group["count"], group["final"]) == ("access_denied", 7, True)
    assert set(group["examples"]) == refusing.keys
    assert group["hint"]
    assert any(one["code"] == "access_denied" for one in failed["problems"])
    query = """query($id: ID!) { records(taskId: $id, outcomes: [FAILED], code: "access_denied") { items { key code error } } }"""
    records = api.ask(query, id=task["id"])["records"]["items"]
    assert {one["key"] for one in records} == refusing.keys

    refusing.keys = set()
    redrive = "mutation($id: ID!, $codes: [String!]) { redriveTask(id: $id, codes: $codes) { id kind } }"
    assert api.ask(redrive, id=task["id"], codes=["access_denied"])["redriveTask"]["kind"] == "REDRIVE"
    done = api.wait(task["id"], "DONE", "FAILED")
    assert done["state"] == "DONE", done
    again = api.task(task["id"], f"latest {{ {FAILURES} }}")["latest"]
    assert (again["done"], again["failed"], again["failures"], again["reconciles"]) == (7, 0, [], True)
    assert contents(seaweed, destination) == contents(seaweed, source)


def test_a_job_of_a_terminal_is_shown_and_not_doubled(
    hub: tuple[HubProcess, dict[str, str]], seaweed: S3Server
) -> None:
    api, base = hub
    source, destination = filled(seaweed, 60, 20_000), new_bucket(seaweed)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in base.items() if name != "server_side_copy"]
    argv = [
        *command(), "sync", f"s3://{source}", f"s3://{destination}", "--state", str(api.state), "--bandwidth", "20000",
        "--no-server-side-copy", *flags,
    ]  # fmt: skip
    terminal = subprocess.Popen(argv, env=dict(api.env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found: list[dict[str, Any]] = []

    def shown() -> bool:
        query = "{ tasks { items { id state problems { code detail } source { bucket } settings { name value } } } }"
        found[:] = api.ask(query)["tasks"]["items"]
        return bool(found) and found[0]["state"] == "RUNNING"

    try:
        until(shown, lambda: f"{found} {terminal.poll()}")
        (task,) = found
        assert task["source"]["bucket"] == source
        assert f"pid {terminal.pid}" in task["problems"][0]["detail"]
        given = {one["name"]: one["value"] for one in task["settings"]}
        twin = api.save({**base, **given}, run=False)
        for task_id in (task["id"], twin["id"]):
            with pytest.raises(Told) as told:
                api.change("runTask", task_id)
            assert told.value.code == "under_way"
        assert api.change("pauseTask", task["id"])["state"] == "PAUSED"
        moved = [len(contents(seaweed, destination))]

        def rests() -> bool:  # three looks, four seconds from each to the next: objects go by one a second
            time.sleep(4)
            moved.append(len(contents(seaweed, destination)))
            return len(moved) > 3 and moved[-1] == moved[-2] == moved[-3]

        until(rests, lambda: f"{moved} {terminal.poll()}")
        assert moved[-1] < 60
        assert terminal.poll() is None, "its processes stay"
        assert api.wait(task["id"], "PAUSED", "RUNNING", "DONE")["state"] == "PAUSED"
        assert api.change("resumeTask", task["id"])["state"] == "RUNNING"
        until(lambda: len(contents(seaweed, destination)) > moved[-1], lambda: f"{moved} {terminal.poll()}")
        with pytest.raises(Told) as told:
            api.change("stopTask", task["id"])
        assert told.value.code == "outside"
        assert terminal.poll() is None
    finally:
        terminal.terminate()
        terminal.wait(60)
    api.wait(task["id"], "STOPPED", "FAILED", "DONE")
    api.ask("mutation($id: ID!) { limitTask(id: $id, bandwidth: 0) { id } }", id=task["id"])
    api.change("runTask", task["id"])
    done = api.wait(task["id"], "DONE", "FAILED")
    assert done["state"] == "DONE", done
    assert contents(seaweed, destination) == contents(seaweed, source)

"""What events add up to, and what people are told when a task ends."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from dth.errors import SettingsError
from dth.hub.base import TaskRow
from dth.hub.figures import Figures
from dth.hub.here.notify import Notifier, Notify, message_of
from dth.hub.here.reckoning import PlanReckoning
from dth.hub.here.runs import Active
from dth.hub.here.supervisor import Ended
from dth.hub.states import RunKind, TaskState, TaskType


def moved(run_id: str, done: int, failed: int = 0, size: int = 0) -> dict[str, Any]:
    return {
        "event": "Moved",
        "run_id": run_id,
        "done": done,
        "skipped": 0,
        "failed": failed,
        "bytes": size,
        "deleted": 0,
    }


def sealed(run_id: str, found: int) -> dict[str, Any]:
    return {
        "event": "RunSealed",
        "run_id": run_id,
        "found": found,
        "found_bytes": 10,
        "compared": found,
        "reasons": {"missing": found},
    }


def over(run_id: str, done: int, failed: int = 0) -> dict[str, Any]:
    return {
        "event": "RunOver", "run_id": run_id, "state": "sealed", "found": done + failed, "done": done, "skipped": 0,
        "failed": failed, "bytes": 7,
    }  # fmt: skip


def test_a_run_that_was_interrupted_counts_both_runs_of_the_engine_once() -> None:
    figures = Figures()
    for event in (sealed("a", 5), moved("a", 2)):
        figures.take(event)
    figures.begin_attempt()
    assert figures.reconciles is False
    for event in (moved("a", 3), sealed("b", 1), moved("b", 1), over("a", 5), over("b", 1)):
        figures.take(event)
    assert (figures.found, figures.sum("done"), figures.reconciles) == (6, 6, True)
    assert figures.reasons == {"missing": 6}


def test_the_ledgers_totals_replace_events_that_came_twice_or_not_at_all() -> None:
    figures = Figures()
    for event in (sealed("a", 4), moved("a", 2), moved("a", 2), moved("a", 2), over("a", 3, failed=1)):
        figures.take(event)
    assert (figures.sum("done"), figures.sum("failed"), figures.sum("bytes"), figures.reconciles) == (3, 1, 7, True)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"event": "Moved"},
        {"event": 7},
        {"event": "RunSealed", "run_id": []},
        {"event": "Requests", "process": "p"},
        {"event": "Later"},
    ],
)
def test_an_event_of_another_version_changes_nothing_it_cannot(event: dict[str, Any]) -> None:
    figures = Figures()
    figures.take(event)
    assert (figures.sum("done"), figures.found) == (0, None)


def test_figures_survive_being_kept() -> None:
    figures = Figures()
    failed = {
        "event": "ObjectFailed",
        "run_id": "a",
        "key": "k\udc80",
        "error_code": "access_denied",
        "error": "no",
        "attempt": 1,
    }
    for event in (sealed("a", 1), {**failed, "final": False}, {**failed, "final": True}):
        figures.take(event)
    kept = Figures.from_json(json.loads(json.dumps(figures.to_json())))
    assert kept == figures
    assert (kept.causes["access_denied"].count, kept.causes["access_denied"].final) == (2, 1)
    assert kept.causes["access_denied"].examples == ["k\udc80"]
    assert Figures.from_json({**figures.to_json(), "of another version": 1}) == figures


def ended(name: str = "photos") -> Ended:
    figures = Figures()
    figures.take(sealed("a", 2))
    figures.take(over("a", 1, failed=1))
    run = Active(
        id="r1", task_id="t1", kind=RunKind.SYNC, wanted="run", commands=[], before=TaskState.DRAFT, step=0, attempt=1, deaths=0,
        not_before=0.0, asked_at=None, position=0, seen_at=0.0, figures=figures, started_at=0.0,
    )  # fmt: skip
    return Ended(
        TaskRow(id="t1", type=TaskType.S3EC2, name=name), TaskState.FAILED, "some_failed", "1 objects failed", run
    )


async def sent(how: Notify) -> None:
    notifier = Notifier(how)
    await notifier(ended())
    deadline = time.monotonic() + 60
    while notifier._sending and time.monotonic() < deadline:
        import asyncio

        await asyncio.sleep(0.02)


async def test_a_command_gets_the_result_on_its_standard_input(tmp_path: Path) -> None:
    await sent(Notify(command=f"tee '{tmp_path / 'told it'}'"))
    told = json.loads((tmp_path / "told it").read_text())
    assert (told["task"], told["state"], told["failed"], told["done"]) == ("t1", "FAILED", 1, 1)


async def test_a_command_is_no_shell(tmp_path: Path) -> None:
    await sent(Notify(command=f"true; touch {tmp_path / 'canary'}"))
    assert not (tmp_path / "canary").exists()


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_a_webhook_gets_it_by_post() -> None:
    bodies: list[Any] = []

    class Hook(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Hook)
    with serving(server):
        await sent(Notify(webhook=f"http://127.0.0.1:{server.server_address[1]}/hook"))
    assert [one["cause"] for one in bodies] == ["some_failed"]


async def test_an_e_mail_arrives() -> None:
    lines: list[str] = []

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            data = False
            for raw in self.rfile:
                line = raw.decode().rstrip("\r\n")
                lines.append(line)
                if data:
                    data = line != "."
                    if not data:
                        self.wfile.write(b"250 kept\r\n")
                elif line.upper() == "DATA":
                    data = True
                    self.wfile.write(b"354 go on\r\n")
                elif line == "QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                else:
                    self.wfile.write(b"250 ok\r\n")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)
    with serving(server):
        where = f"smtp://127.0.0.1:{server.server_address[1]}/?from=dth@example.org&to=me@example.org"
        await sent(Notify(smtp=where))
    assert "Subject: dth: photos failed" in lines
    assert "To: me@example.org" in lines
    assert "failed: 1" in lines


def test_a_name_cannot_add_headers_to_an_e_mail() -> None:
    body = {"name": "x\r\nBcc: all@example.org", "task": "t", "state": "DONE"}
    message = message_of(body)
    assert message["Bcc"] is None
    assert message["Subject"] == "dth: x Bcc: all@example.org done"


@pytest.mark.parametrize(
    "how", [{"webhook": "file:///etc/passwd"}, {"smtp": "mail.example.org"}, {"smtp": "smtp://mail.example.org"}]
)
def test_notifications_that_cannot_be_sent_are_refused_at_the_start(how: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        Notify(**how)


async def test_a_webhook_that_fails_harms_nobody() -> None:
    await sent(Notify(webhook="http://127.0.0.1:9/"))


def test_lag_waiting_and_throttling_are_what_the_processes_say_now() -> None:
    figures = Figures()
    lag = {"last_seconds": 7.5, "last_at": 1.0, "sketch": {"3": 1}}
    vitals = {"event": "Vitals", "limit": 8, "throttles": 1}
    asked = {"event": "Requests", "source": {}, "destination": {}}
    for process, behind in (("a", lag), ("b", {**lag, "last_seconds": 2.0})):
        figures.take({**vitals, "process": process, "lag": behind, "oldest_seconds": 4.0})
    for process, count in (("a", 3), ("b", 2), ("a", 5)):  # each says all of its own so far
        figures.take({**asked, "process": process, "retries": {"source": {"throttled": count, "other": 9}}})
    assert (figures.lag_seconds, max(figures.waits.values()), figures.throttled) == (7.5, 4.0, 7)
    figures.take({**vitals, "process": "a", "lag": None, "oldest_seconds": None})
    assert (figures.lag_seconds, set(figures.waits)) == (2.0, {"b"})
    figures.begin_attempt()
    assert (figures.lag_seconds, figures.throttled) == (None, 7)


def test_a_plan_tells_cost_and_time_as_the_engine_estimates_them() -> None:
    plan = PlanReckoning()
    assert plan.fields()["cost"] is None
    cost = {
        "usd": 1.5, "requests_usd": {"source": 0.5}, "egress_usd": 1.0, "prices_of": "2026-11-28",
        "regions": {"source": "eu-west-1", "destination": ""}, "not_priced": ["storage"],
    }  # fmt: skip
    estimated = {"event": "Estimated", "sizes": [], "requests": {"source": {"GetObject": 3}}, "cost": cost}
    plan.take({**estimated, "rate": 100, "seconds": 4.0})
    shown = PlanReckoning.from_json(json.loads(json.dumps(plan.to_json()))).fields()
    assert (shown["cost"]["usd"], shown["cost"]["egressUsd"], shown["cost"]["notPriced"]) == (1.5, 1.0, ["storage"])
    assert shown["cost"]["regions"] == [{"name": "source", "value": "eu-west-1"}]
    assert (shown["rate"], shown["secondsAtRate"]) == (100, 4.0)
    assert shown["requests"] == [{"side": "source", "operation": "GetObject", "count": 3}]

"""Worker processes that hang, or die again and again, under the installed command."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.generator import Generator
from tests.servers.wire import Answer, HttpServer, Request

from .harness import HANG_SECONDS, Dth, environment

pytestmark = pytest.mark.slow

COUNT = 120


@contextmanager
def syncing(folder: Path, store: Generator, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], Iterator[Any]]]:
    """A sync with its events as they come."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    reach = ("--src-endpoint", store.endpoint, "--src-region", "us-east-1", "--dest-endpoint", store.endpoint)
    where = ("--dest-region", "us-east-1", "--state", str(folder / "state"), "--json", "--no-server-side-copy")
    dth = Dth({**environment(folder, {}), **keys}, [*reach, *where, "--processes", "1", "--pack-objects", "4", *flags])
    running = subprocess.Popen(
        dth.argv("sync", "s3://source", "s3://sink"),
        env=dict(dth.env),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert running.stdout
    with running.stdout:
        try:
            yield running, map(json.loads, running.stdout)
        finally:
            with contextlib.suppress(ProcessLookupError):
                running.kill()
            running.wait(HANG_SECONDS)


def test_a_stopped_worker_is_replaced_and_its_work_done_by_another(tmp_path: Path) -> None:
    with (
        Generator({f"k{number:04}": 64 << 10 for number in range(COUNT)}) as store,
        syncing(tmp_path, store, "--stall-seconds", "1", "--bandwidth", "1MiB") as (running, events),
    ):
        started: dict[str, int] = {}
        stopped, codes, summary = 0, [], {}
        for event in events:
            match event["event"]:
                case "WorkerStarted":
                    started[event["process"]] = event["pid"]
                case "Moved" if not stopped:
                    stopped = next(iter(started.values()))
                    os.kill(stopped, signal.SIGSTOP)
                case "WorkerStopped":
                    codes.append((event["pid"], event["exit_code"]))
                case "Notice" if event["code"] == "worker_hung":
                    codes.append(event["code"])
                case "Summary":
                    summary = event
        assert codes[:2] == ["worker_hung", (stopped, -signal.SIGKILL)]
        assert len(started) > 1
        assert (running.wait(HANG_SECONDS), summary["failed"]) == (0, 0)
        assert len(store.landed) == COUNT


def test_workers_that_are_killed_as_soon_as_they_start_end_the_command_with_1_and_the_reason(tmp_path: Path) -> None:
    with (
        Generator({f"k{number:04}": 64 << 10 for number in range(COUNT)}) as store,
        syncing(tmp_path, store, "--bandwidth", "1KiB") as (running, events),
    ):
        error: dict[str, Any] = {}
        killed = 0
        for event in events:
            if event["event"] == "WorkerStarted":
                killed += 1
                os.kill(event["pid"], signal.SIGKILL)
            if event["event"] == "error":
                error = event
        assert running.wait(HANG_SECONDS) == 1
        assert killed > 20
        assert "SIGKILL (was the machine short of memory?)" in json.dumps(error)


def test_a_spot_interruption_drains_a_worker_and_another_machine_does_the_rest(tmp_path: Path) -> None:
    ends = False

    def metadata(request: Request) -> Answer:
        if request.method == "PUT":
            return Answer(200, b"token")
        if request.path.endswith("/instance-action") and ends:
            return Answer(200, b'{"action": "terminate", "time": "2026-11-28T08:22:00Z"}')
        return Answer(404)

    with Generator({f"k{number:04}": 64 << 10 for number in range(COUNT)}) as store, HttpServer(metadata) as imds:
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        reach = ("--src-endpoint", store.endpoint, "--src-region", "us-east-1", "--dest-endpoint", store.endpoint)
        where = ("--dest-region", "us-east-1", "--state", str(tmp_path / "state"), "--json", "--processes", "1")
        flags = [*reach, *where, "--src-bucket", "source", "--dest-bucket", "sink"]
        dth = Dth({**environment(tmp_path, {}), **keys}, flags)
        dth("find", "--pack-objects", "4", "--no-server-side-copy")
        told = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.endpoint, "AWS_EC2_METADATA_DISABLED": "false"}
        slow = ("--bandwidth", "256KiB", "--worker-number", "4", "--instance-notices", "on")
        running = subprocess.Popen(
            dth.argv("work", *slow), env={**dth.env, **told}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert running.stdout
        codes = []
        with running.stdout:
            for event in map(json.loads, running.stdout):
                ends = ends or event["event"] == "Moved"
                codes += [event["code"]] if event["event"] == "Notice" else []
        assert running.wait(HANG_SECONDS) == 0
        assert codes.count("instance_ending") == 1
        assert 0 < len(store.landed) < COUNT
        assert dth("work", "--until-empty").summary["failed"] == 0
        assert len(store.landed) == COUNT
        assert store.counts["put"] == COUNT, "something was sent twice"

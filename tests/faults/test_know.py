"""What a run says of itself while it is on, and after its workers were killed: causes, proofs, requests, lag.

2,000 objects of which 70 fail for three reasons; under DTH_TEST_FULL=1 (`make know-faults`) 20,000 and 700.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import FULL, HANG_SECONDS, Dth, between, scaled
from tests.servers.aws import Aws
from tests.servers.aws_recorder import AwsRecorder
from tests.servers.quirky import Quirky
from tests.servers.wire import Answer, Request, error

pytestmark = [pytest.mark.slow]

COUNT = scaled(20_000)
FAILING = {"access_denied": scaled(300), "request_refused": scaled(200), "server_fault": scaled(200)}
ANSWERS = {
    "access_denied": (403, "AccessDenied"), "request_refused": (400, "InvalidRequest"), "server_fault": (500, "InternalError"),
}  # fmt: skip
KILLS = scaled(4, 2)
LOST_A_KILL = 100  # requests of a second or less, which weigh more than 5% where objects are few
PACK = 10
QUICK = (
    *("--processes", "2", "--pack-objects", str(PACK), "--worker-number", "16"),
    *("--lease-seconds", "5", "--max-attempts", "2"),
)


def key(number: int) -> str:
    return f"objects/{number:06}"


def cursed() -> dict[str, str]:
    """Which keys fail for which cause, spread over the whole run."""
    step = COUNT // sum(FAILING.values())
    codes = itertools.chain.from_iterable(itertools.repeat(code, count) for code, count in FAILING.items())
    return {key(index * step): code for index, code in enumerate(codes)}


@contextmanager
def two_stores() -> Iterator[tuple[Quirky, Quirky]]:
    """A source that holds the objects, and a destination that refuses some of them for good."""
    fate = cursed()

    def refuse(operation: str, request: Request) -> Answer | None:
        code = fate.get(request.key) if operation == "put" else None
        return error(*ANSWERS[code]) if code else None

    with Quirky() as source, Quirky(before=refuse) as destination:
        for number in range(COUNT):
            source.hold("from-here", key(number), b"%d" % number)
        yield source, destination


@contextmanager
def place(
    kind: str, request: pytest.FixtureRequest, folder: Path, source: Quirky, destination: Quirky
) -> Iterator[tuple[Dth, AwsRecorder | None]]:
    """`dth` for that kind of queue and ledger."""
    flags = ("--src-bucket", "from-here", "--dest-bucket", "to-there")
    if kind == "embedded":
        yield between(folder, source.server, destination.server, *flags), None
        return
    aws: Aws = request.getfixturevalue("ministack")
    plain = between(folder, source.server, destination.server, *flags)
    with AwsRecorder(aws.endpoint) as recorder:
        made = Dth({**plain.env, **aws.environment()}, ["--json"])("init", f"dth-{uuid.uuid4().hex[:8]}").events[-1]
        env = {**plain.env, **aws.environment(), "AWS_ENDPOINT_URL": recorder.endpoint}
        yield Dth(env, [*plain.flags, "--queue", recorder.url(made["queue"]), "--table", made["table"]]), recorder


def work_and_kill(dth: Dth) -> tuple[list[int], dict[str, Any]]:
    """Work until empty while workers die; the pids of those, and what status said in the middle."""
    pids: list[int] = []
    victims: list[int] = []
    moved = kills = 0
    middle: dict[str, Any] = {}
    deadline = time.monotonic() + HANG_SECONDS
    words = dth.argv("work", "--until-empty", *QUICK)
    with subprocess.Popen(
        words, env=dict(dth.env), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        try:
            for line in process.stdout:
                assert time.monotonic() < deadline
                event = json.loads(line)
                match event["event"]:
                    case "WorkerStarted":
                        pids.append(event["pid"])
                    case "WorkerStopped":
                        pids = [pid for pid in pids if pid != event["pid"]]
                    case "Moved":
                        moved += event["done"] + event["failed"] + event["skipped"]
                if kills < KILLS and len(pids) > 1 and moved > COUNT * (kills + 1) // (KILLS + 2):
                    victims.append(pids.pop(kills % 2))
                    os.kill(victims[-1], signal.SIGKILL)
                    kills += 1
                    if kills == KILLS - 1:
                        middle = dth("status").events[0]
            assert process.wait(60) == 3
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return victims, middle


@pytest.mark.parametrize("kind", ["embedded", pytest.param("services", marks=pytest.mark.ministack)])
def test_status_tells_causes_proofs_and_requests_of_a_run_whose_workers_were_killed(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with two_stores() as (source, destination), place(kind, request, tmp_path, source, destination) as (dth, recorder):
        assert dth("find", *QUICK).summary["found"] == COUNT
        victims, middle = work_and_kill(dth)
        run, queue = dth("status").events
        units = recorder.write_units if recorder else 0
    assert len(victims) == KILLS
    counts_reconcile(middle)
    assert 0 < middle["done"] < COUNT
    states = {one["pid"]: one["state"] for one in middle["workers"]}
    assert {states.get(pid, "lost") for pid in victims[: KILLS - 1]} == {"lost"}

    counts_reconcile(run)
    assert (run["done"], run["failed"], run["skipped"]) == (COUNT - sum(FAILING.values()), sum(FAILING.values()), 0)
    assert {one["code"]: one["count"] for one in run["causes"]} == FAILING
    fate = cursed()
    for one in run["causes"]:
        assert len(one["examples"]) == min(20, FAILING[one["code"]])
        assert all(fate[example] == one["code"] for example in one["examples"])
        assert one["retriable"] is (one["code"] == "server_fault")
        assert one["hint"]
    assert run["reasons"] == {"missing": run["done"]}
    assert (run["listed"], run["found_so_far"]) == ({"source": COUNT, "destination": 0}, COUNT)

    for side, store in (("source", source), ("destination", destination)):
        told, counted = sum(run["requests"][side].values()), len(store.seen)
        print(f"{kind}: {side}: {told} requests told, {counted} counted")  # noqa: T201
        assert told <= counted
        assert counted - told <= (0.05 * counted if FULL else LOST_A_KILL * KILLS)
    assert set(run["retries"]["destination"]) == {"server_error"}
    assert run["retries"]["destination"]["server_error"] >= FAILING["server_fault"]
    assert (queue["visible"], queue["leased"]) == (0, 0)
    if recorder:
        before = units_before(destination)
        print(f"{units} write units, {before} before")  # noqa: T201
        assert units <= 1.2 * before


def counts_reconcile(run: dict[str, Any]) -> None:
    """What stands behind each counter adds up to it, also in the middle."""
    causes = {one["code"]: one["count"] for one in run["causes"]}
    assert sum(causes.values()) == run["failed"]
    assert sum(run["proofs"].values()) == run["done"]
    assert sum(run["reasons"].values()) == run["done"]
    assert sum(run["skips"].values()) == run["skipped"]


def units_before(destination: Quirky) -> int:
    """What a run like this wrote at least before anything of it was told: four units a message, whose remainders are
    messages too, and a dozen for the run and its finder."""
    messages = -(-COUNT // PACK)
    again = {one.key for one in destination.seen if cursed().get(one.key) == "server_fault"}
    per_message = len({int(each.rpartition("/")[2]) // PACK for each in again})
    return 4 * (messages + per_message) + 12

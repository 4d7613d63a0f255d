"""A store that refuses some objects: one group of failures with its remedy; mended and redriven, the group is gone.
A job of a terminal: shown, and not doubled."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest

from tests.e2e.harness import command
from tests.servers.s3server import S3Server

from .hubs import HubProcess, Told, until
from .refusing import Refusing
from .test_life import contents, filled, new_bucket

pytestmark = pytest.mark.seaweed

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
    query = """query($id: ID!) { records(taskId: $id, outcomes: [FAILED], code: "access_denied") { items { key code label error } } }"""
    records = api.ask(query, id=task["id"])["records"]["items"]
    assert {one["key"] for one in records} == refusing.keys
    assert {one["label"] for one in records} == {group["label"]}

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

"""The life of a task over HTTP, between two real stores; an independent client looks at the result."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import scaled
from tests.servers.s3server import S3Server

from .hubs import HubProcess, Told, hub_between, until
from .refusing import Refusing

pytestmark = pytest.mark.seaweed
MIB = 1 << 20


@pytest.fixture
def hub(tmp_path: Path, seaweed: S3Server) -> Iterator[tuple[HubProcess, dict[str, str]]]:
    running, settings = hub_between(tmp_path, seaweed, seaweed)
    yield running.start(), settings
    running.end()


def new_bucket(server: S3Server) -> str:
    name = f"hub-{uuid.uuid4().hex[:12]}"
    server.client().create_bucket(Bucket=name)
    return name


def filled(server: S3Server, count: int, size: int, prefix: str = "k") -> str:
    bucket = new_bucket(server)
    client = server.client()
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: client.put_object(Bucket=bucket, Key=f"{prefix}/{number:05}", Body=os.urandom(size)),
                range(count),
            )
        )
    return bucket


def contents(server: S3Server, bucket: str) -> dict[str, str]:
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {one["Key"]: one["ETag"] for page in pages for one in page.get("Contents", [])}


def puts(run: dict[str, Any]) -> float:
    return sum(
        float(one["count"])
        for one in run["requests"]
        if one["side"] == "destination" and one["operation"] == "PutObject"
    )


RUN = "id kind state found done skipped failed bytes reconciles exitCode requests { side operation count } proofs { name count } reasons { name count }"


def test_check_plan_save_run_pause_limit_resume_edit_verify_schedule_redrive_clone_delete(
    hub: tuple[HubProcess, dict[str, str]], seaweed: S3Server, refusing: Refusing
) -> None:
    api, base = hub
    base = {**base, "src_endpoint": refusing.endpoint}
    count = scaled(3000)
    source, destination = filled(seaweed, count, 20_000), new_bucket(seaweed)
    settings = {**base, "src_bucket": source, "dest_bucket": destination, "bandwidth": "500000"}
    given = {"type": "S3EC2", "settings": [{"name": n, "value": v} for n, v in settings.items()]}

    values = [{"name": n, "value": v} for n, v in settings.items() if n.startswith("dest_")]
    check = api.ask(
        "mutation($i: LocationInput!) { checkLocation(input: $i) { id state } }",
        i={"side": "destination", "values": values, "write": True},
    )["checkLocation"]
    plan = api.ask("mutation($i: TaskInput!) { planTask(input: $i) { id state } }", i=given)["planTask"]
    answers: dict[str, Any] = {}

    def answered() -> bool:
        query = """query($c: ID!, $p: ID!) {
            check(id: $c) { state findings { question answer ok } missingPermissions policy }
            plan(id: $p) { state copies bytes deletes error reasons { name count bytes } sizes { name count }
                           samples { action key destKey size reason } secondsAtRate } }"""
        answers.update(api.ask(query, c=check["id"], p=plan["id"]))
        return "LISTING" not in {answers["check"]["state"], answers["plan"]["state"]}

    until(answered, lambda: json.dumps(answers))
    assert answers["check"]["state"] == "READY"
    assert all(one["ok"] for one in answers["check"]["findings"])
    planned = answers["plan"]
    assert (planned["state"], planned["copies"], planned["bytes"], planned["deletes"]) == (
        "READY",
        count,
        count * 20_000,
        0,
    )
    assert planned["reasons"] == [{"name": "missing", "count": count, "bytes": count * 20_000}]
    assert planned["samples"][0]["key"] == "k/00000"
    assert planned["secondsAtRate"] == pytest.approx(count * 20_000 / 500_000)
    assert contents(seaweed, destination) == {}

    draft = api.save(settings, run=False, name="photos")
    assert (draft["state"], draft["progress"], draft["latest"]) == ("DRAFT", None, None)
    started = api.change("runTask", draft["id"], "id state")
    assert started["state"] == "LISTING"
    with pytest.raises(Told) as told:
        api.change("runTask", draft["id"])
    assert told.value.code == "under_way"

    until(lambda: len(contents(seaweed, destination)) > count // 20, lambda: json.dumps(api.task(draft["id"])))
    at_work = set(api.children())
    slower = "mutation($id: ID!) { limitTask(id: $id, bandwidth: 400000) { state settings { name value } } }"
    assert {"name": "bandwidth", "value": "400000"} in api.ask(slower, id=draft["id"])["limitTask"]["settings"]
    time.sleep(3)  # longer than the hub takes to act on what is wanted
    assert at_work <= set(api.children()), "the run's processes follow without being started again"
    api.change("pauseTask", draft["id"])
    paused = api.wait(draft["id"], "PAUSED")
    assert 0 < paused["latest"]["done"] < count
    assert api.children() == []
    there = len(contents(seaweed, destination))

    limited = api.ask(
        "mutation($id: ID!) { limitTask(id: $id, bandwidth: 0) { revision settings { name value } } }", id=draft["id"]
    )["limitTask"]
    assert "bandwidth" not in {one["name"] for one in limited["settings"]}
    assert len(contents(seaweed, destination)) == there
    api.change("resumeTask", draft["id"])
    done = api.wait(draft["id"], "DONE", "FAILED")
    assert done["state"] == "DONE"
    run = api.task(draft["id"], f"latest {{ {RUN} }}")["latest"]
    assert contents(seaweed, destination) == contents(seaweed, source)
    assert (run["found"], run["done"], run["failed"], run["reconciles"]) == (count, count, 0, True)
    assert puts(run) == count  # nothing was sent twice

    edited = api.save(
        {**settings, "bandwidth": "0"}, task_id=draft["id"], revision=done["revision"], run=False, name="b"
    )
    assert edited["revision"] == done["revision"] + 1
    with pytest.raises(Told) as told:
        api.save(settings, task_id=draft["id"], revision=done["revision"], run=False)
    assert told.value.code == "stale"
    assert told.value.hint

    verified = api.change("verifyTask", draft["id"])
    until(lambda: api.task(draft["id"])["latest"]["endedAt"] is not None, api.complaint)
    proof = api.ask(f"query($id: ID!) {{ run(id: $id) {{ {RUN} }} }}", id=verified["id"])["run"]
    assert (proof["kind"], proof["exitCode"]) == ("VERIFY", 0)
    assert {"name": "equal", "count": count} in proof["proofs"]
    assert api.task(draft["id"])["state"] == "DONE"

    records = api.ask(
        "query($id: ID!, $run: ID!) { records(taskId: $id, runId: $run, limit: 50) { items { key outcome size verifiedBy } after total } }",
        id=draft["id"],
        run=run["id"],
    )["records"]
    assert records["total"] == count
    assert len(records["items"]) == 50
    assert {one["outcome"] for one in records["items"]} == {"DONE"}
    story = api.ask(
        'query($id: ID!) { story(taskId: $id, key: "k/00001") { key action rule records { key } } }', id=draft["id"]
    )["story"]
    assert (story["key"], story["action"]) == ("k/00001", "keep")

    seaweed.client().put_object(Bucket=source, Key="k/later", Body=b"later")
    moment = datetime.fromtimestamp(time.time() + 20, UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    unlimited = {name: value for name, value in settings.items() if name != "bandwidth"}
    waiting = api.save(unlimited, task_id=draft["id"], schedule=f"once {moment} UTC", name="b")
    assert waiting["nextRunAt"] == f"{moment}.000Z"
    until(lambda: "k/later" in contents(seaweed, destination), lambda: json.dumps(api.task(draft["id"])))
    scheduled = api.wait(draft["id"], "DONE", "FAILED")
    assert (scheduled["state"], scheduled["latest"]["done"], scheduled["nextRunAt"]) == ("DONE", 1, None)

    seaweed.client().put_object(Bucket=source, Key="k/refused", Body=b"refused at first")
    refusing.keys = {"k/refused"}
    api.change("runTask", draft["id"])
    refused = api.wait(draft["id"], "DONE", "FAILED")
    assert (refused["state"], refused["latest"]["done"], refused["latest"]["failed"]) == ("FAILED", 0, 1)
    refusing.keys = set()
    redrive = 'mutation($id: ID!) { redriveTask(id: $id, codes: ["access_denied"]) { kind } }'
    assert api.ask(redrive, id=draft["id"])["redriveTask"]["kind"] == "REDRIVE"
    redriven = api.wait(draft["id"], "DONE", "FAILED")
    assert (redriven["state"], redriven["latest"]["done"], redriven["latest"]["failed"]) == ("DONE", 1, 0)
    assert contents(seaweed, destination) == contents(seaweed, source)

    clone = api.save({**settings, "dest_prefix": "copy"}, run=False, name="clone")
    api.ask("mutation($id: ID!) { deleteTask(id: $id, keepRecords: false) }", id=clone["id"])
    with pytest.raises(Told) as told:
        api.change("runTask", clone["id"])
    assert told.value.code == "no_such_task"
    listed = api.ask("{ tasks { items { id } total counts { name count } } }")["tasks"]
    assert listed == {"items": [{"id": draft["id"]}], "total": 1, "counts": [{"name": "DONE", "count": 1}]}


def test_stopping_a_run_leaves_no_process_and_running_again_finishes_it(
    hub: tuple[HubProcess, dict[str, str]], seaweed: S3Server
) -> None:
    api, base = hub
    source, destination = filled(seaweed, 100, 50_000), new_bucket(seaweed)
    task = api.save({**base, "src_bucket": source, "dest_bucket": destination, "bandwidth": "200000"})
    until(lambda: len(contents(seaweed, destination)) > 0, lambda: json.dumps(api.task(task["id"])))
    api.change("stopTask", task["id"])
    stopped = api.wait(task["id"], "STOPPED")
    assert stopped["progress"] == "STOPPED"
    assert api.children() == []
    api.save({**base, "src_bucket": source, "dest_bucket": destination}, task_id=task["id"])
    assert api.wait(task["id"], "DONE", "FAILED")["state"] == "DONE"
    assert contents(seaweed, destination) == contents(seaweed, source)


def test_a_place_that_does_not_exist_fails_with_its_reason(
    hub: tuple[HubProcess, dict[str, str]], seaweed: S3Server
) -> None:
    api, base = hub
    task = api.save({**base, "src_bucket": "no-such-bucket-here", "dest_bucket": new_bucket(seaweed)})
    failed = api.wait(task["id"], "FAILED")
    assert failed["progress"] == "ERROR"
    assert failed["problems"][0]["code"] == "no_such_bucket"
    assert "no-such-bucket-here" in failed["problems"][0]["detail"]
    message = api.ask("query($id: String!) { getErrorMessage(id: $id) { errMessage errCode } }", id=task["id"])
    assert message["getErrorMessage"]["errCode"] == "FINDER_ERROR"


def test_a_plan_is_run_exactly_whatever_came_since(hub: tuple[HubProcess, dict[str, str]], seaweed: S3Server) -> None:
    api, base = hub
    source, destination = filled(seaweed, 12, 1_000), new_bucket(seaweed)
    settings = {**base, "src_bucket": source, "dest_bucket": destination}
    given = {"type": "S3EC2", "settings": [{"name": n, "value": v} for n, v in settings.items()]}
    plan = api.ask("mutation($i: TaskInput!) { planTask(input: $i) { id } }", i=given)["planTask"]["id"]
    ready = "query($p: ID!) { plan(id: $p) { state copies } }"
    until(lambda: api.ask(ready, p=plan)["plan"]["state"] == "READY", api.complaint)
    seaweed.client().put_object(Bucket=source, Key="k/later", Body=b"later")
    task = api.save(settings, run=False)
    pinned = "mutation($id: ID!, $p: ID) { runTask(id: $id, planId: $p) { id } }"
    for wrong, code in (("nothing", "no_such_plan"), (plan, "other_plan")):
        other = api.save({**settings, "dest_prefix": "other"}, run=False)
        with pytest.raises(Told) as told:
            api.ask(pinned, id=other["id"], p=wrong)
        assert told.value.code == code
    api.ask(pinned, id=task["id"], p=plan)
    done = api.wait(task["id"], "DONE", "FAILED")
    assert (done["state"], done["latest"]["done"]) == ("DONE", 12), done
    assert "k/later" not in contents(seaweed, destination)
    assert len(contents(seaweed, destination)) == 12
    api.change("runTask", task["id"])
    assert api.wait(task["id"], "DONE", "FAILED")["latest"]["done"] == 1

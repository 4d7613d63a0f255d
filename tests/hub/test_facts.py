"""What a run tells of itself while it runs, and what both sides tell of one key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.servers.s3server import S3Server

from .hubs import HubProcess, until
from .refusing import Refusing
from .test_life import contents, filled, new_bucket

pytestmark = [pytest.mark.seaweed, pytest.mark.slow]

KEY = "k/00001"
FACTS = "size etag modifiedAt storageClass headers { name value } metadata { name value }"
STORY = f"""query($id: ID!, $key: String!) {{ story(taskId: $id, key: $key) {{
    key destKey action rule sourceError destinationError source {{ {FACTS} }} destination {{ {FACTS} }}
    records {{ key outcome verifiedBy runId }} }} }}"""
WORKERS = "state workers { name host pid state objectsInFlight cpu memory since seenAt } queue { waiting inHand }"


def test_a_run_tells_of_its_workers_and_of_throttling_and_both_sides_tell_of_a_key(
    hub: tuple[HubProcess, dict[str, str]], seaweed: S3Server, refusing: Refusing
) -> None:
    api, base = hub
    source, destination = filled(seaweed, 60, 20_000), new_bucket(seaweed)
    seaweed.client().put_object(Bucket=source, Key=KEY, Body=b"x" * 20_000, Metadata={"of": "a test"})
    refusing.slow = 5
    settings = {**base, "src_endpoint": refusing.endpoint, "src_bucket": source, "dest_bucket": destination}
    task = api.save({**settings, "bandwidth": "100000"})
    shown: dict[str, Any] = {}

    def working() -> bool:
        shown.update(api.task(task["id"], WORKERS))
        assert shown["state"] != "FAILED", api.task(task["id"])
        return any(one["cpu"] is not None and one["memory"] for one in shown["workers"])

    until(working, lambda: json.dumps(shown))
    (worker,) = shown["workers"]
    assert worker["pid"] in api.children()
    assert worker["memory"] > 1 << 20
    assert worker["since"] <= worker["seenAt"]
    api.ask("mutation($id: ID!) { limitTask(id: $id, bandwidth: 0) { id } }", id=task["id"])
    assert api.wait(task["id"], "DONE", "FAILED")["state"] == "DONE"
    assert contents(seaweed, destination) == contents(seaweed, source)
    series = "query($id: ID!) { series(taskId: $id, names: [THROTTLED, BYTES, LAG]) { name unit t v } }"
    drawn: dict[str, list[float | None]] = {}

    def drawn_by_now() -> bool:  # a bucket is shown when its time is over
        drawn.update({one["name"]: one["v"] for one in api.ask(series, id=task["id"])["series"]})
        return all(sum(value or 0 for value in drawn[name]) > 0 for name in ("THROTTLED", "BYTES"))

    until(drawn_by_now, lambda: f"{drawn} {api.complaint()}")
    assert set(drawn["LAG"]) == {None}  # nothing follows events here

    def story() -> dict[str, Any]:
        found: dict[str, Any] = api.ask(STORY, id=task["id"], key=KEY)["story"]
        return found

    told = story()
    assert (told["key"], told["destKey"], told["action"]) == (KEY, KEY, "keep")
    assert told["source"]["size"] == told["destination"]["size"] == 20_000
    assert told["source"]["etag"] == told["destination"]["etag"]
    assert told["source"]["modifiedAt"] <= told["destination"]["modifiedAt"]
    assert told["destination"]["metadata"] == [{"name": "of", "value": "a test"}]
    assert [(one["outcome"], one["key"]) for one in told["records"]] == [("DONE", KEY)]

    seaweed.client().delete_object(Bucket=destination, Key=KEY)
    told = story()
    assert (told["action"], told["destination"], told["destinationError"]) == ("copy", None, None)
    api.change("runTask", task["id"])
    assert api.wait(task["id"], "DONE", "FAILED")["state"] == "DONE"
    refusing.heads = {KEY}
    assert story()["source"]["size"] == 20_000, "where HEAD is refused, GET tells"
    refusing.keys = {KEY}
    told = story()
    assert (told["source"], told["action"]) == (None, "keep")
    assert KEY in told["sourceError"]
    assert told["destination"]["size"] == 20_000
    assert len({one["runId"] for one in told["records"]}) == 2

    refusing.keys = set()
    api.change("verifyTask", task["id"])
    until(lambda: api.task(task["id"])["latest"]["endedAt"] is not None, api.complaint)
    records = (
        "query($id: ID!, $o: [Outcome!]) { records(taskId: $id, outcomes: $o) { items { key reason outcome at } } }"
    )
    assert api.ask(records, id=task["id"], o=["FAILED"])["records"]["items"] == []
    proven = api.ask(records, id=task["id"], o=["DONE"])["records"]["items"]
    assert len(proven) == 60
    assert {one["reason"] for one in proven} == {"equal"}

"""What is kept of settings: revisions, locations with their last check, other spellings; and names of secrets."""

from __future__ import annotations

import json
import shlex
import subprocess
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dth.hub import forms
from dth.hub.states import TaskType
from dth.settings.catalog import entries
from tests.e2e.harness import command
from tests.servers.aws import Aws

from .hubs import HubProcess, Told, alone, until

NOWHERE = {
    "src_bucket": "photos", "src_endpoint": "http://127.0.0.1:9", "src_region": "us-east-1", "src_credentials": "anonymous",
    "dest_bucket": "backup", "dest_endpoint": "http://127.0.0.1:9", "dest_region": "us-east-1",
    "dest_credentials": "anonymous", "connect_seconds": "0.5",
}  # fmt: skip


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    running = alone(tmp_path_factory.mktemp("kept")).start()
    yield running
    running.end()


def test_every_change_of_a_task_is_a_revision_that_says_what_changed(hub: HubProcess) -> None:
    task = hub.save(NOWHERE, run=False, name="one")
    hub.save({**NOWHERE, "dest_prefix": "old/"}, run=False, name="two", task_id=task["id"], revision=1)
    hub.ask("mutation($id: ID!) { limitTask(id: $id, bandwidth: 1000000) { revision } }", id=task["id"])
    query = """query($id: ID!, $a: String) { revisions(taskId: $id, limit: 2, after: $a) { after
        items { revision savedAt name settings { name value } changes { name before after } } } }"""
    page = hub.ask(query, id=task["id"])["revisions"]
    assert [one["revision"] for one in page["items"]] == [3, 2]
    limited, renamed = page["items"]
    assert limited["changes"] == [{"name": "bandwidth", "before": None, "after": "1000000"}]
    assert renamed["changes"] == [
        {"name": "name", "before": "one", "after": "two"},
        {"name": "dest_prefix", "before": None, "after": "old/"},
    ]
    first = hub.ask(query, id=task["id"], a=page["after"])["revisions"]
    assert [(one["revision"], one["changes"]) for one in first["items"]] == [(1, [])]
    assert first["after"] is None


def test_a_location_is_listed_once_with_who_uses_it_and_its_last_check(hub: HubProcess) -> None:
    place = {**NOWHERE, "src_bucket": "shared-place"}
    ids = {hub.save({**place, "src_prefix": prefix}, run=False)["id"] for prefix in ("a/", "b/")}
    query = "{ locations { side location { url endpoint credential } taskIds tasks settings { name value } lastCheck { ok state id } } }"

    def listed() -> dict[str, Any]:
        (found,) = [one for one in hub.ask(query)["locations"] if one["location"]["url"] == "s3://shared-place"]
        return dict(found)

    assert set(listed()["taskIds"]) == ids
    assert (listed()["side"], listed()["tasks"], listed()["lastCheck"]) == ("source", 2, None)
    assert {"name": "src_endpoint", "value": "http://127.0.0.1:9"} in listed()["settings"]
    values = [{"name": n, "value": v} for n, v in place.items() if n.startswith("src_") or n == "connect_seconds"]
    asking = "mutation($i: LocationInput!) { checkLocation(input: $i) { id } }"
    check = hub.ask(asking, i={"side": "source", "values": values})["checkLocation"]["id"]
    until(lambda: listed()["lastCheck"] is not None, hub.complaint)
    assert listed()["lastCheck"]["id"] == check
    assert listed()["lastCheck"]["ok"] is False


@pytest.mark.parametrize("prefix", ["", "in/", "raw"])
def test_a_task_can_be_taken_to_a_terminal_and_to_a_job_file(hub: HubProcess, tmp_path: Path, prefix: str) -> None:
    settings = {**NOWHERE, "src_prefix": prefix, "strip_src_prefix": "true", "exclude": "*.tmp,it's", "delete": "true"}
    task = hub.save(settings, run=False)
    query = "query($id: ID!) { spellings(taskId: $id) { command jobFile parameters { ParameterKey ParameterValue } template } }"
    spelt = hub.ask(query, id=task["id"])["spellings"]
    kept = {name: value for name, value in settings.items() if value}
    assert tomllib.loads(spelt["jobFile"]) == kept
    assert json.loads(spelt["template"]) == spelt["parameters"]
    assert {"ParameterKey": "srcBucket", "ParameterValue": "photos"} in spelt["parameters"]
    (tmp_path / "job.toml").write_text(spelt["jobFile"])
    words = shlex.split(spelt["command"].replace("\\\n", ""))  # as a shell reads it
    assert (words[2] == "--job") == (prefix == "raw")
    argv = [*command(), *words[1:], "--dry-run", "--state", str(tmp_path / "state")]
    done = subprocess.run(
        argv, cwd=tmp_path, env=dict(hub.env), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 4, done.stderr  # it was understood: nobody answers there


def test_a_check_on_aws_tells_the_policy_to_paste() -> None:
    policy = json.loads(forms.policy_of({"src_bucket": "photos", "src_region": "cn-north-1"}))
    text = json.dumps(policy)
    assert "arn:aws-cn:s3:::photos" in text
    assert "s3:ListBucket" in text
    assert "s3:PutObject" not in text
    assert "s3:PutObject" in forms.policy_of({"dest_bucket": "backup", "dest_region": "eu-central-1"})
    assert forms.policy_of({"dest_bucket": "backup", "dest_endpoint": "https://minio.example:9000"}) == ""
    assert forms.panels(TaskType.S3EC2)


@pytest.mark.parametrize(("kind", "job"), [("S3EC2", "objects"), ("ECR", "images")])
def test_forms_have_the_catalogue_of_settings_but_for_what_the_hub_decides(
    hub: HubProcess, kind: str, job: str
) -> None:
    query = "query($t: TaskType!) { settings(type: $t) { name settings { name title help kind unit flag allowed default low high choices advanced } } }"
    panels = hub.ask(query, t=kind)["settings"]
    shown = {one["name"]: one for panel in panels for one in panel["settings"]}
    known = {one.name: one for one in entries(job)}
    assert set(shown) == set(known) - forms.OURS
    for name, one in shown.items():
        declared = known[name]
        assert (one["flag"], one["unit"], one["default"]) == (declared.flag, declared.unit, declared.default), name
        assert (one["low"], one["high"], one["choices"]) == (declared.low, declared.high, list(declared.choices)), name


def test_a_log_is_followed_from_where_it_was_read_to(hub: HubProcess) -> None:
    task = hub.save(NOWHERE, name="a log")
    hub.wait(task["id"], "FAILED")
    query = """query($id: ID!, $a: String, $level: LogLevel, $contains: String) {
        logs(taskId: $id, after: $a, level: $level, contains: $contains) { items { at level process code text } after streaming } }"""
    page = hub.ask(query, id=task["id"])["logs"]
    assert page["items"][-1]["level"] == "ERROR"
    assert "127.0.0.1:9" in page["items"][-1]["text"]
    assert page["streaming"] is False
    following = hub.ask(query, id=task["id"], a=page["after"])["logs"]
    assert (following["items"], following["after"]) == ([], page["after"])
    everything = hub.ask(query, id=task["id"], level="DEBUG")["logs"]["items"]
    assert len(everything) >= len(page["items"])
    wrong = hub.ask(query, id=task["id"], level="ERROR", contains="127.0.0.1:9")["logs"]["items"]
    assert {one["level"] for one in wrong} == {"ERROR"}


@pytest.mark.ministack
@pytest.mark.slow
def test_names_of_secrets_are_listed_and_nothing_that_is_in_them(ministack: Aws, tmp_path: Path) -> None:
    name = f"keys-{uuid.uuid4().hex[:8]}"
    client = ministack.client("secretsmanager")
    client.create_secret(Name=name, Description="of a test", SecretString='{"secret_access_key": "hidden-away"}')
    client.close()
    running = alone(tmp_path)
    running.env = {**running.env, **ministack.environment()}
    running.start()
    try:
        listed = running.ask("{ listSecrets { name description } }")["listSecrets"]
        assert {"name": name, "description": "of a test"} in listed
        assert {"name": "anonymous", "description": "unsigned requests, for public buckets"} in listed
        assert "hidden-away" not in json.dumps(listed)
    finally:
        running.end()


@pytest.mark.parametrize("field", ["name", "description", "src_prefix"])
def test_text_that_no_file_can_hold_is_refused_in_words(hub: HubProcess, field: str) -> None:
    settings, others = dict(NOWHERE), {"name": "a"}
    (settings if field == "src_prefix" else others)[field] = "half \ud800"
    with pytest.raises(Told, match="character"):
        hub.save(settings, run=False, **others)


def test_an_answer_may_repeat_what_utf_8_cannot_hold(hub: HubProcess) -> None:
    with pytest.raises(Told, match="half"):
        hub.save({**NOWHERE, "half \ud800": "1"}, run=False, name="a")

"""Whom `--on-failure` tells, what it gets, and that it changes nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from dth.app import on_failure
from dth.app.on_failure import OnFailure
from dth.errors import SettingsError
from dth.events import Event, Notice
from tests.servers.aws import Aws

RESULT = {"command": "sync", "exit_code": 3, "failed": 2, "failures": ["é"]}


async def told(text: str) -> list[str]:
    """Tell the result; the notices."""
    events: list[Event] = []
    await OnFailure.parse(text).tell(RESULT, events.append)
    return [event.text for event in events if isinstance(event, Notice)]


def script(folder: Path, body: str) -> str:
    file = folder / "a script"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o700)
    return f"'{file}'"


async def test_a_command_gets_the_result_and_no_shell_reads_it(tmp_path: Path) -> None:
    assert await told(script(tmp_path, f'cat > {tmp_path}/got; echo "$1" > {tmp_path}/word') + " '$(id) ; x'") == []
    assert json.loads((tmp_path / "got").read_text()) == RESULT
    assert (tmp_path / "word").read_text() == "$(id) ; x\n"


@pytest.mark.parametrize("body", ["exit 7", "exec 0<&-; exit 7"])
async def test_a_command_that_fails_is_said_and_nothing_else(tmp_path: Path, body: str) -> None:
    assert "exit code 7" in (await told(script(tmp_path, body)))[0]


async def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_failure, "SECONDS", 0.3)
    notices = await told(script(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600"))
    assert "too long" in notices[0]
    pid = (tmp_path / "pid").read_text().strip() if (tmp_path / "pid").exists() else ""
    assert not pid or not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no-such-command-anywhere --now", "no-such-command-anywhere"),
        ("'unclosed", "No closing quotation"),
        (" ", "no command ''"),
        ("arn:aws:sqs:eu-west-1:123456789012:alarms", "SNS topic"),
        ("arn:aws:sns:eu-west-1:12:alarms", "SNS topic"),
    ],
)
def test_what_could_tell_nobody_is_refused_before_the_run(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        OnFailure.parse(text)


def test_topics_of_every_partition_are_known() -> None:
    for arn in ("arn:aws-cn:sns:cn-north-1:123456789012:a", "arn:aws-us-gov:sns:us-gov-west-1:123456789012:b_c.fifo"):
        assert OnFailure.parse(arn).region == arn.split(":")[3]


@pytest.mark.ministack
async def test_a_topic_gets_it_as_a_message(ministack: Aws) -> None:
    name = f"alarms-{uuid.uuid4().hex[:8]}"
    sns, sqs = ministack.client("sns"), ministack.client("sqs")
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    with ministack.ambient():
        assert await told(topic) == []
        assert await told(topic + "-not-there")
    got = await asyncio.to_thread(sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=10)
    body = json.loads(got["Messages"][0]["Body"])
    assert json.loads(body["Message"]) == RESULT
    assert "exit code 3" in body["Subject"]
    for client in (sns, sqs):
        client.close()


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("sync", "s3://one", "s3://two", "--src-endpoint", "http://127.0.0.1:9"), 4, "connect_failed"),
        (("sync", "s3://one"), 2, ""),
    ],
    ids=["unreachable", "usage"],
)
def test_a_command_that_breaks_off_tells_why_and_wrong_usage_tells_nobody(
    tmp_path: Path, arguments: tuple[str, ...], code: int, error: str
) -> None:
    alarm = script(tmp_path, f"cat > {tmp_path}/got")
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "dth", *arguments, "--on-failure", alarm, "--state", str(tmp_path / "state")],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **keys},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    got = tmp_path / "got"
    assert got.exists() == bool(error)
    if error:
        said = json.loads(got.read_text())
        assert (said["command"], said["code"], said["exit_code"]) == ("sync", error, code)

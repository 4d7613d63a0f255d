"""The S3 plugin's template, deployed on an emulator that enforces IAM: a transfer by its queue, ledger and roles."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import templates
from tests.servers.iam import Guarded
from tests.servers.ministack import ACCOUNT, REGION
from tests.servers.stacks import Deployed, account, deployed

from .harness import HANG_SECONDS, Dth, environment, scaled

pytestmark = [pytest.mark.slow, pytest.mark.ministack, pytest.mark.templates]
MIB = 1 << 20
NAME, SOURCE, DEST, OTHERS = "photos", "photos-source", "photos-dest", "others"
PARAMETERS = {
    "srcBucket": SOURCE, "srcInCurrentAccount": "true", "srcEvent": "Create", "destBucket": DEST, "destPrefix": "copy",
    "destStorageClass": "STANDARD", "alarmEmail": "you@example.com", "artefact": "s3://my-artefacts/root.tar.gz#" + "0" * 64,
    "ec2CronExpression": "",
}  # fmt: skip
SMALLER = {  # than in the cloud, so that one object of a few MiB is one that all workers share
    "DTH_PART_SIZE": str(5 * MIB), "DTH_MULTIPART_THRESHOLD": str(5 * MIB), "DTH_GIANT_THRESHOLD": str(10 * MIB),
    "DTH_PROCESSES": "1", "DTH_LEASE_SECONDS": "30", "DTH_METRICS_EMF": "", "DTH_LOG": "text",
}  # fmt: skip


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with account() as running:
        yield running


@pytest.fixture(scope="module")
def objects(guarded: Guarded) -> dict[str, bytes]:
    """The source, with a notification of somebody else; what is to arrive."""
    s3, sqs = guarded.root("s3"), guarded.root("sqs")
    for bucket in (SOURCE, DEST):
        s3.create_bucket(Bucket=bucket)
    url = sqs.create_queue(QueueName=OTHERS)["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{OTHERS}"
    principal = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**principal, "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    theirs = {"Id": "theirs", "QueueArn": arn, "Events": ["s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=SOURCE, NotificationConfiguration={"QueueConfigurations": [theirs], "EventBridgeConfiguration": {}}
    )
    chance = random.Random(14)
    made = {f"in/{number:04}": chance.randbytes(chance.randrange(2_000)) for number in range(scaled(1_000))}
    made["in/a+b é %20"] = b"an odd name"
    made["in/giant"] = chance.randbytes(scaled(120) * MIB)
    for key, content in made.items():
        s3.put_object(Bucket=SOURCE, Key=key, Body=content)
    return made


def notifications(guarded: Guarded) -> dict[str, Any]:
    found = guarded.root("s3").get_bucket_notification_configuration(Bucket=SOURCE)
    return {key: value for key, value in found.items() if key != "ResponseMetadata"}


def part(stack: Deployed, folder: Path, task: str, role: str) -> tuple[list[str], Dth]:
    """The command of a deployed task, to be run in the deployed role with the deployed settings."""
    command, settings = stack.container(task)
    folder.mkdir(exist_ok=True)
    env = environment(folder, {}) | stack.role(role) | settings | SMALLER
    return command, Dth({**env, "DTH_STATE": str(folder / "state")}, [])


@contextlib.contextmanager
def running(dth: Dth, *words: str) -> Iterator[None]:
    """A command beside the test, stopped at its end as ECS stops a task."""
    with subprocess.Popen(dth.argv(*words), env=dict(dth.env), stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(HANG_SECONDS)


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + HANG_SECONDS
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.3)


def count(guarded: Guarded) -> int:
    pages = guarded.root("s3").get_paginator("list_objects_v2").paginate(Bucket=DEST)
    return sum(page["KeyCount"] for page in pages)


def arrived(guarded: Guarded, prefix: str = "copy/") -> dict[str, str]:
    """Digest of each object of the destination, by its key there."""
    s3, found = guarded.root("s3"), {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=DEST, Prefix=prefix):
        for one in page.get("Contents", []):
            content = s3.get_object(Bucket=DEST, Key=one["Key"])["Body"].read()
            found[one["Key"].removeprefix(prefix)] = hashlib.sha256(content).hexdigest()
    return found


def test_a_deployed_stack_transfers_and_leaves_nothing(
    guarded: Guarded, objects: dict[str, bytes], tmp_path: Path
) -> None:
    before = notifications(guarded)
    with deployed(guarded, templates.S3, NAME, PARAMETERS) as stack:
        during = notifications(guarded)
        ours = [one for one in during["QueueConfigurations"] if one["Id"] != "theirs"]
        assert [one["QueueArn"].rpartition(":")[2] for one in ours] == [stack.outputs["QueueName"]]
        assert [one for one in during["QueueConfigurations"] if one["Id"] == "theirs"] == before["QueueConfigurations"]
        assert "EventBridgeConfiguration" in during

        command, finder = part(stack, tmp_path / "finder", "finder", "FinderRole")
        finder(*command)
        guarded.root("sqs").send_message(QueueUrl=stack.outputs["QueueUrl"], MessageBody="poison")
        guarded.root("s3").put_object(Bucket=SOURCE, Key="later", Body=b"told by its event")
        wanted = {key: hashlib.sha256(content).hexdigest() for key, content in objects.items()}
        wanted["later"] = hashlib.sha256(b"told by its event").hexdigest()
        net, multipart = part(stack, tmp_path / "net", "multipart", "MultipartRole")
        command, worker = part(stack, tmp_path / "worker", "worker", "WorkerRole")
        with running(multipart, *net), running(worker, *command):
            until(lambda: count(guarded) >= len(wanted), "objects are missing")
            until(lambda: dead(stack) == 1, "the poisoned message is not among the dead letters")
        assert arrived(guarded) == wanted
        multipart(*net[:1])  # once more, to the end: nothing is left to mend
        assert guarded.root("s3").list_multipart_uploads(Bucket=DEST).get("Uploads", []) == []
        told_of_dead_letters(guarded, stack)
        ends_by_itself(guarded, stack)
    assert notifications(guarded) == before


def dead(stack: Deployed) -> int:
    sqs = stack.guarded.root("sqs")
    url = sqs.get_queue_url(QueueName=stack.outputs["DeadLetterQueueName"])["QueueUrl"]
    names = ["ApproximateNumberOfMessages"]
    return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][names[0]])


def topic(guarded: Guarded, stack: Deployed) -> str:
    found = guarded.root("sns").list_topics()["Topics"]
    (arn,) = [one["TopicArn"] for one in found if one["TopicArn"].endswith(f":{stack.outputs['AlarmTopicName']}")]
    return str(arn)


@contextlib.contextmanager
def listening(guarded: Guarded, stack: Deployed) -> Iterator[Callable[[], list[str]]]:
    """What the topic says meanwhile, as someone hears it who subscribed a queue."""
    sqs, sns = guarded.root("sqs"), guarded.root("sns")
    url = sqs.create_queue(QueueName="ears")["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:ears"
    allowed = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**allowed, "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    own = sns.subscribe(TopicArn=topic(guarded, stack), Protocol="sqs", Endpoint=arn)["SubscriptionArn"]
    heard: list[str] = []

    def hear() -> list[str]:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            heard.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return heard

    yield hear
    sns.unsubscribe(SubscriptionArn=own)
    sqs.delete_queue(QueueUrl=url)


def told_of_dead_letters(guarded: Guarded, stack: Deployed) -> None:
    """The emulator publishes no metrics of queues: the test does, and the deployed alarm has to hear of them."""
    name = stack.outputs["DeadLetterQueueName"]
    metric = {
        "MetricName": "ApproximateNumberOfMessagesVisible", "Value": dead(stack),
        "Dimensions": [{"Name": "QueueName", "Value": name}],
    }  # fmt: skip
    with listening(guarded, stack) as hear:
        guarded.root("cloudwatch").put_metric_data(Namespace="AWS/SQS", MetricData=[metric])
        until(lambda: any("ALARM" in one for one in hear()), "the alarm told nobody")


def ends_by_itself(guarded: Guarded, stack: Deployed) -> None:
    """A transfer that runs once: what follows the finder stops what runs, and says so."""
    machine = guarded.root("stepfunctions")
    with listening(guarded, stack) as hear:
        begun = json.dumps({"once": "true", "ec2": "true", "quiet": 0, "rounds": 0})
        arn = machine.start_execution(stateMachineArn=stack.outputs["StateMachineArn"], input=begun)["executionArn"]
        until(lambda: machine.describe_execution(executionArn=arn)["status"] != "RUNNING", "the state machine goes on")
        ended = machine.describe_execution(executionArn=arn)
        assert ended["status"] == "SUCCEEDED", (ended.get("error"), ended.get("cause"))
        until(lambda: any("Dead letters: 1" in one for one in hear()), "nobody was told of the end")
    cluster, names = stack.outputs["ClusterName"], [f"{NAME}-multipart"]
    (net,) = guarded.root("ecs").describe_services(cluster=cluster, services=names)["services"]
    assert net["desiredCount"] == 0

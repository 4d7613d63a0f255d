"""Events of a source bucket over a real queue: what its notifications say, straight and in envelopes, becomes true."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers.aws import REGION, Aws
from tests.servers.s3server import S3Server
from tests.unit.test_bucket_events import OSS_EVENT, s3_record

from .harness import Dth
from .test_fleet import fleet

pytestmark = [pytest.mark.slow, pytest.mark.ministack]

ODD = "in/a b+%25/é\n.txt"


@pytest.fixture
def source(ministack: Aws) -> Iterator[S3Server]:
    """The emulator's own store: the one here that sends notifications."""
    server = S3Server("ministack", ministack.endpoint, "test", "test", REGION)
    yield server
    server.close()


@dataclass
class Wiring:
    """From a bucket to a queue: straight for `in/`, and once more through SNS and through EventBridge for all keys."""

    aws: Aws
    queue: str
    bucket: str

    def connect(self) -> None:
        sqs, topics, rules = (self.aws.client(name) for name in ("sqs", "sns", "events"))
        arn = sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = topics.create_topic(Name=self.bucket)["TopicArn"]
        topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        pattern = json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": [self.bucket]}}})
        rules.put_rule(Name=self.bucket, EventPattern=pattern)
        rules.put_targets(Rule=self.bucket, Targets=[{"Id": "queue", "Arn": arn}])
        events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectRestore:*"]
        only = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}}
        s3 = self.aws.client("s3")
        s3.put_bucket_notification_configuration(
            Bucket=self.bucket,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": arn, "Events": events, "Filter": only}],
                "TopicConfigurations": [{"TopicArn": topic, "Events": events}],
                "EventBridgeConfiguration": {},
            },
        )
        for client in (sqs, topics, rules, s3):
            client.close()

    def send(self, *bodies: Any) -> None:
        client = self.aws.client("sqs")
        for body in bodies:
            client.send_message(QueueUrl=self.queue, MessageBody=body if isinstance(body, str) else json.dumps(body))
        client.close()

    def waiting(self) -> list[str]:
        """Look at ten messages at most that wait, and give them back."""
        client = self.aws.client("sqs")
        got = client.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)["Messages"]
        for message in got:
            receipt = message["ReceiptHandle"]
            client.change_message_visibility(QueueUrl=self.queue, ReceiptHandle=receipt, VisibilityTimeout=0)
        client.close()
        return [message["Body"] for message in got]


def here(record: dict[str, Any], bucket: str) -> dict[str, Any]:
    """The record of another bucket, told of this one."""
    record["s3"]["bucket"]["name"] = bucket
    return {"Records": [record]}


def where(bucket: str, destination: str) -> tuple[str, ...]:
    return ("--src-bucket", bucket, "--src-prefix", "in/", "--dest-bucket", destination, "--strip-src-prefix")


def work(dth: Dth, bucket: str, destination: str, *flags: str, expect: int = 0) -> None:
    dth("work", *where(bucket, destination), "--until-empty", "--processes", "1", *flags, expect=expect)


def contents(server: S3Server, bucket: str) -> dict[str, bytes]:
    client = server.client("b")
    keys = [each["Key"] for each in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def test_what_happens_in_the_source_bucket_happens_in_the_destination(
    ministack: Aws, source: S3Server, rgw: S3Server, tmp_path: Path
) -> None:
    bucket, destination = source.make_bucket(), rgw.make_bucket("b")
    s3 = source.client()
    with fleet(tmp_path, ministack, source, rgw, "--dest-prefix", "out/") as (dth, made):
        wiring = Wiring(ministack, made["queue"], bucket)
        wiring.connect()
        assert sum("s3:TestEvent" in body for body in wiring.waiting()) == 2  # straight, and through SNS
        s3.put_object(Bucket=bucket, Key=ODD, Body=b"odd")
        s3.put_object(Bucket=bucket, Key="elsewhere", Body=b"not in the prefix")
        s3.copy_object(Bucket=bucket, Key="in/copied", CopySource={"Bucket": bucket, "Key": "elsewhere"})
        multipart(s3, bucket, "in/parts")
        s3.put_object(Bucket=bucket, Key="in/brief", Body=b"gone before anyone looks")
        s3.delete_object(Bucket=bucket, Key="in/brief")
        s3.put_object(Bucket=bucket, Key="in/cold", Body=b"cold", StorageClass="GLACIER")
        work(dth, bucket, destination, "--src-event", "CreateAndDelete")
        copied = {"out/" + ODD.removeprefix("in/"): b"odd", "out/copied": b"not in the prefix", "out/parts": b"p" * 300}
        assert contents(rgw, destination) == copied

        s3.restore_object(Bucket=bucket, Key="in/cold", RestoreRequest={"Days": 1})
        wiring.send(here(s3_record("ObjectRestore:Completed", "in/cold", size=4), bucket))
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.delete_object(Bucket=bucket, Key=ODD)  # which makes a delete marker
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "in/copied"}]})
        s3.put_object(Bucket=bucket, Key="in/copied", Body=b"back again")
        oss = copy.deepcopy(OSS_EVENT)
        oss["events"][0]["oss"]["bucket"]["name"] = bucket
        oss["events"][0]["oss"]["object"]["key"] = "in/copied"
        expired = here(s3_record("LifecycleExpiration:Delete", "in/parts"), bucket)  # it is there: so nothing happens
        wiring.send(oss, expired, {"key": "in/cold", "size": 4}, "neither a message nor an event")
        work(dth, bucket, destination, "--src-event", "CreateAndDelete", expect=3)  # garbage is told
        assert contents(rgw, destination) == {
            "out/copied": b"back again",
            "out/parts": b"p" * 300,
            "out/cold": b"cold",
        }
        status = {event["run_id"]: event for event in dth("status", *where(bucket, destination)).events[:-1]}
        (standing,) = status.values()
        assert standing["state"] == "standing"
        assert standing["failed"] == 0
        assert standing["skipped"] > 0  # other prefixes, older events, the archived one
        assert dth("status", *where(bucket, destination)).events[-1]["dead"] == 1
        client = ministack.client("sqs")
        (letter,) = client.receive_message(QueueUrl=made["dead_letter_queue"], MessageAttributeNames=["All"])[
            "Messages"
        ]
        client.close()
        assert letter["Body"] == "neither a message nor an event"
        assert "not a message of ours" in letter["MessageAttributes"]["reason"]["StringValue"]


def multipart(s3: Any, bucket: str, key: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"p" * 300)
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})

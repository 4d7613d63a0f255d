"""Events of the source bucket into the queue, where the parameters ask for them."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import CfnCondition, CustomResource, Fn
from aws_cdk import aws_lambda as functions
from aws_cdk import aws_logs as logs
from constructs import Construct

from deploy.parts.common import Parameters, Statement, allow, choose_list, ref, role, when, writes_logs
from deploy.parts.queue import Queue
from deploy.parts.tasks import RETENTION_DAYS

CODE = Path(__file__).with_name("notifications.py")


def sender() -> Statement:
    """For the queue's policy: the source bucket may send, if it is this account's."""
    bucket = Fn.sub("arn:${AWS::Partition}:s3:::${srcBucket}")
    return {
        "Sid": "EventsOfTheSource",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Condition": {
            "ArnEquals": {"aws:SourceArn": bucket},
            "StringEquals": {"aws:SourceAccount": ref("AWS::AccountId")},
        },
    }


class Events(Construct):
    """CloudFormation itself sets notifications of buckets that it made, and only these: hence a function."""

    def __init__(self, scope: Construct, name: str, parameters: Parameters, queue: Queue) -> None:
        super().__init__(scope, name)
        has = CfnCondition(
            scope, "HasEvents", expression=Fn.condition_not(Fn.condition_equals(parameters["srcEvent"], "No"))
        )
        removes = CfnCondition(
            scope, "HasRemovals", expression=Fn.condition_equals(parameters["srcEvent"], "CreateAndDelete")
        )
        group = logs.CfnLogGroup(
            self,
            "Logs",
            log_group_name=Fn.sub("/dth/${AWS::StackName}/notifications"),
            retention_in_days=RETENTION_DAYS,
        )
        own = role(
            self,
            "Role",
            ["lambda.amazonaws.com"],
            allow(
                "Notifications",
                ["s3:GetBucketNotification", "s3:PutBucketNotification"],
                Fn.sub("arn:${AWS::Partition}:s3:::${srcBucket}"),
            ),
            writes_logs(group.attr_arn),
            source=False,
        )
        function = functions.CfnFunction(
            self,
            "Function",
            runtime="python3.14",
            architectures=["arm64"],
            handler="index.handler",
            role=own.attr_arn,
            timeout=120,
            code={"zipFile": CODE.read_text()},
            logging_config={"logGroup": group.ref},
            description="Adds and removes one notification of the source bucket",
        )
        created, removed = "s3:ObjectCreated:*", "s3:ObjectRemoved:*"
        asked = CustomResource(
            self,
            "Notifications",
            service_token=function.attr_arn,
            properties={
                "Bucket": ref("srcBucket"),
                "Id": Fn.sub("${AWS::StackName}-events"),
                "Queue": queue.arn,
                "Prefix": ref("srcPrefix"),
                "Events": choose_list(removes, [created, removed], [created]),
            },
        ).node.default_child
        asked.node.add_dependency(queue.policy)  # S3 asks whether it may send
        for one in (group, own, function, asked):
            when(one, has)

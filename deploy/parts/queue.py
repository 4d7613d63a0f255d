"""The queue that work comes by, its dead letters, and the alarm about these."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnTag, Fn
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from deploy.parts.common import Statement
from deploy.parts.topic import Topic

LEASE_SECONDS = 900
RETENTION_SECONDS = 1_209_600  # 14 days
DELIVERIES = (
    20  # a machine that is taken away costs one; what really fails, workers bury themselves after five failures
)
DEAD = "-dead"  # as `dth init` calls it


class Queue(Construct):
    """`url`, `arn` and `name` are the work queue's."""

    def __init__(self, scope: Construct, name: str, topic: Topic, *senders: Statement) -> None:
        super().__init__(scope, name)
        called = Fn.sub("${AWS::StackName}-queue")
        self.dead = self._queue("DeadLetters", Fn.join("", [called, DEAD]), visibility_timeout=1800)
        self.work = self._queue(
            "Work",
            called,
            visibility_timeout=LEASE_SECONDS,
            redrive_policy={"deadLetterTargetArn": self.dead.attr_arn, "maxReceiveCount": DELIVERIES},
        )
        self.url, self.arn, self.name = self.work.ref, self.work.attr_arn, self.work.attr_queue_name
        self._policy("DeadLettersPolicy", self.dead)
        self.policy = self._policy("WorkPolicy", self.work, *senders)
        cloudwatch.CfnAlarm(
            self,
            "DeadLettersAlarm",
            alarm_description="Messages that no worker could make sense of, or that failed again and again: dth redrive",
            namespace="AWS/SQS",
            metric_name="ApproximateNumberOfMessagesVisible",
            dimensions=[{"name": "QueueName", "value": self.dead.attr_queue_name}],
            statistic="Maximum",
            period=60,
            evaluation_periods=1,
            threshold=0,
            comparison_operator="GreaterThanThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=[topic.arn],
        )

    def _queue(self, name: str, called: str, **more: Any) -> sqs.CfnQueue:
        return sqs.CfnQueue(
            self,
            name,
            queue_name=called,
            message_retention_period=RETENTION_SECONDS,
            maximum_message_size=262_144,
            receive_message_wait_time_seconds=20,
            sqs_managed_sse_enabled=True,
            tags=[CfnTag(key="dth:part", value=name)],
            **more,
        )

    def _policy(self, name: str, queue: sqs.CfnQueue, *senders: Statement) -> sqs.CfnQueuePolicy:
        deny = {
            "Sid": "OnlyTLS",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:*",
            "Resource": queue.attr_arn,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
        statements = [deny, *({**one, "Resource": queue.attr_arn} for one in senders)]
        return sqs.CfnQueuePolicy(
            self,
            name,
            queues=[queue.ref],
            policy_document={"Version": "2012-10-17", "Statement": statements},
        )

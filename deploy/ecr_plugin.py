"""The stack of a transfer of images."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnOutput, CfnRule, CfnRuleAssertion, Fn, Stack
from constructs import Construct

from deploy.parameters.read import declare
from deploy.parts import settings
from deploy.parts.common import ref
from deploy.parts.image_sync import ImageSync
from deploy.parts.ledger import Ledger
from deploy.parts.queue import Queue
from deploy.parts.topic import Topic


class EcrPlugin(Stack):
    """Composes the parts."""

    def __init__(self, scope: Construct, name: str, **more: Any) -> None:
        super().__init__(scope, name, description="dth: transfers container images between registries", **more)
        parameters = declare(self, "ecr")
        topic = Topic(self, "Alarms", parameters["alarmEmail"])
        queue = Queue(self, "Queue", topic)
        ledger = Ledger(self, "Ledger")
        job = settings.fleet(queue, ledger) | settings.images()
        sync = ImageSync(self, "Sync", parameters, queue=queue, ledger=ledger, topic=topic, settings=job)
        CfnRule(
            self,
            "PublicImagesAreSelected",
            rule_condition=Fn.condition_equals(ref("sourceType"), "Public"),
            assertions=[
                CfnRuleAssertion(
                    assert_=Fn.condition_equals(ref("srcList"), "SELECTED"),
                    assert_description="With sourceType Public, srcList has to be SELECTED: nobody lists them all",
                )
            ],
        )
        for id_, description, value in (
            ("DynamoDBTable", "DynamoDB Table Name", ledger.name),
            ("QueueName", "Queue Name", queue.name),
            ("DeadLetterQueueName", "Dead Letter Queue Name", queue.dead.attr_queue_name),
            ("AlarmTopicName", "Alarm Topic Name", topic.name),
            ("StackName", "Stack Name", ref("AWS::StackName")),
            ("StateMachineArn", "SFN ARN", sync.machine.arn),
            ("WorkerLogGroup", "Worker Log Group Name", sync.logs.ref),
        ):
            CfnOutput(self, f"Output{id_}", description=description, value=value).override_logical_id(id_)

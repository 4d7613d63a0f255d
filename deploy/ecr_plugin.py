"""The stack of a transfer of images."""

from __future__ import annotations

from typing import Any

from aws_cdk import Fn, Stack
from constructs import Construct

from deploy.parameters.read import declare
from deploy.parts import settings
from deploy.parts.common import outputs, ref, refuse
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
        refuse(
            self,
            "PublicImagesAreSelected",
            Fn.condition_equals(ref("sourceType"), "Public"),
            Fn.condition_equals(ref("srcList"), "SELECTED"),
            "With sourceType Public, srcList has to be SELECTED: nobody lists them all",
        )
        outputs(
            self,
            ("DynamoDBTable", "DynamoDB Table Name", ledger.name),
            ("QueueName", "Queue Name", queue.name),
            ("DeadLetterQueueName", "Dead Letter Queue Name", queue.dead.attr_queue_name),
            ("AlarmTopicName", "Alarm Topic Name", topic.name),
            ("StackName", "Stack Name", ref("AWS::StackName")),
            ("StateMachineArn", "SFN ARN", sync.machine.arn),
            ("WorkerLogGroup", "Worker Log Group Name", sync.logs.ref),
        )

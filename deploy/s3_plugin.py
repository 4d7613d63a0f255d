"""The stack of one transfer of objects."""

from __future__ import annotations

from typing import Any

from aws_cdk import Fn, Stack
from constructs import Construct

from deploy.parameters.read import declare
from deploy.parts import settings
from deploy.parts.common import outputs, ref, refuse, role
from deploy.parts.dashboard import Dashboard
from deploy.parts.events import Events, sender
from deploy.parts.finder import Finder
from deploy.parts.ledger import Ledger
from deploy.parts.multipart import MultipartNet
from deploy.parts.network import Network
from deploy.parts.permissions import Buckets, foundation
from deploy.parts.queue import Queue
from deploy.parts.tasks import TASKS, Containers, cluster
from deploy.parts.topic import Topic
from deploy.parts.workers import GROUP, Workers
from dth.policy import Role


class S3Plugin(Stack):
    """Composes the parts."""

    def __init__(self, scope: Construct, name: str, **more: Any) -> None:
        super().__init__(scope, name, description="dth: transfers objects between buckets", **more)
        parameters = declare(self, "s3")
        topic = Topic(self, "Alarms", parameters["alarmEmail"])
        queue = Queue(self, "Queue", topic, sender())
        ledger = Ledger(self, "Ledger")
        network = Network(self, "Network", parameters)
        containers = Containers(self, "Containers", parameters)
        home = cluster(self, "Cluster").ref
        job = settings.fleet(queue, ledger) | settings.objects(self, parameters)
        own = {
            Role.FINDER: role(self, "FinderRole", TASKS, *foundation(Role.FINDER, queue, ledger)),
            Role.WORKER: role(
                self, "WorkerRole", [*TASKS, "ec2.amazonaws.com"], *foundation(Role.WORKER, queue, ledger), source=False
            ),
            Role.MULTIPART: role(self, "MultipartRole", TASKS, *foundation(Role.MULTIPART, queue, ledger)),
        }
        Buckets(self, "Rights", parameters, own)
        shared = {"containers": containers, "cluster": home, "network": network, "settings": job}
        workers = Workers(self, "Workers", parameters, own=own[Role.WORKER], queue=queue, **shared)
        net = MultipartNet(self, "MultipartNet", own=own[Role.MULTIPART], **shared)
        finder = Finder(
            self, "Finder", parameters, own=own[Role.FINDER], queue=queue, topic=topic, net=net.service, **shared
        )
        Events(self, "Events", parameters, queue)
        Dashboard(self, "Dashboard", home, queue.name)
        self._rules()
        outputs(
            self,
            ("DynamoDBTable", "DynamoDB Table Name", ledger.name),
            ("SplitPartDynamoDBTable", "Split Part DynamoDB Table Name", ledger.name),
            ("QueueName", "Queue Name", queue.name),
            ("DeadLetterQueueName", "Dead Letter Queue Name", queue.dead.attr_queue_name),
            ("AlarmTopicName", "Alarm Topic Name", topic.name),
            ("StackName", "Stack Name", ref("AWS::StackName")),
            ("StateMachineArn", "SFN ARN", finder.machine.arn),
            ("FinderLogGroup", "Finder Log Group Name", finder.logs.ref),
            ("WorkerLogGroup", "Worker Log Group Name", workers.logs.ref),
            ("WorkerGroup", "Worker ASG Name", Fn.sub(GROUP)),
            ("QueueUrl", "Queue URL, for dth status and dth redrive", queue.url),
            ("ClusterName", "ECS Cluster Name", home),
        )

    def _rules(self) -> None:
        """What CloudFormation refuses before it makes anything."""
        kinds = [Fn.condition_equals(ref("launchType"), one) for one in ("EC2", "EC2_SPOT")]
        there = Fn.condition_not(Fn.condition_equals(ref("artefact"), ""))
        refuse(
            self,
            "InstancesNeedAnArtefact",
            Fn.condition_or(*kinds),
            there,
            "EC2 workers need the parameter artefact; or choose launchType AUTO or FARGATE",
        )
        keyed = Fn.condition_not(Fn.condition_equals(ref("destPutObjectSSEKmsKeyId"), ""))
        kms = Fn.condition_equals(ref("destPutObjectSSEType"), "AWS_KMS")
        refuse(self, "AKeyNeedsKms", keyed, kms, "destPutObjectSSEKmsKeyId needs destPutObjectSSEType AWS_KMS")

"""The multipart net: one container that completes, each minute, what no worker will."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import Fn
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from constructs import Construct

from deploy.parts.network import Network
from deploy.parts.tasks import Containers, placement

EVERY_SECONDS = 60
NET = "${AWS::StackName}-multipart"


class MultipartNet(Construct):
    """A service of one task, which keeps no state: where it dies, ECS starts another."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        own: iam.CfnRole,
        containers: Containers,
        cluster: str,
        network: Network,
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__(scope, name)
        command = ["complete-multipart", "--every", str(EVERY_SECONDS)]
        task, self.logs = containers.task("Multipart", own, command, settings, cpu="256", memory="512")
        self.service = Fn.sub(NET)
        ecs.CfnService(
            self,
            "Service",
            service_name=self.service,
            cluster=cluster,
            task_definition=task.ref,
            desired_count=1,
            launch_type="FARGATE",
            network_configuration=placement(network.subnets, network.group),
        )

"""Containers: the cluster, how they are started, and where they write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import Aws, CfnCondition, Fn
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from deploy.parts.common import LOG_GROUPS, Parameters, Statement, allow, choose, ref, role, task_settings, writes_logs
from dth import __version__

TASKS = ("ecs-tasks.amazonaws.com",)
STATE = "/var/lib/dth"
RETENTION_DAYS = 14
STOP_SECONDS = 60  # what is in flight ends, or goes back to the queue, within 25


class Containers(Construct):
    """The image, the role that pulls it and writes logs, and task definitions of it."""

    def __init__(self, scope: Construct, name: str, parameters: Parameters) -> None:
        super().__init__(scope, name)
        own = CfnCondition(scope, "OwnImage", expression=Fn.condition_equals(parameters["image"], ""))
        there = f"${{AWS::AccountId}}.dkr.ecr.${{AWS::Region}}.${{AWS::URLSuffix}}/dth:{__version__}"
        self.image = choose(own, Fn.sub(there), ref("image"))
        pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        self.execution = role(
            self,
            "Execution",
            TASKS,
            allow("Login", ["ecr:GetAuthorizationToken"], "*"),
            allow("Image", pull, Fn.sub("arn:${AWS::Partition}:ecr:*:*:repository/*")),
            writes_logs(Fn.sub(f"{LOG_GROUPS}*")),
        )

    def task(
        self,
        name: str,
        own: iam.CfnRole,
        command: list[str],
        settings: Mapping[str, Any],
        *,
        cpu: Any,
        memory: Any,
    ) -> tuple[ecs.CfnTaskDefinition, logs.CfnLogGroup]:
        """A task definition and its log group. `cpu` in 1/1,024 of a core, `memory` in MiB."""
        group = logs.CfnLogGroup(
            self,
            f"{name}Logs",
            log_group_name=Fn.sub(f"/dth/${{AWS::StackName}}/{name.lower()}"),
            retention_in_days=RETENTION_DAYS,
        )
        definition = ecs.CfnTaskDefinition(
            self,
            name,
            family=Fn.sub(f"${{AWS::StackName}}-{name.lower()}"),
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=cpu,
            memory=memory,
            runtime_platform={"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
            execution_role_arn=self.execution.attr_arn,
            task_role_arn=own.attr_arn,
            volumes=[{"name": "state"}, {"name": "tmp"}],
            container_definitions=[
                {
                    "name": "dth",
                    "image": self.image,
                    "command": command,
                    "environment": task_settings({**settings, "DTH_METRICS_EMF": "-"}),
                    "readonlyRootFilesystem": True,
                    "mountPoints": [
                        {"containerPath": STATE, "sourceVolume": "state"},
                        {"containerPath": "/tmp", "sourceVolume": "tmp"},  # noqa: S108 - in the container
                    ],
                    "stopTimeout": STOP_SECONDS,
                    "logConfiguration": {
                        "logDriver": "awslogs",
                        "options": {
                            "awslogs-group": group.ref,
                            "awslogs-region": ref("AWS::Region"),
                            "awslogs-stream-prefix": "dth",
                        },
                    },
                }
            ],
        )
        return definition, group

    def running(self, cluster: str, *definitions: tuple[str, iam.CfnRole]) -> list[Statement]:
        """What a state machine needs to run tasks of these families and wait for them."""
        here = "${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}"
        families = [
            Fn.sub(f"arn:{here}:task-definition/${{AWS::StackName}}-{name.lower()}:*") for name, _ in definitions
        ]
        tasks = f"arn:{Aws.PARTITION}:ecs:{Aws.REGION}:{Aws.ACCOUNT_ID}:task/{cluster}/*"
        rule = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/StepFunctionsGetEventsForECSTaskRule"
        return [
            allow("Run", ["ecs:RunTask"], *families),
            allow("Follow", ["ecs:DescribeTasks", "ecs:StopTask"], tasks),
            allow("HearOfEnd", ["events:DescribeRule", "events:PutRule", "events:PutTargets"], Fn.sub(rule)),
            allow("HandOver", ["iam:PassRole"], self.execution.attr_arn, *(own.attr_arn for _, own in definitions)),
        ]


def cluster(scope: Construct, name: str) -> ecs.CfnCluster:
    """A cluster that runs containers without instances, at both prices."""
    return ecs.CfnCluster(
        scope,
        name,
        capacity_providers=["FARGATE", "FARGATE_SPOT"],
        cluster_settings=[{"name": "containerInsights", "value": "enabled"}],
    )


def placement(network_subnets: Any, group: Any) -> dict[str, Any]:
    """Where a service's tasks are. An address of its own is of no use in a private subnet, and harms nothing there."""
    return {"awsvpcConfiguration": {"subnets": network_subnets, "securityGroups": [group], "assignPublicIp": "ENABLED"}}

"""A state machine with its log group and role."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import Aws, Fn
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from deploy.parts.common import Statement, allow, role
from deploy.parts.tasks import RETENTION_DAYS

_DELIVERY = (
    "logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery",
)  # fmt: skip
_TRACES = ("xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments")
TRY_AGAIN = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 10, "MaxAttempts": 5, "BackoffRate": 2.0}]


class StateMachine(Construct):
    """`arn` is its address. `states` may hold `${NAME}` for each of `values`."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        suffix: str,
        states: Mapping[str, Any],
        values: Mapping[str, Any],
        *statements: Statement,
    ) -> None:
        super().__init__(scope, name)
        group = logs.CfnLogGroup(
            self,
            "Logs",
            log_group_name=Fn.sub(f"/aws/vendedlogs/states/${{AWS::StackName}}-{suffix}"),
            retention_in_days=RETENTION_DAYS,
        )
        # AWS grants the delivery of logs and traces on no resource in particular.
        own = role(
            self,
            "Role",
            ["states.amazonaws.com"],
            allow("Logs", _DELIVERY, "*"),
            allow("Traces", _TRACES, "*"),
            *statements,
        )
        definition = {"StartAt": next(iter(states)), "States": states}
        self.resource = sfn.CfnStateMachine(
            self,
            "Machine",
            state_machine_name=Fn.sub(f"${{AWS::StackName}}-{suffix}"),
            role_arn=own.attr_arn,
            definition_string=Fn.sub(json.dumps(definition), dict(values)),
            logging_configuration={
                "level": "ALL",
                "includeExecutionData": True,
                "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group.attr_arn}}],
            },
            tracing_configuration={"enabled": True},
        )
        self.arn = self.resource.ref


def machine_arn(suffix: str) -> str:
    """Its address, for its own role."""
    return f"arn:{Aws.PARTITION}:states:{Aws.REGION}:{Aws.ACCOUNT_ID}:stateMachine:{Aws.STACK_NAME}-{suffix}"


NOT_STARTED = ["ECS.AmazonECSException", "ECS.ECSException", "ECS.ServerException", "ECS.ThrottlingException"]


def run_task(task: str, following: str, failed: str, again: list[str], **more: Any) -> dict[str, Any]:
    """A state that runs a container to its end. The errors `again` are tried again twice, then `failed` is next."""
    network = {"Subnets": ["${Subnets}"], "SecurityGroups": ["${Group}"], "AssignPublicIp": "ENABLED"}
    return {
        "Type": "Task",
        "Resource": "arn:${AWS::Partition}:states:::ecs:runTask.sync",
        "Parameters": {
            "Cluster": "${Cluster}",
            "TaskDefinition": task,
            "LaunchType": "FARGATE",
            "NetworkConfiguration": {"AwsvpcConfiguration": network},
            **more,
        },
        "ResultPath": None,
        "Retry": [{"ErrorEquals": again, "IntervalSeconds": 60, "MaxAttempts": 2, "BackoffRate": 2.0}],
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": failed}],
        "Next": following,
    }


def tell(subject: str, message: str, following: str) -> dict[str, Any]:
    """A state that publishes; `message` is an intrinsic function or a path."""
    return {
        "Type": "Task",
        "Resource": "arn:${AWS::Partition}:states:::sns:publish",
        "Parameters": {"TopicArn": "${Topic}", "Subject": subject, "Message.$": message},
        "ResultPath": None,
        "Retry": TRY_AGAIN,
        "Next": following,
    }

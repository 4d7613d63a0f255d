"""The finder: a container on a schedule. A state machine runs it, and ends a transfer that runs once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import Aws, CfnCondition, CfnMapping, Fn
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from deploy.parts.common import Parameters, allow, choose, ref, role, when
from deploy.parts.network import Network
from deploy.parts.queue import Queue
from deploy.parts.state_machine import TRY_AGAIN, StateMachine, machine_arn, run_task, tell
from deploy.parts.tasks import Containers
from deploy.parts.topic import Topic
from deploy.parts.workers import GROUP, SERVICE

NAME = "transfer"
START = "start"
POLL_SECONDS = 60
QUIET_ROUNDS = 5  # so many polls in a row have to find nothing: the queue's figures are approximate
MOST_ROUNDS = 1_000  # then a new execution goes on: one may have 25,000 events
MEMORY = {  # GB asked for: (1/1,024 core, MiB) that Fargate has
    "8": ("1024", "8192"), "16": ("2048", "16384"), "32": ("8192", "32768"), "64": ("16384", "65536"),
    "128": ("16384", "122880"), "256": ("16384", "122880"), "384": ("16384", "122880"), "512": ("16384", "122880"),
}  # fmt: skip
_SDK = "arn:${AWS::Partition}:states:::aws-sdk:"


class Finder(Construct):
    """`machine` runs it; `logs` is its log group."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        parameters: Parameters,
        *,
        own: iam.CfnRole,
        containers: Containers,
        cluster: str,
        network: Network,
        queue: Queue,
        topic: Topic,
        settings: Mapping[str, Any],
        net: str,
    ) -> None:
        super().__init__(scope, name)
        sizes = _sizes(scope)
        cpu, memory = (Fn.find_in_map(sizes, ref("finderEc2Memory"), one) for one in ("cpu", "memory"))
        task, self.logs = containers.task("Finder", own, ["find"], settings, cpu=cpu, memory=memory)
        once = _once(scope, parameters)
        by_ec2 = scope.node.find_child("OnEc2")
        values = {
            "Cluster": cluster,
            "Finder": task.ref,
            "Subnets": Fn.join('","', network.subnets),
            "Group": network.group,
            "Queue": queue.url,
            "DeadLetters": queue.dead.ref,
            "Topic": topic.arn,
            "Net": net,
            "Self": machine_arn(NAME),
            "Once": choose(once, "true", "false"),
            "Ec2": choose(by_ec2, "true", "false"),
        }
        here = f"{Aws.REGION}:{Aws.ACCOUNT_ID}"
        services = f"arn:{Aws.PARTITION}:ecs:{here}:service/{cluster}/{Aws.STACK_NAME}-*"
        targets = f"arn:{Aws.PARTITION}:application-autoscaling:{here}:scalable-target/*"
        groups = f"arn:{Aws.PARTITION}:autoscaling:{here}:autoScalingGroup:*:autoScalingGroupName"
        group = f"{groups}/{Aws.STACK_NAME}-Worker-ASG"
        start = f"arn:{Aws.PARTITION}:scheduler:{here}:schedule/default/{Aws.STACK_NAME}-{START}"
        self.machine = StateMachine(
            self,
            "Transfer",
            NAME,
            states(),
            values,
            *containers.running(cluster, ("Finder", own)),
            *topic.publishing,
            allow("Depth", ["sqs:GetQueueAttributes"], queue.arn, queue.dead.attr_arn),
            allow("GoOn", ["states:StartExecution"], machine_arn(NAME)),
            allow("StopServices", ["ecs:UpdateService"], services),
            allow("StopScaling", ["application-autoscaling:RegisterScalableTarget"], targets),
            allow("StopInstances", ["autoscaling:UpdateAutoScalingGroup"], group),
            allow("StartNoMore", ["scheduler:DeleteSchedule"], start),
        )
        self._schedules(scope, parameters)

    def _schedules(self, scope: Construct, parameters: Parameters) -> None:
        starter = role(
            self, "Starter", ["scheduler.amazonaws.com"], allow("Start", ["states:StartExecution"], self.machine.arn)
        )
        text = parameters["ec2CronExpression"]
        has = CfnCondition(scope, "HasSchedule", expression=Fn.condition_not(Fn.condition_equals(text, "")))
        regular = self._schedule("Regular", "schedule", Fn.sub("cron(${ec2CronExpression})"), starter)
        when(regular, has)
        # A rate without a beginning is called for the first time as it is made: the first run is at once.
        self._schedule("Start", START, "rate(365 days)", starter)

    def _schedule(self, name: str, suffix: str, expression: Any, starter: iam.CfnRole) -> scheduler.CfnSchedule:
        return scheduler.CfnSchedule(
            self,
            name,
            name=Fn.sub(f"${{AWS::StackName}}-{suffix}"),
            schedule_expression=expression,
            flexible_time_window={"mode": "OFF"},
            target={"arn": self.machine.arn, "roleArn": starter.attr_arn, "input": "{}"},
        )


def _sizes(scope: Construct) -> str:
    rows = {memory: {"cpu": cpu, "memory": real} for memory, (cpu, real) in MEMORY.items()}
    return str(CfnMapping(scope, "FinderSizes", mapping=rows).logical_id)


def _once(scope: Construct, parameters: Parameters) -> CfnCondition:
    """No schedule, and no events that go on for ever."""
    return CfnCondition(
        scope,
        "RunsOnce",
        expression=Fn.condition_and(
            Fn.condition_equals(parameters["ec2CronExpression"], ""),
            Fn.condition_equals(parameters["srcEvent"], "No"),
        ),
    )


def states() -> dict[str, Any]:
    """The life of a transfer: find; where it runs once, wait for the end, stop what runs, and tell."""
    return {
        "GoesOn?": _choice("$.rounds", {"IsPresent": True}, "Wait", "Begin"),
        "Begin": {
            "Type": "Pass",
            "Result": {"once": "${Once}", "ec2": "${Ec2}", "quiet": 0, "rounds": 0},
            "Next": "Find",
        },
        "Find": run_task("${Finder}", "Once?", "TellOfFailure", ["States.ALL"]),
        "TellOfFailure": tell("dth: the finder failed", "States.JsonToString($.error)", "Failed"),
        "Failed": {"Type": "Fail", "Error": "FinderFailed", "Cause": "Its log group says why"},
        "Once?": _choice("$.once", {"StringEquals": "true"}, "Wait", "Done"),
        **_waiting(),
        **_ending(),
        "Done": {"Type": "Succeed"},
    }


def _waiting() -> dict[str, Any]:
    counts = (
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    )
    empty = {"And": [{"Variable": f"$.queue.Attributes.{one}", "StringEquals": "0"} for one in counts], "Next": "Quiet"}
    kept = {"once.$": "$.once", "ec2.$": "$.ec2"}
    one_more = {"rounds.$": "States.MathAdd($.rounds, 1)"}
    return {
        "Wait": {"Type": "Wait", "Seconds": POLL_SECONDS, "Next": "Depth"},
        "Depth": {
            "Type": "Task",
            "Resource": f"{_SDK}sqs:getQueueAttributes",
            "Parameters": {"QueueUrl": "${Queue}", "AttributeNames": list(counts)},
            "ResultPath": "$.queue",
            "Retry": TRY_AGAIN,
            "Next": "Empty?",
        },
        "Empty?": {"Type": "Choice", "Choices": [empty], "Default": "Busy"},
        "Busy": {"Type": "Pass", "Parameters": {**kept, "quiet": 0, **one_more}, "Next": "Long?"},
        "Quiet": {
            "Type": "Pass",
            "Parameters": {**kept, "quiet.$": "States.MathAdd($.quiet, 1)", **one_more},
            "Next": "Over?",
        },
        "Over?": _choice("$.quiet", {"NumericGreaterThanEquals": QUIET_ROUNDS}, "Ec2?", "Long?"),
        "Long?": _choice("$.rounds", {"NumericGreaterThanEquals": MOST_ROUNDS}, "GoOn", "Wait"),
        "GoOn": {
            "Type": "Task",
            "Resource": "arn:${AWS::Partition}:states:::states:startExecution",
            "Parameters": {"StateMachineArn": "${Self}", "Input": {**kept, "quiet": 0, "rounds": 0}},
            "Retry": TRY_AGAIN,
            "Next": "Done",
        },
    }


def _ending() -> dict[str, Any]:
    service = f"{SERVICE}"
    return {
        "Ec2?": _choice("$.ec2", {"StringEquals": "true"}, "StopInstances", "StopScaling"),
        "StopInstances": _call(
            "autoscaling:updateAutoScalingGroup",
            {"AutoScalingGroupName": GROUP, "MinSize": 0, "DesiredCapacity": 0},
            "StopNet",
        ),
        "StopScaling": _call(
            "applicationautoscaling:registerScalableTarget",
            {
                "ServiceNamespace": "ecs",
                "ResourceId": f"service/${{Cluster}}/{service}",
                "ScalableDimension": "ecs:service:DesiredCount",
                "MinCapacity": 0,
            },
            "StopWorkers",
        ),
        "StopWorkers": _call(
            "ecs:updateService", {"Cluster": "${Cluster}", "Service": service, "DesiredCount": 0}, "StopNet"
        ),
        "StopNet": _call(
            "ecs:updateService", {"Cluster": "${Cluster}", "Service": "${Net}", "DesiredCount": 0}, "StartNoMore"
        ),
        "TellNotStopped": tell(
            "dth: the transfer ended, but machines still run", "States.JsonToString($.error)", "NotStopped"
        ),
        "NotStopped": {"Type": "Fail", "Error": "NotStopped", "Cause": "The message names what still runs"},
        "StartNoMore": {
            **_call("scheduler:deleteSchedule", {"Name": f"${{AWS::StackName}}-{START}"}, "DeadLetters"),
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "DeadLetters"}],
        },
        "DeadLetters": {
            **_call(
                "sqs:getQueueAttributes",
                {"QueueUrl": "${DeadLetters}", "AttributeNames": ["ApproximateNumberOfMessages"]},
                "TellOfEnd",
            ),
            "ResultPath": "$.dead",
        },
        "TellOfEnd": tell(
            "dth: the transfer ended",
            "States.Format('${AWS::StackName}: the queue is empty, the workers have stopped. Dead letters: {}. "
            "Objects that failed are on the dashboard, and dth status names them.', "
            "$.dead.Attributes.ApproximateNumberOfMessages)",
            "Done",
        ),
    }


def _choice(variable: str, test: dict[str, Any], yes: str, no: str) -> dict[str, Any]:
    return {"Type": "Choice", "Choices": [{"Variable": variable, **test, "Next": yes}], "Default": no}


def _call(action: str, parameters: dict[str, Any], following: str) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": _SDK + action,
        "Parameters": parameters,
        "ResultPath": None,
        "Retry": TRY_AGAIN,
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "TellNotStopped"}],
        "Next": following,
    }

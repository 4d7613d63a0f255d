"""Images: once a day, after each change of the stack, and after each push, what differs goes through the queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import CfnCondition, Fn
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from deploy.parts.common import Parameters, allow, choose, ref, role, when
from deploy.parts.ledger import Ledger
from deploy.parts.network import outward
from deploy.parts.permissions import Images, foundation
from deploy.parts.queue import Queue
from deploy.parts.state_machine import NOT_STARTED, StateMachine, run_task, tell
from deploy.parts.tasks import TASKS, Containers
from deploy.parts.topic import Topic
from dth.policy import Role

NAME = "images"
EVERY = "rate(1 day)"
CPU, MEMORY = "512", "1024"


class ImageSync(Construct):
    """`machine` is the state machine, `logs` the log group of the copying."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        parameters: Parameters,
        *,
        queue: Queue,
        ledger: Ledger,
        topic: Topic,
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__(scope, name)
        own = self._role(scope, parameters, queue, ledger, topic)
        settings = dict(settings) | {"DTH_SRC_IMAGE_LIST": self._list(scope, parameters, own)}
        containers = Containers(self, "Containers", parameters)
        told = ["--on-failure", topic.arn]
        size = {"cpu": CPU, "memory": MEMORY}
        plan, _ = containers.task("Plan", own, ["ecr-sync", "--enqueue", *told], settings, **size)
        copy, self.logs = containers.task("Copy", own, ["work", "--until-empty", *told], settings, **size)
        cluster = parameters["ecsClusterName"].value_as_string
        values = {
            "Cluster": cluster,
            "Plan": plan.ref,
            "Copy": copy.ref,
            "Subnets": Fn.join('","', [ref("ecsSubnetA"), ref("ecsSubnetB")]),
            "Group": outward(self, "Group", parameters["ecsVpcId"].value_as_string),
            "Topic": topic.arn,
            "List": ref("srcList"),
        }
        self.machine = StateMachine(
            self,
            "Machine",
            NAME,
            states(),
            values,
            *containers.running(cluster, ("Plan", own), ("Copy", own)),
            *topic.publishing,
        )
        self._starts(scope, parameters)

    def _role(
        self, scope: Construct, parameters: Parameters, queue: Queue, ledger: Ledger, topic: Topic
    ) -> iam.CfnRole:
        """It plans as a finder does, and copies as a worker does."""
        own = role(self, "Role", TASKS, *foundation(Role.WORKER, queue, ledger), *topic.publishing)
        Images(scope, "Rights", parameters, own)
        return own

    def _list(self, scope: Construct, parameters: Parameters, own: iam.CfnRole) -> str:
        """The image list's place: a parameter, because the settings of a container may not be that long."""
        given = Fn.condition_not(Fn.condition_equals(parameters["srcImageList"], ""))
        has = CfnCondition(scope, "HasImageList", expression=given)
        kept = ssm.CfnParameter(
            self,
            "List",
            name=Fn.sub("/dth/${AWS::StackName}/images"),
            type="String",
            value=parameters["srcImageList"].value_as_string,
        )
        when(kept, has)
        arn = "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter/dth/${AWS::StackName}/images"
        own.add_property_override("Policies.1", {"PolicyName": "list", "PolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [allow("List", ["ssm:GetParameter"], Fn.sub(arn))],
        }})  # fmt: skip
        return choose(has, Fn.sub("ssm:/dth/${AWS::StackName}/images"), "")

    def _starts(self, scope: Construct, parameters: Parameters) -> None:
        start = allow("Start", ["states:StartExecution"], self.machine.arn)
        by_schedule = role(self, "Scheduled", ["scheduler.amazonaws.com"], start)
        by_event = role(self, "Told", ["events.amazonaws.com"], start)
        # A rate without a beginning is called for the first time as it is made: the first run is at once.
        scheduler.CfnSchedule(
            self,
            "Daily",
            name=Fn.sub("${AWS::StackName}-daily"),
            schedule_expression=EVERY,
            flexible_time_window={"mode": "OFF"},
            target={"arn": self.machine.arn, "roleArn": by_schedule.attr_arn, "input": "{}"},
        )
        target = {"id": "images", "arn": self.machine.arn, "roleArn": by_event.attr_arn}
        events.CfnRule(
            self,
            "Updated",
            description="The stack has been changed: images are compared at once",
            event_pattern={
                "source": ["aws.cloudformation"],
                "detail-type": ["CloudFormation Stack Status Change"],
                "detail": {"stack-id": [ref("AWS::StackId")], "status-details": {"status": ["UPDATE_COMPLETE"]}},
            },
            targets=[{**target, "input": "{}"}],
        )
        own_registry = Fn.condition_and(
            Fn.condition_equals(parameters["sourceType"], "Amazon_ECR"),
            Fn.condition_equals(parameters["srcCredential"], ""),
        )
        hears = CfnCondition(scope, "HearsPushes", expression=own_registry)
        pushed = events.CfnRule(
            self,
            "Pushed",
            description="An image was pushed in this account and region",
            event_pattern={
                "source": ["aws.ecr"],
                "detail-type": ["ECR Image Action"],
                "detail": {"action-type": ["PUSH"], "result": ["SUCCESS"], "image-tag": [{"anything-but": ""}]},
            },
            targets=[
                {
                    **target,
                    "inputTransformer": {
                        "inputPathsMap": {"repository": "$.detail.repository-name", "tag": "$.detail.image-tag"},
                        "inputTemplate": '{"image": "<repository>:<tag>"}',
                    },
                }
            ],
        )
        when(pushed, hears)


def states() -> dict[str, Any]:
    """Plan, copy, and tell of what failed. One pushed image is compared alone where all images are to be copied."""
    alone = {
        "ContainerOverrides": [
            {
                "Name": "dth",
                "Environment": [
                    {"Name": "DTH_SRC_LIST", "Value": "SELECTED"},
                    {"Name": "DTH_SRC_IMAGE_LIST", "Value.$": "$.image"},
                ],
            }
        ]
    }
    pushed = {"Variable": "$.image", "IsPresent": True}
    every = {"Variable": "$.list", "StringEquals": "ALL"}
    failed = {"Variable": "$.error.Cause", "StringMatches": '*"ExitCode":3*', "Next": "Failed"}
    return {
        "Pushed?": {"Type": "Choice", "Choices": [{**pushed, "Next": "Which?"}], "Default": "Plan"},
        "Which?": {"Type": "Pass", "Result": "${List}", "ResultPath": "$.list", "Next": "All?"},
        "All?": {"Type": "Choice", "Choices": [{**every, "Next": "PlanOne"}], "Default": "Plan"},
        "Plan": run_task("${Plan}", "Copy", "SomePlanned?", NOT_STARTED),
        "PlanOne": run_task("${Plan}", "Copy", "SomePlanned?", NOT_STARTED, Overrides=alone),
        "SomePlanned?": {"Type": "Choice", "Choices": [{**failed, "Next": "Copy"}], "Default": "TellOfFailure"},
        "Copy": run_task("${Copy}", "Done", "Told?", NOT_STARTED),
        "Told?": {"Type": "Choice", "Choices": [failed], "Default": "TellOfFailure"},
        "TellOfFailure": tell("dth: images failed", "States.JsonToString($.error)", "Failed"),
        "Failed": {"Type": "Fail", "Error": "ImagesFailed", "Cause": "A message names them"},
        "Done": {"Type": "Succeed"},
    }

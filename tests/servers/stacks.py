"""Stacks of the real templates on an emulator that enforces IAM, and commands in the deployed roles.

What is changed for the emulator, and nothing else:

- the image id of instances;
- policies that ask for TLS, which it does not speak;
- alarms on sums of metrics, and states that call services of `UNKNOWN`: it knows neither;
- conditions on the namespace of metrics, of which it knows nothing;
- actions of `ANYWHERE`: it does not see which repository they ask for;
- resources of `UNMADE` kinds, which it does not know either;
- how many tasks a service begins with, where a parameter says so: its numbers stay text there;
- actions of batches, which AWS doesn't have and it asks for;
- a state that runs a task never fails there: one after it looks at the exit code, and does what AWS does;
- rules about events of `aws.SERVICE` hear those of `emulated.SERVICE`: nobody but AWS may send its own;
- state machines wait for a second where they wait for a minute;
- a schedule with a rate runs for the first time after the rate: with `at_once` it runs as it is made, as on AWS.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import iam, ministack, templates
from .iam import Guarded

BATCHES = ("sqs:SendMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")
ANYWHERE = ("ecr:DescribeRepositories", "ecr:ListTagsForResource")
UNMADE = ("AWS::ApplicationAutoScaling::ScalableTarget", "AWS::ApplicationAutoScaling::ScalingPolicy")
UNKNOWN = ("autoscaling", "applicationautoscaling", "scheduler")
PATIENCE_SECONDS = 180


def exit_reason(code: int) -> str:
    """Why a task stopped, in the words that the state after it looks for."""
    return f'"ExitCode":{code}'


def for_the_emulator(template: dict[str, Any], *, at_once: bool = False) -> dict[str, Any]:
    """See above."""
    changed: dict[str, Any] = json.loads(json.dumps(template))
    unmade = [name for name, one in changed["Resources"].items() if one["Type"] in UNMADE]
    for name in unmade:
        del changed["Resources"][name]
    for one in changed["Resources"].values():
        properties = one.get("Properties", {})
        _permit(properties)
        if one["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in properties:
            first = properties.pop("Metrics")[1]["MetricStat"]
            properties.update(first["Metric"], Period=first["Period"], Statistic=first["Stat"])
            properties["AlarmActions"] = [each for each in properties["AlarmActions"] if each.get("Ref") not in unmade]
        if one["Type"] == "AWS::StepFunctions::StateMachine":
            text = properties["DefinitionString"]["Fn::Sub"]
            text[0] = _known(text[0])
        if one["Type"] == "AWS::Events::Rule":
            pattern = properties["EventPattern"]
            pattern["source"] = [each.replace("aws.", "emulated.") for each in pattern["source"]]
        if one["Type"] == "AWS::ECS::Service":
            properties["DesiredCount"] = 1
        if one["Type"] == "AWS::EC2::LaunchTemplate":
            properties["LaunchTemplateData"]["ImageId"] = "ami-12345678"
        if one["Type"] == "AWS::Scheduler::Schedule" and at_once and "rate(" in str(properties["ScheduleExpression"]):
            properties["ScheduleExpression"] = "at(2020-01-01T00:00:00)"
    return changed


def _permit(properties: dict[str, Any]) -> None:
    """Policies as the emulator understands them."""
    documents = [properties.get("PolicyDocument"), *(each["PolicyDocument"] for each in properties.get("Policies", []))]
    for document in filter(None, documents):
        document["Statement"] = [each for each in document["Statement"] if each.get("Sid") != "OnlyTLS"]
        found: list[str] = []
        for each in document["Statement"]:
            if "cloudwatch:namespace" in str(each.get("Condition")):
                del each["Condition"]
            actions = each["Action"]
            if isinstance(actions, list):
                actions += [f"{action}Batch" for action in actions if action in BATCHES]
                found += [action for action in actions if action in ANYWHERE]
        if found:
            document["Statement"].append({"Effect": "Allow", "Action": found, "Resource": ["*"]})


def _known(definition: str) -> str:
    """The state machine, without what the emulator cannot call."""
    machine = json.loads(definition)
    for name, state in machine["States"].items():
        if state.get("Resource", "").partition("aws-sdk:")[2].partition(":")[0] in UNKNOWN:
            machine["States"][name] = {"Type": "Pass", "Next": state["Next"]}
    for name, state in list(machine["States"].items()):
        if state["Type"] == "Wait":
            state["Seconds"] = 1
        for again in state.get("Retry", ()):
            again["IntervalSeconds"] = 1
        if state.get("Resource", "").endswith("ecs:runTask.sync"):
            machine["States"] |= _failing(name, state)
    return json.dumps(machine)


def _failing(name: str, state: dict[str, Any]) -> dict[str, Any]:
    """A state that runs a task, and those after it that make an error of an exit code."""
    why = "$.ran.tasks[0].stoppedReason"
    well = {"Variable": why, "StringEquals": exit_reason(0), "Next": state["Next"]}
    error = {"Error": "States.TaskFailed", "Cause.$": why}
    (caught,) = state["Catch"]
    return {
        name: {**state, "ResultPath": "$.ran", "Next": f"{name} ended"},
        f"{name} ended": {"Type": "Choice", "Choices": [well], "Default": f"{name} failed"},
        f"{name} failed": {
            "Type": "Pass",
            "Parameters": error,
            "ResultPath": caught["ResultPath"],
            "Next": caught["Next"],
        },
    }


@dataclass(frozen=True, slots=True)
class Deployed:
    """A stack that is there."""

    guarded: Guarded
    name: str
    outputs: Mapping[str, str]

    def id_of(self, logical: str) -> str:
        """The physical id of a resource."""
        found = self.guarded.root("cloudformation").describe_stack_resources(StackName=self.name)["StackResources"]
        return next(str(one["PhysicalResourceId"]) for one in found if one["LogicalResourceId"] == logical)

    def role(self, logical: str) -> dict[str, str]:
        """The environment of a task or machine in the role of that logical id."""
        return self.keys(self.id_of(logical))

    def keys(self, name: str) -> dict[str, str]:
        """The environment of a task or machine in that role. AWS hands its keys over; here root does, who has to be trusted
        for that."""
        client = self.guarded.root("iam")
        found = client.get_role(RoleName=name)["Role"]
        arn, trust = found["Arn"], found["AssumeRolePolicyDocument"]
        root = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ministack.ACCOUNT}:root"},
            "Action": "sts:AssumeRole",
        }
        if root not in trust["Statement"]:
            document = json.dumps({**trust, "Statement": [*trust["Statement"], root]})
            client.update_assume_role_policy(RoleName=name, PolicyDocument=document)
        keys = self.guarded.root("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["SessionToken"],
            "AWS_REGION": ministack.REGION,
            "AWS_DEFAULT_REGION": ministack.REGION,
            "AWS_ENDPOINT_URL": self.guarded.endpoint,
        }

    def container(self, task: str) -> tuple[list[str], dict[str, str]]:
        """Command and environment of a deployed task definition's container."""
        family = f"{self.name}-{task}"
        found = self.guarded.root("ecs").describe_task_definition(taskDefinition=family)["taskDefinition"]
        (container,) = found["containerDefinitions"]
        return container["command"], {one["name"]: one["value"] for one in container["environment"]}


@contextlib.contextmanager
def account() -> Iterator[Guarded]:
    """An emulator for stacks: its state machines have as much patience with a task as those of AWS."""
    with iam.started(wait_scale=1) as guarded:
        yield guarded


@contextlib.contextmanager
def deployed(
    guarded: Guarded, template: str, name: str, parameters: Mapping[str, str], *, at_once: bool = False
) -> Iterator[Deployed]:
    """A stack of the template, deleted at the end; AssertionError where either does not succeed."""
    s3, cloudformation = guarded.root("s3"), guarded.root("cloudformation")
    s3.create_bucket(Bucket=f"{name}-templates")
    body = json.dumps(for_the_emulator(templates.read(template), at_once=at_once))
    s3.put_object(Bucket=f"{name}-templates", Key="template.json", Body=body)
    cloudformation.create_stack(
        StackName=name,
        TemplateURL=f"{guarded.endpoint}/{name}-templates/template.json",
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    stack = settled(guarded, name)
    assert stack["StackStatus"] == "CREATE_COMPLETE", failures(guarded, name)
    try:
        yield Deployed(guarded, name, {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]})
    finally:
        cloudformation.delete_stack(StackName=name)
        ended = settled(guarded, stack["StackId"])
    assert ended["StackStatus"] == "DELETE_COMPLETE", failures(guarded, stack["StackId"])


def settled(guarded: Guarded, name: str) -> dict[str, Any]:
    """The stack, once nothing happens to it any more."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        (stack,) = guarded.root("cloudformation").describe_stacks(StackName=name)["Stacks"]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            return dict(stack)
        time.sleep(0.2)
    raise AssertionError(f"{name} is still at it: {failures(guarded, name)}")


def failures(guarded: Guarded, name: str) -> list[str]:
    """What its events complain of."""
    events = guarded.root("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    return [
        f"{one['LogicalResourceId']} {one['ResourceStatus']}: {one['ResourceStatusReason']}"
        for one in events
        if one.get("ResourceStatusReason")
    ]

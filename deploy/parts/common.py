"""What every part uses: conditions, texts with references, roles, waivers of findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aws_cdk import CfnCondition, CfnOutput, CfnParameter, CfnResource, CfnRule, CfnRuleAssertion, Fn, Token
from aws_cdk import ICfnRuleConditionExpression as Expression
from aws_cdk import aws_iam as iam
from constructs import Construct

LOG_GROUPS = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:/dth/${AWS::StackName}/"
"""For `Fn.sub`: how the ARNs of the stack's log groups begin."""

Statement = dict[str, Any]
Parameters = Mapping[str, CfnParameter]


def when(resource: CfnResource, condition: CfnCondition | None) -> None:
    """Make the resource only where the condition holds."""
    if condition is not None:
        resource.cfn_options.condition = condition


def outputs(scope: Construct, *rows: tuple[str, str, Any]) -> None:
    """The stack's outputs: name, description, value."""
    for name, description, value in rows:
        CfnOutput(scope, f"Output{name}", description=description, value=value).override_logical_id(name)


def refuse(scope: Construct, name: str, where: Expression, unless: Expression, why: str) -> None:
    """What CloudFormation refuses before it makes anything."""
    assertion = CfnRuleAssertion(assert_=unless, assert_description=why)
    CfnRule(scope, name, rule_condition=where, assertions=[assertion])


def ref(name: str) -> str:
    """`Ref` as a text."""
    return str(Token.as_string({"Ref": name}))


def number(name: str) -> Any:
    """`Ref` as a number."""
    return Token.as_number({"Ref": name})


def choose(condition: CfnCondition, yes: Any, no: Any) -> str:
    """`Fn::If` as a text."""
    return str(Token.as_string(Fn.condition_if(condition.logical_id, yes, no)))


def choose_list(condition: CfnCondition, yes: Any, no: Any) -> list[str]:
    """`Fn::If` as a list."""
    return list(Token.as_list(Fn.condition_if(condition.logical_id, yes, no)))


def allow(sid: str, actions: Iterable[str], *resources: Any, **more: Any) -> Statement:
    """A statement of a policy."""
    return {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": list(resources), **more}


def writes_logs(groups: str) -> Statement:
    """Writing to these log groups (an ARN, which may be a pattern)."""
    return allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], groups)


def document(*statements: Statement) -> dict[str, Any]:
    """A policy of them."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def role(
    scope: Construct, name: str, services: Iterable[str], *statements: Statement, source: bool = True
) -> iam.CfnRole:
    """A role that the services may assume for this account only (`source`), with these statements."""
    here = {"Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}} if source else {}
    trust = {"Effect": "Allow", "Principal": {"Service": list(services)}, "Action": "sts:AssumeRole", **here}
    policies = [iam.CfnRole.PolicyProperty(policy_name="own", policy_document=document(*statements))]
    return iam.CfnRole(
        scope, name, assume_role_policy_document=document(trust), policies=policies if statements else None
    )


def attach(
    scope: Construct,
    name: str,
    to: Iterable[iam.CfnRole],
    statements: Iterable[Statement],
    condition: CfnCondition | None,
) -> None:
    """A policy of these roles that is there only where the condition, if any, holds."""
    made = iam.CfnPolicy(
        scope,
        name,
        policy_name=name,
        policy_document=document(*statements),
        roles=[one.ref for one in to],
    )
    when(made, condition)


def task_settings(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The environment of a container."""
    return [{"name": name, "value": value} for name, value in settings.items()]

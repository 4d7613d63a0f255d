"""Parameters of a template from their data file, with the groups and labels of the console's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aws_cdk import CfnParameter, Stack

_FOLDER = Path(__file__).parent


def declare(stack: Stack, name: str) -> dict[str, CfnParameter]:
    """The parameters of `name`.json, made in the stack, by name."""
    groups: list[dict[str, Any]] = json.loads((_FOLDER / f"{name}.json").read_text())
    made = {one["name"]: _parameter(stack, one) for group in groups for one in group["parameters"]}
    stack.template_options.metadata = {
        "AWS::CloudFormation::Interface": {
            "ParameterGroups": [
                {"Label": {"default": group["group"]}, "Parameters": [one["name"] for one in group["parameters"]]}
                for group in groups
            ],
            "ParameterLabels": {
                one["name"]: {"default": one["label"]} for group in groups for one in group["parameters"]
            },
        }
    }
    return made


def _parameter(stack: Stack, one: dict[str, Any]) -> CfnParameter:
    return CfnParameter(
        stack,
        one["name"],
        type=one.get("type", "String"),
        description=one["description"],
        default=int(one["default"]) if one.get("type") == "Number" else one.get("default"),
        allowed_values=one.get("allowed"),
        allowed_pattern=one.get("pattern"),
        constraint_description=one.get("constraint"),
        min_value=one.get("min"),
    )

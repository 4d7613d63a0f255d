"""Job files: TOML or JSON, in our names or the guide's; CloudFormation parameter files of the original as well."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dth.errors import SettingsError

DEPLOYMENT_ONLY = frozenset({
    "alarmEmail", "desiredCapacity", "ec2CronExpression", "ec2Subnets", "ec2VpcId", "ecsClusterName", "ecsSubnetA",
    "ecsSubnetB", "ecsVpcId", "finderEc2Memory", "maxCapacity", "minCapacity",
})  # fmt: skip
"""The guide's parameters that shape a deployment, not a transfer; a parameter file of the original may hold them."""

_TRUTH = {"true": True, "false": False}


def read_job_file(path: Path) -> dict[str, Any]:
    """Names and raw values as written, except that the guide's `srcInCurrentAccount` and `destInCurrentAccount` have
    become credentials. Raises SettingsError naming the file and what is wrong with it."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise SettingsError(f"cannot read the job file {path}: {reason}") from exc
    fields = _parsed(path, text)
    for side in ("src", "dest"):
        _current_account(path, fields, side)
    for name, value in fields.items():
        if isinstance(value, dict) or value is None:
            raise SettingsError(f"{name} in {path}: a job file holds plain values, no tables and no null")
    return fields


def _parsed(path: Path, text: str) -> dict[str, Any]:
    match path.suffix.lower():
        case ".json":
            try:
                return _pairs(path, json.loads(text, object_pairs_hook=lambda pairs: _once(path, pairs)))
            except ValueError as exc:
                raise SettingsError(f"{path} is no JSON: {exc}") from exc
        case ".toml":
            try:
                return tomllib.loads(text)
            except tomllib.TOMLDecodeError as exc:
                raise SettingsError(f"{path} is no TOML: {exc}") from exc
    raise SettingsError(f"the job file {path} must end in .toml or .json")


def _once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name, value in pairs:
        if name in seen:
            raise SettingsError(f"{path} sets {name} twice")
        seen[name] = value
    return seen


def _pairs(path: Path, value: object) -> dict[str, Any]:
    """An object as it is; CloudFormation's list of `ParameterKey` and `ParameterValue` as one."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list) and all(isinstance(one, Mapping) and "ParameterKey" in one for one in value):
        return _once(path, [(one["ParameterKey"], one.get("ParameterValue", "")) for one in value])
    raise SettingsError(f"{path} must hold one JSON object with settings")


def _current_account(path: Path, fields: dict[str, Any], side: str) -> None:
    """The guide's way of naming credentials: in the current account ambient ones, else a secret, else none at all."""
    flag, secret, ours = f"{side}InCurrentAccount", f"{side}Credentials", f"{side}_credentials"
    written = fields.pop(flag, "")
    if written == "":
        return
    current = written if isinstance(written, bool) else _TRUTH.get(str(written).lower())
    if current is None:
        raise SettingsError(f"{flag} = {written!r} (from {path}) is not allowed: true or false")
    named = fields.get(secret) or fields.get(ours)
    if current and named:
        raise SettingsError(
            f"{flag} = true in {path} means the ambient credentials, but {secret} names a secret: keep one of them"
        )
    if not current and not named:
        fields.pop(ours, None)
        fields[secret] = "anonymous"

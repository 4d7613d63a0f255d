"""Job files: TOML, JSON or YAML, in our names, in the guide's or in those of the original's `config.yaml`.

CloudFormation parameter files of the original are read as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dth.errors import SettingsError

DEPLOYMENT_ONLY = frozenset({
    "alarmEmail", "desiredCapacity", "ec2CronExpression", "ec2Subnets", "ec2VpcId", "ecsClusterName", "ecsSubnetA",
    "ecsSubnetB", "ecsVpcId", "finderEc2Memory", "maxCapacity", "minCapacity",
})  # fmt: skip
"""The guide's parameters that shape a deployment, not a transfer; a parameter file of the original may hold them."""

ORIGINAL = {
    "srcPrefixList": "src_prefix_list", "srcCredential": "src_credentials", "skipCompare": "skip_compare",
    "payerRequest": "src_request_payer", "destCredential": "dest_credentials", "destSSEType": "dest_sse",
    "destSSEKMSKeyId": "dest_sse_kms_key_id", "chunkSize": "part_size", "multipartThreshold": "multipart_threshold",
    "giantFileThreshold": "giant_threshold",
}  # fmt: skip
"""What the original's `config.yaml` calls differently from the guide."""

OPTIONS = "options"
"""The original's table within the file; its entries count as if they stood outside."""

_IN_MEBIBYTES = frozenset({"chunkSize", "multipartThreshold", "giantFileThreshold"})
_MADE_BY_INIT = "dth keeps its state elsewhere: `dth init` makes a queue and a table, named by queue and table"
MEANINGLESS = {
    "jobTableName": _MADE_BY_INIT, "jobQueueName": _MADE_BY_INIT, "singlePartTableName": _MADE_BY_INIT,
    "sfnArn": "large objects need no state machine", "maxKeys": "pages are as long as the store makes them",
    "messageBatchSize": "batches are always filled", **dict.fromkeys(sorted(DEPLOYMENT_ONLY), "it shapes a deployment, not a transfer"),
}  # fmt: skip
"""The original's names that mean nothing to `dth`, and why."""

_TRUTH = {"true": True, "false": False}


def read_job_file(path: Path) -> dict[str, Any]:
    """Names and raw values as written, with three exceptions: the guide's `srcInCurrentAccount` and `destInCurrentAccount`
    have become credentials, the original's `options` stand beside the rest, and its sizes have their unit, MiB.

    Raises SettingsError naming the file and what is wrong with it."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise SettingsError(f"cannot read the job file {path}: {reason}") from exc
    fields = _parsed(path, text)
    if isinstance(options := fields.get(OPTIONS), dict):
        del fields[OPTIONS]
        fields = _once(path, [*fields.items(), *options.items()])
    for side in ("src", "dest"):
        _current_account(path, fields, side)
    for name, value in fields.items():
        if isinstance(value, dict) or value is None:
            raise SettingsError(
                f"{name} in {path}: a job file holds plain values, no null and no tables but the original's {OPTIONS}"
            )
    for name in _IN_MEBIBYTES & fields.keys():
        if str(fields[name]).isdecimal():
            fields[name] = f"{fields[name]}MiB"
    return fields


def _parsed(path: Path, text: str) -> dict[str, Any]:
    match path.suffix.lower():
        case ".json":
            try:
                return _pairs(path, json.loads(text, object_pairs_hook=lambda pairs: _once(path, pairs)))
            except ValueError as exc:
                raise SettingsError(f"{path} is no JSON: {exc}") from exc
        case ".toml":
            import tomllib  # noqa: PLC0415 - for who has such a file

            try:
                return tomllib.loads(text)
            except tomllib.TOMLDecodeError as exc:
                raise SettingsError(f"{path} is no TOML: {exc}") from exc
        case ".yaml" | ".yml":
            return _from_yaml(path, text)
    raise SettingsError(f"the job file {path} must end in .toml, .json, .yaml or .yml")


def _from_yaml(path: Path, text: str) -> dict[str, Any]:
    """One mapping. Scalars stay text, as flags and the environment have them: YAML's own types would read `1e3`, `no` and
    `010` as their writer did not mean them. What is null is not set."""
    import yaml  # noqa: PLC0415 - 15 ms, for a format that few job files have

    def value(node: Any, depth: int) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return None if node.tag == "tag:yaml.org,2002:null" else node.value
        if isinstance(node, yaml.SequenceNode):
            items = [value(one, 1) for one in node.value]
            return [one for one in items if one is not None]
        if depth:
            raise SettingsError(f"{path}, line {node.start_mark.line + 1}: tables within tables mean nothing here")
        return pairs(node, depth + 1)

    def pairs(node: Any, depth: int = 0) -> dict[str, Any]:
        read = [(str(value(name, 1)), value(one, depth)) for name, one in node.value]
        return _once(path, [(name, one) for name, one in read if one is not None])

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:
        raise SettingsError(f"{path} is no YAML: {' '.join(str(exc).split())}") from exc
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise SettingsError(f"{path} must hold one mapping with settings")
    return pairs(root)


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
    flag, ours = f"{side}InCurrentAccount", f"{side}_credentials"
    secret = next(
        (name for name in (f"{side}Credential", f"{side}Credentials") if name in fields), f"{side}Credentials"
    )
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

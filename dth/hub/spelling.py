"""A task's settings in other spellings: a command, a job file, the original template's parameters."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping

from dth.hub import forms
from dth.hub.states import TaskType
from dth.settings import settings_of
from dth.settings.fields import Setting

JOB_FILE = "job.toml"
LINE = 72  # characters that a command may have in one line


def command(kind: TaskType, settings: Mapping[str, str]) -> str:
    """What does the same in a terminal, wherever the credentials that it names are known. What flags cannot say stands in the
    job file. A long one has a line for each flag, as a shell reads it."""
    left = dict(settings)
    if kind is TaskType.ECR:
        verb = "dth ecr-sync"
    else:
        prefixes = [left.get(f"{side}_prefix", "") for side in ("src", "dest")]
        stays = left.pop("strip_src_prefix", "false").lower() != "true" and prefixes[0]
        if stays or any(prefix and not prefix.endswith("/") for prefix in prefixes):  # URLs mean what lies below them
            return f"dth sync --job {JOB_FILE}"
        verb = shlex.join(["dth", "sync", *(_url(left, side) for side in ("src", "dest"))])
    known = settings_of(forms.model_of(kind))
    parts = [verb, *(shlex.join(_flag(known[name], value)) for name, value in sorted(left.items()))]
    line = " ".join(parts)
    return line if len(line) <= LINE else " \\\n  ".join(parts)


def _url(left: dict[str, str], side: str) -> str:
    bucket, prefix = left.pop(f"{side}_bucket", ""), left.pop(f"{side}_prefix", "")
    return f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"


def _flag(one: Setting, value: str) -> Iterator[str]:
    """One setting as flags."""
    if one.kind != "flag":
        yield from (one.flag, value)
    elif value.lower() == "true":
        yield one.flag
    else:
        yield "--" + one.flag.removeprefix("--no-") if one.name.startswith("no_") else f"--no-{one.flag[2:]}"


def job_file(settings: Mapping[str, str]) -> str:
    """A job file, TOML."""
    return "".join(f"{name} = {_quoted(value)}\n" for name, value in sorted(settings.items()))


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def template(kind: TaskType, settings: Mapping[str, str], extras: Mapping[str, str]) -> str:
    """What `aws cloudformation create-stack --parameters` takes."""
    return json.dumps(forms.parameters(kind, settings, extras), indent=2)

"""Settings as forms have them: what there is, and from raw texts to a job that the engine accepts."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dth.errors import SettingsError
from dth.hub.base import Refused, Who
from dth.hub.states import TaskType
from dth.policy import Role, policy
from dth.settings import (
    ImageJob,
    JobBase,
    TransferJob,
    dest_location,
    load_image_settings,
    load_settings,
    settings_of,
    source_location,
)
from dth.settings.catalog import Entry, entries
from dth.text import is_unicode

OURS = frozenset({
    "state", "queue", "table", "report", "overlap", "ledger_records", "metrics", "metrics_open", "metrics_emf", "log",
})  # fmt: skip
"""Settings that the hub decides itself."""
DEPLOYMENT = frozenset({
    "alarmEmail", "desiredCapacity", "ec2CronExpression", "ec2Subnets", "ec2VpcId", "ecsClusterName", "ecsSubnetA",
    "ecsSubnetB", "ecsVpcId", "finderEc2Memory", "maxCapacity", "minCapacity",
})  # fmt: skip
"""Parameters of the original that shape a deployment; kept, and without effect here."""
_CURRENT = {"srcInCurrentAccount": "src_credentials", "destInCurrentAccount": "dest_credentials"}
_FILES = ("from_file", "ca_bundle", "repository_template")
_PROFILES = ("src_profile", "dest_profile")
PLACE = ("type", "endpoint", "region", "bucket", "credentials", "profile")
"""What names a location, of the settings of a side."""
_MAX_VALUE = 65_536  # characters; the longest is an image list


def model_of(kind: TaskType) -> type[JobBase]:
    """The settings model of a type of task."""
    return ImageJob if kind is TaskType.ECR else TransferJob


def panels(kind: TaskType) -> list[dict[str, Any]]:
    """The schema's `SettingPanel`s, from the catalogue of settings."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in entries("images" if kind is TaskType.ECR else "objects"):
        if one.name not in OURS:
            found.setdefault(one.panel, []).append(_shown(one))
    return [{"name": name, "settings": _ordered(settings)} for name, settings in found.items()]


def _ordered(settings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """As they are declared, with a side's profile behind its credentials: both say whose keys are used."""
    found = [one for one in settings if one["name"] not in _PROFILES]
    for profile in (one for one in settings if one["name"] in _PROFILES):
        before = profile["name"].replace("_profile", "_credentials")
        found.insert(next((place for place, one in enumerate(found, 1) if one["name"] == before), 0), profile)
    return found


def _shown(one: Entry) -> dict[str, Any]:
    return {
        "name": one.name,
        "guideName": one.guide,
        "title": one.title,
        "help": one.help,
        "kind": one.kind.upper(),
        "choices": list(one.choices),
        "low": one.low,
        "high": one.high,
        "default": one.default,
        "advanced": one.advanced,
        "showIf": None,
        "unit": one.unit,
        "allowed": one.allowed,
        "flag": one.flag,
    }


def read_settings(kind: TaskType, pairs: Sequence[tuple[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """Settings under our names, and the original's parameters that only a deployment uses. Raises Refused `settings`."""
    known = settings_of(model_of(kind))
    by_guide = {one.guide: one.name for one in known.values() if one.guide}
    settings: dict[str, str] = {}
    extras: dict[str, str] = {}
    current: dict[str, str] = {}
    for name, value in pairs:
        if len(value) > _MAX_VALUE or "\0" in value or not is_unicode(value):
            raise Refused("settings", f"{name} is too long, or holds a character that no setting may hold")
        if name in DEPLOYMENT:
            extras[name] = value
            continue
        if name in _CURRENT:
            current[name] = value
            continue
        ours = by_guide.get(name, name)
        if ours not in known or ours in OURS:
            raise Refused("settings", _unknown(name, ours, [*known, *by_guide]))
        if ours in settings and settings[ours] != value:
            raise Refused("settings", f"{ours} is given twice")
        settings[ours] = value
    for name, value in current.items():
        _current_account(name, value, settings)
    return {name: value for name, value in settings.items() if value != ""}, {**extras, **current}


def kept_extras(
    before: Mapping[str, str], given: Mapping[str, str], settings: Mapping[str, str], *, same_schedule: bool
) -> dict[str, str]:
    """A task's parameters that only a deployment uses, after an edit by a form that does not show them all. What the form
    leaves out stays, unless the edit made it untrue; an empty text takes a parameter away."""
    untrue = set() if same_schedule else {"ec2CronExpression"}
    untrue |= {name for name, ours in _CURRENT.items() if before.get(name, "").lower() == "true" and settings.get(ours)}
    kept = {name: value for name, value in before.items() if name not in untrue}
    return {name: value for name, value in {**kept, **given}.items() if value}


def _unknown(name: str, ours: str, names: Sequence[str]) -> str:
    if ours in OURS:
        return f"{name} cannot be set here: the hub keeps queue, ledger, state and report of its tasks itself"
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    return f"{name} is no setting" + (f"; did you mean {close[0]}?" if close else "")


def _current_account(name: str, value: str, settings: dict[str, str]) -> None:
    """The original's way of naming credentials: in the current account ambient ones, else a secret, else none at all."""
    ours = _CURRENT[name]
    if value.lower() not in {"true", "false"}:
        raise Refused("settings", f"{name} = {value!r} is not allowed: true or false")
    if value.lower() == "true" and settings.get(ours):
        raise Refused("settings", f"{name} = true means the ambient credentials, but {ours} names a secret: keep one")
    if value.lower() == "false" and not settings.get(ours):
        settings[ours] = "anonymous"


def checked(kind: TaskType, settings: Mapping[str, str], who: Who, *, confined: bool = False) -> JobBase:
    """The job that the engine will make of them. Raises Refused `settings` with all problems, a line each."""
    _confine(settings, who, confined=confined)
    origins = dict.fromkeys(settings, "the form")
    try:
        if kind is TaskType.ECR:
            return load_image_settings(dict(settings), {}, None)
        job = load_settings(dict(settings), {}, None, origins=origins)
    except SettingsError as error:
        raise Refused("settings", str(error).replace("(from --", "(--")) from None
    return job


def checked_place(side: str, settings: Mapping[str, str], who: Who, *, confined: bool = False) -> None:
    """The same for one side alone (`source` or `destination`): only its settings, and those of connections, may be given."""
    spelt = {"source": "src", "destination": "dest"}[side]
    _confine(settings, who, confined=confined)
    other = "dest_" if spelt == "src" else "src_"
    given = {name: value for name, value in settings.items() if not name.startswith(other)}
    try:
        load_settings(given, {}, None, origins=dict.fromkeys(given, "the form"), required=(f"{spelt}_bucket",))
    except SettingsError as error:
        raise Refused("settings", str(error)) from None


def policy_of(settings: Mapping[str, str]) -> str:
    """The least IAM policy with which this machine can do what the settings say, to be pasted; "" where nothing is on AWS."""
    try:
        job = load_settings(dict(settings), {}, None, locations_required=False, required=())
    except SettingsError:
        return ""
    document = policy(Role.HUB, job)
    return json.dumps(document, indent=2) if document["Statement"] else ""


def place_of(side: str, settings: Mapping[str, str]) -> tuple[str, ...]:
    """What makes a location one and the same for whoever keeps a list of them: its prefix does not."""
    return tuple(settings.get(f"{side}_{name}", "") for name in PLACE)


def _confine(settings: Mapping[str, str], who: Who, *, confined: bool) -> None:
    """Files and profiles are those of the account that the hub runs as: only who is on this machine may name them."""
    if who.trusted and not confined:
        return
    hint = "sign in on the machine itself, or name objects (s3://...) and secrets instead"
    for name in _FILES:
        value = settings.get(name, "")
        if value and not value.startswith("s3://"):
            raise Refused("confined", f"{name}: files of this machine cannot be named from elsewhere", hint)
    if settings.get("src_image_list", "").lstrip().startswith("@"):
        raise Refused("confined", "src_image_list: files of this machine cannot be named from elsewhere", hint)
    for name in _PROFILES:
        if confined and settings.get(name):
            raise Refused("confined", f"{name}: AWS profiles cannot be named here", hint)


def places(kind: TaskType, settings: Mapping[str, str]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The schema's two `Location`s of a task."""
    if kind is TaskType.ECR:
        return _registry(settings, "src"), _registry(settings, "dest")
    try:
        job = load_settings(dict(settings), {}, None, locations_required=False, required=())
    except SettingsError:
        return None, None
    found = []
    for one in (source_location(job), dest_location(job)):
        credential = one.credentials or (f"profile {one.profile}" if one.profile else None)
        found.append(
            {
                "provider": one.provider or "S3_Compatible",
                "endpoint": one.endpoint or None,
                "region": one.region or None,
                "bucket": one.bucket,
                "prefix": one.prefix,
                "credential": credential,
                "profile": None if one.credentials else one.profile or None,
                "url": one.url(),
            }
        )
    return found[0], found[1]


def _registry(settings: Mapping[str, str], side: str) -> dict[str, Any]:
    registry = settings.get(f"{side}_registry", "")
    account, region = settings.get(f"{side}_account_id", ""), settings.get(f"{side}_region", "")
    prefix = settings.get("dest_repository_prefix", "") if side == "dest" else ""
    named = registry or (
        f"ECR {account} {region}".strip() if account or region or side == "dest" else "public registries"
    )
    return {
        "provider": "Registry" if registry else "Amazon_ECR",
        "endpoint": registry or None,
        "region": region or None,
        "bucket": named,
        "prefix": prefix,
        "credential": settings.get(f"{side}_credentials") or None,
        "profile": None if settings.get(f"{side}_credentials") else settings.get(f"{side}_profile") or None,
        "url": f"{named}/{prefix}".rstrip("/"),
    }


def parameters(kind: TaskType, settings: Mapping[str, str], extras: Mapping[str, str]) -> list[dict[str, str]]:
    """The original's `parameters` of a task: what has a name there."""
    known = settings_of(model_of(kind))
    named = {known[name].guide: value for name, value in settings.items() if name in known and known[name].guide}
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in {**named, **extras}.items()]


def command_line(kind: TaskType, job_file: Path | None) -> str:
    """What does the same in a terminal."""
    verb = "ecr-sync" if kind is TaskType.ECR else "sync"
    return f"dth {verb} --job {shlex.quote(str(job_file))}" if job_file else ""


def job_of(kind: TaskType, settings: Mapping[str, str]) -> JobBase:
    """The job of settings that were checked before."""
    if kind is TaskType.ECR:
        return load_image_settings(dict(settings), {}, None)
    return load_settings(dict(settings), {}, None)

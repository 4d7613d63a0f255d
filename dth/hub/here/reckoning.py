"""What plans and checks add up to, from the events of their processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from dth.hub.here.questions import QUESTIONS
from dth.hub.shapes import pairs, priced

SAMPLES_KEPT = 100
_SIZES = (("0 bytes", 0), ("up to 10 KiB", 10 << 10), ("up to 1 MiB", 1 << 20), ("up to 16 MiB", 16 << 20),
          ("up to 1 GiB", 1 << 30), ("up to 100 GiB", 100 << 30))  # fmt: skip
_LARGEST = "over 100 GiB"
_ACTIONS = {"list": "s3:ListBucket", "get": "s3:GetObject", "put": "s3:PutObject", "multipart": "s3:PutObject",
            "delete": "s3:DeleteObject", "tags": "s3:GetObjectTagging", "put_tags": "s3:PutObjectTagging"}  # fmt: skip


class Reckoning(Protocol):
    """One question's answer so far."""

    error: str

    def take(self, event: Mapping[str, Any]) -> None:
        """Add an event."""
        ...

    def is_good(self, exit_code: int | None) -> bool:
        """Whether a process that ended so has answered."""
        ...

    def fields(self) -> dict[str, Any]:
        """As the schema has it, without id and state."""
        ...

    def to_json(self) -> dict[str, Any]:
        """To be kept."""
        ...

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """The reverse."""
        ...


@dataclass
class PlanReckoning:
    """A dry run."""

    bandwidth: int = 0
    source_listed: int = 0
    dest_listed: int = 0
    copies: int = 0
    bytes: int = 0
    deletes: int = 0
    reasons: dict[str, list[int]] = field(default_factory=dict)
    sizes: dict[str, list[int]] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    estimate: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    error_code: str = ""

    def take(self, event: Mapping[str, Any]) -> None:
        """See `Reckoning`."""
        match event.get("event"):
            case "Planned":
                self._planned(event)
            case "ListingProgress":
                self.source_listed, self.dest_listed = event["source_objects"], event["destination_objects"]
            case "RunSealed":
                self.source_listed = max(self.source_listed, event["compared"])
            case "Notice" if event.get("level") == "warning" and len(self.warnings) < SAMPLES_KEPT:
                self.warnings.append({name: event.get(name) for name in ("code", "text", "values")})
            case "Estimated":
                self.estimate = {name: event.get(name) for name in ("cost", "rate", "seconds", "requests")}
            case "error":
                self.error, self.error_code = event["message"], event["code"]
            case _:
                pass

    def _planned(self, event: Mapping[str, Any]) -> None:
        size = int(event["size"])
        if event["action"] == "delete":
            self.deletes += 1
        elif event["action"] in {"copy", "restore"}:
            self.copies += 1
            self.bytes += size
            _add(self.reasons, event["reason"], size)
            _add(self.sizes, next((name for name, most in _SIZES if size <= most), _LARGEST), size)
        alike = sum(1 for one in self.samples if one["action"] == event["action"])
        if alike < SAMPLES_KEPT // 2:
            self.samples.append({name: event[name] for name in ("action", "key", "dest_key", "size", "reason")})

    def is_good(self, exit_code: int | None) -> bool:
        """See `Reckoning`."""
        return exit_code == 0 and not self.error

    def fields(self) -> dict[str, Any]:
        """See `Reckoning`."""
        samples = [{**one, "destKey": one["dest_key"]} for one in self.samples]
        order = [name for name, _ in _SIZES] + [_LARGEST]
        return {
            "listed": {"source": self.source_listed, "destination": self.dest_listed},
            "copies": self.copies,
            "bytes": self.bytes,
            "deletes": self.deletes,
            "reasons": [_tally(name, *sums) for name, sums in self.reasons.items()],
            "sizes": [_tally(name, *self.sizes[name]) for name in order if name in self.sizes],
            "samples": samples,
            "warnings": [_warning(one) for one in self.warnings],
            "cost": priced(self.estimate["cost"]) if self.estimate.get("cost") else None,
            "requests": [
                {"side": side, "operation": operation, "count": count}
                for side, counts in (self.estimate.get("requests") or {}).items()
                for operation, count in counts.items()
            ],
            "rate": self.bandwidth or self.estimate.get("rate"),
            "secondsAtRate": self.bytes / self.bandwidth if self.bandwidth else self.estimate.get("seconds"),
            "parallelism": None,
            "error": self.error or None,
            "errorCode": self.error_code or None,
        }

    def to_json(self) -> dict[str, Any]:
        """See `Reckoning`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """See `Reckoning`. Fields of other versions are left out."""
        return cls(**{one.name: fields[one.name] for one in dataclasses.fields(cls) if one.name in fields})


@dataclass
class CheckReckoning:
    """A probe. `policy` is what AWS has to allow, "" elsewhere; `place` names what was asked."""

    side: str = "src"
    bucket: str = ""
    policy: str = ""
    place: str = ""
    findings: list[dict[str, Any]] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    error: str = ""

    def take(self, event: Mapping[str, Any]) -> None:
        """See `Reckoning`."""
        match event.get("event"):
            case "Probed":
                name, verdict = event["name"], event["verdict"]
                ok = verdict not in {"denied", "broken"}
                code = event.get("code", "")
                self.findings.append(
                    {"name": name, "verdict": verdict, "detail": event["detail"], "ok": ok, "code": code}
                )
                if verdict == "denied" and name in _ACTIONS and _ACTIONS[name] not in self.denied:
                    self.denied.append(_ACTIONS[name])
            case "error":
                self.error = event["message"]
                told = {"name": "reach", "verdict": "broken", "detail": self.error, "ok": False, "code": event["code"]}
                self.findings.append(told)
            case _:
                pass

    def is_good(self, exit_code: int | None) -> bool:
        """See `Reckoning`. A refusal is an answer, too."""
        return exit_code is not None and (bool(self.findings) or not self.error)

    def fields(self) -> dict[str, Any]:
        """See `Reckoning`."""
        return {
            "findings": [
                {
                    "name": one["name"],
                    "question": QUESTIONS.get(one["name"], one["name"].replace("_", " ")),
                    "answer": one["verdict"],
                    "ok": one["ok"],
                    "hint": one["detail"] or None,
                    "code": one.get("code") or None,
                }
                for one in self.findings
            ],
            "missingPermissions": self.denied,
            "policy": self.policy or (_policy(self.bucket, self.denied) if self.denied else None),
        }

    def to_json(self) -> dict[str, Any]:
        """See `Reckoning`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """See `Reckoning`. Fields of other versions are left out."""
        return cls(**{one.name: fields[one.name] for one in dataclasses.fields(cls) if one.name in fields})


KINDS: dict[str, Any] = {"plan": PlanReckoning, "check": CheckReckoning}


def _add(counts: dict[str, list[int]], name: str, size: int) -> None:
    one = counts.setdefault(name, [0, 0])
    one[0] += 1
    one[1] += size


def _tally(name: str, count: int, size: int) -> dict[str, Any]:
    return {"name": name, "label": name.replace("_", " "), "count": count, "bytes": size}


def _warning(one: Mapping[str, Any]) -> dict[str, Any]:
    title = one["code"].replace("_", " ").capitalize()
    return {
        "level": "WARNING", "code": one["code"], "title": title, "detail": one["text"], "hint": None, "link": None, "count": 1,
        "values": pairs(one.get("values") or {}),
    }  # fmt: skip


def _policy(bucket: str, actions: list[str]) -> str:
    """An IAM policy that allows just these, to be pasted."""
    import json  # noqa: PLC0415

    of_bucket = [action for action in actions if action.endswith("Bucket")]
    of_objects = [action for action in actions if not action.endswith("Bucket")]
    statements = [
        {"Effect": "Allow", "Action": chosen, "Resource": f"arn:aws:s3:::{bucket}{below}"}
        for chosen, below in ((of_bucket, ""), (of_objects, "/*"))
        if chosen
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)

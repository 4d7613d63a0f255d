"""What a setting is: a pydantic field with a title, one sentence of help, its bounds, and where it belongs.

`setting` is the one way to declare one, so that the command line, the environment, job files and the documentation
can all be made from the models.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue
from pydantic.fields import FieldInfo

from dth.settings.units import format_size, parse_size
from dth.settings.urls import parse_endpoint, parse_proxy
from dth.values import value

Scope = Literal["job", "process"]

PANELS = ("Source", "Destination", "Selection", "Compare", "Copy", "Limits", "State and report", "Metrics and logs")
"""The groups of settings, in the order in which help, forms and documentation show them."""


class SizeMark:
    """Marks an int as a size in bytes, for help and errors."""


class SecretMark:
    """Marks a text that may hold a password: errors never repeat it."""


class ListMark:
    """Marks a list that is spelt with commas where it stands in one text."""


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Size = Annotated[int, BeforeValidator(parse_size), SizeMark()]
Endpoint = Annotated[str, AfterValidator(parse_endpoint)]
ProxyUrl = Annotated[str, AfterValidator(parse_proxy), SecretMark()]
TextList = Annotated[tuple[str, ...], BeforeValidator(_split), ListMark()]


def setting(
    default: Any,
    title: str,
    text: str,
    *,
    scope: Scope,
    panel: str,
    guide: str = "",
    allowed: str = "",
    **bounds: Any,
) -> Any:
    """A field of a settings model. `text` is one sentence with its unit; `scope` says whether the ledger keeps it with
    the run (`job`) or it is this process's own; `panel` groups the help; `guide` is the original's name;
    `allowed` says for errors what a pattern means."""
    extra: dict[str, JsonValue] = {"scope": scope, "panel": panel, "guide": guide, "allowed": allowed}
    key = "default_factory" if callable(default) else "default"
    return Field(**{key: default}, title=title, description=text, json_schema_extra=extra, **bounds)


_ALLOWED = {
    "flag": "true or false",
    "list": "a list (with commas between in one text)",
    "time": "a time such as 2026-01-31T12:00:00Z",
    "text": "text",
}


@value
class Setting:
    """One setting as flags, help and documentation need it. `kind` is what a value looks like: `flag`, `size`, `list`, `choice`, `time`,
    `integer`, `number` or `text`."""

    name: str
    title: str
    text: str
    scope: Scope
    panel: str
    guide: str
    kind: str
    choices: tuple[str, ...]
    low: float | None
    high: float | None
    default: object
    rule: str
    secret: bool = False

    @property
    def flag(self) -> str:
        """`--src-bucket`."""
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        """`DTH_SRC_BUCKET`."""
        return "DTH_" + self.name.upper()

    @property
    def allowed(self) -> str:
        """What values it takes, for errors."""
        match self.kind:
            case "choice":
                named = [choice or "''" for choice in self.choices]
                return f"one of {', '.join(named)}"
            case "size":
                return f"a size such as 64MiB, 1GB or 1048576 (bytes){self._bounds(format_size)}"
            case "integer" | "number":
                return f"a {'whole ' if self.kind == 'integer' else ''}number{self._bounds(str)}"
            case _:
                return self.rule or _ALLOWED[self.kind]

    def _bounds(self, show: Callable[[int], str]) -> str:
        low, high = (
            None if bound is None else show(int(bound)) if bound == int(bound) else str(bound)
            for bound in (self.low, self.high)
        )
        if low is not None and high is not None:
            return f" from {low} to {high}"
        return f" of at least {low}" if low is not None else f" of at most {high}" if high is not None else ""


def _kind(info: FieldInfo) -> tuple[str, tuple[str, ...]]:
    annotation: Any = info.annotation
    if get_origin(annotation) in {Union, types.UnionType}:
        annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
    marks = list(info.metadata)
    if get_origin(annotation) is Annotated:
        marks += annotation.__metadata__
        annotation = get_args(annotation)[0]
    if any(isinstance(mark, SizeMark) for mark in marks):
        return "size", ()
    if any(isinstance(mark, ListMark) for mark in marks):
        return "list", ()
    if get_origin(annotation) is Literal:
        return "choice", tuple(str(choice) for choice in get_args(annotation))
    names: Mapping[object, str] = {bool: "flag", datetime: "time", int: "integer", float: "number"}
    return names.get(annotation, "text"), ()


def describe(name: str, info: FieldInfo) -> Setting:
    """The field as a `Setting`."""
    extra: Any = info.json_schema_extra
    kind, choices = _kind(info)
    low = next((mark.ge for mark in info.metadata if hasattr(mark, "ge")), None)
    high = next((mark.le for mark in info.metadata if hasattr(mark, "le")), None)
    return Setting(
        name=name,
        title=info.title or name,
        text=info.description or "",
        scope=extra["scope"],
        panel=extra["panel"],
        guide=extra["guide"],
        kind=kind,
        choices=choices,
        low=low,
        high=high,
        default=info.get_default(call_default_factory=True),
        rule=extra["allowed"],
        secret=any(isinstance(mark, SecretMark) for mark in info.metadata),
    )

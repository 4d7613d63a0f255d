"""The WWW-Authenticate header (RFC 9110, 11.6.1): what a 401 asks for. Pure.

Several challenges may stand in one line or in several, which the transport joins with commas. Each has its own parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

HEADER_LIMIT = 4096
"""Characters of the header that are read. Real ones have some hundreds."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_VALUE = re.compile(r'\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')
_GAP = re.compile(r"[\s,]*")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a 401 asks for. `realm` is the token service's URL, `service` its name for this registry."""

    bearer: bool
    realm: str = ""
    service: str = ""


@dataclass(slots=True)
class _Read:
    """One challenge as it stands in the header."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse_challenge(header: str) -> Challenge | None:
    """The challenge to answer: the first bearer one that names a realm, else basic. None where there is neither."""
    found = _challenges(header[:HEADER_LIMIT])
    for one in found:
        if one.scheme == "bearer" and one.parameters.get("realm"):
            return Challenge(bearer=True, realm=one.parameters["realm"], service=one.parameters.get("service", ""))
    return Challenge(bearer=False) if any(one.scheme == "basic" for one in found) else None


def _challenges(header: str) -> list[_Read]:
    """All challenges up to the first character that belongs to none. A name with `=` after it is a parameter of the challenge
    before it; a name without begins a new one."""
    found: list[_Read] = []
    at = _after_gap(header, 0)
    while (name := _TOKEN.match(header, at)) is not None:
        value = _VALUE.match(header, name.end())
        if value is None:
            found.append(_Read(name[0].lower()))
            at = name.end()
        else:
            quoted, plain = value.groups()
            if found:
                text = _ESCAPED.sub(r"\1", quoted) if quoted is not None else plain
                found[-1].parameters.setdefault(name[0].lower(), text)
            at = value.end()
        at = _after_gap(header, at)
    return found


def _after_gap(header: str, at: int) -> int:
    gap = _GAP.match(header, at)
    return gap.end() if gap else at

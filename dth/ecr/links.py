"""The Link header (RFC 8288): where a registry says that the next page of a list is. Pure."""

from __future__ import annotations

import re

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - a grammar's token
_TARGET = re.compile(r"<([^<>]*)>")
_PARAMETER = re.compile(rf'\s*;\s*(?:({_TOKEN})\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"<>]*)))?)?')
_END = re.compile(r"\s*(?:,|\Z)")
_GAP = re.compile(r"[\s,]*")
_ESCAPED = re.compile(r"\\(.)")


class LinkUnreadable(ValueError):
    """What is wrong with a Link header, as half a sentence."""


def next_reference(header: str) -> str | None:
    """The reference of the link whose relation types name `next`, None where no link's do.

    Raises LinkUnreadable for a header that breaks the grammar and for one that names two next pages: a list whose next
    page nobody can find has not ended.
    """
    found: set[str] = set()
    at = _skip(header, 0)
    while at < len(header):
        reference, parameters, at = _link(header, at)
        if "next" in parameters.get("rel", "").lower().split():
            if "anchor" in parameters:
                raise LinkUnreadable("its next page is that of another document")
            found.add(reference)
        at = _skip(header, at)
    if len(found) > 1:
        raise LinkUnreadable("it names more than one next page")
    return found.pop() if found else None


def _skip(header: str, at: int) -> int:
    gap = _GAP.match(header, at)
    return gap.end() if gap else at


def _link(header: str, at: int) -> tuple[str, dict[str, str], int]:
    """One link from `at` on: its reference, its parameters by lower-case name, and where it ends. Of parameters that are
    given twice the first counts (RFC 8288, 3.3)."""
    target = _TARGET.match(header, at)
    if target is None:
        raise LinkUnreadable("a link does not begin with <")
    parameters: dict[str, str] = {}
    at = target.end()
    while (one := _PARAMETER.match(header, at)) is not None:
        name, quoted, plain = one.groups()
        if name:
            parameters.setdefault(name.lower(), _ESCAPED.sub(r"\1", quoted) if quoted is not None else plain or "")
        at = one.end()
    end = _END.match(header, at)
    if end is None:
        raise LinkUnreadable("a link's parameters cannot be read")
    return target[1].strip(), parameters, end.end()

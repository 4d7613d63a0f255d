"""What attributes add to a judgement on two objects' bytes (`finder.evidence`). Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header, make_header

from dth.finder.evidence import Judgement
from dth.model import Attributes, Tags
from dth.states import Comparison

_DEFAULT_TYPES = frozenset({"", "binary/octet-stream", "application/octet-stream"})
"""What stores say of an object that was written without a type: to them it is the same."""


def attributes_differ(ours: Attributes, theirs: Attributes) -> str:
    """Which content headers and user metadata differ, with both values; "" where none does.

    These are what a copy carries. A type that a store made up counts as none, and so does the coding `aws-chunked`,
    which describes a request and not an object.
    """
    pairs = [
        *_differing(_headers(ours), _headers(theirs), ""),
        *_differing(_read_words(ours.metadata), _read_words(theirs.metadata), "x-amz-meta-"),
    ]
    return ", ".join(_said(*pair) for pair in pairs)


def _said(name: str, first: str, second: str) -> str:
    return f"{name} is {first} at the source, {second} at the destination"


def _differing(ours: Mapping[str, str], theirs: Mapping[str, str], prefix: str) -> list[tuple[str, str, str]]:
    return [
        (prefix + name, _shown(ours.get(name)), _shown(theirs.get(name)))
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]


def _shown(value: str | None) -> str:
    return "absent" if value is None else repr(value)


def _headers(attributes: Attributes) -> dict[str, str]:
    headers = _names_lowered(attributes.headers)
    if headers.get("content-type", "") in _DEFAULT_TYPES:
        headers.pop("content-type", None)
    codings = [one for part in headers.pop("content-encoding", "").split(",") if (one := part.strip())]
    kept = [coding for coding in codings if coding.lower() != "aws-chunked"]
    if kept:
        headers["content-encoding"] = ",".join(kept)
    return headers


def _read_words(metadata: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Metadata by name, encoded words of RFC 2047 read: AWS gives so what others keep as it is."""
    return {name: _word(text) for name, text in _names_lowered(metadata).items()}


def _word(text: str) -> str:
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, ValueError):
        return text


def _names_lowered(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {name.lower(): value for name, value in pairs}


def with_attributes(judgement: Judgement, ours: Attributes, theirs: Attributes) -> Judgement:
    """The judgement, and what the attributes add to it."""
    return _with(judgement, attributes_differ(ours, theirs))


def with_tags(judgement: Judgement, ours: Tags, theirs: Tags) -> Judgement:
    """The judgement, and what the tags add to it."""
    pairs = _differing(dict(ours), dict(theirs), "tag ")
    return _with(judgement, ", ".join(_said(*pair) for pair in pairs))


def _with(judgement: Judgement, found: str) -> Judgement:
    if not found:
        return judgement
    if judgement.comparison.differs:
        text = f"{judgement.detail}; {found}"
        return Judgement(judgement.comparison, text, judgement.verified_by, judgement.offset)
    return Judgement(Comparison.METADATA, found, judgement.verified_by)

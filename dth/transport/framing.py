"""HTTP/1.1 heads as bytes: what is sent is checked, what is received is believed only as far as it is well formed.

Pure. Stricter than RFC 9112 asks for where leniency is how two readers come to disagree about where a message ends: bare
CR or LF, folded headers, repeated Content-Length and unknown transfer codings are refused.
Text is UTF-8 with surrogateescape both ways, so any bytes of a header survive being received and sent again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of a head, or of all trailers. S3's own answers stay below 8 KiB."""
HEADERS_LIMIT: Final = 200

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2

_CONTROLS = bytes(c for c in range(0x20) if c != ord("\t")) + b"\x7f"
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_KNOWN_NAMES_LIMIT = 1024
_known_names: dict[str, str] = {}  # header names as seen -> lower case; saves a regular expression per header
_KNOWN_STATUSES_LIMIT, _KNOWN_STATUS_LENGTH = 64, 64
_known_statuses: dict[str, tuple[int, int]] = {}  # status lines as seen
_status_line = re.compile(r"HTTP/1\.([01]) ([0-9]{3})(?: .*)?", re.DOTALL).fullmatch
_METHODS = frozenset({"GET", "PUT", "POST", "HEAD", "DELETE"})
_SHAPES_KEPT = 512  # user metadata makes new shapes; past this many the cache starts anew
_shapes: dict[tuple[str, ...], str] = {}  # names of a request's headers -> its head, without the values


class Malformed(Exception):
    """What was wrong, as half a sentence; whoever knows the origin makes a ProtocolViolation of it."""


class Head(NamedTuple):
    """An answer's head. `keep_alive` is what it says of the connection, nothing more."""

    status: int
    headers: dict[str, str]
    keep_alive: bool
    minor: int


_new = tuple.__new__  # a named tuple's own way takes twice as long


def _lower_name(name: str) -> str:
    """The lower-case name. Raises Malformed where it is no token (which covers spaces before the colon and folds)."""
    if not _TOKEN.fullmatch(name):
        raise Malformed(f"a header's name is not valid: {name[:40]!r}")
    lower = name.lower()
    if len(_known_names) < _KNOWN_NAMES_LIMIT:
        _known_names[name] = lower
    return lower


def _check_bytes(raw: bytes, lines: int) -> None:
    """Raise Malformed unless `raw`, in which CRLF stands `lines` times, holds no other control character but tabs."""
    if len(raw.translate(None, _CONTROLS)) + 2 * lines == len(raw):
        return
    if raw.count(b"\n") != lines or raw.count(b"\r") != lines:
        raise Malformed("a bare CR or LF")
    raise Malformed("a control character")


def parse_fields(lines: Sequence[str]) -> dict[str, str]:
    """Headers by lower-case name, repeated ones joined. Raises Malformed."""
    if len(lines) > HEADERS_LIMIT:
        raise Malformed(f"more than {HEADERS_LIMIT} headers")
    try:
        pairs = [line.split(": ", 1) for line in lines]
        headers = {_known_names[name]: value.strip(" \t") for name, value in pairs}
    except (KeyError, ValueError):  # a name that was not seen before, or no space behind its colon
        return _parse_fields_singly(lines)
    return headers if len(headers) == len(lines) else _parse_fields_singly(lines)


def _parse_fields_singly(lines: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    known = _known_names.get
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise Malformed(f"a header without a colon: {line[:40]!r}")
        lower = known(name) or _lower_name(name)
        value = value.strip(" \t")
        if lower not in headers:
            headers[lower] = value
        elif lower == "content-length":
            raise Malformed("Content-Length is given more than once")
        else:
            headers[lower] = f"{headers[lower]}, {value}"
    return headers


def end_of_head(partial: bytearray, data: bytes) -> int:
    """Where the body begins in `data` or, where `partial` bytes came before it, in those with `data` behind them. 0: not here
    yet; `partial` then holds all. Raises Malformed where a head is too long."""
    if not partial:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            partial += data
    else:
        scanned = max(0, len(partial) - 3)
        partial += data
        end = partial.find(b"\r\n\r\n", scanned)
    if end > HEAD_LIMIT or (end < 0 and len(partial) > HEAD_LIMIT):
        raise Malformed(f"a head of more than {HEAD_LIMIT} bytes")
    return end + 4 if end >= 0 else 0


def parse_head(raw: bytes) -> Head:
    """The head in `raw`, which ends with its empty line. Raises Malformed."""
    lines = raw.decode("utf-8", "surrogateescape").split("\r\n")
    _check_bytes(raw, len(lines) - 1)
    status, minor = _known_statuses.get(lines[0]) or _status_of(lines[0])
    del lines[-2:], lines[0]
    headers = parse_fields(lines)
    connection = headers.get("connection")
    if connection is None:
        keep_alive = minor == 1
    else:
        tokens = {token.strip(" \t") for token in connection.lower().split(",")}
        keep_alive = "close" not in tokens and (minor == 1 or "keep-alive" in tokens)
    return _new(Head, (status, headers, keep_alive, minor))


def _status_of(line: str) -> tuple[int, int]:
    """The status and the minor version of HTTP. Raises Malformed."""
    match = _status_line(line)
    if match is None:
        raise Malformed(f"not an HTTP/1 status line: {line[:60]!r}")
    status, minor = int(match[2]), int(match[1])
    if status < 100:  # noqa: PLR2004 - the least status there is
        raise Malformed(f"status {status}")
    if len(_known_statuses) < _KNOWN_STATUSES_LIMIT and len(line) <= _KNOWN_STATUS_LENGTH:
        _known_statuses[line] = status, minor
    return status, minor


def body_length(method: str, head: Head) -> int:
    """Bytes of the body that follows, or CHUNKED, or UNTIL_CLOSE (RFC 9112, 6.3). Raises Malformed."""
    headers = head.headers
    coding = headers.get("transfer-encoding")
    declared = headers.get("content-length")
    if coding is not None:
        if declared is not None:
            raise Malformed("both Content-Length and Transfer-Encoding")
        if coding.lower() != "chunked" or head.minor == 0:
            raise Malformed(f"transfer coding {coding[:40]!r} in HTTP/1.{head.minor}")
    length = UNTIL_CLOSE if declared is None else _declared_length(declared)
    if method == "HEAD" or head.status in {204, 304}:
        return 0
    return length if coding is None else CHUNKED


def _declared_length(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):  # noqa: PLR2004 - below 2**63
        raise Malformed(f"Content-Length {text[:40]!r}")
    return int(text)


def request_head(method: str, target: str, names: tuple[str, ...], values: Sequence[str], length: int | None) -> bytes:
    """The request's head, with Content-Length where `length` is one; a header's name and value stand at the same place of
    `names` and `values`. Raises Malformed for what must not be sent."""
    if method not in _METHODS and not _TOKEN.fullmatch(method):
        raise Malformed(f"refused to send method {method!r}")
    if not (target.isascii() and target.isprintable() and target) or " " in target:
        raise Malformed(f"refused to send target {target[:60]!r}")
    fields = (_shapes.get(names) or _new_shape(names)) % tuple(values)
    framing = "" if length is None else f"content-length: {length}\r\n"
    try:
        raw = f"{method} {target} HTTP/1.1\r\n{fields}{framing}\r\n".encode("utf-8", "surrogateescape")
        _check_bytes(raw, len(names) + (2 if length is None else 3))
    except (UnicodeEncodeError, Malformed) as exc:
        raise Malformed(f"refused to send a header with {exc}") from exc
    return raw


def _new_shape(names: tuple[str, ...]) -> str:
    """A template of the headers' lines. Names are checked here, once for all requests of the shape."""
    for name in names:
        if _lower_name(name) in {"content-length", "transfer-encoding"}:
            raise Malformed(f"refused to send a {name} of the caller's: framing is the transport's")
    if len(_shapes) >= _SHAPES_KEPT:
        _shapes.clear()
    shape = "".join([name.replace("%", "%%") + ": %s\r\n" for name in names])
    _shapes[names] = shape
    return shape


def keep_alive_seconds(headers: Mapping[str, str]) -> float | None:
    """How long the peer says that it keeps an idle connection (`Keep-Alive: timeout=5`); None where it doesn't say."""
    text = headers.get("keep-alive")
    if text is None:
        return None
    found = re.search(r"\btimeout=(\d{1,6})\b", text, re.IGNORECASE | re.ASCII)
    return float(found[1]) if found else None

"""The one gate where a registry's refusals become errors of ours: by status and code, never by message text."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from dth.errors import (
    AccessDenied,
    AnswerInvalid,
    BadCredentials,
    DigestRefused,
    NotFound,
    RequestRefused,
    ServerFault,
    StoreError,
    TagConflict,
    Throttled,
)
from dth.text import printable, word

ERROR_LIMIT = 65_536
"""Bytes of an error's body that are read."""

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _TOO_MANY, _FAULT = 401, 403, 404, 409, 429, 500
_TOO_LARGE = 413
_UPLOADS = {"UploadBlob", "FinishUpload"}  # elsewhere it says that a digest belongs where we gave a tag
_TIMEOUTS = {408, 425}
_GZIP_MAGIC, _GZIP_BITS = b"\x1f\x8b", 31  # zlib's window bits for a gzip container
_DIGITS = 10  # of seconds; more are no wait but a mistake
_NEEDS = {
    "pull": "ecr:BatchGetImage, ecr:GetDownloadUrlForLayer and ecr:BatchCheckLayerAvailability, or pull",
    "push": "ecr:InitiateLayerUpload, ecr:UploadLayerPart, ecr:CompleteLayerUpload and ecr:PutImage, or push",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def unpacked(data: bytes, headers: Mapping[str, str], limit: int) -> bytes:
    """The answer's own bytes: we ask for no coding, but some proxies pack all the same. JSON never begins as gzip does, so the
    label alone decides nothing. Raises AnswerInvalid for what cannot be unpacked, or is longer than `limit`."""
    if not data.startswith(_GZIP_MAGIC) or "gzip" not in headers.get("content-encoding", "").lower():
        return data
    unpack = zlib.decompressobj(_GZIP_BITS)
    try:
        found = unpack.decompress(data, limit)
    except zlib.error as exc:
        raise AnswerInvalid("the registry sent as gzip what is none") from exc
    if not unpack.eof:
        raise AnswerInvalid(f"the registry's answer is cut off, or longer than the {limit} bytes that make sense")
    return found


def refusal(
    *, operation: str, what: str, push: bool, status: int, headers: Mapping[str, str], body: bytes, elsewhere: str = ""
) -> StoreError:
    """The error that an answer stands for. `what` is the image or blob, for people; `elsewhere` the host that has answered,
    where the registry has sent us to another than itself."""
    code, message = _said(body)
    kind, text = _kind(status, code, operation)
    said = f" ({code}{': ' if code and message else ''}{message})" if code or message else ""
    hint = ""
    if elsewhere:
        hint = (
            f"; {elsewhere}, to which the registry sent us, has answered so: the registry's credentials never go there"
        )
    elif kind is AccessDenied:
        hint = f"; the credentials lack {_NEEDS['push' if push else 'pull']} on it"
    return kind(
        f"{operation} of {what}: {text}{said}{hint}",
        operation=operation,
        status=status,
        store_code=code,
        retry_after=_retry_after(headers),
    )


def _kind(status: int, code: str, operation: str) -> tuple[type[StoreError], str]:  # noqa: PLR0911 - a table
    if status == _TOO_MANY or code == "TOOMANYREQUESTS":
        return Throttled, "the registry asks to slow down"
    if status == _UNAUTHORIZED:
        return BadCredentials, "the registry does not accept the credentials"
    if status == _FORBIDDEN or code == "DENIED":
        return AccessDenied, "not allowed"
    if code == "DIGEST_INVALID" and operation in _UPLOADS:
        return DigestRefused, "the bytes that arrived have another digest"
    if operation == "PutManifest" and (
        status == _CONFLICT or code in {"TAG_INVALID", "ImageTagAlreadyExistsException"}
    ):
        return TagConflict, "the tag is immutable and holds another image"
    if status == _TOO_LARGE:
        return RequestRefused, "the request is larger than the registry, or a proxy before it, takes"
    if status == _NOT_FOUND:
        return NotFound, "not there"
    if status >= _FAULT or status in _TIMEOUTS:
        return ServerFault, f"the registry failed with status {status}"
    return RequestRefused, f"refused with status {status}"


def _said(body: bytes) -> tuple[str, str]:
    """Code and message of the first error in the body; "" where it holds none."""
    try:
        first = json.loads(body)["errors"][0]
        return word(str(first.get("code", ""))), printable(str(first.get("message", "")), limit=200)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return "", ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else None

"""The one gate where a store's refusals become errors of ours: by status and code, never by message text."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from dth.errors import (
    AccessDenied,
    Archived,
    BadCredentials,
    ConditionConflict,
    DigestRefused,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    NotFound,
    PreconditionFailed,
    RequestRefused,
    ServerFault,
    StoreError,
    Throttled,
    WrongRegion,
)
from dth.stores.permissions import permission_for
from dth.stores.xml import Element, XmlInvalid, parse
from dth.text import printable, word
from dth.values import value

ERROR_LIMIT = 65_536
"""Bytes of an error's body that are read."""


@value
class Question:
    """What was asked, for errors: which side, which operation, of what."""

    side: str
    operation: str
    target: str  # s3://bucket/key
    head: bool = False  # a HEAD's answer has no body, so no code


@value
class Refusal:
    """What the store said. `code`, `message`, `region` and `endpoint` (of a redirect, for people to read) are "" where it did
    not say."""

    status: int
    code: str
    message: str
    region: str
    request_id: str
    retry_after: float | None
    endpoint: str = ""


_region = re.compile(r"[a-z0-9][a-z0-9-]{0,40}").fullmatch  # it becomes part of a host name: nothing else may pass

_CODES: dict[type[StoreError], str] = {
    NoSuchBucket: "NoSuchBucket",
    NoSuchKey: "NoSuchKey NoSuchVersion",
    NoSuchUpload: "NoSuchUpload",
    AccessDenied: "AccessDenied AllAccessDisabled AccountProblem NotSignedUp Forbidden",
    BadCredentials: """InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken InvalidToken TokenRefreshRequired
        InvalidSecurity RequestTimeTooSkewed RequestExpired AuthFailure InvalidClientTokenId Unauthorized
        UnauthorizedAccess""",
    WrongRegion: """PermanentRedirect TemporaryRedirect Redirect AuthorizationHeaderMalformed
        IllegalLocationConstraintException""",
    PreconditionFailed: "PreconditionFailed",
    ConditionConflict: "ConditionalRequestConflict OperationAborted",
    Archived: "InvalidObjectState",
    Throttled: """SlowDown SlowDownRead SlowDownWrite TooManyRequests TooManyRequestsException Throttling
        ThrottlingException RequestLimitExceeded RequestThrottled BandwidthLimitExceeded QpsLimitExceeded ServerBusy
        ServiceUnavailable""",
    ServerFault: """InternalError InternalServerError RequestTimeout IncompleteBody ConcurrentModification
        ServiceFailure XMinioServerNotInitialized""",
    RequestRefused: "NotImplemented",  # a 501 that asking again does not change
    DigestRefused: "BadDigest XAmzContentSHA256Mismatch XAmzContentChecksumMismatch ContentSHA256Mismatch",
}
_BY_CODE = {code: error for error, codes in _CODES.items() for code in codes.split()}

_BY_STATUS: dict[int, type[StoreError]] = {
    301: WrongRegion,
    307: WrongRegion,
    308: WrongRegion,
    401: BadCredentials,
    403: AccessDenied,
    404: NotFound,
    408: ServerFault,
    409: RequestRefused,
    412: PreconditionFailed,
    425: ServerFault,
    429: Throttled,
    503: Throttled,
}


def read_refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """What the answer says, wherever it says it. Never raises: an unreadable body says nothing."""
    said: Element | None = None
    with contextlib.suppress(XmlInvalid):
        said = parse(body) if body.lstrip()[:1] == b"<" else None
    if said is not None and said.name != "Error":
        said = said.child("Error") or said.child("Errors")
    said = said or Element("Error")
    region = headers.get("x-amz-bucket-region") or said.get("Region").strip()
    return Refusal(
        status,
        word(said.get("Code").strip()),
        said.get("Message").strip(),
        region if _region(region) else "",
        printable(headers.get("x-amz-request-id") or said.get("RequestId").strip(), limit=200),
        _seconds(headers.get("retry-after", "")),
        printable(said.get("Endpoint").strip(), limit=200),
    )


def error_of(question: Question, refusal: Refusal) -> StoreError:
    """The error that the refusal stands for: what failed, on what, why, what to do."""
    kind = _kind(question, refusal)
    why = f"{refusal.status} {refusal.code}".strip()
    if refusal.message:
        why += f" ({printable(refusal.message, limit=300)})"
    advice = _advice(kind, question, refusal)
    error = kind(
        f"{question.side}: {question.operation} {question.target}: {why}{advice and f'; {advice}'}",
        operation=question.operation,
        status=refusal.status,
        store_code=refusal.code,
        request_id=refusal.request_id,
        retry_after=refusal.retry_after,
        side=question.side,
    )
    if isinstance(error, WrongRegion):
        error.region = refusal.region
    return error


def _kind(question: Question, refusal: Refusal) -> type[StoreError]:
    if refusal.code in _BY_CODE:
        return _BY_CODE[refusal.code]
    if refusal.status == 404 and question.head:  # noqa: PLR2004 - statuses are their own names
        return NoSuchBucket if question.operation == "HeadBucket" else NoSuchKey
    if refusal.status == 501 and question.head:  # noqa: PLR2004 - it has no body that says NotImplemented
        return RequestRefused
    return _BY_STATUS.get(refusal.status) or (ServerFault if refusal.status >= 500 else RequestRefused)  # noqa: PLR2004


def _advice(kind: type[StoreError], question: Question, refusal: Refusal) -> str:
    if kind is AccessDenied:
        return f"allow these credentials {permission_for(question.operation)}"
    if kind is BadCredentials:
        return "check the access key, secret and session token, and that they belong to this endpoint"
    if kind is WrongRegion:
        return _elsewhere(refusal)
    if kind is NoSuchBucket:
        return "create the bucket or correct its name, region and endpoint"
    if kind is Archived:
        return "restore the object first"
    return ""


def _elsewhere(refusal: Refusal) -> str:
    if refusal.endpoint:
        return f"the store says that the bucket is at {refusal.endpoint}: if you trust that, make it the endpoint"
    named = f"the bucket is in {refusal.region}: " if refusal.region else ""
    return f"{named}set src_region or dest_region" + ("" if refusal.region else ", or the bucket's own endpoint")


def date_of(headers: Mapping[str, str]) -> float | None:
    """The store's clock as its `Date` header has it, in seconds since the epoch; None where it has none."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - for answers about clocks and waiting alone

    try:
        then = parsedate_to_datetime(headers["date"])
        return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _seconds(retry_after: str) -> float | None:
    """RFC 9110: a number of seconds, or a date."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    then = date_of({"date": retry_after})
    return None if then is None else max(0.0, then - datetime.now(UTC).timestamp())

"""Messages that others put into the queue, such as a bucket's notifications, as events of ours. Pure.

| body | becomes |
|---|---|
| S3 notification, one or many records; also with `s3:` before the names, as MinIO and Ceph write them | an event a record |
| `s3:TestEvent`, which S3 sends when notifications are configured | no event |
| EventBridge's `Object Created`, `Object Deleted`, `Object Restore Completed` | an event |
| any of these as the `Message` of an SNS notification | the same |
| OSS event, as Message Service or EventBridge deliver it (see docs/events.md for a forwarder) | an event a record |
| `{"key": ..., "size": ...}`, the guide's own | a creation in whatever bucket the job reads |
| a list of these; records of a Lambda event that hold an SNS or SQS message with any of these | the same, each by itself |
| anything else | MessageInvalid, with the reason |

What cannot be read is set apart record by record: one foreign record beside good ones costs the good ones nothing.

Keys in S3's own records are URL-encoded (a space is a plus sign); those of EventBridge, of OSS and of the guide are not
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html, ev-events.html). Others who write
these formats do it otherwise (Ceph writes S3's records with plain keys), so an event also names the key that it would mean
if its writer did (`other_key`).

An event is a hint: it says which key to look at. What is true is asked of the source. So sizes, ETags and sequencers that make
no sense are left out, and an event of an unknown name means that the key is to be looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from enum import Enum, auto
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

from dth.messages import MessageInvalid
from dth.values import value

_LATEST = 9e10  # seconds: no message's time is later
_NESTED = 8  # envelopes within envelopes; no more than that are opened


class Happened(Enum):
    """What an event says of its key."""

    CREATED = auto()  # written, or restored from an archive
    REMOVED = auto()  # deleted, expired, or hidden by a delete marker
    OTHER = auto()  # nothing that changes what a copy should be: tags, ACLs, transitions


@value
class KeyEvent:
    """Something happened to a key. `bucket` is "" where the message doesn't say; `size` is -1 and `etag` "" where it
    doesn't either. `other_key` is what the key would be if its writer encodes keys the other way, "" where that is the same.
    `sequencer` orders events of one key, "" where there is none (see `later_or_same`); `at` is when it happened, in seconds since the epoch, 0
    where the message does not say so in a way that can be read."""

    happened: Happened
    bucket: str
    key: str
    size: int
    etag: str
    sequencer: str
    other_key: str = ""
    at: float = 0.0


@value
class Heard:
    """What a body says: events, and records that are none, each as a body of its own with the reason."""

    events: list[KeyEvent] = field(default_factory=list)
    strange: list[tuple[str, str]] = field(default_factory=list)


def events_in(body: str) -> Heard:
    """What a body says that is none of our messages. Raises MessageInvalid where nothing in it can be read."""
    heard = Heard()
    try:
        _hear(json.loads(body), heard, _NESTED)
    except MessageInvalid:
        raise
    except (ValueError, RecursionError) as exc:
        raise MessageInvalid(f"not a message of ours, nor an event: no JSON ({type(exc).__name__})") from exc
    if heard.strange and not heard.events:
        raise MessageInvalid(heard.strange[0][1])
    return heard


def sortable(sequencer: str) -> str:
    """A sequencer as text that compares: S3 says to pad the shorter one with zeros on the right."""
    return sequencer.lower().ljust(64, "0")


_NOT_KNOWN = "not a message of ours, nor an event that dth knows"


def _hear(document: Any, heard: Heard, depth: int) -> None:
    """Add what a document says. Raises MessageInvalid for one that is not known at all."""
    if isinstance(document, list) and document:
        for item in document:
            _one(item, heard, partial(_hear, item, heard, depth - 1))
        return
    if not isinstance(document, Mapping) or not depth:
        raise MessageInvalid("not a message of ours, nor an event: no JSON object")
    for name, read in (("Records", _record), ("events", _oss_record)):
        if isinstance(records := document.get(name), list):
            for record in records:
                _one({name: [record]}, heard, partial(read, record, heard, depth))
            return
    if document.get("Event") == "s3:TestEvent":
        return
    if document.get("Type") == "Notification" and "Message" in document:
        _hear(_opened(document["Message"]), heard, depth - 1)
        return
    if event := _single(document):
        _one(document, heard, lambda: heard.events.append(event(document)))
        return
    raise MessageInvalid(_NOT_KNOWN)


def _one(letter: Any, heard: Heard, read: Callable[[], None]) -> None:
    """Read one record; what cannot be read is set apart, as a body that could be sent again."""
    try:
        read()
    except MessageInvalid as exc:
        heard.strange.append((json.dumps(letter), str(exc)))
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as exc:
        reason = f"not a message of ours, and an event that is not as it should be: {exc!r}"
        heard.strange.append((json.dumps(letter), reason))


def _opened(message: Any) -> Any:
    return json.loads(message) if isinstance(message, str) else message


def _record(record: Any, heard: Heard, depth: int) -> None:
    """One of `Records`: S3's own, or an envelope of SNS or SQS as a Lambda function gets them."""
    if isinstance(record.get("Sns"), Mapping):
        _hear(_opened(record["Sns"]["Message"]), heard, depth - 1)
    elif "body" in record:
        _hear(_opened(record["body"]), heard, depth - 1)
    elif "s3" in record:
        heard.events.append(_s3(record))
    else:
        _hear(record, heard, depth - 1)


def _oss_record(record: Any, heard: Heard, _depth: int) -> None:
    heard.events.append(_oss(_text(record["eventName"]), record["oss"], record.get("eventTime")))


def _single(document: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], KeyEvent] | None:
    """How to read a document that is one event."""
    if document.get("source") == "aws.s3":
        return _eventbridge
    if document.get("source") == "acs.oss":
        return lambda document: _oss(_text(document["type"]), document["data"]["oss"], document.get("time"))
    if isinstance(document.get("key"), str) and "kind" not in document:
        return lambda document: KeyEvent(
            Happened.CREATED, "", document["key"], _size(document.get("size")), "", "", _decoded(document["key"])
        )
    return None


def _text(value: Any) -> str:
    """A text that must be there."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is no text")
    return value


def _decoded(key: str) -> str:
    """The key as it is if this one is URL-encoded; "" where that is the same."""
    decoded = unquote_to_bytes(key.replace("+", " ").encode(errors="surrogateescape")).decode(errors="surrogateescape")
    return "" if decoded == key else decoded


def _s3(record: Mapping[str, Any]) -> KeyEvent:
    stored = record["s3"]["object"]
    plain = _text(stored["key"])
    decoded = _decoded(plain)
    return KeyEvent(
        happened=_named(_text(record["eventName"])),
        bucket=_text(record["s3"]["bucket"]["name"]),
        key=decoded or plain,
        size=_size(stored.get("size")),
        etag=str(stored.get("eTag") or "").strip('"'),
        sequencer=_sequencer(stored.get("sequencer")),
        other_key=plain if decoded else "",
        at=_time(record.get("eventTime")),
    )


_CREATED = {"ObjectCreated"}
_REMOVED = {"ObjectRemoved", "LifecycleExpiration"}
_MEANINGLESS = {
    "ObjectTagging", "ObjectAcl", "ObjectRestore", "ObjectAccessed", "ObjectDownloaded", "ObjectReplication", "Replication",
    "LifecycleTransition", "IntelligentTiering", "ReducedRedundancyLostObject", "TestEvent",
}  # fmt: skip


def _named(name: str) -> Happened:
    """By S3's and OSS's names of events: `ObjectCreated:Put`, `s3:ObjectRemoved:Delete`, `oss:ObjectCreated:PutObject`. What
    nobody has heard of is looked at: an event is a hint."""
    words = name.split(":")
    if _REMOVED.intersection(words):
        return Happened.REMOVED
    if words[-2:] == ["ObjectRestore", "Completed"] or _CREATED.intersection(words):
        return Happened.CREATED
    return Happened.OTHER if _MEANINGLESS.intersection(words) else Happened.CREATED


def _eventbridge(document: Mapping[str, Any]) -> KeyEvent:
    names = {
        "Object Created": Happened.CREATED,
        "Object Restore Completed": Happened.CREATED,
        "Object Deleted": Happened.REMOVED,
        "Object ACL Updated": Happened.OTHER,
        "Object Tags Added": Happened.OTHER,
        "Object Tags Deleted": Happened.OTHER,
        "Object Storage Class Changed": Happened.OTHER,
        "Object Access Tier Changed": Happened.OTHER,
        "Object Restore Initiated": Happened.OTHER,
        "Object Restore Expired": Happened.OTHER,
    }
    detail = document["detail"]
    stored = detail["object"]
    return KeyEvent(
        happened=names.get(_text(document["detail-type"]), Happened.CREATED),
        bucket=_text(detail["bucket"]["name"]),
        key=_text(stored["key"]),
        size=_size(stored.get("size")),
        etag=str(stored.get("etag") or "").strip('"'),
        sequencer=_sequencer(stored.get("sequencer")),
        other_key=_decoded(stored["key"]),
        at=_time(document.get("time")),
    )


def _oss(name: str, oss: Mapping[str, Any], at: Any) -> KeyEvent:
    stored = oss["object"]
    return KeyEvent(
        happened=_named(name),
        bucket=_text(oss["bucket"]["name"]),
        key=_text(stored["key"]),
        size=_size(stored.get("size")),
        etag=str(stored.get("eTag") or "").strip('"').lower(),
        sequencer="",
        other_key=_decoded(stored["key"]),
        at=_time(at),
    )


def _time(value: Any) -> float:
    """ISO 8601 as epoch seconds. Nothing depends on it but what is said of delays: 0 for anything else."""
    try:
        at = datetime.fromisoformat(str(value))
        return min(max((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp(), 0.0), _LATEST)
    except (ValueError, OverflowError):
        return 0.0


def _size(value: Any) -> int:
    """-1 for what is none; the guide's messages may hold it as text."""
    try:
        return max(int(value), -1)
    except (TypeError, ValueError):
        return -1


def _sequencer(value: Any) -> str:
    """Empty for what is none."""
    text = str(value or "")
    return text if text.isascii() and text.isalnum() and not set(text.lower()) - set("0123456789abcdef") else ""

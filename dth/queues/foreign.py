"""Messages of others as events of ours. Pure.

| body | becomes |
|---|---|
| S3 notification, one or many records; also with `s3:` before the names, as MinIO and Ceph write them | an event a record |
| `s3:TestEvent`, which S3 sends when notifications are configured | no event |
| EventBridge's `Object Created`, `Object Deleted`, `Object Restore Completed` | an event |
| any of these as the `Message` of an SNS notification | the same |
| OSS event, as Message Service or EventBridge deliver it (see docs/events.md for a forwarder) | an event a record |
| `{"key": ..., "size": ...}`, the guide's own | a creation in whatever bucket the job reads |
| anything else | MessageInvalid, with the reason |

Keys in S3's own records are URL-encoded (a space is a plus sign); those of EventBridge, of OSS and of the guide are not
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html, ev-events.html).
An event is a hint: it says which key to look at. What is true is asked of the source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from urllib.parse import unquote_to_bytes

from dth.messages import MessageInvalid

_NESTED = 3  # an envelope in an envelope in an envelope


class Happened(Enum):
    """What an event says of its key."""

    CREATED = auto()  # written, or restored from an archive
    REMOVED = auto()  # deleted, expired, or hidden by a delete marker
    OTHER = auto()  # nothing that changes what a copy should be: tags, ACLs, transitions


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """Something happened to a key. `bucket` is "" where the message doesn't say; `size` is -1 and `etag` "" where it
    doesn't either. `sequencer` orders events of one key, "" where there is none (see `later_or_same`)."""

    happened: Happened
    bucket: str
    key: str
    size: int
    etag: str
    sequencer: str


def events_in(body: str) -> list[KeyEvent]:
    """The events of a body that is none of our messages; [] where it is known and means nothing. Raises MessageInvalid."""
    try:
        return _events(json.loads(body), _NESTED)
    except (KeyError, TypeError, AttributeError) as exc:
        raise MessageInvalid(f"not a message of ours, and an event that is not as it should be: {exc!r}") from exc
    except (ValueError, RecursionError) as exc:
        if isinstance(exc, MessageInvalid):
            raise
        raise MessageInvalid(f"not a message of ours, nor an event: no JSON ({type(exc).__name__})") from exc


def sortable(sequencer: str) -> str:
    """A sequencer as text that compares: S3 says to pad the shorter one with zeros on the right."""
    return sequencer.lower().ljust(64, "0")


def _events(document: Any, depth: int) -> list[KeyEvent]:  # noqa: PLR0911 - one line a kind
    if not isinstance(document, Mapping) or not depth:
        raise MessageInvalid("not a message of ours, nor an event: no JSON object")
    if isinstance(records := document.get("Records"), list):
        return [_s3(record) for record in records]
    if document.get("Event") == "s3:TestEvent":
        return []
    if document.get("Type") == "Notification" and isinstance(document.get("Message"), str):
        return _events(json.loads(document["Message"]), depth - 1)
    if document.get("source") == "aws.s3":
        return [_eventbridge(document)]
    if isinstance(records := document.get("events"), list):
        return [_oss(str(record["eventName"]), record["oss"]) for record in records]
    if document.get("source") == "acs.oss":
        return [_oss(str(document["type"]), document["data"]["oss"])]
    if isinstance(document.get("key"), str) and "kind" not in document:
        return [KeyEvent(Happened.CREATED, "", document["key"], _size(document.get("size")), "", "")]
    raise MessageInvalid("not a message of ours, nor an event that dth knows")


def _s3(record: Mapping[str, Any]) -> KeyEvent:
    stored = record["s3"]["object"]
    return KeyEvent(
        happened=_named(str(record["eventName"])),
        bucket=str(record["s3"]["bucket"]["name"]),
        key=unquote_to_bytes(str(stored["key"]).replace("+", " ")).decode(errors="surrogateescape"),
        size=_size(stored.get("size")),
        etag=str(stored.get("eTag", "")).strip('"'),
        sequencer=_sequencer(stored.get("sequencer")),
    )


def _named(name: str) -> Happened:
    """By S3's and OSS's names of events: `ObjectCreated:Put`, `s3:ObjectRemoved:Delete`, `oss:ObjectCreated:PutObject`."""
    kind, _, detail = name.removeprefix("s3:").removeprefix("oss:").partition(":")
    if kind == "ObjectCreated" or (kind, detail) == ("ObjectRestore", "Completed"):
        return Happened.CREATED
    return Happened.REMOVED if kind in {"ObjectRemoved", "LifecycleExpiration"} else Happened.OTHER


def _eventbridge(document: Mapping[str, Any]) -> KeyEvent:
    names = {
        "Object Created": Happened.CREATED,
        "Object Restore Completed": Happened.CREATED,
        "Object Deleted": Happened.REMOVED,
    }
    detail = document["detail"]
    stored = detail["object"]
    return KeyEvent(
        happened=names.get(str(document["detail-type"]), Happened.OTHER),
        bucket=str(detail["bucket"]["name"]),
        key=str(stored["key"]),
        size=_size(stored.get("size")),
        etag=str(stored.get("etag", "")).strip('"'),
        sequencer=_sequencer(stored.get("sequencer")),
    )


def _oss(name: str, oss: Mapping[str, Any]) -> KeyEvent:
    stored = oss["object"]
    return KeyEvent(
        happened=_named(name),
        bucket=str(oss["bucket"]["name"]),
        key=str(stored["key"]),
        size=_size(stored.get("size")),
        etag=str(stored.get("eTag", "")).strip('"').lower(),
        sequencer="",
    )


def _size(value: Any) -> int:
    if value is None:
        return -1
    size = int(value)  # the guide's messages may hold it as text
    if size < 0:
        raise ValueError("a size is not negative")
    return size


def _sequencer(value: Any) -> str:
    text = str(value or "")
    int(text or "0", 16)
    return text

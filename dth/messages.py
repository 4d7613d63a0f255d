"""The wire: what travels through a queue, version 1.

Keys travel as ASCII JSON, which survives any bytes (keys that are no UTF-8 hold lone surrogates, see `model.Entry`).
Fields may be added with defaults, and unknown ones are ignored, so that old and new workers share a queue; a breaking
change is a new version, and old versions decode for ever (golden files in tests/unit/golden).

Every number and text has a bound, so that no message can make a worker count, wait or remember without end. `attempt`
counts failures, not deliveries: it belongs to entries; a message's own is their default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from dth.columns import Columns
from dth.errors import DthError
from dth.states import Reason

VERSION = 1
KEY_CHARACTERS = 4096
"""S3's keys have 1,024 bytes. Some stores list longer ones: those are refused by name, with the object's own error."""

_SIZES = 1 << 63  # more would not fit into the ledger's integers
_WORD_CHARACTERS = 4096
_ATTEMPTS = 1000
_ENTRIES = 10_000
_PARTS = 10_000  # S3's most


def _any_text(value: Any) -> str:
    """Text as it is: pydantic's own check would refuse lone surrogates."""
    if not isinstance(value, str):
        raise ValueError("a key must be text")  # noqa: TRY004 - pydantic turns ValueError into its own
    if not 1 <= len(value) <= KEY_CHARACTERS:
        raise ValueError(f"a key has 1 to {KEY_CHARACTERS} characters, this one {len(value)}")
    return value


Key = Annotated[str, PlainValidator(_any_text)]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9#:/_.-]{1,200}$")]
"""Of a job, a run or a message. Ids become parts of other ids, of rows' keys and of lines of text."""
Word = Annotated[str, StringConstraints(max_length=_WORD_CHARACTERS)]
"""What a store calls something: an ETag, a version, an upload, a time."""
Size = Annotated[int, Field(ge=0, lt=_SIZES)]
"""Bytes."""
Attempt = Annotated[int, Field(ge=1, le=_ATTEMPTS)]
Name = Annotated[str, StringConstraints(max_length=1024)]
"""Of a registry or an image."""


class MessageInvalid(DthError):
    """The text is no message of ours; it goes to the dead letters with this reason."""

    code = "message_invalid"


class _Wire(BaseModel):
    model_config = ConfigDict(
        extra="ignore", frozen=True, defer_build=True
    )  # what comes is checked by one for all of them


class ObjectEntry(_Wire):
    """One object to copy: what the finder saw at the source. `attempt` 0 means the message's; `sequencer`
    orders events of one key, `event_time` is when one happened (seconds since the epoch, 0: unknown, or no event), and
    `other_key` is what the key may be instead, where an event's writer may have encoded it."""

    key: Key
    size: Size
    etag: Word = ""
    last_modified: Word = ""
    version_id: Word | None = None
    reason: Reason = Reason.UNCOMPARED
    attempt: Annotated[int, Field(ge=0, le=_ATTEMPTS)] = 0
    sequencer: Word = ""
    other_key: Key | None = None
    event_time: Annotated[float, Field(ge=0, lt=1e11)] = 0.0


class _Envelope(_Wire):
    version: Literal[1] = 1
    job_id: Id
    run_id: Id
    message_id: Id
    attempt: Attempt = 1


class ObjectsMessage(_Envelope):
    """One to many small objects, or one large one."""

    kind: Literal["objects"] = "objects"
    objects: list[ObjectEntry] = Field(min_length=1, max_length=_ENTRIES)


class PartsMessage(_Envelope):
    """A contiguous run of parts `first` up to but not including `stop` of one upload. `object_attempt` and `reason` are those
    of the object."""

    kind: Literal["parts"] = "parts"
    key: Key
    dest_key: Key
    size: Size
    etag: Word
    version_id: Word | None = None
    upload_id: Word
    part_size: Size
    first: int = Field(ge=1, le=_PARTS)
    stop: int = Field(ge=2, le=_PARTS + 1)
    object_attempt: Attempt = 1
    reason: Reason = Reason.UNCOMPARED

    @model_validator(mode="after")
    def _holds_a_part(self) -> PartsMessage:
        if self.first >= self.stop:
            raise ValueError("its last part comes before its first")
        return self


class DeleteMessage(_Envelope):
    """Objects of the destination that the source lacks: keys as the source would call them; size, ETag and time are the
    destination's, as the finder saw them."""

    kind: Literal["delete"] = "delete"
    objects: list[ObjectEntry] = Field(min_length=1, max_length=_ENTRIES)


class ImageMessage(_Envelope):
    """One image: `repository:tag` or `repository@digest` on either side, and the digest that it had when the run was planned
    ("" where nobody could say). `registry` is the source's where the image names its own; "" is the job's."""

    kind: Literal["image"] = "image"
    source: Name
    destination: Name
    digest: Name
    registry: Name = ""
    reason: Reason = Reason.UNCOMPARED


Entries = ObjectsMessage | DeleteMessage
"""Those whose entries end one by one."""

Message = ObjectsMessage | PartsMessage | DeleteMessage | ImageMessage

_plain = re.compile(r"[ !#-\[\]-~]*").fullmatch  # what JSON writes as it is
_REASONS = {reason: f',"reason":"{reason.value}"' for reason in Reason} | {Reason.UNCOMPARED: ""}

_adapter: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def encode(message: Message) -> str:
    """ASCII JSON without spaces; defaults are left out, except what says which message it is."""
    fields = message.model_dump(mode="python", exclude_defaults=True)
    return json.dumps({"kind": message.kind, "version": message.version, **fields}, separators=(",", ":"))


def decode(text: str) -> Message:
    """The message. Raises MessageInvalid, naming what is wrong, for anything else."""
    try:
        return _adapter.validate_python(json.loads(text))
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MessageInvalid(f"not a message of ours: {where or 'message'}: {first['msg']}") from exc
    except (ValueError, RecursionError) as exc:
        raise MessageInvalid(f"not a message of ours: no JSON ({exc.__class__.__name__})") from exc


def encode_entry(key: str, size: int, etag: str, last_modified: str, reason: Reason) -> str:
    """As `encode` writes such an `ObjectEntry`, at a fifth of its price where no text needs an escape. Raises
    ValidationError, as the entry itself would."""
    if (
        _plain(f"{key}{etag}{last_modified}")
        and 0 < len(key) <= KEY_CHARACTERS
        and 0 <= size < _SIZES
        and 0 < len(etag) <= _WORD_CHARACTERS
        and 0 < len(last_modified) <= _WORD_CHARACTERS
    ):
        why = _REASONS[reason]
        return f'{{"key":"{key}","size":{size},"etag":"{etag}","last_modified":"{last_modified}"{why}}}'
    entry = ObjectEntry(key=key, size=size, etag=etag, last_modified=last_modified, reason=reason)
    return json.dumps(entry.model_dump(mode="python", exclude_defaults=True), separators=(",", ":"))


def encode_entries(page: Columns, reason: Reason) -> list[str]:
    """As `encode_entry` writes each of the page's; [] where not all of them are plain enough to be written at once."""
    columns = page.keys, page.etags, page.times
    text = "".join("".join(column) for column in columns)
    if not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text:
        return []
    if not all(min(column) and len(max(column, key=len)) <= _WORD_CHARACTERS for column in columns):
        return []
    sizes = page.sizes
    if min(sizes) < "1":  # of nothing, or written with noughts before it
        sizes = list(map(str, map(int, sizes)))
    if len(max(sizes, key=len)) >= len(str(_SIZES)):
        return []
    end = f'"{_REASONS[reason]}}}'
    rows = zip(page.keys, sizes, page.etags, page.times, strict=True)
    return [
        f'{{"key":"{key}","size":{size},"etag":"{etag}","last_modified":"{time}{end}' for key, size, etag, time in rows
    ]


def encode_whole(kind: str, job_id: str, run_id: str, message_id: str, entries: Sequence[str]) -> str:
    """As `encode` writes a message of these encoded entries at its first attempt."""
    fields = {"kind": kind, "version": VERSION, "job_id": job_id, "run_id": run_id, "message_id": message_id}
    head = json.dumps(fields, separators=(",", ":"))
    return f'{head[:-1]},"objects":[{",".join(entries)}]}}'


def entry_size(entry: ObjectEntry) -> int:
    """Bytes that the entry adds to an encoded message, an upper bound used for packing."""
    key = entry.key
    plain = key.isascii() and key.isprintable() and '"' not in key and "\\" not in key
    return (len(key) + 2 if plain else len(json.dumps(key))) + len(entry.etag) + len(entry.version_id or "") + 160

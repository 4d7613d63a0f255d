"""The messages of a shared upload: one of the whole, which becomes one of each stretch of its parts. Pure.

`run-7` is an object's message. Split, it is followed by `run-7/1`, the whole upload's and the id of what the upload stands
for; that by `run-7/1/parts-1`, `run-7/1/parts-9` and so on. A stretch that failed is followed by `run-7/1/parts-9/1`. Where
the object must be moved again, `run-7/2` follows, an object's message like the first.
"""

from __future__ import annotations

from dth.ledgers.base import UploadRow
from dth.messages import ObjectEntry, ObjectsMessage, PartsMessage
from dth.multipart.sharing import plan_of

_STRETCH = "/parts-"


def whole_message(stands_for: ObjectsMessage, row: UploadRow) -> PartsMessage:
    """All parts of the upload; under the id of the message that the upload stands for."""
    return PartsMessage(
        job_id=stands_for.job_id,
        run_id=stands_for.run_id,
        message_id=stands_for.message_id,
        key=row.source_key,
        dest_key=row.dest_key,
        size=row.generation.size,
        etag=row.generation.etag,
        version_id=row.generation.version_id,
        upload_id=row.upload_id,
        part_size=row.part_size,
        first=1,
        stop=plan_of(row).count + 1,
        object_attempt=stands_for.attempt,
        reason=stands_for.objects[0].reason,
    )


def object_message(parts: PartsMessage) -> ObjectsMessage:
    """The message that their upload stands for."""
    entry = ObjectEntry(
        key=parts.key, size=parts.size, etag=parts.etag, version_id=parts.version_id, reason=parts.reason
    )
    return ObjectsMessage(
        job_id=parts.job_id,
        run_id=parts.run_id,
        message_id=parts.message_id.partition(_STRETCH)[0],
        attempt=parts.object_attempt,
        objects=[entry],
    )


def parts_message(whole: PartsMessage, numbers: range) -> PartsMessage:
    """A stretch of its parts; the same stretch has the same id whoever sends it."""
    update = {
        "message_id": f"{whole.message_id}{_STRETCH}{numbers.start}",
        "first": numbers.start,
        "stop": numbers.stop,
    }
    return whole.model_copy(update=update)


def is_whole(message: PartsMessage) -> bool:
    """Whether it is to be cut into stretches."""
    return _STRETCH not in message.message_id

"""Where a listing says other things of an object than the object's own answer does: sizes before decryption, other ETags."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from dth.messages import ObjectEntry
from dth.model import ObjectHead
from dth.multipart.checksum import is_content_etag, is_md5
from dth.multipart.destination import look
from dth.stores.base import ObjectStore

UNTRUE = "untrue_listing"
"""The code of entries whose listed size or ETag is not the object's, although nobody has written it since."""


def listed_wrongly(entry: ObjectEntry, head: ObjectHead) -> bool:
    """Whether the object is not what was listed, and has not been written since it was. Times to the second: HTTP knows no
    more. A time that cannot be read says nothing, so such an object has changed."""
    there = head.generation
    if (there.size, there.etag) == (entry.size, entry.etag):
        return False
    listed, now = instant(entry.last_modified), instant(head.last_modified)
    return listed is not None and listed == now


async def equal_by_now(dest_key: str, head: ObjectHead, destination: ObjectStore) -> bool:
    """Whether the destination holds what the source's own answer says. By ETags where they are of one kind, else by size and
    time, as the finder compares."""
    seen = await look(destination, dest_key)
    ours = head.generation
    if seen is None or seen.size != ours.size:
        return False
    if seen.etag == ours.etag and is_content_etag(seen.etag, seen.size):
        return True
    if is_md5(seen.etag) and head.md5:
        return False
    written, copied = instant(head.last_modified), instant(seen.last_modified)
    return written is not None and copied is not None and written <= copied


def instant(text: str) -> datetime | None:
    """A time as listings (ISO 8601) or HTTP write it, to the second; None for what is neither."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = read(text)
        except (ValueError, TypeError):
            continue
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).replace(microsecond=0)
    return None

"""What lies at the destination, asked in the way that its policy allows."""

from __future__ import annotations

from dth.errors import AccessDenied, NoSuchBucket, NotFound
from dth.stores.base import ObjectStore, listed_alone
from dth.values import value


@value
class Seen:
    """An object at the destination. `last_modified` is the store's text, to be compared only with its like."""

    etag: str
    size: int
    last_modified: str


async def look(store: ObjectStore, key: str) -> Seen | None:
    """The object at `key`, None where there is none.

    HEAD needs s3:GetObject, which a writer need not have: where it is refused, a listing of this one key answers.
    """
    try:
        head = await store.head(key)
    except NoSuchBucket:
        raise
    except NotFound:
        return None
    except AccessDenied:
        listed = await listed_alone(store, key)
        return Seen(listed.etag, listed.size, listed.last_modified) if listed else None
    return Seen(head.generation.etag, head.generation.size, head.last_modified)

"""Whether a source's listing left objects out: some of what only the destination listed is asked for at the source."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from dth.errors import DthError
from dth.finder.heads import Stores
from dth.finder.plan import Extras
from dth.model import Entry, KeyMapping, ObjectHead

ASKED = 8  # of the first extras, and of the last ones: a listing that ends early leaves out what is last
CLOCK_SECONDS = 900.0  # how far the store's clock may be from ours: S3 refuses signatures beyond this


class Suspects(Extras):
    """Remembers a few extras on their way to `inner`."""

    def __init__(self, inner: Extras) -> None:
        self._inner = inner
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=ASKED)

    async def take(self, after: str, entries: Sequence[Entry]) -> None:
        """See `Extras`."""
        if len(self._first) < ASKED:
            self._first += [entry.key for entry in entries[: ASKED - len(self._first)]]
        self._last += [entry.key for entry in entries[-ASKED:]]
        await self._inner.take(after, entries)

    async def ended(self, after: str) -> None:
        """See `Extras`."""
        await self._inner.ended(after)

    async def list_anew(self) -> None:
        """See `Extras`."""
        self._first.clear()
        self._last.clear()
        await self._inner.list_anew()

    async def proof(self, stores: Stores, mapping: KeyMapping, started: float) -> str:
        """Why the source's listing cannot be relied on, "" where nothing shows that. `started`: when the listing began, in epoch
        seconds; what the source has got since then proves nothing. A few HEADs, and none where there are no extras."""
        cut = len(mapping.dest_listing_prefix)
        keys = [mapping.source_prefix + key[cut:] for key in dict.fromkeys((*self._first, *self._last))]
        heads = await asyncio.gather(*(_asked(stores, key) for key in keys))
        held = [
            key for key, head in zip(keys, heads, strict=True) if head and _was_there(head, started - CLOCK_SECONDS)
        ]
        if not held:
            return ""
        return (
            f"the source holds {held[0]!r}, which its listing left out, and has held it since before the run began "
            f"({len(held)} of {len(keys)} objects that only the destination lists are like that): the listing cannot be trusted, "
            "so what it left out is not copied, and nothing is deleted"
        )


async def _asked(stores: Stores, key: str) -> ObjectHead | None:
    try:
        return await stores.source.head(key)
    except DthError:
        return None  # absent, or nobody knows


def _was_there(head: ObjectHead, before: float) -> bool:
    """Whether it was written before then. A time that cannot be read is no excuse."""
    try:
        when = parsedate_to_datetime(head.last_modified)
    except (TypeError, ValueError):
        return True
    return (when if when.tzinfo else when.replace(tzinfo=UTC)) < datetime.fromtimestamp(before, UTC)

"""A key that was listed a moment ago, and that its store now says it does not have."""

from __future__ import annotations

import re

from dth.errors import ListedButAbsent
from dth.stores.base import Lister

GONE = "gone"
"""The code of entries that were skipped because the object was deleted since it was listed."""

_PAGES = 5  # looked at; more of them would cost more than the answer is worth
_plain = re.compile(r"[A-Za-z0-9/._-]*").match


async def assert_gone(store: Lister, key: str, where: str) -> None:
    """Raises ListedButAbsent where the store still lists the key. Then the listing shows another key than the store has: XML
    cannot carry every character, and some stores replace characters, or write keys encoded without saying so.

    One request, for a key that begins with plain characters: it lists what begins as the key does up to the first character
    that a listing may have changed.
    """
    begins = _plain(key)
    pages = 0
    async for page in store.pages(begins[0] if begins else ""):
        if any(entry.key == key for entry in page):
            raise ListedButAbsent(
                f"the {where} lists {key!r} and then says that there is no such object: its listing cannot carry this key as "
                "it is; rename the object, or set the kind of store (src_type, dest_type)"
            )
        pages += 1
        if pages >= _PAGES or (store.capabilities.ordered and page[-1].key > key):
            return

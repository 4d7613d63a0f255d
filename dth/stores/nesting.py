"""Keys that must not be written at the same moment, on stores that keep keys as paths."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager


class Nesting:
    """Lets no key be written while one above or below it is: `a` waits for `a/b`, and `a/b` for `a`.

    SeaweedFS 4.48 makes a folder `a` for `a/b`. Where an object `a` is written at that very moment the folder replaces it, and
    both writes have answered 200; one after the other, both stay. This orders the writes of one process; the finder sends
    neighbours in one message, so they seldom meet in two.
    """

    def __init__(self) -> None:
        self._keys: Counter[str] = Counter()
        self._folders: Counter[str] = Counter()
        self._ended = asyncio.Condition()

    @asynccontextmanager
    async def writing(self, key: str) -> AsyncIterator[None]:
        """Hold the key while the block runs."""
        folders = tuple(_above(key))
        if self._blocked(key, folders):
            async with self._ended:
                await self._ended.wait_for(lambda: not self._blocked(key, folders))
        self._keys[key] += 1
        self._folders.update(folders)
        try:
            yield
        finally:
            self._keys -= Counter((key,))
            self._folders -= Counter(folders)
            async with self._ended:
                self._ended.notify_all()

    def _blocked(self, key: str, folders: tuple[str, ...]) -> bool:
        return key in self._folders or any(folder in self._keys for folder in folders)


def _above(key: str) -> Iterator[str]:
    end = key.find("/")
    while end > 0:
        yield key[:end]
        end = key.find("/", end + 1)

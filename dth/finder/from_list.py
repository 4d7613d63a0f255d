"""A side as far as a list names it: a lister whose keys are those of the list, in order, each once.

The list is sorted on disk, so that nested and repeated lines fall together: a line below a prefix that was just taken adds
nothing. Prefixes are listed one after the other; keys of which only the name is known are asked for by HEAD, some at a
time; what an inventory says of a key is believed (a copy is pinned to it, and plans again where it is out of date).
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

from dth.errors import AccessDenied, NoSuchBucket, NotFound
from dth.finder.list_formats import UNKNOWN, batches
from dth.finder.listing import closing
from dth.finder.sort import ExternalSort
from dth.model import Entry
from dth.stores.base import Capabilities, ObjectStore, listed_alone

HEADS = 32  # keys that are asked for together
_BATCH = 1000


class KeyList:
    """The lines of a list, sorted, each once; `close` frees the disk. `left_out` lines do not begin with the prefix."""

    def __init__(self, *, prefixes: bool, prefix: str, sort_memory: int, directory: str) -> None:
        self._prefixes = prefixes
        self._prefix = prefix
        self._sort = ExternalSort(sort_memory, directory, lambda _, __: None)
        self.complete = True
        self.left_out = 0

    async def read(self, entries: Iterator[Entry]) -> None:
        """Take all of them, a batch at a time in a thread."""
        waiting = batches(entries, _BATCH)
        while batch := await asyncio.to_thread(next, waiting, None):
            kept = [entry for entry in batch if entry.key.startswith(self._prefix)]
            self.left_out += len(batch) - len(kept)
            self.complete = self.complete and all(entry.size != UNKNOWN for entry in kept)
            await self._sort.add(kept)
        await self._sort.finish()

    def is_prefix(self, entry: Entry) -> bool:
        """Whether the line stands for all keys that begin with it: any line of a list of prefixes; of a list of keys those
        that end in `/`, where the size does not say that it is an object."""
        return entry.size == UNKNOWN and (self._prefixes or entry.key.endswith("/"))

    async def lines(self) -> AsyncIterator[list[Entry]]:
        """Without those that a prefix before them covers."""
        last: str | None = None
        async for page in self._sort.pages():
            lines = []
            for entry in page:
                if last is not None and entry.key.startswith(last):
                    continue
                if self.is_prefix(entry):
                    last = entry.key
                lines.append(entry)
            if lines:
                yield lines

    def close(self) -> None:
        """Free the disk. Idempotent."""
        self._sort.close()


class ListedSide:
    """What the list names of one store. `cut` characters of a line are replaced by `put`: "" and 0 at the source.
    `asks_all`: the list's own sizes are not this store's."""

    def __init__(self, store: ObjectStore, keys: KeyList, *, cut: int, put: str, asks_all: bool) -> None:
        self._store = store
        self._keys = keys
        self._cut = cut
        self._put = put
        self._asks_all = asks_all

    @property
    def capabilities(self) -> Capabilities:
        """The store's; but there is one range only."""
        return dataclasses.replace(self._store.capabilities, start_after=False)

    async def pages(self, prefix: str, *, after: str = "", until: str = "") -> AsyncIterator[Sequence[Entry]]:
        """See `Lister`. The list's lines begin with `prefix`, all of them."""
        del prefix, after, until  # one range: everything
        async for lines in self._keys.lines():
            waiting: list[Entry] = []
            for line in lines:
                here = line._replace(key=self._put + line.key[self._cut :])
                if not self._keys.is_prefix(line):
                    waiting.append(here)
                    continue
                if page := await self._known(waiting):
                    yield page
                waiting = []
                async with closing(self._store.pages(here.key)) as listed:
                    async for found in listed:
                        yield found
            if page := await self._known(waiting):
                yield page

    async def _known(self, named: list[Entry]) -> list[Entry]:
        """Those that are there, as the store describes them."""
        slots = asyncio.Semaphore(HEADS)

        async def ask(entry: Entry) -> Entry | None:
            if entry.size != UNKNOWN and not self._asks_all:
                return entry
            async with slots:
                try:
                    head = await self._store.head(entry.key)
                except NoSuchBucket:
                    raise
                except NotFound:
                    return None
                except AccessDenied:  # whoever copies it finds out what may be done with it, and names it
                    return await listed_alone(self._store, entry.key)
            said = head.generation
            return Entry(entry.key, said.size, said.etag, _as_listed(head.last_modified), head.storage_class)

        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(ask(entry)) for entry in named]
        return [entry for task in asked if (entry := task.result())]


def _as_listed(time: str) -> str:
    """A HEAD's date as listings write it; as it is where it cannot be read."""
    try:
        return parsedate_to_datetime(time).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    except (ValueError, OverflowError):  # the latter: a year that no calendar has once its zone is taken off
        return time

"""One side's objects of one key range, in code point order, whatever the store's order is.

A store's word (`Capabilities.ordered`) is not enough: an order guard watches every page. Keys must rise strictly, within
pages and from page to page; a key that comes twice is disorder too. Then `Disorder` is raised in place of that page, and
whoever reads starts again: from then on the side goes through the sort on disk, from the beginning of its listing.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from dth.columns import between, is_rising, keys_of
from dth.errors import DthError, ListingBroken
from dth.events import Emit, Notice, SortProgress
from dth.finder.ranges import EVERYTHING as EVERYTHING  # noqa: PLC0414 - for readers of one whole side
from dth.finder.ranges import KeyRange
from dth.finder.sort import ExternalSort
from dth.model import Entry
from dth.states import Side
from dth.stores.base import Lister

PREFETCH_PAGES = 2
"""Pages of one side that may wait for the other."""

Fetched = Callable[[str, str, int], None]
"""Told of each page of an ordered listing as it arrives, before it is handed out: its first and its last key within the
range, and how many keys the page had before any were cut off."""


class Disorder(DthError):
    """A listing is not in order, or does not begin where it was told to. Not a failure: read everything again, in one
    range; what is unordered comes sorted then."""

    code = "disorder"

    def __init__(self, text: str, unordered: Side | None = None) -> None:
        super().__init__(text)
        self.unordered = unordered


class Listing:
    """One side of one range. `pages` may be read again, one reader at a time; `close` when done.

    `ordered` is the store's word until the guard sees otherwise. With `fetched` the range is one of several: it may be
    shortened while it is read, and a store that begins before it raises Disorder, because each range would cost as much as
    all of them.
    """

    def __init__(
        self,
        lister: Lister,
        side: Side,
        prefix: str,
        bounds: KeyRange,
        sort_memory: int,
        sort_directory: str,
        emit: Emit,
        fetched: Fetched | None = None,
    ) -> None:
        self._lister = lister
        self._side = side
        self._prefix = prefix
        self._bounds = bounds
        self._sort_memory = sort_memory
        self._sort_directory = sort_directory
        self._emit = emit
        self._fetched = fetched
        self._sorted: ExternalSort | None = None
        self.ordered = lister.capabilities.ordered

    async def pages(self) -> AsyncIterator[Sequence[Entry]]:
        """Pages with strictly rising keys, none empty, all within prefix and range. Raises Disorder where the store's
        pages turn out to be in another order: what came before was rising, but keys may be missing in between."""
        if self.ordered:
            pages = self._guarded()
        else:
            if self._sorted is None:
                self._sorted = await self._sort()
            pages = self._sorted.pages()
        async with closing(pages):
            async for page in pages:
                yield page

    def shorten(self, until: str) -> None:
        """End the range at `until`, which lies beyond everything that was fetched: from now on no later key comes."""
        self._bounds = KeyRange(self._bounds.after, until)

    def close(self) -> None:
        """Free what the sort holds. Idempotent."""
        if self._sorted:
            self._sorted.close()
            self._sorted = None

    async def _guarded(self) -> AsyncIterator[Sequence[Entry]]:
        after = self._bounds.after
        last: str | None = None
        async with closing(self._lister.pages(self._prefix, after=after, until=self._bounds.until)) as pages:
            async for listed in pages:
                if not listed:
                    continue
                keys = keys_of(listed)
                if (last is not None and keys[0] <= last) or not is_rising(listed, keys):
                    self._disordered(keys[0])
                last = keys[-1]
                self._belong([keys[0], last])  # all others lie between these two, so they start as they do
                page = self._within(listed, keys)
                if page:
                    if self._fetched:
                        self._fetched(page[0].key, page[-1].key, len(listed))
                    yield page
                until = self._bounds.until  # as it is now
                if until and last >= until:
                    return

    def _within(self, page: Sequence[Entry], keys: list[str]) -> Sequence[Entry]:
        """What of the page is in the range as it is now."""
        after, until = self._bounds
        start, stop = 0, len(keys)
        if after and keys[0] <= after:  # start-after was not honoured
            if self._fetched:
                raise Disorder(f"the {self._side} listed {keys[0]!r} where only keys after {after!r} were asked for")
            start = bisect_right(keys, after)
        if until and keys[-1] > until:
            stop = bisect_right(keys, until)
        return page if stop - start == len(keys) else page[start:stop]

    async def _sort(self) -> ExternalSort:
        """List everything under the prefix, without bounds: what start-after and an early end mean in a listing without
        order, nobody knows. The range is cut out here."""
        after, until = self._bounds

        def progress(objects: int, spilled: int) -> None:
            self._emit(SortProgress(self._side, objects, spilled))

        entries = ExternalSort(self._sort_memory, self._sort_directory, progress)
        try:
            async with closing(self._lister.pages(self._prefix)) as pages:
                async for page in pages:
                    self._belong(keys_of(page))
                    if after or until:
                        page = between(page, after, until)  # noqa: PLW2901
                    await entries.add(page)
            await entries.finish()
        except BaseException:
            entries.close()
            raise
        return entries

    def _belong(self, keys: Sequence[str]) -> None:
        if self._prefix and not all(key.startswith(self._prefix) for key in keys):
            stray = next(key for key in keys if not key.startswith(self._prefix))
            raise ListingBroken(
                f"the {self._side} listed {stray!r}, which does not start with {self._prefix!r}, the prefix asked for",
                operation="ListObjects",
            )

    def _disordered(self, key: str) -> None:
        self.ordered = False
        self._emit(
            Notice(
                "info",
                "unordered_listing",
                f"the {self._side} does not list its keys in byte order (seen near {key!r}): its listing is sorted on disk",
            )
        )
        raise Disorder(f"the {self._side}'s listing is not in order near {key!r}", self._side)


@asynccontextmanager
async def closing(pages: AsyncIterator[Sequence[Entry]]) -> AsyncIterator[AsyncIterator[Sequence[Entry]]]:
    """`contextlib.aclosing` for iterators that need not be generators: ends a listing whose reader stops early."""
    try:
        yield pages
    finally:
        close = getattr(pages, "aclose", None)
        if close:
            await close()


class Feed:
    """Pages on their way from a task that lists to one that joins: at most `PREFETCH_PAGES` wait.

    An error of the listing arrives in its place, after the pages before it, so that the joining side stops at a point that
    it knows, never in the middle of sending.
    """

    def __init__(self) -> None:
        self._pages: asyncio.Queue[Sequence[Entry] | Exception] = asyncio.Queue(PREFETCH_PAGES)
        self._ended = False
        self._broken: Exception | None = None

    async def fill(self, pages: AsyncIterator[Sequence[Entry]], ended: Callable[[], None] | None = None) -> None:
        """Read all pages. Ends without an error: that is for `next_page`. `ended` is called as soon as all are read."""
        try:
            async with closing(pages):
                async for page in pages:
                    await self._pages.put(page)
        except Exception as error:  # noqa: BLE001 - carried over and raised by next_page
            await self._pages.put(error)
        else:
            if ended:
                ended()
            await self._pages.put(())

    def break_off(self, error: Exception) -> None:
        """Raise this at the next `next_page`, and at the one that is waiting."""
        self._broken = error
        while not self._pages.empty():
            self._pages.get_nowait()
        self._pages.put_nowait(error)

    async def next_page(self) -> Sequence[Entry]:
        """The next page; empty at the end, and for ever after. Raises what the listing raised."""
        if self._broken:
            raise self._broken
        if self._ended:
            return ()
        page = await self._pages.get()
        if isinstance(page, Exception):
            raise page
        self._ended = not page
        return page

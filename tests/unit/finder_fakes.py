"""Listers whose pages a test chooses, and trees of keys that trap those who compare them wrongly."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from hypothesis import strategies as st

from dth.events import Event
from dth.finder.compare import CompareMode
from dth.finder.run import FinderSettings
from dth.model import Entry, KeyMapping
from dth.stores.base import Capabilities, KeyRules

CAPABILITIES = Capabilities(
    provider="fake",
    ordered=True,
    start_after=True,
    md5_etag=True,
    multipart_etag=True,
    checksums=(),
    needs_payload_hash=False,
    conditional_put=True,
    server_side_copy=True,
    part_min=5 << 20,
    part_max=5 << 30,
    parts_max=10_000,
    put_max=5 << 30,
    object_max=5 << 40,
    equal_parts=False,
    key_rules=KeyRules(),
)

# Around '/': '-', '.', '0' are its neighbours; U+FFFD sorts before U+1F600 in UTF-8 and after it in UTF-16; a lone surrogate.
ALPHABET = "ab/-.0 ~é\ufffd\U0001f600\udc80\x01"
keys = st.text(ALPHABET, min_size=1, max_size=6)


def entry(key: str, size: int = 1, etag: str = "", modified: str = "2024-05-01T12:00:00.000Z", cls: str = "") -> Entry:
    return Entry(key, size, etag, modified, cls)


def paged(entries: Sequence[Entry], sizes: Iterable[int]) -> list[list[Entry]]:
    """Cut into pages of these sizes, the last size for the rest."""
    pages, at, size = [], 0, 1000
    todo = iter(sizes)
    while at < len(entries):
        size = next(todo, size)
        pages.append(list(entries[at : at + size]))
        at += size
    return pages


class FakeLister:
    """Lists the chosen pages whose keys have the prefix; an exception among the pages is raised there."""

    def __init__(
        self, pages: Sequence[Sequence[Entry] | Exception], *, ordered: bool = True, honours_bounds: bool = True
    ) -> None:
        self._pages = pages
        self._honours_bounds = honours_bounds
        self._capabilities = dataclasses.replace(CAPABILITIES, ordered=ordered)
        self.listings = 0
        self.open = 0

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def pages(self, prefix: str, *, after: str = "", until: str = "") -> AsyncIterator[Sequence[Entry]]:
        self.listings += 1
        self.open += 1
        try:
            for page in self._pages:
                if isinstance(page, Exception):
                    raise page
                chosen = [e for e in page if e.key.startswith(prefix)]
                if self._honours_bounds:
                    chosen = [e for e in chosen if e.key > after and (not until or e.key <= until)]
                yield chosen
        finally:
            self.open -= 1


class MadeUpLister:
    """Lists objects that a function makes, so that no test holds them all."""

    def __init__(self, count: int, make: Callable[[int], Entry], page: int = 1000) -> None:
        self.capabilities = CAPABILITIES
        self._count = count
        self._make = make
        self._page = page

    async def pages(self, prefix: str, *, after: str = "", until: str = "") -> AsyncIterator[Sequence[Entry]]:
        for at in range(0, self._count, self._page):
            yield [self._make(n) for n in range(at, min(self._count, at + self._page))]


IDENTITY = KeyMapping("", "", strip=True)


def finder_settings(**changed: object) -> FinderSettings:
    base = FinderSettings(
        job_id="job",
        run_id="run",
        finder="me",
        job_settings="{}",
        mapping=IDENTITY,
        compare=CompareMode.AUTO,
        skip_compare=False,
        pack_objects=100,
        pack_bytes=1 << 30,
        high_water=10_000,
        sort_memory=1 << 24,
        sort_directory="",
        lease_seconds=60.0,
        overlap=False,
        listers=1,
        select=None,
        deletes=None,
        resumable=False,
        restore=None,
    )
    return dataclasses.replace(base, **changed)  # type: ignore[arg-type]


def no_emit(_: Event) -> None:
    """For who doesn't look at events."""

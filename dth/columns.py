"""The entries of a listed page, field by field.

A listing of a million keys a second leaves no time to make a tuple, a number and a decision of each of them. Where two pages
hold the same, or one side lacks all of a page, lists of texts are compared and written as they are; an `Entry` is made only
where somebody asks for one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, repeat
from operator import lt
from typing import Any, overload

from dth.model import Change, Entry
from dth.states import Reason

_new: Callable[[Any, Any], Entry] = tuple.__new__  # what Entry._make does, at half the price


class Columns(Sequence[Entry]):
    """Entries as lists of equal length, one for each field of `Entry`; `sizes` are ASCII digits. `rising`: each key is after
    the one before it. Nobody changes the lists."""

    __slots__ = ("classes", "etags", "keys", "rising", "sizes", "times")

    def __init__(
        self,
        keys: list[str],
        sizes: list[str],
        etags: list[str],
        times: list[str],
        classes: list[str],
        *,
        rising: bool | None = None,
    ) -> None:
        self.keys = keys
        self.sizes = sizes
        self.etags = etags
        self.times = times
        self.classes = classes
        self.rising = all(map(lt, keys, islice(keys, 1, None))) if rising is None else rising

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, at: int) -> Entry: ...
    @overload
    def __getitem__(self, at: slice) -> Columns: ...
    def __getitem__(self, at: int | slice) -> Entry | Columns:
        if isinstance(at, slice):
            rising = True if self.rising and at.step in {None, 1} else None
            parts = self.keys[at], self.sizes[at], self.etags[at], self.times[at], self.classes[at]
            return Columns(*parts, rising=rising)
        return Entry(self.keys[at], int(self.sizes[at]), self.etags[at], self.times[at], self.classes[at])

    def __iter__(self) -> Iterator[Entry]:
        rows = zip(self.keys, map(int, self.sizes), self.etags, self.times, self.classes, strict=True)
        return map(_new, repeat(Entry), rows)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Columns({list(self)!r})"


def keys_of(page: Sequence[Entry]) -> list[str]:
    """The keys of a page, in its order."""
    return page.keys if isinstance(page, Columns) else [entry[0] for entry in page]


def is_rising(page: Sequence[Entry], keys: list[str]) -> bool:
    """Whether each key is after the one before it; `keys` are the page's."""
    return page.rising if isinstance(page, Columns) else all(map(lt, keys, islice(keys, 1, None)))


def between(page: Sequence[Entry], after: str, until: str) -> Sequence[Entry]:
    """The page's entries after `after` up to `until` ("": the end)."""
    if isinstance(page, Columns) and page.rising:
        keys = page.keys
        return page[bisect_right(keys, after) : bisect_right(keys, until) if until else len(keys)]
    return [entry for entry in page if entry.key > after and not (until and entry.key > until)]


class Uniform(Sequence[Change]):
    """The same decision about each entry of `page`: MISSING or UNCOMPARED, and none of them archived."""

    __slots__ = ("page", "reason")

    def __init__(self, page: Columns, reason: Reason) -> None:
        self.page = page
        self.reason = reason

    def __len__(self) -> int:
        return len(self.page)

    @overload
    def __getitem__(self, at: int) -> Change: ...
    @overload
    def __getitem__(self, at: slice) -> Uniform: ...
    def __getitem__(self, at: int | slice) -> Change | Uniform:
        if isinstance(at, slice):
            return Uniform(self.page[at], self.reason)
        return Change(self.page[at], self.reason)

    def __iter__(self) -> Iterator[Change]:
        reason = self.reason
        return (Change(entry, reason) for entry in self.page)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

"""Lists that come in pages: names and descriptors, each page believed only where it can be read. A page that cannot be read, or a
next page that cannot be found, breaks the list: it never ends it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from dth.ecr.answers import Answer
from dth.ecr.links import LinkUnreadable, next_reference
from dth.ecr.reference import is_digest
from dth.ecr.web import Url, resolve
from dth.errors import AccessDenied, ListingBroken, NotFound, ProtocolViolation, RequestRefused, ServerFault

PAGE_LIMIT = 16 * 1024 * 1024
"""Bytes of one page."""
MOST_NAMES = 1_000_000
"""Names in one list. A list that brings new ones for ever must end somewhere."""
MOST_REFERRERS = 10_000
_EMPTY_PAGES = 100  # in a row; some registries answer with one at the end

Read = Callable[[Url], Awaitable[Answer]]
"""Asks for one page."""


async def names(read: Read, first: Url, field: str, title: str, operation: str) -> AsyncIterator[str]:
    """All names of a list, each once. Raises ListingBroken where a page cannot be read or the pages lead nowhere new.

    A registry may cut a list short and not say so. So the last page's last name is asked about once more: what comes after
    it is a part of the list. Registries that know no `last` answer with the list that we have already, or refuse.
    """
    pages = _Pages(title, operation)
    url: Url | None = first
    last = ""
    while url is not None:
        answer = await read(url)
        page = pages.names(answer, field, first_page=url is first)
        following = pages.following(url, answer.headers)
        fresh = [name for name in dict.fromkeys(page) if name not in pages.known]
        if page and not fresh:
            raise pages.broken("its pages go in a circle")
        pages.take(fresh, at_end=following is None)
        for name in fresh:
            yield name
        last = page[-1] if page else last
        url = following
    while last:
        page = await _after(read, first, last, field, pages)
        fresh = [name for name in dict.fromkeys(page) if name not in pages.known]
        pages.take(fresh, at_end=True)
        for name in fresh:
            yield name
        last = page[-1] if fresh else ""


async def _after(read: Read, first: Url, last: str, field: str, pages: _Pages) -> list[str]:
    """What the registry lists after the name `last`; nothing where it cannot be asked so: the list itself was good."""
    mark = "&" if "?" in first.target else "?"
    try:
        answer = await read(Url(first.origin, f"{first.target}{mark}last={quote(last, safe='')}"))
    except (AccessDenied, NotFound, RequestRefused, ServerFault):
        return []
    return pages.names(answer, field, first_page=True)


async def referrers(read: Read, first: Url, title: str) -> list[Mapping[str, Any]] | None:
    """All descriptors of a referrers list; None where the first answer is no such list at all, so that the registry lacks the
    API. Raises ListingBroken as `names`."""
    pages = _Pages(title, "Referrers")
    found: list[Mapping[str, Any]] = []
    url: Url | None = first
    while url is not None:
        answer = await read(url)
        fields = _json(answer.data)
        if answer.status != 200 or not isinstance(fields, dict):  # noqa: PLR2004
            if url is first:
                return None
            raise pages.broken("a page of it is no list")
        if "manifests" not in fields:
            raise pages.broken("its answer names no manifests")
        entries = [] if fields["manifests"] is None else fields["manifests"]
        for one in entries if isinstance(entries, list) else [None]:
            if not isinstance(one, dict) or not is_digest(str(one.get("digest", ""))):
                raise pages.broken("it holds what is no descriptor")
            found.append(one)
        if len(found) > MOST_REFERRERS:
            raise pages.broken(f"it has more than {MOST_REFERRERS:,} entries")
        url = pages.following(url, answer.headers)
    return found


class _Pages:
    """What is known of one list so far."""

    def __init__(self, title: str, operation: str) -> None:
        self._title = title
        self._operation = operation
        self._seen: set[str] = set()
        self._empty = 0
        self.known: set[str] = set()

    def broken(self, why: str) -> ListingBroken:
        """The error that ends the list."""
        return ListingBroken(f"{self._operation} of {self._title}: {why}", operation=self._operation)

    def names(self, answer: Answer, field: str, *, first_page: bool) -> list[str]:
        """A page's names. `null` stands for none where it is the whole list: Go programs write an empty one so."""
        fields = _json(answer.data)
        if not isinstance(fields, dict) or field not in fields:
            raise self.broken(f"the answer holds no {field}")
        found = fields[field]
        if found is None and first_page and not answer.headers.get("link"):
            return []
        if not isinstance(found, list) or not all(isinstance(name, str) and name for name in found):
            raise self.broken(f"the answer's {field} are no list of names")
        return found

    def take(self, fresh: list[str], *, at_end: bool) -> None:
        """Count what a page brought that no other had."""
        self.known.update(fresh)
        self._empty = 0 if fresh or at_end else self._empty + 1
        if self._empty > _EMPTY_PAGES:
            raise self.broken(f"{_EMPTY_PAGES} pages in a row hold nothing")
        if len(self.known) > MOST_NAMES:
            raise self.broken(f"it has more than {MOST_NAMES:,} names")

    def following(self, url: Url, headers: Mapping[str, str]) -> Url | None:
        """The next page; None where the answer names none."""
        self._seen.add(url.target)
        text = headers.get("link", "")
        try:
            reference = next_reference(text)
            target = None if reference is None else resolve(url, reference)
        except (LinkUnreadable, ProtocolViolation) as exc:
            why = str(exc) if isinstance(exc, LinkUnreadable) else "its next page is no address"
            raise self.broken(f"the Link header cannot be read: {why} ({text[:200]!r})") from exc
        if target is None:
            return None
        if target.origin != url.origin:
            raise self.broken(f"its next page is on another server, {target.host}")
        if target.target in self._seen:
            raise self.broken("its pages go in a circle")
        return target


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None

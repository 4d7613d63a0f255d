"""What a registry holds: its repositories, their tags, and, where it tells, their digests and untagged images."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dth.ecr.aws import Aws
from dth.ecr.reference import is_digest, is_tag
from dth.ecr.registry import Registry
from dth.errors import DthError, ListingBroken

_PAGE = 1000  # images: what DescribeImages gives at most


@dataclass(frozen=True, slots=True)
class Listing:
    """One repository's images: digest by tag ("" where the registry doesn't tell), and digests without a tag. `odd` are tags
    that no registry may have: nothing is asked for or written under them."""

    tags: dict[str, str]
    untagged: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()


class Catalog(Protocol):
    """Lists one registry. `tells_digests`: a list says which digest is behind each tag."""

    @property
    def tells_digests(self) -> bool:
        """See above."""
        ...

    def repositories(self) -> AsyncIterator[str]:
        """All repositories, each once."""
        ...

    async def listing(self, repository: str) -> Listing:
        """All images of one. Raises NotFound where there is no such repository."""
        ...


class KnownTags:
    """The tags of one registry's repositories: as they were listed already, else listed once when they are asked for."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[str, frozenset[str] | None] = {}
        self._one_at_a_time = asyncio.Lock()

    def learn(self, repository: str, listing: Listing) -> None:
        """Keep a listing that was read anyway."""
        self._known[repository] = frozenset(listing.tags)

    async def __call__(self, repository: str) -> frozenset[str] | None:
        """All tags; None where they can't be listed."""
        async with self._one_at_a_time:
            if repository not in self._known:
                try:
                    self.learn(repository, await self._catalog.listing(repository))
                except DthError:
                    self._known[repository] = None
        return self._known[repository]


class KnownDigests:
    """What the destination holds, as its own lists say: for repositories that are copied whole one list takes the place of a
    request for each tag. What a list does not show may be there all the same: whoever needs to know asks."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lists: dict[str, Listing] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._whole: set[str] = set()

    def expect(self, repository: str) -> None:
        """Many of its images will be asked for."""
        if self._catalog.tells_digests:
            self._whole.add(repository)

    def expects(self, repository: str) -> bool:
        """Whether its list is worth reading."""
        return repository in self._whole

    async def holds(self, repository: str, tag: str, digest: str) -> bool:
        """Whether its list, read once, shows this digest under this tag (anywhere, where the tag is "")."""
        async with self._locks.setdefault(repository, asyncio.Lock()):
            if repository not in self._lists:
                self._lists[repository] = await self._list(repository)
        listing = self._lists[repository]
        if tag:
            return listing.tags.get(tag) == digest
        return digest in listing.untagged or digest in listing.tags.values()

    async def _list(self, repository: str) -> Listing:
        try:
            return await self._catalog.listing(repository)
        except DthError:  # not there yet, or not allowed: then each image is asked for
            return Listing({})


class RegistryCatalog:
    """By the OCI distribution API, which lists tags and nothing else."""

    tells_digests = False

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def repositories(self) -> AsyncIterator[str]:
        """See `Catalog`; by the catalog API, which public registries lack."""
        return self._registry.repositories()

    async def listing(self, repository: str) -> Listing:
        """See `Catalog`."""
        return _listing({tag: "" async for tag in self._registry.tags(repository)})


class EcrCatalog:
    """By ECR's own API: digests come with the list, so that comparing asks the source nothing more."""

    tells_digests = True

    def __init__(self, aws: Aws, account_id: str) -> None:
        self._aws = aws
        self._account = {"registryId": account_id} if account_id else {}

    async def repositories(self) -> AsyncIterator[str]:
        """See `Catalog`."""
        async for one in self._aws.pages("ecr", "DescribeRepositories", "repositories", **self._account):
            yield _text(one, "repositoryName")

    async def listing(self, repository: str) -> Listing:
        """See `Catalog`."""
        tags: dict[str, str] = {}
        untagged: list[str] = []
        wanted = {"repositoryName": repository, "maxResults": _PAGE, **self._account}
        pages = self._aws.pages("ecr", "DescribeImages", "imageDetails", **wanted)
        async for one in pages:
            digest = _text(one, "imageDigest")
            if not is_digest(digest):
                raise ListingBroken(f"ECR's list of {repository} holds {digest[:80]!r}, which is no digest")
            names = [str(tag) for tag in one.get("imageTags") or []]
            tags.update(dict.fromkeys(names, digest))
            if not names:
                untagged.append(digest)
        return _listing(tags, tuple(untagged))


def _listing(tags: dict[str, str], untagged: tuple[str, ...] = ()) -> Listing:
    odd = tuple(tag for tag in tags if not is_tag(tag))
    for tag in odd:
        del tags[tag]
    return Listing(tags, untagged, odd)


def _text(entry: Any, field: str) -> str:
    value = entry.get(field) if isinstance(entry, Mapping) else None
    if not isinstance(value, str) or not value:
        raise ListingBroken(f"ECR's list holds an entry without {field}")
    return value

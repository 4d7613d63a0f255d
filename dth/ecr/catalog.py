"""What a registry holds: its repositories, their tags, and, where it tells, their digests and untagged images."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from dth.ecr.aws import Aws
from dth.ecr.registry import Registry
from dth.errors import DthError


@dataclass(frozen=True, slots=True)
class Listing:
    """One repository's images: digest by tag ("" where the registry doesn't tell), and digests without a tag."""

    tags: dict[str, str]
    untagged: tuple[str, ...] = ()


class Catalog(Protocol):
    """Lists one registry."""

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


class RegistryCatalog:
    """By the OCI distribution API, which lists tags and nothing else."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def repositories(self) -> AsyncIterator[str]:
        """See `Catalog`; by the catalog API, which public registries lack."""
        return self._registry.repositories()

    async def listing(self, repository: str) -> Listing:
        """See `Catalog`."""
        return Listing({tag: "" async for tag in self._registry.tags(repository)})


class EcrCatalog:
    """By ECR's own API: digests come with the list, so that comparing asks the source nothing more."""

    def __init__(self, aws: Aws, account_id: str) -> None:
        self._aws = aws
        self._account = {"registryId": account_id} if account_id else {}

    async def repositories(self) -> AsyncIterator[str]:
        """See `Catalog`."""
        async for one in self._aws.pages("ecr", "DescribeRepositories", "repositories", **self._account):
            yield str(one["repositoryName"])

    async def listing(self, repository: str) -> Listing:
        """See `Catalog`."""
        tags: dict[str, str] = {}
        untagged: list[str] = []
        pages = self._aws.pages("ecr", "DescribeImages", "imageDetails", repositoryName=repository, **self._account)
        async for one in pages:
            digest = str(one["imageDigest"])
            names = [str(tag) for tag in one.get("imageTags", [])]
            tags.update(dict.fromkeys(names, digest))
            if not names:
                untagged.append(digest)
        return Listing(tags, tuple(untagged))

"""Removing tags that the source lacks: only of repositories that were wholly listed and wholly copied, never past the limit, and
never a tag that the source holds when it is asked for it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from dth.ecr.catalog import Catalog, Listing
from dth.ecr.reference import companion_of
from dth.ecr.registry import Registry
from dth.ecr.run import Done
from dth.errors import DeletesRefused, ListingBroken, NotFound, RequestRefused

_NAMED = 5  # tags in an error
_DEPTH = 8  # indexes within indexes


@dataclass(frozen=True, slots=True)
class Stale:
    """Tags of one destination repository that the source's list lacks. `kept` are digests of images that it must keep."""

    source: Registry
    source_repository: str
    repository: str
    tags: tuple[str, ...]
    kept: frozenset[str]


def stale_tags(listing: Listing, kept: set[str], destination: Listing) -> list[str]:
    """The destination's tags that the source's list lacks. A signature's tag stays while its image does: the destination may
    keep it where the source has it behind the referrers API. An empty source removes nothing."""
    if not listing.tags:
        return []
    return sorted(
        tag for tag in destination.tags if tag not in listing.tags and (companion_of(tag) or "none") not in kept
    )


async def find_stale(repositories: Sequence[Done], catalog: Catalog, max_delete: int) -> list[Stale]:
    """All tags that lists call stale, by repository. Raises DeletesRefused where they are more than the limit."""
    found: list[Stale] = []
    for done in repositories:
        chosen = done.chosen
        if chosen.listing is None or chosen.listing.odd:
            continue
        # A list of images may bring those of several sources into one repository.
        together = [one for one in repositories if one.chosen.destination == chosen.destination]
        if any(one.failed for one in together):
            continue
        try:
            there = await catalog.listing(chosen.destination)
        except NotFound:
            continue
        kept = {digest for one in together for digest in one.digests}
        brought = {image.tag for one in together for image in one.chosen.images}
        tags = tuple(tag for tag in stale_tags(chosen.listing, kept, there) if tag not in brought)
        if tags:
            found.append(Stale(done.source.registry, chosen.source, chosen.destination, tags, frozenset(kept)))
    count = sum(len(one.tags) for one in found)
    if count > max_delete:
        raise DeletesRefused(
            f"{count:,} tags of the destination are not in the source's lists, more than --max-delete {max_delete:,} "
            "allows: nothing was removed"
        )
    return found


async def confirm(stale: Stale) -> None:
    """Ask the source for each of the tags. Raises ListingBroken where it holds one that its list lacks: such a list is the
    reason for nothing."""
    held = [tag for tag in stale.tags if await stale.source.find_manifest(stale.source_repository, tag)]
    if held:
        more = f" and {len(held) - _NAMED:,} more" if len(held) > _NAMED else ""
        raise ListingBroken(
            f"the tag list of {stale.source.title(stale.source_repository)} is not whole: it lacks "
            f"{', '.join(held[:_NAMED])}{more}, which the source holds when it is asked; nothing of the repository was removed"
        )


class Untagger:
    """Removes tags by the distribution API. Registries that cannot (Docker's own) lose the manifest instead, if no image that
    stays is, or holds, that manifest."""

    def __init__(self, registry: Registry, catalog: Catalog) -> None:
        self._registry = registry
        self._catalog = catalog
        self._holders: dict[str, dict[str, set[str]]] = {}

    async def untag(self, stale: Stale, tag: str) -> None:
        """Remove one of its tags. Raises DthError where it cannot be removed alone."""
        try:
            if await self._registry.delete_manifest(stale.repository, tag):
                return
            refused = RequestRefused(
                f"{self._registry.title(stale.repository, tag)}: the registry does not remove tags: it says that there is no "
                "such tag, but still has it"
            )
        except RequestRefused as error:
            refused = error
        digest = await self._registry.head_manifest(stale.repository, tag)
        if not digest:
            return
        if digest in stale.kept or await self._holding(stale.repository, digest) - set(stale.tags):
            raise refused
        gone = await self._registry.delete_manifest(stale.repository, digest)
        if not gone and await self._registry.head_manifest(stale.repository, tag):
            raise refused

    async def _holding(self, repository: str, digest: str) -> set[str]:
        """The repository's tags whose image is the manifest, or has it somewhere below."""
        if repository not in self._holders:
            found: dict[str, set[str]] = {}
            listing = await self._catalog.listing(repository)
            if listing.odd:
                raise ListingBroken(
                    f"{self._registry.title(repository)} lists what is no tag: nothing of it is removed"
                )
            for tag in listing.tags:
                await self._collect(repository, tag, tag, found, depth=0)
            self._holders[repository] = found
        return self._holders[repository].get(digest, set())

    async def _collect(
        self, repository: str, reference: str, tag: str, found: dict[str, set[str]], *, depth: int
    ) -> None:
        """Note everything that belongs to the tag from `reference` down. Raises DthError where that cannot be known."""
        if depth > _DEPTH:
            raise ListingBroken(f"{self._registry.title(repository, reference)}: indexes within indexes without end")
        manifest = await self._registry.get_manifest(repository, reference)
        if tag in found.setdefault(manifest.digest, set()):
            return
        found[manifest.digest].add(tag)
        for child in manifest.children:
            found.setdefault(child.digest, set())
            if not child.is_image:
                with contextlib.suppress(NotFound):  # a plain blob
                    await self._collect(repository, child.digest, tag, found, depth=depth + 1)
            found[child.digest].add(tag)

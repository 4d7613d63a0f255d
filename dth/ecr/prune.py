"""Removing tags that the source lacks: only of repositories that were wholly listed and wholly copied, never past the limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from dth.ecr.catalog import Catalog, Listing
from dth.ecr.reference import companion_of
from dth.ecr.registry import Registry
from dth.ecr.run import Done
from dth.errors import DeletesRefused, NotFound, RequestRefused

Untag = Callable[[str, str], Awaitable[None]]
"""Removes one tag of a repository by a registry's own means."""


@dataclass(frozen=True, slots=True)
class Stale:
    """A tag of the destination that the source lacks."""

    repository: str
    tag: str


def stale_tags(listing: Listing, kept: set[str], destination: Listing) -> list[str]:
    """The destination's tags that the source's list lacks. A signature's tag stays while its image does: the destination may
    keep it where the source has it behind the referrers API. An empty source removes nothing."""
    if not listing.tags:
        return []
    return sorted(
        tag for tag in destination.tags if tag not in listing.tags and (companion_of(tag) or "none") not in kept
    )


async def find_stale(repositories: Sequence[Done], catalog: Catalog, max_delete: int) -> list[Stale]:
    """All tags to remove. Raises DeletesRefused where they are more than the limit."""
    found: list[Stale] = []
    for done in repositories:
        if done.failed or done.chosen.listing is None:
            continue
        try:
            there = await catalog.listing(done.chosen.destination)
        except NotFound:
            continue
        tags = stale_tags(done.chosen.listing, done.digests, there)
        found += [Stale(done.chosen.destination, tag) for tag in tags]
    if len(found) > max_delete:
        raise DeletesRefused(
            f"{len(found):,} tags of the destination are not at the source, more than --max-delete {max_delete:,} allows: "
            "nothing was removed"
        )
    return found


async def untag(registry: Registry, catalog: Catalog, stale: Stale, kept: set[str]) -> None:
    """Remove a tag by the distribution API. Registries that can't (Docker's own) lose the manifest instead, if no other tag
    of the repository has it."""
    try:
        await registry.delete_manifest(stale.repository, stale.tag)
    except RequestRefused:
        digest = await registry.head_manifest(stale.repository, stale.tag)
        if not digest:
            return
        if digest in kept:
            raise
        for tag in (await catalog.listing(stale.repository)).tags:
            if tag != stale.tag and await registry.head_manifest(stale.repository, tag) == digest:
                raise
        await registry.delete_manifest(stale.repository, digest)

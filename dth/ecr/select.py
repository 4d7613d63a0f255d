"""From the job's words to images: all repositories or a list, tags filtered, untagged ones by digest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass

from dth.ecr.catalog import Catalog, Listing
from dth.ecr.copy import Image
from dth.ecr.reference import Reference, companion_of, dest_repository, hub_name, is_repository
from dth.ecr.tag_filter import TagFilter
from dth.errors import DthError, ListingBroken, SettingsError

_SHOWN = 200  # characters of an impossible name


@dataclass(frozen=True, slots=True)
class Selection:
    """What the job asks for. `references` None means everything that the registry lists."""

    references: tuple[Reference, ...] | None
    tag_filter: TagFilter
    untagged: bool
    prefix: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """One repository's images. `listing` is its whole list where that was read."""

    source: str
    destination: str
    images: tuple[Image, ...]
    listing: Listing | None

    def taken(self) -> frozenset[str]:
        """The tags that travel on their own, so that no other image need bring them."""
        return frozenset(image.tag for image in self.images if image.tag)


Broken = Callable[[str, DthError], None]
"""Takes a repository that could not be listed, and why."""


async def choose(selection: Selection, catalog: Catalog, broken: Broken) -> AsyncIterator[Chosen]:
    """The images of one registry, repository by repository. A repository that can't be listed stops no other; a registry
    that can't be listed is raised."""
    if selection.references is None:
        async for repository in catalog.repositories():
            if not is_repository(repository):
                broken(repository, _odd(repository, "repository"))
                continue
            try:
                listed = await _listed(selection, catalog, repository, repository)
            except DthError as error:
                broken(repository, error)
            else:
                _name_odd(listed, broken)
                yield listed
        return
    for (registry, name), references in _by_repository(selection.references).items():
        source = hub_name(registry, name)
        if any(one.all_tags for one in references):
            try:
                listed = await _listed(selection, catalog, source, name, references)
            except DthError as error:
                broken(source, error)
            else:
                _name_odd(listed, broken)
                yield listed
        else:
            destination = dest_repository(selection.prefix, name)
            yield Chosen(source, destination, tuple(_named(source, destination, references)), None)


def _name_odd(listed: Chosen, broken: Broken) -> None:
    """A tag that cannot be one is not copied, and stops no other: it is named."""
    for tag in listed.listing.odd if listed.listing else ():
        broken(f"{listed.source}:{tag[:_SHOWN]}", _odd(tag, "tag"))


def _odd(name: str, kind: str) -> ListingBroken:
    return ListingBroken(f"the source lists {name[:_SHOWN]!r}, which no {kind} can be called: it is not copied")


async def _listed(
    selection: Selection, catalog: Catalog, source: str, name: str, references: Sequence[Reference] = ()
) -> Chosen:
    listing = await catalog.listing(source)
    destination = dest_repository(selection.prefix, name)
    images = [
        *_named(source, destination, [one for one in references if not one.all_tags]),
        *(Image(source, destination, tag, listing.tags[tag]) for tag in wanted_tags(selection.tag_filter, listing)),
    ]
    if selection.untagged and not selection.tag_filter:
        images += [Image(source, destination, "", digest) for digest in listing.untagged]
    return Chosen(source, destination, tuple(dict.fromkeys(images)), listing)


def wanted_tags(tag_filter: TagFilter, listing: Listing) -> list[str]:
    """The tags to copy. Signatures and the like (`sha256-....sig`) are no versions: a filter leaves them to their images."""
    if not tag_filter:
        return list(listing.tags)
    return tag_filter.choose(tag for tag in listing.tags if not companion_of(tag))


def _named(source: str, destination: str, references: Iterable[Reference]) -> list[Image]:
    return [Image(source, destination, one.tag, one.digest, pinned=bool(one.digest)) for one in references]


def _by_repository(references: Iterable[Reference]) -> dict[tuple[str, str], list[Reference]]:
    found: dict[tuple[str, str], list[Reference]] = {}
    for one in references:
        found.setdefault((one.registry, one.repository), []).append(one)
    return found


def by_registry(references: Iterable[Reference], default: str) -> dict[str, tuple[Reference, ...]]:
    """The references of each registry; those that name none belong to `default`. Raises SettingsError where two of them
    would end under one name at the destination, which drops the registry's."""
    found: dict[str, list[Reference]] = {}
    taken: dict[tuple[str, str], Reference] = {}
    for one in references:
        registry = one.registry or default
        key = one.repository, one.tag or one.digest
        other = taken.setdefault(key, one)
        if other != one and (other.registry or default, other.digest) != (registry, one.digest):
            raise SettingsError(f"{other} and {one} would both become {one.repository} at the destination: give one up")
        found.setdefault(registry, []).append(Reference(registry, one.repository, one.tag, one.digest))
    return {registry: tuple(ones) for registry, ones in found.items()}

"""Signatures, attestations, SBOMs: what refers to an image follows it, by whichever of three ways the source keeps it.

1. The referrers API of OCI 1.1; 2. its fallback tag `sha256-<hex>`, an index; 3. cosign's tags `sha256-<hex>.sig` and kin.
A destination without the API gets the fallback tag. What fails is reported and counted; the image itself has arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from dth.ecr.copy import Copied, Image
from dth.ecr.manifest import OCI_INDEX, Manifest, extended_index, parse_manifest
from dth.ecr.reference import companion_of
from dth.ecr.registry import Registry
from dth.errors import ManifestInvalid, NotFound

_DEPTH = 8  # a signature of an attestation of an image has two
_COSIGN = (".sig", ".att", ".sbom")

Tags = Callable[[str], Awaitable[frozenset[str] | None]]
"""All tags of a source repository, listed once; None where it can't be listed."""
Bring = Callable[[Image], Awaitable[Copied | None]]
"""Copies one image and records its end; None where that failed."""
Show = Callable[[str, str, Manifest], Awaitable[object]]
"""Writes an index of referrers under its fallback tag, in the destination repository that is named first."""


class Referrers:
    """Follows images from one source registry to the destination. What is written goes through `bring` and `show`."""

    def __init__(self, source: Registry, destination: Registry, tags: Tags, show: Show) -> None:
        self._source = source
        self._destination = destination
        self._tags = tags
        self._write_index = show
        self._source_lacks_api = False
        self._dest_has_api: bool | None = None
        self._subjects: dict[tuple[str, str], asyncio.Lock] = {}  # one writer of a fallback index at a time

    async def follow(self, image: Image, digests: Sequence[str], taken: frozenset[str], bring: Bring) -> None:
        """Bring what refers to the image, whose manifest `digests[0]` is at the destination now; of the others (its children)
        only what a listing shows. `taken` are tags that travel on their own."""
        async for companion in self._companions(image, digests, taken):
            await bring(companion)
        await self._by_api(image, digests[0], taken, bring, depth=0)

    async def _companions(self, image: Image, digests: Sequence[str], taken: frozenset[str]) -> AsyncIterator[Image]:
        """Images under tags that belong to the digests; cosign's own names are asked for where no list can be had."""
        listed = await self._tags(image.source)
        if listed is not None:
            wanted = set(digests)
            for tag in sorted(listed - taken):
                if companion_of(tag) in wanted:
                    yield Image(image.source, image.destination, tag)
        else:
            for ending in _COSIGN:
                if companion := await self._under(image, _fallback(digests[0]) + ending, taken):
                    yield companion

    async def _under(self, image: Image, tag: str, taken: frozenset[str]) -> Image | None:
        """The image under a tag that nobody has listed."""
        digest = "" if tag in taken else await self._source.head_manifest(image.source, tag)
        return Image(image.source, image.destination, tag, digest) if digest else None

    async def _by_api(self, image: Image, digest: str, taken: frozenset[str], bring: Bring, *, depth: int) -> None:
        if depth >= _DEPTH:
            raise ManifestInvalid(f"{digest}: it is referred to by what is referred to, without end")
        found = None if self._source_lacks_api else await self._source.referrers(image.source, digest)
        if found is None:
            self._source_lacks_api = True
            if await self._tags(image.source) is None:  # the listing would have shown the fallback tag
                companion = await self._under(image, _fallback(digest), taken)
                if companion is not None:
                    await bring(companion)
            return
        arrived = []
        for one in found:
            referrer = Image(image.source, image.destination, "", str(one["digest"]))
            copied = await bring(referrer)
            if copied is not None:
                arrived.append(one)
                self._learn(copied)
                await self._by_api(referrer, referrer.digest, frozenset(), bring, depth=depth + 1)
        if arrived:
            await self._show(image.destination, digest, arrived)

    def _learn(self, copied: Copied) -> None:
        """A registry with the API says so when it takes a manifest with a subject (OCI distribution 1.1)."""
        if copied.headers is not None:
            self._dest_has_api = "oci-subject" in copied.headers

    async def _show(self, repository: str, digest: str, found: Sequence[Mapping[str, Any]]) -> None:
        """Where the destination lacks the API, its fallback tag must name the referrers."""
        if self._dest_has_api is None:
            self._dest_has_api = await self._destination.referrers(repository, digest) is not None
        if self._dest_has_api:
            return
        async with self._subjects.setdefault((repository, digest), asyncio.Lock()):
            tag = _fallback(digest)
            try:
                present: bytes | None = (await self._destination.get_manifest(repository, tag)).raw
            except NotFound:
                present = None
            extended = extended_index(present, found)
            if extended is not None:
                await self._write_index(repository, tag, parse_manifest(extended, OCI_INDEX))


def _fallback(digest: str) -> str:
    """The tag of OCI 1.1's referrers tag schema."""
    return digest.replace(":", "-")

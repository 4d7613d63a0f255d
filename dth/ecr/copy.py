"""Copying one image: digests first, equal means no write; children before parents, blobs before manifests, the tag last.

A death at any point leaves at the destination blobs and untagged manifests at most, never a tag whose image is not whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, overload

from dth.ecr.catalog import KnownDigests
from dth.ecr.dedup import Shelf, Tally
from dth.ecr.download import Reader
from dth.ecr.manifest import Descriptor, Manifest, filtered_index
from dth.ecr.registry import Registry
from dth.errors import DthError, ManifestInvalid, ManifestMissing, NoSuchImage, NotFound

_DEPTH = 8  # indexes within indexes; real ones have two
_AT_ONCE = 16  # of what one manifest names

Prepare = Callable[[str, str], Awaitable[None]]
"""Makes sure that a destination repository exists before it is written to; gets the source's and its own name."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image to bring over. `tag` "" is an image by digest alone; `digest` "" is not known yet. `pinned`: somebody named
    this very digest, so what the source's tag says means nothing."""

    source: str
    destination: str
    tag: str
    digest: str = ""
    pinned: bool = False

    @property
    def reference(self) -> str:
        """Under what it is written at the destination, and asked for at the source where no digest is known."""
        return self.tag or self.digest


@dataclass(frozen=True, slots=True)
class Copied:
    """How it ended: `digest` is what the destination has now; `written` False where it had it before. `headers` are those
    of the last write; `manifest` is known where it was read."""

    digest: str
    written: bool
    manifest: Manifest | None = None
    headers: Mapping[str, str] | None = None

    @property
    def digests(self) -> list[str]:
        """The image's and, where its manifest is known, those of its children."""
        return [self.digest, *(one.digest for one in (self.manifest.children if self.manifest else ()))]


class Copier:
    """Brings images from one registry to another. `platforms` empty means whole indexes, byte for byte."""

    def __init__(
        self, source: Registry, destination: Registry, shelf: Shelf, prepare: Prepare, platforms: tuple[str, ...],
        known: KnownDigests | None = None,
    ) -> None:  # fmt: skip
        self._source = source
        self._destination = destination
        self._shelf = shelf
        self._prepare = prepare
        self._platforms = platforms
        self._known = known

    async def compare(self, image: Image) -> tuple[str, str, Manifest | None]:
        """The digests that the destination should have and has ("" for none), and the manifest where it had to be read.

        Raises NoSuchImage where the source lacks the image.
        """
        if self._known is not None and self._known.expects(image.destination):
            digest, manifest = await self._wanted(image)
            if await self._known.holds(image.destination, image.tag, digest):
                return digest, digest, manifest
            return digest, await self._destination.head_manifest(image.destination, image.reference), manifest
        async with _Both() as both:
            wanted = both.start(self._wanted(image))
            present = both.start(self._destination.head_manifest(image.destination, image.reference))
        digest, manifest = wanted.result()
        return digest, present.result(), manifest

    async def _wanted(self, image: Image) -> tuple[str, Manifest | None]:
        digest = image.digest or await self._source.find_manifest(image.source, image.tag)
        if not digest:
            raise self._gone(image)
        if not self._platforms:
            return digest, None
        manifest = await self._whole(image, digest)
        if manifest.children:
            manifest = filtered_index(manifest, self._platforms)
        return manifest.digest, manifest

    def _gone(self, image: Image) -> NoSuchImage:
        what = self._source.title(image.source, image.tag or image.digest)
        return NoSuchImage(f"{what}: the source has no such image", operation="HeadManifest", status=404)

    async def _whole(self, image: Image, digest: str) -> Manifest:
        try:
            return await self._source.get_manifest(image.source, digest)
        except NotFound as exc:
            raise self._gone(image) from exc

    async def copy(self, image: Image, tally: Tally) -> Copied:
        """Make the destination's tag (or digest) the source's image. Equal digests cause no write."""
        wanted, present, manifest = await self.compare(image)
        if wanted == present:
            return Copied(wanted, written=False, manifest=manifest)
        whole = manifest or await self._whole(image, wanted)
        await self._prepare(image.source, image.destination)
        headers: Mapping[str, str] | None = None

        async def write() -> None:
            nonlocal headers
            await self._fill(image, whole, tally)
            headers = await self._destination.put_manifest(image.destination, image.reference, whole)
            tally.manifests += 1

        if image.tag:
            await write()
        elif not await self._shelf.manifest_once(image.destination, whole.digest, write):
            return Copied(wanted, written=False, manifest=whole)  # as a part of another image
        return Copied(wanted, written=True, manifest=whole, headers=headers)

    async def _fill(self, image: Image, manifest: Manifest, tally: Tally) -> None:
        tally.size += manifest.size
        await self._bring(image, manifest.children, manifest.blobs, tally, depth=0)

    async def _bring(
        self, image: Image, children: Sequence[Descriptor], blobs: Sequence[Descriptor], tally: Tally, *, depth: int
    ) -> None:
        """Bring everything that a manifest names. What can be brought is brought, then the first failure is raised."""
        if depth > _DEPTH:
            raise ManifestInvalid(f"{image.source}: indexes within indexes without end")
        indexes = [child for child in _distinct(children) if child.is_index]

        async def image_or_index(child: Descriptor) -> None:
            try:
                await self._image(image, child, tally)
            except _Index:
                indexes.append(child)

        async def nested() -> None:
            await _all([partial(self._index, image, child, tally, depth=depth + 1) for child in indexes], at_once=1)

        await _all([
            *(partial(self._blob, image, blob, tally) for blob in _distinct(blobs)),
            *(partial(image_or_index, child) for child in _distinct(children) if not child.is_index),
        ], then=nested)  # fmt: skip

    async def _blob(self, image: Image, blob: Descriptor, tally: Tally) -> None:
        """Bring a blob; one that others may not distribute only where the source has it all the same."""
        if blob.foreign and not await Reader(self._source, image.source, blob).exists():
            if not blob.elsewhere:
                what = self._source.title(image.source, blob.digest)
                raise ManifestMissing(
                    f"{what}: the image names this layer, and neither its registry nor an address has it"
                )
            tally.foreign += 1
            return
        await self._shelf.bring_blob(self._source, image.source, image.destination, blob, tally)

    async def _image(self, image: Image, child: Descriptor, tally: Tally) -> None:
        """Bring one manifest of an index, or the plain blob that stands there. Raises _Index for another index."""

        async def bring() -> None:
            if await self._is_there(image, child):
                return
            async with self._shelf.manifests.reserve(child.size):
                manifest = await self._child(image, child)
                if manifest is not None:
                    if manifest.children:
                        raise _Index
                    await self._fill(image, manifest, tally)
                    await self._put(image, child, manifest, tally)
            if manifest is None:  # an index may hold plain blobs as well (Helm, Flux), under any media type
                await self._shelf.bring_blob(self._source, image.source, image.destination, child, tally)

        await self._shelf.manifest_once(image.destination, child.digest, bring)

    async def _index(self, image: Image, child: Descriptor, tally: Tally, *, depth: int) -> None:
        """Bring an index within an index. Its manifest is read once more at the end, so that it takes no memory until then."""

        async def bring() -> None:
            if await self._is_there(image, child):
                return
            async with self._shelf.manifests.reserve(child.size):
                manifest = await self._child(image, child, must=True)
            children, blobs = manifest.children, manifest.blobs
            tally.size += manifest.size
            del manifest
            await self._bring(image, children, blobs, tally, depth=depth)
            async with self._shelf.manifests.reserve(child.size):
                await self._put(image, child, await self._child(image, child, must=True), tally)

        await self._shelf.manifest_once(image.destination, child.digest, bring)

    async def _is_there(self, image: Image, child: Descriptor) -> bool:
        return await self._destination.head_manifest(image.destination, child.digest) == child.digest

    @overload
    async def _child(self, image: Image, child: Descriptor, *, must: Literal[True]) -> Manifest: ...
    @overload
    async def _child(self, image: Image, child: Descriptor) -> Manifest | None: ...
    async def _child(self, image: Image, child: Descriptor, *, must: bool = False) -> Manifest | None:
        """The manifest that an index names; None where the source has a blob of this digest instead."""
        try:
            return await self._source.get_manifest(image.source, child.digest, limit=max(child.size, 1))
        except NotFound as exc:
            if not must and await Reader(self._source, image.source, child).exists():
                return None
            what = self._source.title(image.source, child.digest)
            raise ManifestMissing(f"{what}: the image names this manifest, but its registry lacks it") from exc

    async def _put(self, image: Image, child: Descriptor, manifest: Manifest, tally: Tally) -> None:
        await self._destination.put_manifest(image.destination, child.digest, manifest)
        tally.manifests += 1


class _Index(Exception):
    """What an index names is an index itself."""


def _distinct(descriptors: Iterable[Descriptor]) -> list[Descriptor]:
    return list({one.digest: one for one in descriptors}.values())


async def _all(
    works: Iterable[Callable[[], Awaitable[None]]],
    *,
    at_once: int = _AT_ONCE,
    then: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Run all to their ends, so many at once, and `then` one thing more; then raise the failure that says most: one that trying
    again won't cure before others."""
    failures: list[DthError] = []
    left = iter(works)

    async def some() -> None:
        for work in left:
            await contained(work)

    async def contained(work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except DthError as error:
            failures.append(error)
            failures[:] = [min(failures, key=lambda failure: failure.retryable)]

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(some())
    if then is not None:
        await contained(then)
    if failures:
        raise failures[0]


class _Both:
    """A task group whose first error is raised as itself."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> _Both:
        await self._group.__aenter__()
        return self

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self._group.create_task(work)

    async def __aexit__(self, *exc: Any) -> None:
        try:
            await self._group.__aexit__(*exc)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors

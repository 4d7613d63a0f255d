"""What a run would have to do: every chosen image compared by digest with the destination. Nothing is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from dth.ecr.copy import Copied, Image
from dth.ecr.manifest import Manifest
from dth.ecr.referrers import Referrers
from dth.ecr.registry import Registry
from dth.ecr.run import ImageRun, RunOptions, Source
from dth.errors import DthError
from dth.events import Emit, Notice, ObjectFailed, Planned
from dth.states import Reason

Send = Callable[[Source, Image, Reason], Awaitable[None]]
"""Takes an image that somebody must copy, with the digest that it had where that is known."""

_Look = Callable[[Source, Image, frozenset[str]], Awaitable[None]]


class _Lacking(Exception):
    """The destination lacks something that refers to an image."""


class ImagePlan:
    """Looks at all images of a run, `images_at_once` at a time."""

    def __init__(self, run: ImageRun, destination: Registry, options: RunOptions, emit: Emit) -> None:
        self._run = run
        self._destination = destination
        self._options = options
        self._emit = emit
        self._follows: dict[str, Referrers] = {}

    async def preview(self, stop: asyncio.Event) -> None:
        """Emit what would be copied, as `Planned` events, until `stop`. Referrers are not looked for."""
        await self._each(self._preview, stop)

    async def send(self, send: Send, stop: asyncio.Event) -> None:
        """Hand on every image that the destination lacks, or of which it lacks a referrer, until `stop`.

        One that could not be compared is handed on as well: who copies it meets the fault again, with attempts of its own,
        and its end is recorded. Raises DthError where a registry can't be listed; what was handed on stays so.
        """

        async def look(source: Source, image: Image, taken: frozenset[str]) -> None:
            reason, digest = await self._why(source, image, taken)
            if reason is not None:
                await send(source, replace(image, digest=digest), reason)

        await self._each(look, stop)

    async def _each(self, look: _Look, stop: asyncio.Event) -> None:
        gate = asyncio.Semaphore(self._options.images_at_once)

        async def gated(source: Source, image: Image, taken: frozenset[str]) -> None:
            try:
                await look(source, image, taken)
            finally:
                gate.release()

        try:
            async with asyncio.TaskGroup() as group:
                async for source, image, taken in self._run.plan():
                    await gate.acquire()  # so that tasks are as few as comparisons, whatever the number of images
                    if stop.is_set():
                        break
                    group.create_task(gated(source, image, taken))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _why(self, source: Source, image: Image, taken: frozenset[str]) -> tuple[Reason | None, str]:
        """Why the image must be sent (None: it needs nothing), and its digest."""
        copier = self._run.copier(source)
        title = source.registry.title(image.source, image.reference)
        try:
            wanted, present, manifest = await copier.compare(image)
        except DthError as error:
            text = f"{title} could not be compared, a worker will try it: {error}"
            self._emit(Notice("warning", error.code, text, {"image": title}))
            return Reason.UNCOMPARED, image.digest
        if wanted != present:
            return (Reason.DIGEST if present else Reason.MISSING), wanted
        if not self._options.referrers:
            return None, wanted

        async def bring(referrer: Image) -> Copied:
            digest, there, read = await copier.compare(referrer)
            if digest != there:
                raise _Lacking
            return Copied(digest, written=False, manifest=read)

        here = Copied(wanted, written=False, manifest=manifest)
        try:
            await self._referrers(source).follow(image, here.digests, taken, bring)
        except _Lacking:
            return Reason.REFERRER, wanted
        except DthError as error:
            text = f"what refers to {title} could not be compared, a worker will try it: {error}"
            self._emit(Notice("warning", "referrers", text, {"image": title}))
            return Reason.REFERRER, wanted
        return None, wanted

    def _referrers(self, source: Source) -> Referrers:
        name = source.registry.name
        if name not in self._follows:
            tags = self._run.tags(source)
            self._follows[name] = Referrers(source.registry, self._destination, tags, _no_index)
        return self._follows[name]

    async def _preview(self, source: Source, image: Image, _taken: frozenset[str]) -> None:
        title = source.registry.title(image.source, image.reference)
        target = self._destination.title(image.destination, image.reference)
        try:
            wanted, present, manifest = await self._run.copier(source).compare(image)
            if wanted == present:
                return
            manifest = manifest or await source.registry.get_manifest(image.source, wanted)
            self._emit(Planned("copy", title, target, manifest.size, "differs" if present else "missing"))
        except DthError as error:
            self._emit(ObjectFailed(self._options.run_id, title, error.code, str(error), 1, final=True))


async def _no_index(_repository: str, _tag: str, _index: Manifest) -> None:
    raise _Lacking

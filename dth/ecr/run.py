"""One run of an image job: choose, copy so many at once, try again what may work, record every end.

One bad image, or one repository that can't be listed, stops no other. Every image that was chosen ends as DONE, SKIPPED
(the destination has it) or FAILED, in the ledger and in the report.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from dth.ecr.catalog import Catalog, KnownDigests, KnownTags
from dth.ecr.copy import Copied, Copier, Image, Prepare
from dth.ecr.dedup import Shelf, Tally
from dth.ecr.records import PLATFORM_MISSING, lacking, outcome_of, record_of
from dth.ecr.referrers import Referrers
from dth.ecr.registry import Registry
from dth.ecr.select import Chosen, Selection, choose
from dth.errors import DthError, ListingBroken
from dth.events import BytesMoved, Emit, InFlight, ListingProgress, Moved, Notice, ObjectFailed
from dth.model import Counts, ImageRecord
from dth.retry import RetryPolicy
from dth.states import Outcome

Record = Callable[[ImageRecord, Counts], Awaitable[None]]
"""Keeps one end, durably."""


@dataclass(frozen=True, slots=True)
class Source:
    """One registry to read from and what is asked of it; `named` as images name it, "" where it is the job's own."""

    registry: Registry
    catalog: Catalog
    selection: Selection
    named: str = ""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The run's share of the settings."""

    run_id: str
    images_at_once: int
    retry: RetryPolicy  # of a whole image
    platforms: tuple[str, ...]
    referrers: bool
    grace_seconds: float


@dataclass(slots=True)
class Done:
    """What one repository came to, for pruning. `digests` of images that the destination has now."""

    chosen: Chosen
    source: Source
    digests: set[str] = field(default_factory=set)
    failed: bool = False


@dataclass(slots=True)
class _Work:
    image: Image
    done: Done
    copier: Copier
    referrers: Referrers | None
    taken: frozenset[str]


class ImageRun:
    """Copies everything that the sources' selections mean to one destination."""

    def __init__(
        self, sources: Sequence[Source], destination: Registry, prepare: Prepare, options: RunOptions,
        record: Record, emit: Emit, catalog: Catalog | None = None,
    ) -> None:  # fmt: skip
        self._sources = sources
        self._destination = destination
        self._prepare = prepare
        self.options = options
        self._record = record
        self._emit = emit
        self._shelf = Shelf(destination, self._moved_bytes)
        self._tags: dict[str, KnownTags] = {}
        self._known = KnownDigests(catalog) if catalog is not None else None
        self._in_flight = 0
        self.found = 0
        self.broken_listings = 0
        self.cut_short = False  # stopped before every image had its turn
        self.failure: DthError | None = None  # why a registry's listing ended early
        self.repositories: list[Done] = []
        self.landed: Counter[str] = Counter()

    async def run(self, stop: asyncio.Event) -> None:
        """To the end, or until `stop`: then what is in flight has the grace period."""
        queue: asyncio.Queue[_Work | None] = asyncio.Queue(maxsize=2 * self.options.images_at_once)

        async def everything() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.options.images_at_once):
                    group.create_task(self._worker(queue, stop))
                await self._feed(queue, stop)

        work = asyncio.ensure_future(everything())
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await asyncio.wait({work}, timeout=self.options.grace_seconds)
        finally:
            stopped.cancel()
            if not work.done():
                self.cut_short = True
                work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def plan(self) -> AsyncIterator[tuple[Source, Image, frozenset[str]]]:
        """What would be looked at, in order, each with the tags of its repository that travel on their own; nothing is asked
        of the destination."""
        for source in self._sources:
            async for chosen in self._chosen(source):
                taken = chosen.taken()
                for image in chosen.images:
                    yield source, image, taken

    def copier(self, source: Source) -> Copier:
        """What compares and copies images of this source."""
        return Copier(
            source.registry, self._destination, self._shelf, self._prepare, self.options.platforms, self._known
        )

    async def _chosen(self, source: Source) -> AsyncIterator[Chosen]:
        """The source's repositories; one that can't be listed is named and counted."""
        chosen = choose(source.selection, source.catalog, self._broken)
        async for one in chosen:
            if one.listing is not None:
                self.tags(source).learn(one.source, one.listing)
                if self._known is not None:
                    self._known.expect(one.destination)
                if not one.listing.tags and not source.catalog.tells_digests:
                    title = source.registry.title(one.source)
                    text = f"{title} lists no tag, so nothing of it is copied"
                    self._emit(Notice("warning", "no_tags", text, {"repository": title}))
            self.found += len(one.images)
            self._emit(ListingProgress(self.options.run_id, self.found, 0, self.found, 0))
            yield one

    def _broken(self, repository: str, error: DthError) -> None:
        self.broken_listings += 1
        self._emit(ObjectFailed(self.options.run_id, repository, error.code, str(error), 1, final=True))

    async def _feed(self, queue: asyncio.Queue[_Work | None], stop: asyncio.Event) -> None:
        """Hand out all images. A registry that can't be listed ends it; what was handed out until then is still copied."""
        try:
            for source in self._sources:
                await self._feed_from(source, queue, stop)
        except DthError as error:
            self.failure = error
        for _ in range(self.options.images_at_once):
            await queue.put(None)

    async def _feed_from(self, source: Source, queue: asyncio.Queue[_Work | None], stop: asyncio.Event) -> None:
        copier = self.copier(source)
        referrers = self._referrers(source) if self.options.referrers else None
        async for chosen in self._chosen(source):
            done = Done(chosen, source)
            self.repositories.append(done)
            taken = chosen.taken()
            for image in chosen.images:
                if stop.is_set():
                    self.cut_short = done.failed = True
                    return
                await queue.put(_Work(image, done, copier, referrers, taken))

    def tags(self, source: Source) -> KnownTags:
        """The tags of the source's repositories, as far as they were listed."""
        return self._tags.setdefault(source.registry.name, KnownTags(source.catalog))

    def _referrers(self, source: Source) -> Referrers:
        return Referrers(source.registry, self._destination, self.tags(source), self._destination.put_manifest)

    async def _worker(self, queue: asyncio.Queue[_Work | None], stop: asyncio.Event) -> None:
        while (work := await queue.get()) is not None:
            if stop.is_set():
                self.cut_short = work.done.failed = True
                continue
            self._in_flight += 1
            self._emit(InFlight("images", self._in_flight, 0))
            try:
                await self._image(work)
            finally:
                self._in_flight -= 1
                self._emit(InFlight("images", self._in_flight, 0))

    async def _image(self, work: _Work) -> None:
        copied = await self._one(work.done.source, work.copier, work.image, referrer=False)
        if copied is None:
            work.done.failed = True
            return
        work.done.digests.add(copied.digest)
        self._look_at_list(work)
        if text := lacking(copied):
            title = work.done.source.registry.title(work.image.source, work.image.reference)
            self._emit(ObjectFailed(self.options.run_id, title, PLATFORM_MISSING, text, 1, final=True))
        if work.referrers is None:
            return

        async def bring(image: Image) -> Copied | None:
            return await self._one(work.done.source, work.copier, image, referrer=True)

        try:
            await work.referrers.follow(work.image, copied.digests, work.taken, bring)
        except DthError as error:
            await self._ended(work.done.source, work.image, Tally(), 1, referrer=True, error=error)

    def _look_at_list(self, work: _Work) -> None:
        """An image that was asked for by its tag and has come, though the list of tags lacks it, proves the list wrong."""
        image, listing = work.image, work.done.chosen.listing
        if listing is None or not image.tag or image.pinned or image.tag in listing.tags:
            return
        work.done.failed = True  # such a list is no reason to remove anything
        text = f"the source lists its tags without {image.tag}, which it has: other tags may be missing as well"
        self._broken(image.source, ListingBroken(text))

    async def _one(self, source: Source, copier: Copier, image: Image, *, referrer: bool) -> Copied | None:
        """Copy one image, again and again as the options say, and record its end."""
        title = source.registry.title(image.source, image.reference)
        attempt = 0
        while True:
            attempt += 1
            tally = Tally()
            try:
                copied = await copier.copy(image, tally)
            except DthError as error:
                if error.retryable and attempt < self.options.retry.attempts:
                    self._emit(ObjectFailed(self.options.run_id, title, error.code, str(error), attempt, final=False))
                    wished = getattr(error, "retry_after", None)
                    await asyncio.sleep(self.options.retry.wait_seconds(attempt, wished))
                    continue
                await self._ended(source, image, tally, attempt, referrer=referrer, error=error)
                return None
            await self._ended(source, image, tally, attempt, referrer=referrer, copied=copied)
            return copied

    async def _ended(
        self,
        source: Source,
        image: Image,
        tally: Tally,
        attempt: int,
        *,
        referrer: bool,
        copied: Copied | None = None,
        error: DthError | None = None,
    ) -> None:
        outcome = outcome_of(copied)
        title = source.registry.title(image.source, image.reference)
        record = record_of(
            self.options.run_id, source.registry, self._destination, image, tally, attempt,
            referrer=referrer, copied=copied, error=error,
        )  # fmt: skip
        self._count(record)
        failed = outcome is Outcome.FAILED
        counts = Counts(
            done=int(outcome is Outcome.DONE),
            skipped=int(outcome is Outcome.SKIPPED),
            failed=int(failed),
            bytes=tally.moved_bytes,
        )
        if referrer:  # nobody could tell before that there would be one
            self.found += 1
        await self._record(record, counts)
        if failed:
            text = f"not all that refers to the image was copied: {record.error}" if referrer else record.error
            self._emit(ObjectFailed(self.options.run_id, title, record.error_code, text, attempt, final=True))
        self._emit(Moved(self.options.run_id, counts.done, counts.skipped, counts.failed, counts.bytes))

    def _count(self, record: ImageRecord) -> None:
        self.landed["blobs uploaded"] += record.blobs_uploaded
        self.landed["blobs mounted"] += record.blobs_mounted
        self.landed["blobs present"] += record.blobs_present
        self.landed["mounts refused"] += record.mounts_refused
        self.landed["bytes skipped"] += record.skipped_bytes
        self.landed["foreign layers"] += record.foreign_layers

    def _moved_bytes(self, count: int) -> None:
        if count:
            self._emit(BytesMoved(self.options.run_id, count))

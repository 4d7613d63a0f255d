"""One image with all that refers to it, for a worker that was sent it: the same copying as a run's own, without its queue.

Trying again is the worker's business; what is known of the destination (blobs, mounts, repositories) is shared by all
images that one process carries for a run.
"""

from __future__ import annotations

from dth.ecr.catalog import Catalog, KnownTags
from dth.ecr.copy import Copied, Copier, Image, Prepare
from dth.ecr.dedup import Shelf, Tally
from dth.ecr.records import lacking, outcome_of, record_of
from dth.ecr.referrers import Referrers
from dth.ecr.registry import Registry
from dth.ecr.run import RunOptions
from dth.errors import DthError, ManifestMissing, NoSuchImage
from dth.events import Emit, Notice
from dth.model import ImageEnd, ImageRecord
from dth.states import Outcome


class Carrier:
    """Carries images of one source registry to the destination."""

    def __init__(
        self, source: Registry, catalog: Catalog, destination: Registry, shelf: Shelf, prepare: Prepare,
        options: RunOptions, emit: Emit,
    ) -> None:  # fmt: skip
        self._source = source
        self._destination = destination
        self._options = options
        self._emit = emit
        self._copier = Copier(source, destination, shelf, prepare, options.platforms)
        self._referrers = Referrers(source, destination, KnownTags(catalog), destination.put_manifest)

    async def carry(self, image: Image, attempt: int) -> ImageEnd:
        """Bring it, then its referrers. DONE where anything was written. Raises DthError where the image failed (NoSuchImage
        where the source has it no longer), or one of its referrers: the image itself is then there."""
        tally = Tally()
        copied = await self._copier.copy(image, tally)
        records = [self._record(image, tally, attempt, copied=copied)]
        if self._options.referrers:
            records += await self._follow(image, copied)
        if text := lacking(copied):
            raise ManifestMissing(f"{self.title(image)}: {text}")
        written = any(record.outcome is Outcome.DONE for record in records)
        outcome = Outcome.DONE if written else outcome_of(copied)
        return ImageEnd(outcome, sum(record.moved_bytes for record in records), tuple(records))

    def title(self, image: Image) -> str:
        """Its name at the source, for people."""
        return self._source.title(image.source, image.reference)

    async def _follow(self, image: Image, copied: Copied) -> list[ImageRecord]:
        records: list[ImageRecord] = []
        failures: list[DthError] = []

        async def bring(referrer: Image) -> Copied | None:
            tally = Tally()
            arrived: Copied | None = None
            failure: DthError | None = None
            try:
                arrived = await self._copier.copy(referrer, tally)
            except DthError as error:
                failure = error
                failures.append(error)
            records.append(self._record(referrer, tally, 1, referrer=True, copied=arrived, error=failure))
            return arrived

        try:
            await self._referrers.follow(image, copied.digests, frozenset(), bring)
        except DthError as error:
            failures.append(error)
        if not failures:
            return records
        for failed in failures:
            text = f"not all that refers to {self.title(image)} was copied: {failed}"
            self._emit(Notice("warning", "referrers", text))
        worst = min(failures, key=lambda error: error.retryable)
        if isinstance(worst, NoSuchImage):  # would say that the image itself is gone
            raise ManifestMissing(str(worst)) from worst
        raise worst

    def _record(
        self, image: Image, tally: Tally, attempt: int, *, referrer: bool = False,
        copied: Copied | None = None, error: DthError | None = None,
    ) -> ImageRecord:  # fmt: skip
        return record_of(
            self._options.run_id, self._source, self._destination, image, tally, attempt,
            referrer=referrer, copied=copied, error=error,
        )  # fmt: skip

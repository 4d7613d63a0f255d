"""The images of a run, as a worker process copies them: registries from the run's own settings, opened when they are needed.

Connections and logins serve all runs of the same settings; what is known of the destination (its blobs, what can be mounted,
its repositories) is kept for one run, because between two runs anything may be removed there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dth import settings
from dth.app.build import refuse_another_jobs
from dth.app.images.build import nothing_to_prepare, repository_maker, run_options
from dth.app.images.registries import Opener, Place, open_registries
from dth.app.sides import is_allowed
from dth.ecr.copy import Image
from dth.ecr.copy_with_referrers import Carrier
from dth.ecr.dedup import Shelf
from dth.ecr.reference import DOCKER_HUB, dest_repository, is_digest, split_name
from dth.ecr.registry import Registry
from dth.errors import DthError, LedgerError, SettingsError, WrongJob
from dth.events import BytesMoved, Emit
from dth.flow.breaker import SYSTEMIC
from dth.ledgers.base import Ledger
from dth.messages import ImageMessage, MessageInvalid
from dth.model import ImageEnd, ImageRecord
from dth.settings import ImageJob, TransferJob
from dth.states import Outcome, Side
from dth.transport.pace import Pace
from dth.usage import Asked
from dth.worker.images import Images
from dth.worker.outcomes import Ended

RUNS_KEPT = 8
"""Runs whose knowledge of the destination a process keeps; an older one begins anew."""


@dataclass(frozen=True, slots=True)
class AskedRegistries:
    """See `usage.Asked`."""

    opener: Opener
    side: Side

    @property
    def requests(self) -> Mapping[str, int]:
        """By operation."""
        return self.opener.requests(self.side)

    @property
    def retries(self) -> Mapping[str, int]:
        """Only what the registries asked for."""
        return self.opener.retries(self.side)

    @property
    def priced_region(self) -> str:
        """Registries have other prices than buckets."""
        return ""


@dataclass
class _Home:
    """The registries of one job's settings. Sources are opened when the first image of theirs comes."""

    job: ImageJob
    opener: Opener
    destination: Place
    refuse_beyond: Callable[[Place], None]
    sources: dict[str, Place] = field(default_factory=dict)
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    @cached_property
    def sides(self) -> tuple[Asked, Asked]:
        """What is asked of either side's registries."""
        return AskedRegistries(self.opener, Side.SOURCE), AskedRegistries(self.opener, Side.DESTINATION)

    async def source(self, named: str) -> Place:
        """The registry that images name; "" for the job's own."""
        async with self.one_at_a_time:
            if named not in self.sources:
                place = await self.opener.source(named)
                self.refuse_beyond(place)
                self.sources[named] = place
            return self.sources[named]


class _RunImages:
    """See `worker.images.Images`."""

    def __init__(self, run_id: str, home: _Home, registries: frozenset[str], emit: Emit) -> None:
        self._home = home
        self._registries = registries
        self._emit = emit
        self._options = run_options(home.job, run_id)
        self._shelf = Shelf(home.destination.registry, self._moved)
        self._carriers: dict[str, Carrier] = {}

    @property
    def at_once(self) -> int:
        return self._options.images_at_once

    @property
    def sides(self) -> tuple[Asked, Asked]:
        return self._home.sides

    def refusal(self, message: ImageMessage) -> str:
        return refusal(message, self._home.job.dest_repository_prefix, self._registries)

    async def copy(self, message: ImageMessage, attempt: int) -> ImageEnd:
        return await (await self._carrier(message.registry)).carry(_image(message), attempt)

    async def answers_nobody(self, message: ImageMessage) -> bool:
        return any([not await _answers(one) for one in self._common(message)])

    def _common(self, message: ImageMessage) -> Sequence[Registry]:
        destination, source = self._home.destination, self._home.sources.get("")
        own = [source.registry] if source and not message.registry else []
        return [destination.registry, *own]

    def record(self, message: ImageMessage, ended: Ended) -> ImageRecord:
        carrier = self._carriers.get(message.registry)
        return ImageRecord(
            run_id=message.run_id,
            source=carrier.title(_image(message)) if carrier else f"{message.registry}/{message.source}".lstrip("/"),
            destination=f"{self._home.destination.registry.name}/{message.destination}",
            digest=message.digest,
            outcome=ended.outcome or Outcome.FAILED,
            moved_bytes=0, skipped_bytes=0, blobs_uploaded=0, blobs_mounted=0, blobs_present=0, mounts_refused=0,
            foreign_layers=0,
            attempt=ended.attempt,
            referrer_of="",
            error_code=ended.error_code,
            error=ended.error,
        )  # fmt: skip

    async def _carrier(self, named: str) -> Carrier:
        source = await self._home.source(named)
        found = self._carriers.get(named)
        if found is None:
            maker = repository_maker(self._home.job, self._home.destination, source)
            found = self._carriers[named] = Carrier(
                source.registry, source.catalog, self._home.destination.registry, self._shelf,
                maker.prepare if maker else nothing_to_prepare, self._options, self._emit,
            )  # fmt: skip
        return found

    def _moved(self, count: int) -> None:
        if count:
            self._emit(BytesMoved(self._options.run_id, count))


def _image(message: ImageMessage) -> Image:
    """A tag means what the source's says when it is asked; a digest is that very image."""
    source, reference = split_name(message.source)
    destination, target = split_name(message.destination)
    digest = reference if is_digest(reference) else ""
    return Image(source, destination, "" if is_digest(target) else target, digest, pinned=bool(digest))


def refusal(message: ImageMessage, prefix: str, registries: frozenset[str]) -> str:
    """Why the run's settings do not allow this image, "" where they do: whoever can send messages must not be able to write
    elsewhere than the job does, nor make it read from, and log in to, a registry that it does not name."""
    if message.registry not in registries:
        return f"the run reads from no registry {message.registry!r}"
    try:
        source, reference = split_name(message.source)
        destination, target = split_name(message.destination)
    except SettingsError as error:
        return str(error)
    names = {source, source.removeprefix("library/")} if message.registry == DOCKER_HUB else {source}
    if destination not in {dest_repository(prefix, name) for name in names}:
        return f"the run does not bring {source} to {destination}"
    if reference != target and not (is_digest(reference) and message.digest == reference):
        return f"the run does not bring {message.source} to {message.destination}"
    return ""


async def _answers(registry: Registry) -> bool:
    try:
        await registry.check()
    except SYSTEMIC:
        return False
    except DthError:
        return True
    return True


class ImagesOpener:
    """Opens the images of run ids for one worker process. `strict` as for `JobOpener`."""

    def __init__(self, job: TransferJob, ledger: Ledger, emit: Emit, *, strict: bool, pace: Pace | None = None) -> None:
        self._job = job
        self._ledger = ledger
        self._emit = emit
        self._strict = strict
        self._pace = pace
        self._runs: dict[str, _RunImages] = {}
        self._homes: dict[str, _Home] = {}
        self._stack = contextlib.AsyncExitStack()
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, run_id: str) -> Images:
        """See `worker.images.OpenImages`."""
        if found := self._runs.get(run_id):
            return found
        async with self._one_at_a_time:
            if run_id not in self._runs:
                run = await self._ledger.run(run_id)
                if run is None:
                    raise LedgerError(f"the ledger knows no run {run_id!r}")
                if self._strict and settings.image_contradicted(self._job, run.job_settings):
                    await refuse_another_jobs(self._job, run, self._ledger)
                home = await self._home(run_id, run.job_settings)
                registries = settings.image_registries(run.job_settings)
                self._runs[run_id] = _RunImages(run_id, home, registries, self._emit)
                for old in list(self._runs)[:-RUNS_KEPT]:
                    del self._runs[old]
            return self._runs[run_id]

    async def _home(self, run_id: str, text: str) -> _Home:
        if self._strict and (names := settings.image_contradicted(self._job, text)):
            raise WrongJob(
                f"run {run_id} was made with other settings than this worker was given ({', '.join(names)}); start the "
                "worker with the run's job id alone"
            )
        if text not in self._homes:
            stored = settings.from_image_run_settings(text, process=self._job)
            opener = await self._stack.enter_async_context(open_registries(stored, self._pace))
            destination = await opener.destination()
            self._refuse_beyond(destination)
            await destination.registry.check()  # who can't get in there must not find out image by image
            self._homes[text] = _Home(stored, opener, destination, self._refuse_beyond)
        return self._homes[text]

    def _refuse_beyond(self, place: Place) -> None:
        """Raises MessageInvalid for a registry that `--allow` does not name."""
        name, allowed = place.registry.name, self._job.allow
        if allowed and not any(is_allowed(one, name, "") for one in allowed):
            raise MessageInvalid(f"it needs the registry {name}, which --allow does not name")

    async def close(self) -> None:
        """Close the registries."""
        await self._stack.aclose()

"""Both stores of a job, opened from its settings."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import AsyncIterator, Sequence
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from dth import settings
from dth.errors import SettingsError
from dth.events import Emit, Notice, Requests
from dth.model import Location
from dth.settings import TransferJob
from dth.states import Side
from dth.stores.s3 import S3Store
from dth.transport.pace import Pace
from dth.values import value

LISTING_CONNECTIONS = 16  # per side; listers are few
MOVING_CONNECTIONS = 256  # per side and process: at 100 ms round trip, some thousand small objects a second
ASKING_CONNECTIONS = 32  # besides, where a finder asks about single objects


@value
class Sides:
    """Both stores of a job, open."""

    source: S3Store
    destination: S3Store
    storage_class: str = ""  # of what is written

    async def check(self, job: TransferJob, emit: Emit | None = None) -> None:
        """One cheap listing on each side: a wrong bucket, key, region or endpoint is named before anything starts. `emit` is
        told where each side is."""
        mapping = settings.mapping(job)
        await self.source.check(mapping.source_prefix)
        await self.destination.check(mapping.dest_listing_prefix)
        for side, store in (("source", self.source), ("destination", self.destination)):
            if job.tags and store.capabilities.keeps_tags is False:
                raise SettingsError(f"{side}: {store.capabilities.provider} has no object tags: leave out --tags")
            if emit:
                emit(Notice("info", "endpoint", f"{side}: {await store.place()}"))

    def beyond(self, allowed: Sequence[str]) -> str:
        """Which side is at a host or bucket that is not among those, as the rest of a sentence; "" where all are, or where
        none are named."""
        for side, store in (("source", self.source), ("destination", self.destination)):
            if allowed and not any(is_allowed(one, store.host, store.name) for one in allowed):
                return f"has its {side} at {store.host}/{store.name}, which --allow does not name"
        return ""

    def tell(self, job: TransferJob, emit: Emit) -> None:
        """What the job's owner ought to know of how its stores are reached; said once a run."""
        for side, store in (("source", self.source), ("destination", self.destination)):
            location = settings.source_location(job) if side == "source" else settings.dest_location(job)
            if is_open_to_readers(location):
                text = (
                    f"the {side}'s endpoint {location.endpoint} is plain HTTP: whoever is on the way reads the objects, and "
                    "any session token that signs the requests; use https"
                )
                emit(Notice("warning", "plain_http", text, {"side": side, "endpoint": location.endpoint}))
            if offset := round(store.clock_offset):
                text = (
                    f"the {side}'s clock is {abs(offset):,} s {'ahead of' if offset > 0 else 'behind'} this machine's"
                )
                values: dict[str, str | int] = {"side": side, "seconds": abs(offset)}
                emit(Notice("warning", "clock_corrected", f"{text}: requests are signed by the store's", values))

    def requests(self, process: str) -> Requests:
        """What this process has asked of them."""
        sides = {Side.SOURCE: self.source, Side.DESTINATION: self.destination}
        return Requests(
            process=process,
            source=dict(self.source.requests),
            destination=dict(self.destination.requests),
            retries={side.value: dict(store.retries) for side, store in sides.items() if store.retries},
            regions={side.value: store.priced_region for side, store in sides.items()},
            storage_class=self.storage_class,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self.source.close()
        await self.destination.close()


def is_allowed(pattern: str, host: str, bucket: str) -> bool:
    """Whether `host` or `host/bucket`, with `*` for any characters but a slash, names this place."""
    hosts, _, buckets = pattern.partition("/")
    return fnmatchcase(host.lower(), hosts.lower()) and fnmatchcase(bucket, buckets or "*")


def is_open_to_readers(location: Location) -> bool:
    """Whether credentials are used over plain HTTP, and not within this machine alone."""
    plain = urlsplit(location.endpoint).scheme == "http"
    return plain and location.credentials != "anonymous" and not is_here(location)


def is_here(location: Location) -> bool:
    """Whether the endpoint is an address of this machine's own."""
    host = urlsplit(location.endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def open_store(location: Location, job: TransferJob, connections: int, pace: Pace | None = None) -> S3Store:
    """The store of one side; no request is sent. What it answers keeps to `pace`."""
    return S3Store.open(
        location,
        connect_seconds=job.connect_seconds,
        first_byte_seconds=job.first_byte_seconds,
        idle_seconds=job.idle_seconds,
        ca_bundle=job.ca_bundle,
        proxy=job.src_proxy if location.side is Side.SOURCE else job.dest_proxy,
        pace=pace,
        max_connections=connections,
    )


def open_pace(job: TransferJob) -> Pace | None:
    """This process's share of `bandwidth`; None where there is no limit."""
    return Pace(job.bandwidth) if job.bandwidth else None


@contextlib.asynccontextmanager
async def open_sides(job: TransferJob, *, connections: int, pace: Pace | None = None) -> AsyncIterator[Sides]:
    """Both stores, closed at the end. Who only lists takes no `pace`: `bandwidth` is for bodies of objects."""
    sides = sides_of(job, connections, pace)
    try:
        yield sides
    finally:
        await sides.close()


def sides_of(job: TransferJob, connections: int, pace: Pace | None) -> Sides:
    """Both stores, to be closed by the caller."""
    return Sides(
        open_store(settings.source_location(job), job, connections, pace),
        open_store(settings.dest_location(job), job, connections, pace),
        job.dest_storage_class,
    )


def finder_connections(job: TransferJob) -> int:
    """What listing a side, and asking about its objects, needs at once."""
    listing = max(LISTING_CONNECTIONS, job.finder_number)
    return listing + ASKING_CONNECTIONS if job.restore or job.compare == "checksum" else listing

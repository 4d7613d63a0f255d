"""Any store that speaks S3: `stores.base.ObjectStore` over our own signer and HTTP client."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from dth.model import ByteSpan, Entry, Generation, Location, ObjectHead, Tags
from dth.partitions import AWS
from dth.retry import RetryPolicy
from dth.states import RestoreState
from dth.stores.base import Capabilities, OpenUpload, PutOptions, Reader, UploadedPart, Written
from dth.stores.bucket import Bucket, Connect
from dth.stores.credentials import CredentialsProvider, credentials_for
from dth.stores.listing import first_page, list_pages, probe
from dth.stores.nesting import Nesting
from dth.stores.providers import (
    AMAZON_S3,
    S3_COMPATIBLE,
    ProviderProfile,
    capabilities,
    choose_profile,
    endpoint_of,
    origin_of,
    recognise_server,
)
from dth.stores.reading import Reading, Stream
from dth.stores.writing import Writing
from dth.transport.base import Body, HttpClient, Origin, Timeouts
from dth.transport.client import PooledClient
from dth.transport.pace import Pace, PacedClient
from dth.transport.proxy import Proxy
from dth.transport.tls import make_ssl_context

RETRY = RetryPolicy(attempts=5, base_seconds=0.2, cap_seconds=20.0)
"""Of one request. What outlasts it is the message's to retry."""


class S3Store:
    """One side of a job. Errors, repetition and keys as `stores.base` promises."""

    def __init__(
        self,
        location: Location,
        profile: ProviderProfile,
        credentials: CredentialsProvider,
        *,
        connect: Connect,
        retry: RetryPolicy = RETRY,
    ) -> None:
        self._location = location
        self._parts = credentials, connect
        self._bucket = Bucket(location, profile, credentials, connect=connect, retry=retry)
        self._writing = Writing(self._bucket)
        self._use(profile)

    @classmethod
    def open(
        cls,
        location: Location,
        *,
        connect_seconds: float,
        first_byte_seconds: float,
        idle_seconds: float,
        max_connections: int,
        ca_bundle: str = "",
        proxy: str = "",
        pace: Pace | None = None,
        credentials: CredentialsProvider | None = None,
    ) -> S3Store:
        """The store that the location means, with pooled connections and the credentials that it names. Sends nothing.

        Raises SettingsError for an unknown provider, an endpoint that is none, a secret's name, or a bundle of
        certificates that can't be read.
        """
        through = Proxy.of(proxy) if proxy else None
        timeouts = Timeouts(connect_seconds, first_byte_seconds, idle_seconds)
        bundle = ca_bundle or os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")

        def connect(origin: Origin) -> HttpClient:
            context = make_ssl_context(bundle) if origin.scheme == "https" else None
            client = PooledClient(
                origin, timeouts=timeouts, max_connections=max_connections, ssl_context=context, proxy=through
            )
            return PacedClient(client, pace) if pace else client

        return cls(
            location,
            choose_profile(location.provider, location.endpoint),
            credentials or credentials_for(location),
            connect=connect,
        )

    @property
    def capabilities(self) -> Capabilities:
        """See `ObjectStore`."""
        return self._capabilities

    @property
    def bucket(self) -> Bucket:
        """For a store beside this one, which is to copy from it."""
        return self._bucket

    @property
    def reading(self) -> Reading:
        """Its requests that read, and what their answers must hold."""
        return self._reading

    @property
    def writing(self) -> Writing:
        """Its requests that write, and what their answers must hold."""
        return self._writing

    @property
    def writes_in_turn(self) -> bool:
        """Whether a key may have to wait for another one that is being written."""
        return self._nesting is not None

    @property
    def requests(self) -> Mapping[str, int]:
        """See `ObjectStore`."""
        return self._bucket.requests

    @property
    def name(self) -> str:
        """The bucket's."""
        return self._bucket.location.bucket

    @property
    def host(self) -> str:
        """Where requests go, with a port where it has one; for AWS in an unknown region, the default's."""
        location, profile = self._bucket.location, self._bucket.profile
        return urlsplit(endpoint_of(profile, location.endpoint, location.region)).netloc

    @property
    def clock_offset(self) -> float:
        """See `Bucket.clock_offset`."""
        return self._bucket.clock_offset

    @property
    def retries(self) -> Mapping[str, int]:
        """See `ObjectStore`."""
        return self._bucket.retries

    @property
    def priced_region(self) -> str:
        """See `ObjectStore`."""
        return self._bucket.region or AWS.home if self._capabilities.provider == AMAZON_S3 else ""

    @property
    def region(self) -> str:
        """The bucket's region, as given or found; "" where it is not known yet."""
        return self._bucket.region

    async def place(self) -> str:
        """Where requests go, for people: `Ceph_RGW at http://10.0.0.5:8000, region us-east-1`. The bucket's own host, where its
        name is part of that, is not told apart."""
        return await self._bucket.place()

    async def check(self, prefix: str = "") -> None:
        """One listing of one key: raises what stands in the way (bucket, region, credentials, permission, network).

        A store of unknown kind that names itself in the answer is treated as what it is from then on.
        """
        await probe(self._bucket, prefix)
        unnamed = self._location.provider in {"", AMAZON_S3} and self._bucket.profile.name == S3_COMPATIBLE
        named = recognise_server(self._bucket.server) if unnamed else None
        if named is not None:
            self._use(named)

    def _use(self, profile: ProviderProfile) -> None:
        endpoint = endpoint_of(profile, self._location.endpoint, self._location.region)
        self._capabilities = capabilities(profile, origin_of(endpoint).scheme, self._location.bucket)
        self._nesting = Nesting() if self._capabilities.key_rules.nested_keys_race else None
        self._bucket.profile = profile
        self._reading = Reading(self._bucket, md5_etag=self._capabilities.md5_etag)

    def variant(self, retry: RetryPolicy, *, addressing: str = "", **changes: Any) -> S3Store:
        """The same place with connections of its own, asked as if its profile were changed so: to find out what is true."""
        credentials, connect = self._parts
        location = replace(self._location, addressing=addressing or self._location.addressing)
        profile = replace(self._bucket.profile, **changes)
        return S3Store(location, profile, credentials, connect=connect, retry=retry)

    @property
    def addressing(self) -> str:
        """`path` or `virtual`."""
        return self._location.addressing or self._bucket.profile.addressing

    @property
    def list_version(self) -> int:
        """Of ListObjects."""
        return self._bucket.profile.list_version

    async def first_page(self, prefix: str, *, after: str = "") -> Sequence[Entry]:
        """What the store itself lists first after `after`, in its order, unfiltered."""
        return await first_page(self._bucket, prefix, after)

    async def close(self) -> None:
        """See `ObjectStore`."""
        await self._bucket.close()

    def pages(self, prefix: str, *, after: str = "", until: str = "") -> AsyncIterator[Sequence[Entry]]:
        """See `Lister`."""
        return list_pages(self._bucket, prefix, after=after, until=until)

    async def head(self, key: str, *, if_match: str = "") -> ObjectHead:
        """See `Reader`."""
        return await self._reading.head(key, if_match)

    async def get(self, key: str, *, pinned: Generation | None, span: ByteSpan | None = None) -> Stream:
        """See `Reader`."""
        return await self._reading.get(key, pinned, span)

    async def tags(self, key: str) -> Tags:
        """See `Reader`."""
        return await self._reading.tags(key)

    async def part_size(self, key: str, generation: Generation) -> int:
        """See `Reader`."""
        return await self._reading.part_size(key, generation)

    async def put(self, key: str, body: Body, length: int, options: PutOptions) -> Written:
        """See `Writer`."""
        if self._nesting is None:
            return await self._writing.put(key, body, length, options)
        async with self._nesting.writing(key):
            return await self._writing.put(key, body, length, options)

    async def put_tags(self, key: str, tags: Tags) -> None:
        """See `Writer`."""
        await self._writing.put_tags(key, tags)

    async def restore(self, key: str, *, days: int, tier: str) -> RestoreState:
        """See `Restorer`."""
        return await self._writing.restore(key, days, tier)

    async def delete(self, key: str, *, if_match: str = "") -> None:
        """See `Writer`."""
        await self._writing.delete(key, if_match)

    async def create_upload(self, key: str, options: PutOptions, checksum_algorithm: str = "") -> str:
        """See `Writer`."""
        return await self._writing.create(key, options, checksum_algorithm)

    async def upload_part(
        self, key: str, upload_id: str, number: int, body: Body, length: int, options: PutOptions
    ) -> Written:
        """See `Writer`."""
        return await self._writing.upload_part(key, upload_id, number, body, length, options)

    async def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, if_none_match: bool = False
    ) -> Written:
        """See `Writer`."""
        if self._nesting is None:
            return await self._writing.complete(key, upload_id, parts, if_none_match=if_none_match)
        async with self._nesting.writing(key):
            return await self._writing.complete(key, upload_id, parts, if_none_match=if_none_match)

    async def copies_from(self, source: Reader) -> bool:
        """See `Writer`."""
        if not isinstance(source, S3Store) or not self._capabilities.server_side_copy:
            return False
        return await self._bucket.opens_with_the_same_keys(source.bucket)

    async def copy(
        self, source: Reader, source_key: str, generation: Generation, key: str, options: PutOptions
    ) -> Written:
        """See `Writer`."""
        if self._nesting is None:
            return await self._writing.copy(_beside(source), source_key, generation, key, options)
        async with self._nesting.writing(key):
            return await self._writing.copy(_beside(source), source_key, generation, key, options)

    async def copy_part(
        self,
        source: Reader,
        source_key: str,
        generation: Generation,
        span: ByteSpan,
        key: str,
        upload_id: str,
        number: int,
    ) -> Written:
        """See `Writer`."""
        return await self._writing.copy_part(_beside(source), source_key, generation, span, key, upload_id, number)

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Writer`."""
        await self._writing.abort(key, upload_id)

    def uploaded_parts(self, key: str, upload_id: str) -> AsyncIterator[UploadedPart]:
        """See `Writer`."""
        return self._writing.parts(key, upload_id)

    def open_uploads(self, prefix: str) -> AsyncIterator[OpenUpload]:
        """See `Writer`."""
        return self._writing.uploads(prefix)


def _beside(source: Reader) -> Bucket:
    """Its bucket. Ask `copies_from` first."""
    assert isinstance(source, S3Store)
    return source.bucket

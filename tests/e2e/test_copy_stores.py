"""Copies between real stores, over real HTTP."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dth.errors import RequestRefused
from dth.flow.budget import ByteBudget
from dth.flow.limiter import Limiter
from dth.ledgers.sqlite import SqliteLedger
from dth.messages import ObjectEntry
from dth.model import Attributes, Generation, KeyMapping, Location
from dth.multipart.complete import sweep_uploads
from dth.states import Reason, Side, VerifiedBy
from dth.stores.base import PutOptions
from dth.stores.s3 import S3Store
from dth.transfer.context import Job
from dth.transfer.copy import CopyContext, abandon_upload, copy_object
from tests.servers.copying import OPTIONS
from tests.servers.s3server import S3Server

MIB = 1 << 20
RICH = Attributes(
    (("cache-control", "no-cache"), ("content-encoding", "gzip"), ("content-type", "text/x-odd; charset=utf-8")),
    (("owner", "me"),),
)


@pytest.fixture(params=[pytest.param("rgw", marks=pytest.mark.rgw), pytest.param("seaweed", marks=pytest.mark.seaweed)])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def ctx(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CopyContext]:
    """A job between two buckets of the server; objects above 8 MiB move in parts of 5."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    stores = [await store_of(server, side) for side in (Side.SOURCE, Side.DESTINATION)]
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")
    options = replace(OPTIONS, multipart_threshold=8 * MIB, part_size=5 * MIB)
    yield CopyContext(
        job=Job("job", stores[0], stores[1], KeyMapping("", "", strip=True), options),
        run_id="run",
        process="one",
        budget=ByteBudget(64 * MIB),
        limiter=Limiter(fixed=4, upper=4),
        ledger=ledger,
        emit=lambda _: None,
        lease_until=lambda: time.time() + 60,
        redelivered=False,
    )
    for store in stores:
        await store.close()
    await ledger.close()


async def store_of(server: S3Server, side: Side) -> S3Store:
    provider = {"rgw": "Ceph_RGW", "seaweed": "SeaweedFS"}[server.kind]
    bucket = await asyncio.to_thread(server.make_bucket)
    location = Location(side, provider, server.endpoint, server.region, bucket, "", "", "", "path")
    return S3Store.open(location, connect_seconds=10, first_byte_seconds=60, idle_seconds=60, max_connections=16)


async def seed(ctx: CopyContext, key: str, data: bytes) -> ObjectEntry:
    written = await ctx.job.source.put(key, data, len(data), PutOptions(attributes=RICH))
    return ObjectEntry(key=key, size=len(data), etag=written.etag, reason=Reason.MISSING)


async def open_uploads(ctx: CopyContext) -> list[str]:
    return [upload.key async for upload in ctx.job.destination.open_uploads("")]


@pytest.mark.parametrize("size", [0, 10_000, 3 * MIB, 12 * MIB], ids=["empty", "small", "streamed", "parts"])
async def test_bytes_and_attributes_arrive_whichever_way_they_go(ctx: CopyContext, size: int) -> None:
    data = os.urandom(size)
    copied = await copy_object(await seed(ctx, "a b+c%/é ~.bin", data), ctx)
    stream = await ctx.job.destination.get("a b+c%/é ~.bin", pinned=Generation(copied.dest_etag, size))
    assert await stream.read() == data
    kept = dict(stream.head.attributes.headers)
    assert {name: kept.get(name) for name, _ in RICH.headers} == dict(RICH.headers)
    assert stream.head.attributes.metadata == RICH.metadata
    if size <= 8 * MIB:
        assert copied.verified_by is VerifiedBy.CONTENT_MD5
    else:
        seen = ctx.job.destination.capabilities.checksums
        assert copied.verified_by is (VerifiedBy.PART_CRC if seen else VerifiedBy.NOT_VERIFIABLE)
    assert not await open_uploads(ctx)


async def test_a_source_overwritten_between_parts_never_mixes(ctx: CopyContext) -> None:
    old, new = os.urandom(12 * MIB), os.urandom(12 * MIB)
    entry = await seed(ctx, "key", old)
    upload_part = ctx.job.destination.upload_part

    async def overwriting(*call: Any) -> Any:
        ctx.job.destination.upload_part = upload_part  # type: ignore[method-assign]
        await seed(ctx, "key", new)
        return await upload_part(*call)

    ctx.job.destination.upload_part = overwriting  # type: ignore[method-assign,assignment]
    ctx = replace(ctx, limiter=Limiter(fixed=1, upper=1))
    await copy_object(entry, ctx)
    stream = await ctx.job.destination.get("key", pinned=None)
    assert await stream.read() == new
    assert not await open_uploads(ctx)


async def test_a_copy_broken_off_is_gone_on_with_given_up_or_swept(ctx: CopyContext) -> None:
    data = os.urandom(12 * MIB)
    entry = await seed(ctx, "key", data)
    upload_part, sent = ctx.job.destination.upload_part, []

    async def failing(key: str, upload_id: str, number: int, *rest: Any) -> Any:
        sent.append(number)
        if number == 3:
            raise RequestRefused("broken by the test")
        return await upload_part(key, upload_id, number, *rest)

    ctx = replace(ctx, limiter=Limiter(fixed=1, upper=1))
    for end in (abandon, sweep):
        ctx.job.destination.upload_part = failing  # type: ignore[method-assign,assignment]
        with pytest.raises(RequestRefused):
            await copy_object(entry, ctx)
        assert await open_uploads(ctx) == ["key"]
        await end(ctx)
        assert not await open_uploads(ctx)
    with pytest.raises(RequestRefused):
        await copy_object(entry, ctx)
    sent.clear()
    ctx.job.destination.upload_part = upload_part  # type: ignore[method-assign]
    before = ctx.job.destination.requests["UploadPart"]
    await copy_object(entry, ctx)
    assert ctx.job.destination.requests["UploadPart"] == before + 1
    stream = await ctx.job.destination.get("key", pinned=None)
    assert await stream.read() == data


async def abandon(ctx: CopyContext) -> None:
    await abandon_upload("key", ctx)


async def sweep(ctx: CopyContext) -> None:
    assert await sweep_uploads(ctx.job, ctx.ledger, now=time.time(), emit=ctx.emit) == 1

"""Our checksums beside those that real stores compute over the bytes they hold."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dth.model import Generation, Location
from dth.multipart.checksum import Crc, Sums, joined, multipart_etag
from dth.states import Side
from dth.stores.base import PutOptions, UploadedPart
from dth.stores.s3 import S3Store
from tests.servers.s3server import S3Server

MIB = 1 << 20
SIZES = (5 * MIB, 6 * MIB, 12_345)
CRCS = ("crc64nvme", "crc32c", "crc32")


@asynccontextmanager
async def opened(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Store]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    provider = {"rgw": "Ceph_RGW", "seaweed": "SeaweedFS"}[server.kind]
    place = Location(Side.SOURCE, provider, server.endpoint, server.region, server.make_bucket(), "", "", "", "path")
    store = S3Store.open(place, connect_seconds=10, first_byte_seconds=60, idle_seconds=60, max_connections=4)
    yield store
    await store.close()


def crc_of(algorithm: str, data: bytes) -> Crc:
    crc = Crc(algorithm)
    crc.update(data)
    return crc


@pytest.mark.parametrize("algorithm", CRCS)
async def test_parts_checksums_combined_are_what_seaweedfs_keeps_of_the_whole_object(
    seaweed: S3Server, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    async with opened(seaweed, monkeypatch) as store:
        upload = await store.create_upload("k", PutOptions(), algorithm)
        parts, crcs = [], []
        for number, size in enumerate(SIZES, 1):
            body = os.urandom(size)
            crcs.append(crc_of(algorithm, body))
            written = await store.upload_part("k", upload, number, body, size, PutOptions())
            assert dict(written.checksums)[algorithm] == crcs[-1].base64
            parts.append(UploadedPart(number, size, written.etag))
        completed = await store.complete_upload("k", upload, parts)
        head = await store.head("k")
    whole = joined(algorithm, crcs).base64
    assert dict(completed.checksums)[algorithm] == dict(head.checksums)[algorithm] == whole
    assert head.checksum_type == "FULL_OBJECT"
    assert completed.etag == multipart_etag([part.etag for part in parts])


@pytest.mark.parametrize("algorithm", [*CRCS, "sha1", "sha256"])
async def test_a_single_puts_checksum_is_what_seaweedfs_answers_and_keeps(
    seaweed: S3Server, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    body = os.urandom(MIB + 7)
    sums = Sums([algorithm])
    sums.update(body)
    own = b64encode(sums.raw(algorithm)).decode()
    async with opened(seaweed, monkeypatch) as store:
        written = await store.put("k", body, len(body), PutOptions(checksum=(algorithm, own)))
        head = await store.head("k")
        stream = await store.get("k", pinned=Generation(written.etag, len(body)))
        stream.close()
    assert dict(written.checksums)[algorithm] == dict(head.checksums)[algorithm] == own
    assert head.checksum_type == stream.head.checksum_type == "FULL_OBJECT"


async def test_ceph_keeps_no_such_checksums_and_what_it_holds_has_ours(
    rgw: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = os.urandom(MIB + 7)
    async with opened(rgw, monkeypatch) as store:
        written = await store.put("k", body, len(body), PutOptions())
        stream = await store.get("k", pinned=Generation(written.etag, len(body)))
        held = await stream.read()
        head = await store.head("k")
    assert written.checksums == head.checksums == ()
    assert [crc_of(name, held).value for name in CRCS] == [crc_of(name, body).value for name in CRCS]
    md5 = Sums(["md5"])
    md5.update(body)
    assert head.md5 == md5.raw("md5").hex()

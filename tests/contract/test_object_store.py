"""One suite for every store: what `stores.base` promises, kept by our client against real servers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from dth.errors import (
    AccessDenied,
    BadCredentials,
    DigestRefused,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    ObjectChanged,
    PreconditionFailed,
    ServerFault,
)
from dth.model import Attributes, ByteSpan, Generation, Location
from dth.states import Side
from dth.stores.base import ObjectStore, PutOptions, UploadedPart
from dth.stores.credentials import Anonymous, CredentialsProvider, fixed
from dth.stores.s3 import S3Store
from dth.stores.sign import Credentials
from tests.servers.s3server import S3Server

PROVIDERS = {"rgw": "Ceph_RGW", "seaweed": "SeaweedFS"}
MIB = 1 << 20

KEYS = [
    "plain/key.txt",
    'it\'s "quoted" <&>',
    "a+b",
    "a%2Bb",
    "a b",
    "100%",
    "q?x=1&y=2#frag",
    "semi;colon:at@dollar$comma,star*tilde~paren()!",
    "back\\slash",
    "line\nbreak",
    "carriage\rreturn",
    "tab\tstop",
    "control\x01\x1f\x7f",
    "ünï/cödé/日本",
    "emoji-\U0001f600",
    "/leading",
    "a//b",
    "trailing/",
    "../up",
    "a/../b/./c",
    "x" * 255,
    "y" * 1024,
    "é" * 512,
]


@dataclass(frozen=True)
class Place:
    store: S3Store
    server: S3Server
    bucket: str


def open_store(
    server: S3Server, bucket: str, credentials: CredentialsProvider | None = None, provider: str | None = None
) -> S3Store:
    named = PROVIDERS[server.kind] if provider is None else provider
    return S3Store.open(
        Location(Side.DESTINATION, named, server.endpoint, server.region, bucket, "", "", "", ""),
        connect_seconds=10,
        first_byte_seconds=60,
        idle_seconds=60,
        max_connections=16,
        credentials=credentials or fixed(Credentials(server.access_key, server.secret_key)),
    )


SEAWEED = pytest.param("seaweed", marks=pytest.mark.seaweed)
only_seaweed = pytest.mark.parametrize("server", [SEAWEED], indirect=True)
"""Ceph RGW 16.2 has neither checksums nor conditional writes."""


@pytest.fixture(params=[pytest.param("rgw", marks=pytest.mark.rgw), SEAWEED])
def server(request: pytest.FixtureRequest) -> S3Server:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, S3Server)
    return found


@pytest.fixture
async def place(server: S3Server) -> AsyncIterator[Place]:
    bucket = await asyncio.to_thread(server.make_bucket)
    store = open_store(server, bucket)
    yield Place(store, server, bucket)
    await store.close()


def md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


async def chunks(body: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def listed(store: ObjectStore, prefix: str = "", *, after: str = "", until: str = "") -> list[str]:
    return [entry.key async for page in store.pages(prefix, after=after, until=until) for entry in page]


async def test_odd_keys_are_written_listed_read_and_deleted_under_their_own_name(place: Place) -> None:
    rules = place.store.capabilities.key_rules
    kept = [key for key in KEYS if not rules.refusal(key, len(key.encode()))]
    assert len(kept) >= 15
    for key in kept:
        body = key.encode()
        await place.store.put(key, body, len(body), PutOptions(content_md5=md5(body)))
    assert sorted(await listed(place.store)) == sorted(kept)
    seen = await asyncio.to_thread(place.server.client().list_objects_v2, Bucket=place.bucket)
    assert sorted(item["Key"] for item in seen["Contents"]) == sorted(kept)  # an independent client agrees
    for key in kept:
        stream = await place.store.get(key, pinned=Generation(md5(key.encode()), len(key.encode())))
        assert await stream.read() == key.encode()
        assert (await place.store.head(key)).md5 == md5(key.encode())
        await place.store.delete(key)
    assert await listed(place.store) == []


async def test_pages_ranges_and_prefixes_give_each_key_once(place: Place) -> None:
    keys = [f"p/{number:04}" for number in range(1100)] + ["p", "p-1", "q/1"]
    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(place.store.put(key, b"", 0, PutOptions()))
    found = await listed(place.store)
    assert sorted(found) == sorted(keys)
    if place.store.capabilities.ordered:
        assert found == sorted(keys)
    assert sorted(await listed(place.store, "p/")) == sorted(keys)[2:-1]
    between = await listed(place.store, "p/", after="p/0010", until="p/1020")
    assert sorted(between) == [f"p/{number:04}" for number in range(11, 1021)]
    assert sorted(await listed(place.store, "p/", after="a")) == sorted(keys)[2:-1]
    assert await listed(place.store, "none") == []


async def test_a_listed_entry_says_what_the_object_is(place: Place) -> None:
    await place.store.put("k", b"abc", 3, PutOptions())
    [entry] = [entry async for page in place.store.pages("") for entry in page]
    assert (entry.key, entry.size, entry.etag, entry.storage_class) == ("k", 3, md5(b"abc"), "STANDARD")
    assert entry.last_modified.startswith("20")
    assert entry.last_modified.endswith("Z")


async def test_attributes_come_back_as_they_were_sent(place: Place) -> None:
    attributes = Attributes(
        headers=(
            ("content-type", "text/plain; charset=utf-8"),
            ("content-encoding", "gzip"),
            ("content-disposition", 'attachment; filename="a b.txt"'),
            ("content-language", "de"),
            ("cache-control", "max-age=60"),
            ("expires", "Thu, 01 Dec 2050 16:00:00 GMT"),
        ),
        metadata=(("plain", "value"), ("spaces", "two  in a row"), ("encoded", "=?UTF-8?B?w6k=?="), ("raw", "é")),
    )
    options = PutOptions(attributes=attributes)
    await place.store.put("single", b"abc", 3, options)
    upload = await place.store.create_upload("parts", options)
    written = await place.store.upload_part("parts", upload, 1, b"abc", 3, PutOptions())
    await place.store.complete_upload("parts", upload, [UploadedPart(1, 3, written.etag)])
    for key in ("single", "parts"):
        for head in (await place.store.head(key), (await place.store.get(key, pinned=None)).head):
            assert set(head.attributes.headers) == set(attributes.headers)
            assert set(head.attributes.metadata) == set(attributes.metadata)


async def test_a_streamed_body_arrives_whole_and_leaves_whole(place: Place) -> None:
    body = bytes(range(256)) * 4096 * 3
    written = await place.store.put("big", chunks(body), len(body), PutOptions(content_md5=md5(body)))
    assert written.etag == md5(body)
    stream = await place.store.get("big", pinned=Generation(written.etag, len(body)))
    digest = hashlib.md5(usedforsecurity=False)
    async for chunk in stream:
        digest.update(chunk)
    assert digest.hexdigest() == md5(body)
    span = ByteSpan(1000, 70_000)
    assert await (await place.store.get("big", pinned=stream.head.generation, span=span)).read() == body[1000:70_000]


async def test_bytes_that_are_not_what_content_md5_says_never_become_an_object(place: Place) -> None:
    for body in (b"abc", chunks(b"abc")):
        with pytest.raises(DigestRefused):
            await place.store.put("k", body, 3, PutOptions(content_md5=md5(b"other")))
    with pytest.raises(NoSuchKey):
        await place.store.head("k")


@only_seaweed
async def test_checksums_are_checked_by_stores_that_are_said_to_check_them(place: Place) -> None:
    assert place.store.capabilities.checksums
    good = {  # of b"abc"
        "crc64nvme": "BeXKuz/B+us=",
        "crc32c": "Nks/tw==",
        "crc32": "NSRBwg==",
        "sha1": "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=",
        "sha256": "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
    }
    for algorithm in place.store.capabilities.checksums:
        written = await place.store.put("k", b"abc", 3, PutOptions(checksum=(algorithm, good[algorithm])))
        assert dict(written.checksums)[algorithm] == good[algorithm]
        assert dict((await place.store.head("k")).checksums)[algorithm] == good[algorithm]
        with pytest.raises(DigestRefused):
            await place.store.put("k", b"abd", 3, PutOptions(checksum=(algorithm, good[algorithm])))


async def test_reads_are_of_the_pinned_generation_or_of_none(place: Place) -> None:
    first = await place.store.put("k", b"one", 3, PutOptions())
    await place.store.put("k", b"other", 5, PutOptions())
    with pytest.raises(PreconditionFailed):
        await place.store.get("k", pinned=Generation(first.etag, 3))
    with pytest.raises(PreconditionFailed):
        await place.store.head("k", if_match=first.etag)
    with pytest.raises(ObjectChanged):
        await place.store.get("k", pinned=Generation(md5(b"other"), 4))
    with pytest.raises(ObjectChanged):
        await place.store.get("k", pinned=Generation("", 9), span=ByteSpan(8, 9))


async def test_what_is_absent_is_named(place: Place) -> None:
    with pytest.raises(NoSuchKey):
        await place.store.head("none")
    with pytest.raises(NoSuchKey):
        await place.store.get("none", pinned=None)
    await place.store.delete("none")
    await place.store.abort_upload("none", "0123456789")
    with pytest.raises(
        (NoSuchUpload, ServerFault)
    ):  # Ceph 16.2: 500 "This multipart completion is already in progress"
        await place.store.complete_upload("none", "0123456789", [UploadedPart(1, 1, md5(b"a"))])
    nowhere = open_store(place.server, "no-such-bucket-here")
    with pytest.raises(NoSuchBucket):
        await nowhere.check()
    await nowhere.close()


async def test_an_upload_in_parts_is_the_object_that_was_planned(place: Place) -> None:
    bodies = [b"a" * 5 * MIB, b"b" * 5 * MIB, b"c"]
    upload = await place.store.create_upload("big/key +", PutOptions())
    written = [
        await place.store.upload_part(
            "big/key +", upload, n, chunks(body), len(body), PutOptions(content_md5=md5(body))
        )
        for n, body in enumerate(bodies, 1)
    ]
    parts = [part async for part in place.store.uploaded_parts("big/key +", upload)]
    assert parts == [UploadedPart(n, len(b), w.etag) for n, (b, w) in enumerate(zip(bodies, written, strict=True), 1)]
    found = [(found.key, found.upload_id) async for found in place.store.open_uploads("big/")]
    assert found == [("big/key +", upload)]
    done = await place.store.complete_upload("big/key +", upload, parts)
    assert done.etag == md5(b"".join(bytes.fromhex(part.etag) for part in parts)) + "-3"
    head = await place.store.head("big/key +")
    assert (head.generation.size, head.md5) == (10 * MIB + 1, "")
    assert [found async for found in place.store.open_uploads("")] == []


async def test_an_aborted_upload_leaves_nothing(place: Place) -> None:
    upload = await place.store.create_upload("k", PutOptions())
    await place.store.upload_part("k", upload, 1, b"abc", 3, PutOptions())
    await place.store.abort_upload("k", upload)
    assert [found async for found in place.store.open_uploads("")] == []
    with pytest.raises(NoSuchKey):
        await place.store.head("k")


@only_seaweed
async def test_no_overwriting_where_that_is_asked_and_known(place: Place) -> None:
    assert place.store.capabilities.conditional_put
    await place.store.put("k", b"one", 3, PutOptions(if_none_match=True))
    with pytest.raises(PreconditionFailed):
        await place.store.put("k", b"two", 3, PutOptions(if_none_match=True))


async def test_wrong_credentials_are_named_as_such(place: Place) -> None:
    for credentials in (Credentials("nobody", "nothing"), Credentials(place.server.access_key, "wrong")):
        store = open_store(place.server, place.bucket, fixed(credentials))
        with pytest.raises(BadCredentials):
            await store.check()
        await store.close()


async def test_the_unsigned_are_denied_what_is_private(place: Place) -> None:
    store = open_store(place.server, place.bucket, Anonymous())
    with pytest.raises(AccessDenied, match="s3:ListBucket"):
        await store.check()
    await store.close()


@pytest.mark.rgw
async def test_another_account_is_denied_by_action(rgw: S3Server) -> None:
    bucket = await asyncio.to_thread(rgw.make_bucket)
    assert rgw.second is not None
    store = open_store(rgw, bucket, fixed(Credentials(rgw.second.access_key, rgw.second.secret_key)))
    with pytest.raises(AccessDenied, match="s3:PutObject"):
        await store.put("k", b"", 0, PutOptions())
    with pytest.raises(AccessDenied):
        await store.head("k")
    await store.close()


async def test_a_store_whose_kind_nobody_named_is_listed_right(server: S3Server) -> None:
    bucket = await asyncio.to_thread(server.make_bucket)
    store = open_store(server, bucket, provider="")
    await store.check()
    expected = {"rgw": "S3_Compatible", "seaweed": "SeaweedFS"}[server.kind]
    assert store.capabilities.provider == expected
    for key in ("a b", "a+b", "a%2Bb", "ü"):
        await store.put(key, b"", 0, PutOptions())
    assert sorted(await listed(store)) == ["a b", "a%2Bb", "a+b", "ü"]
    await store.close()


async def test_requests_are_counted_by_operation(place: Place) -> None:
    await place.store.put("k", b"", 0, PutOptions())
    await place.store.head("k")
    await listed(place.store)
    counted = dict(place.store.requests)
    assert counted.pop("PutObject") == counted.pop("HeadObject") == 1
    assert list(counted.values()) == [1]


@only_seaweed
async def test_a_key_and_one_below_it_may_be_written_at_once(place: Place) -> None:
    """Without an order between them SeaweedFS 4.48 loses one of some pairs, and says 200 to both."""
    keys = [key for number in range(150) for key in (f"pair-{number}", f"pair-{number}/below", f"pair-{number}/b/c")]
    await asyncio.gather(*(place.store.put(key, b"x", 1, PutOptions()) for key in keys))
    assert sorted(await listed(place.store, "pair-")) == sorted(keys)

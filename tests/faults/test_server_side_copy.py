"""Copies that the store is asked to make by itself, and stores that cannot, will not, or only say so."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dth.errors import RequestRefused, ServerFault, TimedOut
from dth.events import Event, Notice
from dth.flow.budget import ByteBudget
from dth.flow.limiter import Limiter
from dth.ledgers.sqlite import SqliteLedger
from dth.messages import ObjectEntry
from dth.model import Attributes, KeyMapping, Location
from dth.states import Outcome, Reason, Side, VerifiedBy
from dth.stores.base import PutOptions
from dth.stores.providers import PROFILES
from dth.stores.s3 import S3Store
from dth.transfer.context import Job, OneStore
from dth.transfer.copy import CopyContext, copy_object
from dth.transfer.options import Verify
from dth.transfer.result import Copied
from tests.servers.copying import KIB, OPTIONS, Make, Surroundings, entry_of, large_objects
from tests.servers.memory_store import AWS_LIKE, MIB
from tests.servers.quirky import Quirks, Quirky
from tests.servers.s3server import S3Server
from tests.servers.wire import Answer, Request

DATA = bytes(range(251)) * 1500


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dth.retry.RetryPolicy.wait_seconds", lambda *_: 0.0)


# a store on the wire


@dataclass
class Stage:
    """One S3 server with a bucket on each side, and what copies between them."""

    ctx: CopyContext
    events: list[Event]

    async def copy(self, key: str, etag: str, size: int) -> Copied:
        return await copy_object(ObjectEntry(key=key, size=size, etag=etag, reason=Reason.MISSING), self.ctx)

    def said(self) -> list[str]:
        return [event.code for event in self.events if isinstance(event, Notice)]


Open = Callable[..., Any]


@pytest.fixture
async def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:
        ledger = await SqliteLedger.open(tmp_path / "ledger.db")
        stack.push_async_callback(ledger.close)

        def open_stage(server: S3Server, buckets: tuple[str, str], *, put_max: int = 5 << 30) -> Stage:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
            kind = {"rgw": "Ceph_RGW", "seaweed": "SeaweedFS", "quirky": "MinIO"}[server.kind]
            monkeypatch.setitem(PROFILES, kind, replace(PROFILES[kind], put_max=put_max))
            sides = []
            for side, bucket in zip((Side.SOURCE, Side.DESTINATION), buckets, strict=True):
                place = Location(side, kind, server.endpoint, server.region, bucket, "", "", "", "path")
                store = S3Store.open(
                    place, connect_seconds=10, first_byte_seconds=60, idle_seconds=60, max_connections=8
                )
                stack.push_async_callback(store.close)
                sides.append(store)
            options = replace(OPTIONS, multipart_threshold=8 * MIB, part_size=5 * MIB)
            mapping, one = KeyMapping("", "", strip=True), OneStore(*sides)
            events: list[Event] = []
            ctx = CopyContext(
                job=Job("job", sides[0], sides[1], mapping, options, one_store=one),
                run_id="run",
                process="one",
                budget=ByteBudget(64 * MIB),
                limiter=Limiter(fixed=4, upper=4),
                ledger=ledger,
                emit=events.append,
                lease_until=lambda: time.time() + 60,
                redelivered=False,
            )
            return Stage(ctx, events)

        yield open_stage


ODD = "a b+c%2F/?versionId=é\n~//.."


async def test_an_odd_key_is_named_once_encoded_and_the_attributes_are_said_anew(opened: Open) -> None:
    with Quirky() as store:
        held = store.hold(
            "src", ODD, DATA, content_type="text/odd", x_amz_meta_a="b", content_encoding="aws-chunked,gzip"
        )
        copied = await opened(store.server, ("src", "dst")).copy(ODD, held.etag, len(DATA))
        there = store.objects["dst", ODD]
    assert (copied.outcome, copied.verified_by) == (Outcome.DONE, VerifiedBy.STORE)
    assert there.body == DATA
    assert there.headers == {"content-type": "text/odd", "x-amz-meta-a": "b", "content-encoding": "gzip"}
    assert [seen.operation for seen in store.seen] == ["head", "copy"]
    sent = store.seen[-1].headers
    assert sent["x-amz-copy-source"] == "/src/a%20b%2Bc%252F/%3FversionId%3D%C3%A9%0A~//.."
    assert sent["x-amz-copy-source-if-match"] == f'"{held.etag}"'


REFUSING = {
    "forbidden": Quirks(denies=frozenset({"copy"})),
    "an error in a 200": Quirks(copy_error=99),
    "nothing in a 200": Quirks(copy_empty=99),
    "taken for a PUT": Quirks(ignores_copy_source=True),
}


@pytest.mark.parametrize("why", REFUSING)
async def test_the_first_refusal_ends_it_for_the_job_and_every_object_arrives_the_ordinary_way(
    opened: Open, why: str
) -> None:
    with Quirky(replace(REFUSING[why])) as store:
        stage = opened(store.server, ("src", "dst"))
        for key in ("one", "two"):
            held = store.hold("src", key, DATA, content_type="text/odd")
            copied = await stage.copy(key, held.etag, len(DATA))
            assert copied.verified_by is VerifiedBy.CONTENT_MD5
            assert store.objects["dst", key].body == DATA
            assert store.objects["dst", key].headers == {"content-type": "text/odd"}
        asked = {seen.key for seen in store.seen if seen.operation == "copy"}
    assert asked == {"one"}
    assert stage.said() == ["no_server_side_copy"]


async def test_a_store_that_knows_no_such_request_is_asked_once(opened: Open) -> None:
    def before(operation: str, _request: Request) -> Answer | None:
        return Answer(501, b"<Error><Code>NotImplemented</Code></Error>") if operation == "copy" else None

    with Quirky(before=before) as store:
        held = store.hold("src", "k", DATA)
        copied = await opened(store.server, ("src", "dst")).copy("k", held.etag, len(DATA))
        assert store.count("copy") == 1
    assert copied.verified_by is VerifiedBy.CONTENT_MD5


async def test_an_error_in_a_200_that_passes_is_a_failure_that_is_repeated(opened: Open) -> None:
    with Quirky(Quirks(copy_error=2)) as store:
        held = store.hold("src", "k", DATA)
        copied = await opened(store.server, ("src", "dst")).copy("k", held.etag, len(DATA))
        assert store.count("copy") == 3
    assert copied.verified_by is VerifiedBy.STORE


async def test_a_source_that_changes_before_the_store_reads_it_is_planned_again(opened: Open) -> None:
    with Quirky() as store:
        held = store.hold("src", "k", DATA)

        def overwrite(operation: str, _request: Request) -> None:
            if operation == "copy" and store.count("copy") == 1:
                store.hold("src", "k", DATA[::-1])

        store.before = overwrite
        copied = await opened(store.server, ("src", "dst")).copy("k", held.etag, len(DATA))
        assert store.objects["dst", "k"].body == DATA[::-1]
    assert (copied.verified_by, copied.source_etag) == (VerifiedBy.STORE, copied.dest_etag)


async def test_other_keys_another_endpoint_or_unsigned_requests_are_not_one_store(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Quirky() as store, Quirky() as other:
        stage = opened(store.server, ("src", "dst"))
        source, destination = stage.ctx.job.source, stage.ctx.job.destination
        assert await destination.copies_from(source)
        elsewhere = opened(other.server, ("src", "dst")).ctx.job.source
        assert not await destination.copies_from(elsewhere)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        unread = opened(replace(store.server, secret_key="another"), ("src", "dst")).ctx.job.source
        assert not await destination.copies_from(unread)


@pytest.fixture(params=["quirky", pytest.param("seaweed", marks=pytest.mark.seaweed)])
def server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    if request.param == "seaweed":
        found: S3Server = request.getfixturevalue("seaweed")
        yield found
        return
    with Quirky() as store:
        yield store.server


async def test_what_is_too_large_for_one_copy_is_copied_in_parts_by_the_store(server: S3Server, opened: Open) -> None:
    data, key = os.urandom(12 * MIB + 1), "a b+c%/é ~.bin"
    stage, put, there = await filled(server, opened, key, data)
    copied = await stage.copy(key, put, len(data))
    assert copied.verified_by is VerifiedBy.STORE
    destination = stage.ctx.job.destination
    assert destination.requests["UploadPartCopy"] == 3
    assert not {"UploadPart", "CopyObject"} & set(destination.requests)
    body, kind, metadata = await asyncio.to_thread(there)
    assert body == data
    assert (kind, metadata) == ("text/odd", {"a": "b"})


@pytest.mark.rgw
async def test_ceph_is_not_asked_to_copy_parts_because_some_keys_would_kill_it(rgw: S3Server, opened: Open) -> None:
    data, key = os.urandom(12 * MIB + 1), "a b+c%/é ~.bin"
    stage, put, there = await filled(rgw, opened, key, data)
    await stage.copy(key, put, len(data))
    assert stage.ctx.job.destination.requests["UploadPartCopy"] == 0
    assert (await asyncio.to_thread(there))[0] == data


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        pytest.param("rgw", "copy", marks=pytest.mark.rgw),  # which takes no notice of If-Match
        pytest.param("seaweed", "copy", marks=pytest.mark.seaweed),
        pytest.param("seaweed", "copy_part", marks=pytest.mark.seaweed),
    ],
)
async def test_a_source_overwritten_while_a_real_store_is_asked_to_copy_it_ends_as_the_newest(
    request: pytest.FixtureRequest, opened: Open, kind: str, asked: str
) -> None:
    server: S3Server = request.getfixturevalue(kind)
    old, new = os.urandom(12 * MIB), os.urandom(12 * MIB)
    put_max = 64 * MIB if asked == "copy" else 6 * MIB
    stage, put, there = await filled(server, opened, "k", old, put_max=put_max)
    source, destination = stage.ctx.job.source, stage.ctx.job.destination
    ask = getattr(destination, asked)

    async def overwriting(*call: Any) -> Any:
        setattr(destination, asked, ask)
        await source.put("k", new, len(new), PutOptions(attributes=Attributes((("content-type", "text/new"),))))
        return await ask(*call)

    setattr(destination, asked, overwriting)
    copied = await stage.copy("k", put, len(old))
    assert copied.source_etag == hashlib.md5(new).hexdigest()
    body, content_type, metadata = await asyncio.to_thread(there)
    assert body == new
    assert (content_type, metadata) == ("text/new", {})


async def filled(
    server: S3Server, opened: Open, key: str, data: bytes, *, put_max: int = 6 * MIB
) -> tuple[Stage, str, Callable[[], tuple[bytes, str, dict[str, str]]]]:
    """A stage on which `put_max` is the most for one copy, the ETag of `key` at the source, and what reads the destination."""
    client = server.client()

    def put() -> tuple[tuple[str, str], str]:
        buckets = (server.make_bucket(), server.make_bucket()) if server.kind != "quirky" else ("src", "dst")
        answer = client.put_object(Bucket=buckets[0], Key=key, Body=data, ContentType="text/odd", Metadata={"a": "b"})
        return buckets, answer["ETag"].strip('"')

    buckets, etag = await asyncio.to_thread(put)

    def there() -> tuple[bytes, str, dict[str, str]]:
        answer = client.get_object(Bucket=buckets[1], Key=key)
        body = answer["Body"].read()
        if server.kind == "quirky":
            server.close()
        return body, answer["ContentType"], answer["Metadata"]

    return opened(server, buckets, put_max=put_max), etag, there


# a store in memory


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with large_objects(tmp_path) as make:
        yield make


def in_one_store(make: Make, **limits: Any) -> Surroundings:
    here = make(replace(AWS_LIKE, copies_parts=True, **limits))
    here.destination.copies = True
    here.one_store = True
    return here


async def test_a_silent_store_costs_one_object_its_copy_and_not_the_job_its_others(make: Make) -> None:
    for error in (TimedOut("silent"), ServerFault("504", status=504)):
        here = in_one_store(make)
        ctx = here.context()
        here.destination.fail("CopyObject", error)
        for key, proof in (("one", VerifiedBy.CONTENT_MD5), ("two", VerifiedBy.STORE)):
            copied = await copy_object(entry_of(here.source.seed(key, b"x" * KIB)), ctx)
            assert copied.verified_by is proof
            assert here.destination.objects[key].data == b"x" * KIB


async def test_parts_that_the_store_copies_are_resumed_like_others(make: Make) -> None:
    here = in_one_store(make, put_max=100 * KIB)
    here.slots = 1
    here.destination.fail("UploadPartCopy", RuntimeError("a death"), after=3)
    listed = here.source.seed("key", DATA)
    with pytest.raises(RuntimeError):
        await copy_object(entry_of(listed), here.context())
    copied = await copy_object(entry_of(listed), here.context("two"))
    assert copied.verified_by is VerifiedBy.STORE
    assert here.destination.calls["UploadPartCopy"] == 1 + 6
    await here.settled(DATA)


async def test_a_source_overwritten_between_parts_that_the_store_copies_never_mixes(make: Make) -> None:
    here = in_one_store(make, put_max=100 * KIB)
    here.destination.before("UploadPartCopy", lambda: here.source.seed("key", DATA[::-1]), after=2)
    await copy_object(entry_of(here.source.seed("key", DATA)), here.context())
    await here.settled(DATA[::-1])


async def test_another_generation_that_was_there_only_while_the_store_copied_is_not_taken_for_the_one_listed(
    make: Make,
) -> None:
    here = in_one_store(make)
    here.destination.copies_whatever_is_there = True
    old, new = b"x" * KIB, b"y" * KIB
    listed = here.source.seed("key", old)
    here.destination.before("CopyObject", lambda: here.source.seed("key", new))
    here.destination.before("CopyObject.answer", lambda: here.source.seed("key", old))
    copied = await copy_object(entry_of(listed), here.context())
    assert here.destination.objects["key"].data == old
    assert copied.verified_by is VerifiedBy.CONTENT_MD5


async def test_a_store_that_copies_no_parts_gets_large_objects_the_ordinary_way(make: Make) -> None:
    here = in_one_store(make, put_max=100 * KIB)

    def refuse(operation: str, _key: str) -> None:
        if operation == "UploadPartCopy":
            raise RequestRefused("NotImplemented", operation=operation, status=501)

    here.destination.faults.append(refuse)
    copied = await copy_object(entry_of(here.source.seed("key", DATA)), here.context())
    assert copied.outcome is Outcome.DONE
    await here.settled(DATA)


async def test_no_clobber_leaves_the_store_out_because_its_copies_know_no_such_condition(make: Make) -> None:
    here = in_one_store(make)
    here.set(no_clobber=True)
    await copy_object(entry_of(here.source.seed("key", b"x")), here.context())
    assert here.destination.calls["CopyObject"] == 0


async def test_verify_full_reads_back_what_equal_etags_do_not_prove(make: Make) -> None:
    here = in_one_store(make)
    here.set(verify=Verify.FULL)
    here.source.kms = True
    copied = await copy_object(entry_of(here.source.seed("key", b"x" * KIB)), here.context())
    assert copied.verified_by is VerifiedBy.READ_BACK

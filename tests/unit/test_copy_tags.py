"""Object tags: who is asked for them, and where they end up."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dth.errors import AccessDenied, RequestRefused
from dth.stores.base import PutOptions
from dth.transfer.copy import copy_object
from tests.servers.copying import KIB, Surroundings, entry_of, large_objects
from tests.servers.memory_store import AWS_LIKE
from tests.unit.store_fakes import FakeAnswer, error, fake_store

TAGS = (("a b", "c+d/="), ("empty", ""), ("zé&", "€"))
SIZES = pytest.mark.parametrize(
    "size", [0, 10 * KIB, 2048 * KIB, 300 * KIB], ids=["empty", "small", "streamed", "parts"]
)


@pytest.fixture
async def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Surroundings]:
    monkeypatch.setattr("dth.retry.RetryPolicy.wait_seconds", lambda *_: 0.0)
    async with large_objects(tmp_path) as make:
        made = make(replace(AWS_LIKE, keeps_tags=True, uploads_keep_tags=True))
        made.source.capabilities = replace(AWS_LIKE, keeps_tags=True, tells_tag_count=True)
        made.source.tells_tags = True
        made.tags = True
        yield made


async def copy(here: Surroundings, size: int) -> None:
    if size > 1024 * KIB:
        here.set(multipart_threshold=4096 * KIB)
    await copy_object(entry_of(here.source.seed("key", bytes(size), tags=TAGS)), here.context())


@SIZES
async def test_tags_arrive_whichever_way_the_object_goes(here: Surroundings, size: int) -> None:
    await copy(here, size)
    assert here.destination.objects["key"].options.tags == TAGS
    assert here.source.calls["GetObjectTagging"] == 1
    assert here.destination.calls["GetObjectTagging"] == 0
    assert here.source.open_streams == 0


@SIZES
async def test_tags_stay_behind_unless_they_are_asked_for(here: Surroundings, size: int) -> None:
    here.tags = False
    await copy(here, size)
    assert here.destination.objects["key"].options.tags == ()
    assert here.source.calls["GetObjectTagging"] == 0


async def test_a_silent_answer_means_no_tags_once_the_store_has_let_us_read_some(here: Surroundings) -> None:
    entries = [entry_of(here.source.seed(f"plain-{n}", b"x")) for n in range(5)]
    ctx = here.context()
    for entry in entries:
        await copy_object(entry, ctx)
    assert here.source.calls["GetObjectTagging"] == 1
    await copy_object(entry_of(here.source.seed("tagged", b"x", tags=TAGS)), ctx)
    assert here.destination.objects["tagged"].options.tags == TAGS


async def test_tags_that_may_not_be_read_are_no_absent_tags(here: Surroundings) -> None:
    here.source.tells_tags = False  # as AWS does for who lacks s3:GetObjectTagging
    here.source.fail("GetObjectTagging", AccessDenied("refused", operation="GetObjectTagging", status=403), times=9)
    with pytest.raises(AccessDenied):
        await copy(here, 10)
    assert not here.destination.objects
    assert here.source.open_streams == 0


async def test_a_store_that_does_not_count_tags_is_asked_for_each_object(here: Surroundings) -> None:
    here.source.tells_tags = False
    here.source.capabilities = AWS_LIKE
    ctx = here.context()
    for n in range(3):
        await copy_object(entry_of(here.source.seed(f"key-{n}", b"x", tags=TAGS if n else ())), ctx)
    assert here.source.calls["GetObjectTagging"] == 3
    assert [here.destination.objects[f"key-{n}"].options.tags for n in range(3)] == [(), TAGS, TAGS]


@pytest.mark.parametrize("size", [10, 300 * KIB], ids=["small", "parts"])
async def test_a_store_of_unknown_kind_must_show_once_that_it_keeps_tags(here: Surroundings, size: int) -> None:
    here.destination.capabilities = AWS_LIKE
    ctx = here.context()
    for name in "ab":
        await copy_object(entry_of(here.source.seed(name, bytes(size), tags=TAGS)), ctx)
    assert here.destination.calls["GetObjectTagging"] == 1
    here.destination.drops_tags = True
    with pytest.raises(RequestRefused, match="did not keep its tags: leave out --tags"):
        await copy(here, size)


async def test_tags_that_an_upload_lost_are_added_when_it_is_complete(here: Surroundings) -> None:
    here.destination.capabilities = replace(AWS_LIKE, keeps_tags=True)
    here.destination.drops_upload_tags = True
    ctx = here.context()
    entries = [entry_of(here.source.seed(name, bytes(300 * KIB), tags=TAGS, parts=64 * KIB)) for name in "abc"]
    for entry in entries:
        await copy_object(entry, ctx)
    assert [here.destination.objects[name].options.tags for name in "abc"] == [TAGS] * 3
    assert here.destination.calls["PutObjectTagging"] == 3
    assert here.destination.calls["GetObjectTagging"] == 2  # of the first, before and after
    here.destination.objects["a"].options = PutOptions()  # as a death between the two would leave it
    await copy_object(entries[0], here.context(redelivered=True))
    assert here.destination.objects["a"].options.tags == TAGS


async def test_tags_are_written_as_xml_with_the_md5_that_s3_demands() -> None:
    store, net = fake_store([FakeAnswer()])
    await store.put_tags("key", (("a<b", "c&d"),))
    sent = net.sent[0]
    assert sent.target.endswith("/key?tagging=")
    assert b"<Tag><Key>a&lt;b</Key><Value>c&amp;d</Value></Tag>" in sent.body
    assert b64decode(sent.headers["content-md5"]) == hashlib.md5(sent.body).digest()


async def test_tags_travel_in_one_header_encoded_as_a_query() -> None:
    store, net = fake_store([FakeAnswer(headers={"etag": '"e"'})])
    await store.put("key", b"x", 1, PutOptions(tags=TAGS))
    assert net.sent[0].headers["x-amz-tagging"] == "a%20b=c%2Bd%2F%3D&empty=&z%C3%A9%26=%E2%82%AC"


async def test_tags_are_read_as_the_store_holds_them() -> None:
    body = (
        b'<?xml version="1.0"?>\n<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet>'
        b"<Tag><Key>a b</Key><Value>c+d/=</Value></Tag><Tag><Key>empty</Key><Value/></Tag>"
        b"<Tag><Key>z\xc3\xa9&amp;</Key><Value>\xe2\x82\xac</Value></Tag></TagSet></Tagging>"
    )
    store, net = fake_store([FakeAnswer(body=body), FakeAnswer(body=b"<Tagging/>")])
    assert await store.tags("key") == TAGS
    assert net.sent[0].target.endswith("/key?tagging=")
    assert await store.tags("key") == ()


@pytest.mark.parametrize("operation", ["tags", "put_tags", "put", "create"])
async def test_a_missing_permission_is_named(operation: str) -> None:
    store, _ = fake_store([error(403, "AccessDenied")])
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "tags": lambda: store.tags("key"),
        "put_tags": lambda: store.put_tags("key", TAGS),
        "put": lambda: store.put("key", b"", 0, PutOptions(tags=TAGS)),
        "create": lambda: store.create_upload("key", PutOptions(tags=TAGS)),
    }
    with pytest.raises(AccessDenied, match=r"s3:GetObjectTagging" if operation == "tags" else r"s3:PutObjectTagging"):
        await calls[operation]()


async def test_a_store_without_tagging_is_asked_once() -> None:
    store, net = fake_store([error(501, "NotImplemented")])
    with pytest.raises(RequestRefused, match="NotImplemented"):
        await store.tags("key")
    assert len(net.sent) == 1

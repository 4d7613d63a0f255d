"""HEAD and GET: what an answer must hold before a byte is handed out."""

from __future__ import annotations

import pytest

from dth.errors import (
    AccessDenied,
    AnswerInvalid,
    Archived,
    BodyMismatch,
    NoSuchKey,
    ObjectChanged,
    PreconditionFailed,
    RequestRefused,
)
from dth.model import Attributes, ByteSpan, Generation
from dth.states import RestoreState
from tests.unit.store_fakes import FakeAnswer, error, fake_store

MD5 = "900150983cd24fb0d6963f7d28e17f72"  # of b"abc"
PINNED = Generation(MD5, 3)


def whole(body: bytes = b"abc", /, **headers: str) -> FakeAnswer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return FakeAnswer(200, {"content-length": str(len(body)), "etag": f'"{MD5}"', **named}, body)


def part(body: bytes, said: str, **headers: str) -> FakeAnswer:
    return FakeAnswer(206, {**whole(body, **headers).headers, "content-range": said}, body)


async def test_a_get_is_pinned_by_etag_and_asks_for_the_bytes_as_stored() -> None:
    store, net = fake_store([whole()])
    stream = await store.get("k", pinned=PINNED)
    assert await stream.read() == b"abc"
    assert (stream.length, stream.head.generation, stream.head.md5) == (3, PINNED, MD5)
    assert net.sent[0].headers["if-match"] == f'"{MD5}"'
    assert net.sent[0].headers["accept-encoding"] == "identity"
    assert "versionId" not in net.sent[0].target


async def test_a_version_id_pins_only_where_no_etag_is_known() -> None:
    store, net = fake_store([whole()])
    await store.get("k", pinned=Generation("", 3, "v+1"))
    assert net.sent[0].target == "/bucket/k?versionId=v%2B1"
    assert "if-match" not in net.sent[0].headers


async def test_a_range_is_half_open_inside_and_inclusive_on_the_wire() -> None:
    store, net = fake_store([part(b"bc", "bytes 1-2/3")])
    stream = await store.get("k", pinned=PINNED, span=ByteSpan(1, 3))
    assert net.sent[0].headers["range"] == "bytes=1-2"
    assert (await stream.read(), stream.head.generation.size) == (b"bc", 3)


@pytest.mark.parametrize(
    "answer",
    [
        whole(),
        part(b"bc", "bytes 0-1/3"),
        part(b"bc", "bytes 1-1/3"),
        part(b"bc", ""),
        part(b"bc", "bytes 1-2/*"),
        part(b"b", "bytes 1-2/3"),
    ],
    ids=["the whole object", "another range", "a shorter one", "no range", "no total", "another length"],
)
async def test_a_range_answered_by_anything_else_is_invalid(answer: FakeAnswer) -> None:
    store, net = fake_store(lambda _: answer)
    with pytest.raises(AnswerInvalid):
        await store.get("k", pinned=PINNED, span=ByteSpan(1, 3))
    assert all(given.ended for given in net.given)


async def test_another_size_is_another_object_before_a_byte_is_handed_out() -> None:
    store, net = fake_store([whole(b"abcd"), whole(b"abcd"), part(b"bc", "bytes 1-2/9"), error(416, "InvalidRange")])
    for span in (None, ByteSpan(1, 3), ByteSpan(1, 3)):
        with pytest.raises(ObjectChanged):
            await store.get("k", pinned=PINNED, span=span)
    assert all(given.ended for given in net.given)


async def test_a_store_that_ignores_if_match_is_caught_by_its_own_etag() -> None:
    store, _ = fake_store([whole()])
    with pytest.raises(PreconditionFailed):
        await store.get("k", pinned=Generation("other", 3))


@pytest.mark.parametrize("body", [b"ab", b"abcd"])
async def test_a_body_of_another_length_than_announced_is_never_an_object(body: bytes) -> None:
    answer = FakeAnswer(200, {"content-length": "3", "etag": f'"{MD5}"'}, body)
    store, _ = fake_store(lambda _: answer)
    with pytest.raises((BodyMismatch, Exception)) as caught:
        await (await store.get("k", pinned=PINNED)).read()
    assert getattr(caught.value, "retryable", False)
    with pytest.raises(BodyMismatch, match="instead of 3"):
        [chunk async for chunk in await store.get("k", pinned=PINNED)]


async def test_an_answer_without_a_length_needs_a_pinned_size() -> None:
    answer = FakeAnswer(200, {"etag": f'"{MD5}"'}, b"abc")
    store, _ = fake_store(lambda _: answer)
    stream = await store.get("k", pinned=PINNED)
    assert b"".join([chunk async for chunk in stream]) == b"abc"
    with pytest.raises(AnswerInvalid):
        await store.get("k", pinned=None)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(404, "NoSuchKey"), NoSuchKey),
        (error(412, "PreconditionFailed"), PreconditionFailed),
        (error(403, "AccessDenied"), AccessDenied),
        (error(403, "InvalidObjectState"), Archived),
        (error(400, "Weird"), RequestRefused),
    ],
)
async def test_refusals_of_a_get_by_code(answer: FakeAnswer, expected: type[Exception]) -> None:
    store, _ = fake_store([answer])
    with pytest.raises(expected):
        await store.get("k", pinned=None)


@pytest.mark.parametrize(("status", "expected"), [(404, NoSuchKey), (403, AccessDenied), (412, PreconditionFailed)])
async def test_refusals_of_a_head_by_status_because_it_has_no_body(status: int, expected: type[Exception]) -> None:
    another = FakeAnswer(200, {"etag": '"other"', "content-length": "1"})
    store, _ = fake_store([FakeAnswer(status), another if status == 412 else FakeAnswer(status)])
    with pytest.raises(expected):
        await store.head("k", if_match="e")


@pytest.mark.parametrize("status", [403, 405, 501])
async def test_where_head_is_refused_the_first_byte_tells(status: int) -> None:
    first = part(b"a", "bytes 0-0/3")
    empty = FakeAnswer(200, {"etag": f'"{MD5}"', "content-length": "0"}, b"")
    store, net = fake_store([FakeAnswer(status), first, first, FakeAnswer(416, {}, b""), empty])
    for size in (3, 3, 0):
        head = await store.head("k")
        assert (head.generation.etag, head.generation.size) == (MD5, size)
    assert [sent.method for sent in net.sent] == ["HEAD", "GET", "GET", "GET", "GET"], "HEAD is tried once"


async def test_a_store_that_sends_everything_where_a_byte_was_asked_for_is_understood() -> None:
    store, _ = fake_store([FakeAnswer(405), whole(b"abc")])
    assert (await store.head("k")).generation == Generation(MD5, 3)


@pytest.mark.parametrize(("status", "asked"), [(403, 3), (405, 4)])
async def test_where_get_is_refused_too_head_s_own_refusal_is_told(status: int, asked: int) -> None:
    store, net = fake_store(
        [FakeAnswer(status), error(403, "AccessDenied"), FakeAnswer(status), error(403, "AccessDenied")]
    )
    for _ in range(2):
        with pytest.raises(AccessDenied if status == 403 else RequestRefused, match="HeadObject"):
            await store.head("k")
    assert len(net.sent) == asked


async def test_the_first_byte_of_another_generation_is_a_change() -> None:
    store, _ = fake_store([FakeAnswer(405), part(b"a", "bytes 0-0/3")])
    with pytest.raises(PreconditionFailed):
        await store.head("k", if_match="another")


@pytest.mark.parametrize(
    "headers",
    [
        {"etag": f'"{MD5}-2"'},
        {"etag": '"0x8D4BCC2E4835CD0"'},
        {"etag": f'"{MD5.upper()}"'},
        {"x_amz_server_side_encryption": "aws:kms"},
        {"x_amz_server_side_encryption": "aws:kms:dsse"},
        {"x_amz_server_side_encryption_customer_algorithm": "AES256"},
    ],
)
async def test_an_etag_that_need_not_be_an_md5_is_not_called_one(headers: dict[str, str]) -> None:
    store, _ = fake_store([whole(**headers)])
    assert (await store.head("k")).md5 == ""


async def test_an_md5_under_sse_s3_is_one_and_in_a_directory_bucket_none() -> None:
    answer = whole(x_amz_server_side_encryption="AES256")
    store, _ = fake_store([answer])
    assert (await store.head("k")).md5 == MD5
    store, _ = fake_store([answer], bucket="b--use1-az4--x-s3")
    assert (await store.head("k")).md5 == ""
    assert not store.capabilities.ordered


async def test_attributes_come_as_the_source_sent_them() -> None:
    answer = whole(content_type="text/plain", content_encoding="gzip", expires="0", x_amz_meta_a="=?UTF-8?B?w6k=?=",
                   x_amz_meta_b="x  y", date="now", x_amz_storage_class="STANDARD_IA", x_amz_version_id="v",
                   last_modified="Sat, 21 Nov 2026 21:44:59 GMT")  # fmt: skip
    store, _ = fake_store([answer])
    head = await store.head("k")
    assert head.attributes == Attributes(
        (("content-type", "text/plain"), ("content-encoding", "gzip"), ("expires", "0")),
        (("a", "=?UTF-8?B?w6k=?="), ("b", "x  y")),
    )
    assert (head.storage_class, head.generation.version_id) == ("STANDARD_IA", "v")
    assert head.last_modified == "Sat, 21 Nov 2026 21:44:59 GMT"


async def test_checksums_are_asked_of_stores_that_have_them_and_never_taken_from_a_range() -> None:
    given = {"x_amz_checksum_crc64nvme": "AAA=", "x_amz_checksum_type": "FULL_OBJECT"}
    answers = [whole(**given), part(b"bc", "bytes 1-2/3", **given)]
    store, net = fake_store(answers, profile="Amazon_S3")
    head = (await store.get("k", pinned=None)).head
    assert (head.checksums, head.checksum_type) == ((("crc64nvme", "AAA="),), "FULL_OBJECT")
    assert (await store.get("k", pinned=None, span=ByteSpan(1, 3))).head.checksums == ()
    assert ["x-amz-checksum-mode" in sent.headers for sent in net.sent] == [True, False]


async def test_a_head_that_is_refused_with_checksums_is_asked_again_without() -> None:
    store, net = fake_store([FakeAnswer(403), whole(b""), whole(b"")], profile="Amazon_S3")
    await store.head("k")
    await store.head("k")
    assert ["x-amz-checksum-mode" in sent.headers for sent in net.sent] == [True, False, False]


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("", RestoreState.NONE),
        ('ongoing-request="true"', RestoreState.UNDER_WAY),
        ('ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"', RestoreState.READY),
    ],
)
async def test_a_head_says_how_far_the_restore_of_an_archived_object_is(said: str, state: RestoreState) -> None:
    store, _ = fake_store([whole(x_amz_restore=said) if said else whole()])
    assert (await store.head("k")).restore is state


async def test_closing_a_stream_ends_its_answer() -> None:
    store, net = fake_store([whole()])
    stream = await store.get("k", pinned=None)
    assert not net.given[0].ended
    stream.close()
    assert net.given[0].ended

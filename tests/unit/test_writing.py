"""What goes out with a write, and the pages of what lies there in parts."""

from __future__ import annotations

import itertools

import pytest

from dth.errors import AccessDenied, AnswerInvalid, NoSuchBucket, RequestRefused
from dth.model import Attributes
from dth.states import RestoreState
from dth.stores.base import OpenUpload, PutOptions, UploadedPart, Written
from tests.unit.store_fakes import FakeAnswer, error, fake_store, stream

PUT = FakeAnswer(200, {"etag": '"e"', "x-amz-checksum-crc32c": "AAAAAA==", "x-amz-version-id": "v"})


async def test_a_put_carries_attributes_and_proofs_and_only_what_was_set() -> None:
    options = PutOptions(
        attributes=Attributes((("content-type", "text/plain"), ("cache-control", "no-cache")), (("a", "b  c"),)),
        content_md5="900150983cd24fb0d6963f7d28e17f72",
        checksum=("crc32c", "NmQ3Xg=="),
        storage_class="GLACIER_IR",
        acl="private",
        sse="aws:kms",
        sse_kms_key_id="key",
        if_none_match=True,
    )
    store, net = fake_store([PUT, PUT])
    assert await store.put("k", stream(b"ab", b"c"), 3, options) == Written("e", (("crc32c", "AAAAAA=="),), "v")
    sent = net.sent[0].headers
    expected = {
        "content-type": "text/plain", "cache-control": "no-cache", "x-amz-meta-a": "b  c",
        "content-md5": "kAFQmDzST7DWlj99KOF/cg==", "x-amz-checksum-crc32c": "NmQ3Xg==",
        "x-amz-storage-class": "GLACIER_IR", "x-amz-acl": "private", "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "key", "if-none-match": "*",
    }  # fmt: skip
    assert expected.items() <= sent.items()
    await store.put("k", b"", 0, PutOptions())
    assert set(net.sent[1].headers) == {"host", "x-amz-content-sha256", "x-amz-date", "authorization"}


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("aws-chunked", None),
        ("aws-chunked,gzip", "gzip"),
        ("gzip, AWS-Chunked ,br", "gzip,br"),
        ("gzip, br", "gzip, br"),
    ],
)
async def test_the_aws_chunked_token_is_never_written_and_other_codings_stay(stored: str, sent: str | None) -> None:
    options = PutOptions(attributes=Attributes((("content-encoding", stored),)))
    opened = FakeAnswer(
        200, {}, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
    )
    store, net = fake_store([PUT, opened])
    await store.put("k", b"", 0, options)
    await store.create_upload("k", options)
    assert [request.headers.get("content-encoding") for request in net.sent] == [sent, sent]


async def test_a_value_that_would_break_the_head_is_refused_by_name() -> None:
    store, net = fake_store([])
    with pytest.raises(RequestRefused, match="x-amz-meta-a"):
        await store.put("k", b"", 0, PutOptions(attributes=Attributes(metadata=(("a", "x\r\ny: z"),))))
    assert not net.sent


async def test_absent_is_success_for_deletes_and_aborts_but_an_absent_bucket_is_not() -> None:
    store, net = fake_store([FakeAnswer(204), error(404, "NoSuchKey"), error(404, "NoSuchUpload"), error(404, "")])
    await store.delete("k", if_match="e")
    await store.delete("k")
    await store.abort_upload("k", "u")
    await store.abort_upload("k", "u")
    assert net.sent[0].headers["if-match"] == '"e"'
    store, _ = fake_store([error(404, "NoSuchBucket")])
    with pytest.raises(NoSuchBucket):
        await store.delete("k")


async def test_the_algorithm_is_fixed_when_an_upload_opens() -> None:
    opened = FakeAnswer(
        200, {}, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
    )
    store, net = fake_store([opened, opened, opened])
    for algorithm in ("", "crc64nvme", "sha256"):
        await store.create_upload("k", PutOptions(), algorithm)
    named = [
        (sent.headers.get("x-amz-checksum-algorithm"), sent.headers.get("x-amz-checksum-type")) for sent in net.sent
    ]
    assert named == [(None, None), ("CRC64NVME", "FULL_OBJECT"), ("SHA256", "COMPOSITE")]
    assert net.sent[0].target == "/bucket/k?uploads="


async def test_parts_go_out_in_order_with_their_etags_quoted() -> None:
    done = FakeAnswer(
        200, {},
        b"<CompleteMultipartUploadResult><ETag>&quot;e-2&quot;</ETag><ChecksumCRC64NVME>A=</ChecksumCRC64NVME>"
        b"</CompleteMultipartUploadResult>",
    )  # fmt: skip
    store, net = fake_store([done])
    parts = [UploadedPart(1, 5, "p1"), UploadedPart(2, 1, "p&2")]
    assert await store.complete_upload("k", "u/1", parts, if_none_match=True) == Written("e-2", (("crc64nvme", "A="),))
    assert net.sent[0].body.endswith(
        b"<Part><PartNumber>1</PartNumber><ETag>&quot;p1&quot;</ETag></Part>"
        b"<Part><PartNumber>2</PartNumber><ETag>&quot;p&amp;2&quot;</ETag></Part></CompleteMultipartUpload>"
    )
    assert net.sent[0].target == "/bucket/k?uploadId=u%2F1"
    assert net.sent[0].headers["if-none-match"] == "*"


def parts_page(numbers: range, following: str) -> FakeAnswer:
    items = "".join(f'<Part><PartNumber>{n}</PartNumber><ETag>"p{n}"</ETag><Size>{n}</Size></Part>' for n in numbers)
    more = (
        f"<IsTruncated>true</IsTruncated><NextPartNumberMarker>{following}</NextPartNumberMarker>"
        if following
        else "<IsTruncated>false</IsTruncated>"
    )
    return FakeAnswer(200, {}, f"<ListPartsResult>{more}{items}</ListPartsResult>".encode())


async def test_parts_are_listed_over_all_pages() -> None:
    store, net = fake_store([parts_page(range(1, 4), "3"), parts_page(range(4, 6), "")])
    found = [part async for part in store.uploaded_parts("k", "u")]
    assert found == [UploadedPart(n, n, f"p{n}") for n in range(1, 6)]
    assert "part-number-marker=3" in net.sent[1].target


async def test_pages_of_parts_that_lead_nowhere_end_loudly() -> None:
    for following in ("3", "0", "x"):
        store, _ = fake_store(itertools.repeat(parts_page(range(1, 4), following)))
        with pytest.raises(AnswerInvalid, match="leads nowhere"):
            [part async for part in store.uploaded_parts("k", "u")]


def uploads_page(keys: str, *, truncated: bool) -> FakeAnswer:
    items = "".join(
        f"<Upload><Key>{key}</Key><UploadId>u-{key}</UploadId><Initiated>t</Initiated></Upload>" for key in keys.split()
    )
    flag = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
    return FakeAnswer(200, {}, f"<ListMultipartUploadsResult>{flag}{items}</ListMultipartUploadsResult>".encode())


async def test_uploads_are_listed_over_all_pages_and_go_on_from_the_last_one() -> None:
    store, net = fake_store([uploads_page("a a%2Bb", truncated=True), uploads_page("c+d", truncated=False)])
    found = [upload async for upload in store.open_uploads("p/")]
    assert found == [OpenUpload("a", "u-a", "t"), OpenUpload("a%2Bb", "u-a%2Bb", "t"), OpenUpload("c+d", "u-c+d", "t")]
    assert "encoding-type" not in net.sent[0].target
    assert "key-marker=a%252Bb" in net.sent[1].target
    assert "upload-id-marker=u-a%252Bb" in net.sent[1].target
    assert "prefix=p%2F" in net.sent[1].target


async def test_pages_of_uploads_that_repeat_end_loudly() -> None:
    store, _ = fake_store(itertools.repeat(uploads_page("a b", truncated=True)))
    with pytest.raises(AnswerInvalid, match="leads nowhere"):
        [upload async for upload in store.open_uploads("")]


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (FakeAnswer(202, {}), RestoreState.UNDER_WAY),
        (FakeAnswer(200, {}), RestoreState.READY),
        (error(409, "RestoreAlreadyInProgress"), RestoreState.UNDER_WAY),
    ],
)
async def test_a_restore_is_asked_for_with_its_days_and_tier_and_the_answer_says_how_far_it_is(
    answer: FakeAnswer, state: RestoreState
) -> None:
    store, net = fake_store([answer])
    assert await store.restore("a b", days=9, tier="Bulk") is state
    (sent,) = net.sent
    assert (sent.method, sent.target.split("?")) == ("POST", [sent.target.split("?")[0], "restore="])
    assert b"<Days>9</Days><GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters>" in sent.body


async def test_a_restore_that_is_not_allowed_names_the_permission() -> None:
    store, _ = fake_store([error(403, "AccessDenied")])
    with pytest.raises(AccessDenied, match="s3:RestoreObject"):
        await store.restore("k", days=1, tier="Standard")

"""Kind 1, an answer that could not be understood is taken for the end of the data, and kind 2, the absence of a field is read
as the reassuring value: on pages of objects, parts and uploads."""

from __future__ import annotations

import itertools

import pytest

from dth.errors import ListingBroken
from dth.stores.page import read_page
from tests.unit.store_fakes import FakeAnswer, Sent, fake_store
from tests.unit.test_listing import V1, V2, asked, keys_of

KEYS = [f"k{number:02}" for number in range(7)]
FLAGS = {
    "absent": "",
    "empty": "<IsTruncated/>",
    "a word": "<IsTruncated>maybe</IsTruncated>",
    "yes": "<IsTruncated>yes</IsTruncated>",
    "both": "<IsTruncated>false</IsTruncated><IsTruncated>true</IsTruncated>",
    "one": "<IsTruncated>1</IsTruncated>",
    "capitals": "<IsTruncated> TRUE </IsTruncated>",
}


def rows(keys: list[str]) -> str:
    return "".join(
        f"<Contents><Key>{key}</Key><LastModified>t</LastModified><ETag>e</ETag><Size>1</Size></Contents>"
        for key in keys
    )


def listing(*parts: str) -> FakeAnswer:
    return FakeAnswer(200, {}, f"<ListBucketResult>{''.join(parts)}</ListBucketResult>".encode())


def paged(flag: str, *, marks: bool, size: int = 3, last: str = "", extra: str = "") -> object:
    """A store that lists `KEYS` by `size` and says `flag` where there is more, `last` where there is not."""

    def answer(sent: Sent) -> FakeAnswer:
        query = asked(sent)
        begin = query.get("continuation-token") or query.get("start-after") or query.get("marker") or ""
        rest = [key for key in KEYS if key > begin]
        more, here = len(rest) > size, rest[:size]
        mark = ""
        if more and marks:
            name = "NextContinuationToken" if "list-type" in query else "NextMarker"
            mark = f"<{name}>{here[-1]}</{name}>"
        return listing(flag if more else last, mark, extra, rows(here))

    return answer


@pytest.mark.parametrize("profile", [V1, V2, "S3_Compatible"])
@pytest.mark.parametrize("marks", [True, False], ids=["with a way on", "without"])
@pytest.mark.parametrize("flag", FLAGS.values(), ids=FLAGS)
async def test_a_page_that_does_not_say_that_it_is_the_last_one_is_followed(
    flag: str, profile: str, *, marks: bool
) -> None:
    store, _ = fake_store(paged(flag, marks=marks), profile=profile)  # type: ignore[arg-type]
    assert await keys_of(store) == KEYS


@pytest.mark.parametrize("profile", [V1, V2, "S3_Compatible"])
async def test_a_page_that_says_no_and_names_the_next_one_is_followed(profile: str) -> None:
    no = "<IsTruncated>false</IsTruncated>"
    store, _ = fake_store(paged(no, marks=True, last=no), profile=profile)  # type: ignore[arg-type]
    assert await keys_of(store) == KEYS


async def test_a_page_that_says_no_and_names_where_it_began_is_the_last_one() -> None:
    """The way on must lead on: a marker that repeats the one that was sent leads nowhere."""
    no = "<IsTruncated>false</IsTruncated>"
    store, net = fake_store(
        [listing(no, "<NextMarker>b</NextMarker>", rows(["a", "b"])), listing(no, "<NextMarker>b</NextMarker>")],
        profile=V1,
    )
    assert await keys_of(store) == ["a", "b"]
    assert len(net.sent) == 2


async def test_a_full_page_that_says_no_is_doubted_where_nothing_is_known_of_the_store() -> None:
    no, most = "<IsTruncated>false</IsTruncated>", "<MaxKeys>3</MaxKeys>"
    store, _ = fake_store(paged(no, marks=False, last=no, extra=most), profile="S3_Compatible")  # type: ignore[arg-type]
    assert await keys_of(store) == KEYS
    store, net = fake_store([listing(no, most, rows(KEYS[:3]))], profile=V2)
    assert await keys_of(store) == KEYS[:3]
    assert len(net.sent) == 1, "a known store is believed: no request more"


async def test_an_ordinary_last_page_costs_no_request_more() -> None:
    for profile in (V1, V2, "S3_Compatible"):
        store, net = fake_store([listing("<IsTruncated>false</IsTruncated>", rows(KEYS))], profile=profile)
        assert await keys_of(store) == KEYS
        assert len(net.sent) == 1


async def test_an_empty_page_that_says_nothing_ends_a_listing_that_was_asked_on() -> None:
    store, net = fake_store([listing(rows(["a"])), listing()], profile=V1)
    assert await keys_of(store) == ["a"]
    assert asked(net.sent[1])["marker"] == "a"


@pytest.mark.parametrize(
    ("profile", "answers"),
    [
        ("S3_Compatible", itertools.repeat(listing(rows(KEYS)))),
        (V2, itertools.repeat(listing("<IsTruncated>perhaps</IsTruncated>", rows(KEYS)))),
        (V1, itertools.repeat(listing("<IsTruncated>true</IsTruncated>", "<KeyCount>0</KeyCount>"))),
    ],
    ids=["asked on and the marker is ignored", "asked on and start-after is ignored", "more of nothing"],
)
async def test_a_listing_that_cannot_be_brought_to_its_end_is_broken(profile: str, answers: object) -> None:
    store, _ = fake_store(answers, profile=profile)  # type: ignore[arg-type]
    with pytest.raises(ListingBroken, match="nothing may be concluded"):
        await keys_of(store)


@pytest.mark.parametrize(
    "body",
    [
        "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>5</KeyCount></ListBucketResult>",
        f"<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>3</KeyCount>{rows(KEYS[:2])}</ListBucketResult>",
        "<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>",
        "<Error><Code>InternalError</Code></Error>",
        "<html><body>Welcome</body></html>",
        '{"Contents": []}',
        "",
        "<ListBucketResult><Contents><Key>a</Key><LastModified>t</LastModified><ETag>e</ETag></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><LastModified>t</LastModified><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><Size>many</Size></Contents></ListBucketResult>",
    ],
    ids=[
        "it counts keys and holds none", "it counts more than it holds", "another list", "an error in a 200", "a web page", "JSON",
        "nothing", "no size", "no key", "a size that is none",
    ],
)  # fmt: skip
async def test_a_page_that_is_not_a_whole_page_is_never_an_empty_or_a_last_one(body: str) -> None:
    store, _ = fake_store(lambda _: FakeAnswer(200, {}, body.encode()), profile=V2)
    with pytest.raises(ListingBroken, match="nothing may be concluded"):
        await keys_of(store)


@pytest.mark.parametrize("flag", ["", "<IsTruncated>?</IsTruncated>"])
async def test_parts_and_uploads_are_asked_for_until_none_come(flag: str) -> None:
    def parts(sent: Sent) -> FakeAnswer:
        first = int(asked(sent).get("part-number-marker", "0")) + 1
        numbers = range(first, min(first + 2, 6))
        items = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>e</ETag><Size>1</Size></Part>" for n in numbers)
        return FakeAnswer(200, {}, f"<ListPartsResult>{flag}{items}</ListPartsResult>".encode())

    def uploads(sent: Sent) -> FakeAnswer:
        left = [key for key in KEYS if key > asked(sent).get("key-marker", "")][:3]
        items = "".join(f"<Upload><Key>{k}</Key><UploadId>u</UploadId><Initiated>t</Initiated></Upload>" for k in left)
        return FakeAnswer(200, {}, f"<ListMultipartUploadsResult>{flag}{items}</ListMultipartUploadsResult>".encode())

    store, _ = fake_store(parts)
    assert [part.number async for part in store.uploaded_parts("k", "u")] == [1, 2, 3, 4, 5]
    store, _ = fake_store(uploads)
    assert [upload.key async for upload in store.open_uploads("")] == KEYS


@pytest.mark.parametrize("key", ["a b", "Größe", "a\x01b", "100%", "a%zz"])
def test_a_page_that_only_claims_to_be_encoded_is_read_as_it_is(key: str) -> None:
    """Kind 5: an echo of the parameter is a claim; keys that encoding cannot have left belie it."""
    body = f"<ListBucketResult><EncodingType>url</EncodingType>{rows([key, 'x+y', 'x%41'])}</ListBucketResult>"
    assert [entry.key for entry in read_page(body.encode()).entries] == [key, "x+y", "x%41"]

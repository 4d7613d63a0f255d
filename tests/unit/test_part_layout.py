"""How an object was cut when it was uploaded, where its store tells."""

from __future__ import annotations

import pytest

from dth.model import Generation
from dth.stores.providers import PROFILES
from tests.unit.store_fakes import FakeAnswer, error, fake_store

HASH = "d" * 32


def first_part(size: int, counted: str = "3", etag: str = f"{HASH}-3") -> FakeAnswer:
    return FakeAnswer(206, {"content-length": str(size), "x-amz-mp-parts-count": counted, "etag": f'"{etag}"'})


def attributes(*sizes: int, etag: str = f"{HASH}-3", more: bool = False) -> FakeAnswer:
    parts = "".join(f"<Part><PartNumber>{n}</PartNumber><Size>{size}</Size></Part>" for n, size in enumerate(sizes, 1))
    said = f"<TotalPartsCount>3</TotalPartsCount><IsTruncated>{str(more).lower()}</IsTruncated>"
    inner = f"<ETag>{etag}</ETag><ObjectParts>{said}{parts}</ObjectParts>"
    return FakeAnswer(200, {}, f"<GetObjectAttributesResponse>{inner}</GetObjectAttributesResponse>".encode())


@pytest.mark.parametrize("provider", ["Amazon_S3", "MinIO"])
async def test_the_head_of_part_one_says_how_all_are_cut_without_a_condition_that_a_parts_etag_could_break(
    provider: str,
) -> None:
    store, net = fake_store([first_part(7)], profile=provider)
    assert await store.part_size("k", Generation(f"{HASH}-3", 20)) == 7
    assert net.sent[0].method == "HEAD"
    assert net.sent[0].target.endswith("/k?partNumber=1")
    assert "if-match" not in net.sent[0].headers


@pytest.mark.parametrize(
    "answer",
    [
        first_part(7, counted="2"),
        first_part(7, counted=""),
        first_part(11),  # three of them would make more than there is, two all of it
        first_part(6),  # three of them make less than there is
        first_part(7, etag="e" * 32),  # the part's own, as newer Ceph answers
        error(403, ""),
        error(404, ""),
        error(400, ""),
    ],
)
async def test_a_head_of_part_one_that_does_not_fit_the_object_teaches_nothing(answer: FakeAnswer) -> None:
    store, _ = fake_store([answer], profile="MinIO")
    assert await store.part_size("k", Generation(f"{HASH}-3", 20)) == 0


@pytest.mark.parametrize(
    ("answers", "size"),
    [
        ([attributes(7, 7, 6)], 7),
        ([attributes(7, 7, 7)], 0),  # more than there is
        ([attributes(7, 5, 8)], 0),
        ([attributes(6, 6, 8)], 0),  # the last one is the largest
        ([attributes(10, 10)], 0),  # one is missing
        ([attributes()], 0),
        ([attributes(7, 7, 6, etag="e" * 32 + "-3")], 0),
        ([FakeAnswer(200, {}, b"<odd>")], 0),
        ([FakeAnswer(200, {"content-length": str(2 << 20)}, bytes(2 << 20))], 0),  # the object itself
        ([FakeAnswer(200, {}, b"<GetObjectAttributesResponse/>")], 0),
        ([error(403, "AccessDenied")], 0),
        ([error(501, "NotImplemented")] * 3, 0),
    ],
)
async def test_the_attributes_of_an_object_tell_its_parts_where_they_add_up(
    answers: list[FakeAnswer], size: int
) -> None:
    store, _ = fake_store(answers, profile="SeaweedFS")
    assert await store.part_size("k", Generation(f"{HASH}-3", 20)) == size


async def test_parts_beyond_a_page_are_asked_for_too() -> None:
    store, net = fake_store([attributes(7, 7, more=True), attributes(6)], profile="SeaweedFS")
    assert await store.part_size("k", Generation(f"{HASH}-3", 20)) == 7
    assert net.sent[1].headers["x-amz-part-number-marker"] == "2"


@pytest.mark.parametrize("etag", [HASH, "", "x-3", f"{HASH}-"])
@pytest.mark.parametrize("provider", sorted(set(PROFILES) - {"Aliyun_OSS", "Tencent_COS", "Huawei_OBS"}))
async def test_an_object_without_parts_is_not_asked_for_them(provider: str, etag: str) -> None:
    store, net = fake_store([], profile=provider)
    assert await store.part_size("k", Generation(etag, 20)) == 0
    assert not net.sent


@pytest.mark.parametrize("provider", ["Ceph_RGW", "S3_Compatible", "Google_GCS"])
async def test_a_store_that_is_not_known_to_tell_is_not_asked(provider: str) -> None:
    store, net = fake_store([], profile=provider)
    assert not store.capabilities.tells_parts
    assert await store.part_size("k", Generation(f"{HASH}-3", 20)) == 0
    assert not net.sent

"""Listings of stores that misbehave end loudly, never short and never for ever."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pytest

from dth.errors import ListingBroken, NoSuchBucket
from dth.stores.providers import PROFILES
from dth.stores.s3 import S3Store
from tests.unit.store_fakes import FakeAnswer, Sent, error, fake_store

V1, V2 = "Huawei_OBS", "Ceph_RGW"


def page(*keys: str, truncated: bool = False, extra: str = "") -> FakeAnswer:
    items = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>t</LastModified><ETag>e</ETag><Size>1</Size></Contents>"
        for key in keys
    )
    flag = "true" if truncated else "false"
    body = f"<ListBucketResult><IsTruncated>{flag}</IsTruncated>{items}{extra}</ListBucketResult>"
    return FakeAnswer(200, {}, body.encode())


def asked(sent: Sent) -> dict[str, str]:
    return {name: texts[0] for name, texts in parse_qs(urlsplit(sent.target).query, keep_blank_values=True).items()}


async def keys_of(store: S3Store, prefix: str = "", *, after: str = "", until: str = "") -> list[str]:
    return [entry.key async for found in store.pages(prefix, after=after, until=until) for entry in found]


def server(keys: list[str], size: int = 2) -> Callable[[Sent], FakeAnswer]:
    """A right one, of either version."""

    def answer(sent: Sent) -> FakeAnswer:
        query = asked(sent)
        begin = query.get("continuation-token") or query.get("start-after") or query.get("marker") or ""
        rest = [key for key in sorted(keys, key=str.encode) if key > begin and key.startswith(query["prefix"])]
        more = len(rest) > size
        token = (
            f"<NextContinuationToken>{rest[size - 1]}</NextContinuationToken>" if more and "list-type" in query else ""
        )
        return page(*rest[:size], truncated=more, extra=token)

    return answer


@pytest.mark.parametrize("profile", [V1, V2])
async def test_all_pages_come_in_order_over_either_version(profile: str) -> None:
    keys = [f"p/{number:02}" for number in range(7)]
    store, net = fake_store(server([*keys, "a", "q"]), profile=profile)
    assert await keys_of(store, "p/") == keys
    assert len(net.sent) == 4
    assert ("list-type" in asked(net.sent[0])) == (profile == V2)


@pytest.mark.parametrize("profile", [V1, V2, "S3_Compatible", "SeaweedFS"])
async def test_a_range_is_exclusive_below_and_inclusive_above(profile: str) -> None:
    store, _ = fake_store(server(list("abcdefgh")), profile=profile)
    assert await keys_of(store, after="b", until="e") == ["c", "d", "e"]
    assert await keys_of(store, after="h") == []
    assert await keys_of(store, until="0") == []


async def test_an_ordered_listing_stops_asking_past_its_upper_bound() -> None:
    store, net = fake_store(server(list("abcdefgh")), profile=V2)
    assert await keys_of(store, until="b") == ["a", "b"]
    assert len(net.sent) == 2


async def test_start_after_is_never_sent_below_the_prefix_nor_where_it_is_not_trusted() -> None:
    for profile, after, sent in ((V2, "a", False), (V2, "p/1", True), (V2, "p/", True), ("SeaweedFS", "p/1", False)):
        store, net = fake_store([page("p/2")], profile=profile)
        assert await keys_of(store, "p/", after=after) == ["p/2"]
        assert ("start-after" in asked(net.sent[0]) or "marker" in asked(net.sent[0])) == sent


async def test_a_truncated_page_without_a_token_is_continued_from_its_last_key() -> None:
    store, net = fake_store([page("a", "b", truncated=True), page("c")], profile=V2)
    assert await keys_of(store) == ["a", "b", "c"]
    assert asked(net.sent[1])["start-after"] == "b"


async def test_the_last_key_is_the_marker_whatever_next_marker_says() -> None:
    half_encoded = page("a+b", "c+d", truncated=True, extra="<NextMarker>c d</NextMarker>")
    store, net = fake_store([half_encoded, page("e")], profile=V1)
    await keys_of(store)
    assert asked(net.sent[1])["marker"] == "c+d"


@pytest.mark.parametrize(
    ("profile", "answers"),
    [
        (V2, lambda n: page("a", "b", truncated=True, extra=f"<NextContinuationToken>{n}</NextContinuationToken>")),
        (V2, lambda n: page("a", "b", truncated=True)),
        (V1, lambda n: page("a", "b", truncated=True)),
        (V2, lambda n: page(f"{n:04}", truncated=True, extra="<NextContinuationToken>same</NextContinuationToken>")),
        (
            "SeaweedFS",
            lambda n: page("abcde"[n % 5], truncated=True, extra=f"<NextContinuationToken>{n}</NextContinuationToken>"),
        ),
        (V2, lambda n: page("abcde"[n % 5], truncated=True, extra=f"<NextContinuationToken>{n}</NextContinuationToken>")),
        (V2, lambda n: page(truncated=True, extra=f"<NextContinuationToken>{n}</NextContinuationToken>")),
        (V1, lambda n: page(truncated=True)),
        ("no start-after", lambda n: page("a", truncated=True)),
        (V2, lambda n: page("p/a", extra="<CommonPrefixes><Prefix>p/b/</Prefix></CommonPrefixes>")),
    ],
    ids=[
        "one page under new tokens", "one page, no token", "one page over version 1", "one token", "a loop of five markers", "a loop of five pages under new tokens",
        "empty for ever", "empty without a marker", "no way on", "folded keys",
    ],
)  # fmt: skip
async def test_a_listing_that_cannot_be_trusted_breaks(profile: str, answers: Callable[[int], FakeAnswer]) -> None:
    numbers = itertools.count()
    kind = replace(PROFILES["Cloudflare_R2"], start_after=False) if profile == "no start-after" else PROFILES[profile]
    store, net = fake_store(lambda _: answers(next(numbers)), profile=kind)
    with pytest.raises(ListingBroken, match="nothing may be concluded"):
        await keys_of(store)
    assert len(net.sent) < 1100


async def test_a_store_that_ignores_the_prefix_is_not_believed() -> None:
    store, _ = fake_store([page("p/a", "q")], profile=V2)
    with pytest.raises(ListingBroken, match="lack the prefix 'p/'"):
        await keys_of(store, "p/")


async def test_a_repeated_page_is_noticed_at_once() -> None:
    store, net = fake_store(lambda _: page("a", "b", truncated=True), profile=V1)
    with pytest.raises(ListingBroken):
        await keys_of(store)
    assert len(net.sent) == 2


async def test_some_empty_pages_on_the_way_are_no_end() -> None:
    def more(token: str) -> str:
        return f"<NextContinuationToken>{token}</NextContinuationToken>"

    answers = [
        page("a", truncated=True, extra=more("1")),
        *(page(truncated=True, extra=more(t)) for t in "234"),
        page("b"),
    ]
    store, _ = fake_store(answers, profile=V2)
    assert await keys_of(store) == ["a", "b"]


async def test_control_characters_that_break_the_xml_are_reported_and_not_a_crash() -> None:
    raw = page("a\x01b").body.replace(b"<Contents>", b"<Contents odd='1'>")
    store, net = fake_store(lambda _: FakeAnswer(200, {}, raw), profile="S3_Compatible")
    with pytest.raises(ListingBroken, match="control characters"):
        await keys_of(store)
    assert len(net.sent) == 3


async def test_a_page_is_repeated_by_itself_when_it_fails_on_the_way() -> None:
    good = server(list("abcd"))
    numbers = itertools.count()

    def answer(sent: Sent) -> FakeAnswer:
        number = next(numbers)
        if number == 1:
            return error(500, "InternalError")
        return FakeAnswer(200, {}, good(sent).body[:30]) if number == 2 else good(sent)

    store, net = fake_store(answer, profile=V2)
    assert await keys_of(store) == list("abcd")
    assert len(net.sent) == 4


async def test_an_error_is_never_an_empty_listing() -> None:
    store, _ = fake_store(lambda _: error(404, "NoSuchBucket"), profile=V2)
    with pytest.raises(NoSuchBucket, match="create the bucket or correct its name"):
        await keys_of(store)


async def test_url_encoding_is_asked_for_where_the_profile_says_so() -> None:
    for profile, asks in ((V2, True), ("S3_Compatible", True), ("Qiniu_Kodo", True), (V1, False)):
        store, net = fake_store([page()], profile=profile)
        await keys_of(store)
        assert (asked(net.sent[0]).get("encoding-type") == "url") == asks

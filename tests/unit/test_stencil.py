"""What a stencil fills in is, byte for byte, what the ordinary functions build, sign and check."""

from __future__ import annotations

from base64 import b64encode
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.errors import KeyRefused
from dth.model import Attributes, Generation, Location
from dth.retry import RetryPolicy
from dth.states import Side
from dth.stores.base import PutOptions
from dth.stores.bucket import Call, Door
from dth.stores.credentials import fixed
from dth.stores.providers import PROFILES
from dth.stores.s3 import S3Store
from dth.stores.sign import EMPTY_SHA256, UNSIGNED, Credentials, Signer
from dth.stores.stencil import are_alike, cut
from dth.transport.base import Origin, Timeouts
from dth.transport.client import PooledClient

KEYS = [Credentials("access", "secret"), Credentials("access", "secret", "a session's token")]
MD5S = st.binary(min_size=16, max_size=16).map(bytes.hex)
TEXTS = st.text(
    st.characters(min_codepoint=0x20, exclude_characters="\x7f", exclude_categories=["Cs", "Cc"]), max_size=12
)


class Clock:
    """A signer's, which stands still."""

    now = 1764331200.0

    def __call__(self) -> float:
        return self.now


def store(*, payer: bool = False) -> S3Store:
    location = Location(
        Side.SOURCE, "MinIO", "http://store:9000", "r", "bucket", "", "", "", "path", request_payer=payer
    )
    return S3Store(location, PROFILES["MinIO"], fixed(KEYS[0]), connect=client, retry=RetryPolicy(2, 0, 0))


def client(origin: Origin) -> PooledClient:
    return PooledClient(origin, timeouts=Timeouts(5.0, 60.0, 60.0), max_connections=8)


def door(clock: Clock) -> Door:
    return Door(client(Origin("http", "store", 9000)), Signer("r", clock=clock), "store:9000", "/bucket", unsigned=True)


def ordinary(made: S3Store, at: Door, call: Call, payload_hash: str, keys: Credentials) -> bytes:
    target, names, values = made.bucket.signed(at, call, payload_hash, keys)
    return cast("PooledClient", at.client).head(call.method, target, names, values, call.length)


def options(metadata: dict[str, str], content_type: str) -> PutOptions:
    headers = (("content-type", content_type),) if content_type.strip() == content_type != "" else ()
    return PutOptions(attributes=Attributes(headers, tuple(metadata.items())))


@given(
    first=MD5S,
    md5s=st.lists(MD5S, min_size=1, max_size=3),
    keys=st.lists(TEXTS.filter(bool), min_size=3, max_size=3),
    metadata=st.dictionaries(st.sampled_from(["a", "b%s", "c"]), TEXTS),
    content_type=TEXTS,
    length=st.integers(0, 1 << 23),
    signer=st.sampled_from(KEYS),
    payer=st.booleans(),
)
def test_what_is_filled_in_equals_what_is_built(
    *,
    first: str,
    md5s: list[str],
    keys: list[str],
    metadata: dict[str, str],
    content_type: str,
    length: int,
    signer: Credentials,
    payer: bool,
) -> None:
    made, at = store(payer=payer), door(Clock())
    written = options(metadata, content_type)

    def get(key: str, md5: str) -> tuple[Call, str]:
        return made.reading.get_call(key, Generation(md5, length), None), EMPTY_SHA256

    def put(key: str, md5: str) -> tuple[Call, str]:
        return made.writing.put_call(key, b"", length, written, md5), UNSIGNED

    for call in (get, put):
        like, payload_hash = call("first", first)
        stencil = cut(made.bucket, at, cast("PooledClient", at.client), like, payload_hash, signer)
        assert stencil
        for key, md5 in zip(keys, md5s, strict=False):
            asked, _ = call(key, md5)
            before = made.bucket.requests[asked.operation]
            assert stencil.fill(asked, payload_hash) == ordinary(made, at, asked, payload_hash, signer)
            assert made.bucket.requests[asked.operation] == before + 2
            assert are_alike(like, asked)


def test_what_is_not_alike_is_not_filled_in() -> None:
    clock, made = Clock(), store()
    at, written = door(clock), options({"a": "1"}, "text/plain")
    md5 = "ab" * 16
    like = made.writing.put_call("key", b"x", 1, written, md5)
    stencil = cut(made.bucket, at, cast("PooledClient", at.client), like, UNSIGNED, KEYS[0])
    assert stencil
    assert stencil.fill(like, UNSIGNED)
    put = made.writing.put_call
    others = [
        put("key", b"x", 1, options({"a": "2"}, "text/plain"), md5),
        put("key", b"x", 1, options({}, "text/plain"), md5),
        put("key", b"x", 1, options({"a": "1", "b": "2"}, "text/plain"), md5),
        put("key", b"x", 1, written),
        Call("PutObject", "PUT", "key", "versionId=1", like.headers, b"x", 1),
        Call("PutObject", "POST", "key", "", like.headers, b"x", 1),
        Call("PutObject", "PUT", "key", "", [*like.headers[:-1], ("content-md5", "two words")], b"x", 1),
        Call("PutObject", "PUT", "key", "", [*like.headers[:-1], ("content-md5", "a\r\nb")], b"x", 1),
        Call("PutObject", "PUT", "key", "", [], b"x", 1),
    ]
    assert [stencil.fill(other, UNSIGNED) for other in others] == [None] * len(others)
    assert stencil.fill(like, EMPTY_SHA256) is None
    assert not any(are_alike(like, other) for other in others[:3])
    with pytest.raises(KeyRefused):
        stencil.fill(put("\ud800", b"x", 1, written, md5), UNSIGNED)
    clock.now += 1
    assert stencil.fill(like, UNSIGNED) is None


def test_a_request_without_an_open_header_makes_no_stencil() -> None:
    made, at = store(), door(Clock())
    open_nowhere = made.reading.get_call("key", None, None)
    marked = made.writing.put_call("key", b"x", 1, options({"a": "~left~open~"}, ""), "ab" * 16)
    for call in (open_nowhere, marked):
        assert cut(made.bucket, at, cast("PooledClient", at.client), call, UNSIGNED, KEYS[0]) is None


def test_the_mark_is_filled_in_nowhere_else() -> None:
    """Content-MD5 is the only signed header that is left open."""
    made, at = store(), door(Clock())
    call = made.writing.put_call("key", b"x", 1, options({}, ""), "ab" * 16)
    stencil = cut(made.bucket, at, cast("PooledClient", at.client), call, UNSIGNED, KEYS[0])
    assert stencil
    filled = stencil.fill(call, UNSIGNED)
    assert filled
    assert filled.count(b64encode(bytes.fromhex("ab" * 16))) == 1
    assert b"~" not in filled

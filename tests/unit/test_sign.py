"""Signatures equal AWS's published examples and botocore's, whatever the key."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from dth.stores.encode import encode_key, encode_query
from dth.stores.sign import EMPTY_SHA256, UNSIGNED, Credentials, Signer, payload_sha256

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
EXAMPLE_TIME = datetime(2013, 5, 24, tzinfo=UTC)
EXAMPLE_HOST = ("host", "examplebucket.s3.amazonaws.com")

AWS_EXAMPLES = [
    (
        "GET", "/test.txt", "", [EXAMPLE_HOST, ("range", "bytes=0-9")], EMPTY_SHA256,
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    (
        "PUT", "/test%24file.text", "",
        [("date", "Fri, 24 May 2013 00:00:00 GMT"), EXAMPLE_HOST, ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
        payload_sha256(b"Welcome to Amazon S3."), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    (
        "GET", "/", "lifecycle=", [EXAMPLE_HOST], EMPTY_SHA256,
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    (
        "GET", "/", "max-keys=2&prefix=J", [EXAMPLE_HOST], EMPTY_SHA256,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
]  # fmt: skip


Headers = list[tuple[str, str]]


def sign(
    signer: Signer, method: str, path: str, query: str, headers: Headers, payload: str, who: Credentials | None
) -> Headers:
    """The signed request's headers in pairs."""
    names, values = zip(*headers, strict=True)
    return list(zip(*signer.sign(method, path, query, names, values, payload, who), strict=True))


def signature(signed: Headers) -> str:
    return dict(signed)["authorization"].rpartition("Signature=")[2]


@pytest.mark.parametrize(("method", "path", "query", "headers", "payload", "expected"), AWS_EXAMPLES)
def test_aws_published_examples_come_out_to_the_letter(
    method: str, path: str, query: str, headers: list[tuple[str, str]], payload: str, expected: str
) -> None:
    signer = Signer("us-east-1", clock=EXAMPLE_TIME.timestamp)
    assert signature(sign(signer, method, path, query, headers, payload, EXAMPLE)) == expected


keys = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).map(lambda key: "/" + key)
values = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20).map(str.strip) | st.just(
    "two  in   a row"
)


@settings(max_examples=150)
@given(
    key=keys,
    query=st.lists(
        st.tuples(st.text("aA-_.~ +/%&=é", min_size=1, max_size=8), values), max_size=4, unique_by=lambda p: p[0]
    ),
    extra=st.dictionaries(
        st.sampled_from(["x-amz-meta-a", "x-amz-acl", "content-md5", "range", "x-amz-meta-100%"]), values
    ),
    token=st.none() | st.just("token//=="),
    body=st.binary(max_size=20),
    seconds=st.integers(0, 2**32),
)
def test_any_request_is_signed_as_botocore_signs_it(
    key: str, query: list[tuple[str, str]], extra: dict[str, str], token: str | None, body: bytes, seconds: int
) -> None:
    headers = [("host", "store.example:8333"), *extra.items()]
    path, text = encode_key(key), encode_query(query)
    signer = Signer("eu-west-1", clock=lambda: float(seconds))
    ours = sign(signer, "PUT", path, text, headers, payload_sha256(body), Credentials("AKIA", "secret", token))
    request = AWSRequest("PUT", f"http://store.example:8333{path}?{text}", dict(headers), data=body)
    now = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    with patch.object(botocore.auth, "get_current_datetime", lambda **_: now):
        botocore.auth.S3SigV4Auth(BotoCredentials("AKIA", "secret", token), "s3", "eu-west-1").add_auth(request)
    assert dict(ours)["authorization"] == request.headers["Authorization"]


def test_header_bytes_that_are_no_ascii_are_signed_as_they_are_sent() -> None:
    signer = Signer("us-east-1", clock=EXAMPLE_TIME.timestamp)
    spoilt = b"\xff\xc3\xa9".decode("utf-8", "surrogateescape")
    names = [("host", "h"), ("x-amz-meta-a", spoilt)]
    assert len(signature(sign(signer, "GET", "/", "", names, EMPTY_SHA256, EXAMPLE))) == 64


def test_accept_encoding_and_conditions_are_sent_and_not_signed() -> None:
    headers = [("host", "h"), ("accept-encoding", "identity"), ("if-match", '"e"')]
    signed = sign(Signer("auto"), "GET", "/k", "", headers, UNSIGNED, EXAMPLE)
    assert signed[:3] == headers
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date," in dict(signed)["authorization"]


def test_without_credentials_nothing_is_added() -> None:
    assert sign(Signer("auto"), "GET", "/", "", [EXAMPLE_HOST], EMPTY_SHA256, None) == [EXAMPLE_HOST]


def test_the_days_key_follows_the_day_the_secret_and_the_clocks_offset() -> None:
    now = [EXAMPLE_TIME.timestamp()]
    signer = Signer("us-east-1", clock=lambda: now[0])
    arguments = ("GET", "/test.txt", "", [EXAMPLE_HOST, ("range", "bytes=0-9")], EMPTY_SHA256)
    first = signature(sign(signer, *arguments, EXAMPLE))
    other = signature(sign(signer, *arguments, Credentials("AKIAIOSFODNN7EXAMPLE", "other")))
    now[0] += 86_400
    next_day = signature(sign(signer, *arguments, EXAMPLE))
    signer.offset = -86_400
    corrected = signature(sign(signer, *arguments, EXAMPLE))
    assert len({first, other, next_day}) == 3
    assert corrected == first == AWS_EXAMPLES[0][5]


def test_many_shapes_of_headers_do_not_pile_up() -> None:
    signer = Signer("us-east-1")
    for number in range(2000):
        sign(signer, "PUT", "/", "", [EXAMPLE_HOST, (f"x-amz-meta-{number}", "v")], UNSIGNED, EXAMPLE)
    assert len(signer._shapes) <= 512


def test_no_secret_shows_when_credentials_are_printed() -> None:
    shown = repr(Credentials("AKIA", "the-secret", "the-token"))
    assert "AKIA" in shown
    assert "the-secret" not in shown
    assert "the-token" not in shown

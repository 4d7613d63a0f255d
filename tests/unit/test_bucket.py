"""What a bucket sets right by itself, what it repeats, and where it never sends credentials."""

from __future__ import annotations

import time
from dataclasses import replace
from email.utils import formatdate

import pytest

from dth.errors import (
    AccessDenied,
    BadCredentials,
    ConnectionLost,
    NoSuchUpload,
    RequestRefused,
    ServerFault,
    StoreError,
    Throttled,
    WrongRegion,
)
from dth.stores.base import PutOptions, UploadedPart
from dth.stores.providers import PROFILES
from dth.stores.sign import Credentials
from tests.unit.store_fakes import FakeAnswer, Sent, error, fake_store, stream

HEAD = FakeAnswer(200, {"content-length": "3", "etag": '"e"'})
PUT = FakeAnswer(200, {"etag": '"e"'})


async def test_addressing_follows_the_profile_and_the_setting_wins() -> None:
    for profile, addressing, host, target in (
        ("Ceph_RGW", "", "127.0.0.1:1", "/bucket/k%20y"),
        ("Aliyun_OSS", "", "bucket.127.0.0.1:1", "/k%20y"),
        ("Aliyun_OSS", "path", "127.0.0.1:1", "/bucket/k%20y"),
    ):
        store, net = fake_store([HEAD], profile=profile, addressing=addressing)
        await store.head("k y")
        assert (net.sent[0].headers["host"], net.sent[0].target) == (host, target)


async def test_a_bucket_with_dots_is_addressed_by_path_on_aws_because_its_certificate_covers_one_label() -> None:
    store, net = fake_store([HEAD, HEAD], profile="Amazon_S3", endpoint="", bucket="a.b")
    await store.head("k")
    assert net.sent[0].headers["host"] == "s3.us-east-1.amazonaws.com"
    assert net.sent[0].target == "/a.b/k"


async def test_the_region_is_discovered_without_credentials_and_once() -> None:
    def answer(sent: Sent) -> FakeAnswer:
        if sent.target == "/":
            return FakeAnswer(403, {"x-amz-bucket-region": "eu-west-1"})
        return HEAD

    store, net = fake_store(answer, profile="Amazon_S3", endpoint="", region="")
    await store.head("k")
    await store.head("k")
    assert [sent.origin.host for sent in net.sent] == [
        "bucket.s3.us-east-1.amazonaws.com", "bucket.s3.eu-west-1.amazonaws.com", "bucket.s3.eu-west-1.amazonaws.com",
    ]  # fmt: skip
    assert "authorization" not in net.sent[0].headers
    assert "/eu-west-1/s3/" in net.sent[1].headers["authorization"]
    assert store.region == "eu-west-1"


async def test_a_wrong_region_is_corrected_inside_the_same_provider() -> None:
    moved = error(301, "PermanentRedirect", "<Endpoint>evil.example</Endpoint>", x_amz_bucket_region="eu-west-1",
                  location="https://evil.example/k")  # fmt: skip
    store, net = fake_store([moved, HEAD, HEAD], profile="Amazon_S3", endpoint="", region="us-east-1")
    await store.head("k")
    await store.head("k")
    assert [sent.origin.host for sent in net.sent] == [
        "bucket.s3.us-east-1.amazonaws.com", *["bucket.s3.eu-west-1.amazonaws.com"] * 2,
    ]  # fmt: skip
    await store.close()
    assert len(net.closed) == 2


async def test_a_region_named_in_a_malformed_authorization_is_signed_for_at_the_same_endpoint() -> None:
    store, net = fake_store([error(400, "AuthorizationHeaderMalformed", "<Region>eu-9</Region>"), FakeAnswer(204)])
    await store.delete("k")
    assert {sent.origin.host for sent in net.sent} == {"127.0.0.1"}
    assert "/eu-9/s3/" in net.sent[1].headers["authorization"]


@pytest.mark.parametrize("region", ["evil.example/", "a@evil.example", "x.evil.example", "a#", "-x", "x" * 60, "A B"])
async def test_a_region_that_is_none_never_becomes_part_of_a_host_name(region: str) -> None:
    answers = [FakeAnswer(301, {"x-amz-bucket-region": region})] * 5
    store, net = fake_store(answers, profile="Amazon_S3", endpoint="")
    with pytest.raises(WrongRegion):
        await store.head("k")
    assert {sent.origin.host for sent in net.sent} == {"bucket.s3.us-east-1.amazonaws.com"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_host_is_never_followed(status: int) -> None:
    answer = FakeAnswer(status, {"location": "https://evil.example/bucket/k"})
    store, net = fake_store(lambda _: answer)
    with pytest.raises(StoreError):
        await store.head("k")
    assert [sent.origin.host for sent in net.sent] == ["127.0.0.1"]


async def test_two_stores_that_send_each_other_the_bucket_end_with_an_error() -> None:
    def answer(sent: Sent) -> FakeAnswer:
        other = "eu-west-1" if "us-east-1" in sent.origin.host else "us-east-1"
        return error(301, "PermanentRedirect", x_amz_bucket_region=other)

    store, net = fake_store(answer, profile="Amazon_S3", endpoint="")
    with pytest.raises(WrongRegion, match="set src_region or dest_region"):
        await store.delete("k")
    assert len(net.sent) <= 4


@pytest.mark.parametrize("status", [301, 307])
async def test_a_redirect_that_names_an_endpoint_is_told_and_not_followed(status: int) -> None:
    body = b"<Error><Code>TemporaryRedirect</Code><Endpoint>node7.example:9000\xc2\x9b2J</Endpoint></Error>"
    store, net = fake_store(lambda _: FakeAnswer(status, {}, body))
    with pytest.raises(WrongRegion, match=r"the bucket is at node7\.example:9000") as caught:
        await store.delete("k")
    assert "\x9b" not in str(caught.value)
    assert [sent.origin.host for sent in net.sent] == ["127.0.0.1"]


@pytest.mark.parametrize("skew", [86_400.0 * 2, -86_400.0 * 365, 86_400.0 * 365 * 500])
async def test_a_store_moves_the_clock_of_signatures_by_a_day_at_most(skew: float) -> None:
    late = error(403, "RequestTimeTooSkewed", date=formatdate(time.time() + skew, usegmt=True))
    store, net = fake_store([late, late])
    with pytest.raises(BadCredentials):
        await store.put("k", b"abc", 3, PutOptions())
    assert len(net.sent) == 1
    assert store.clock_offset == 0


async def test_a_clock_twenty_minutes_off_is_set_right_from_the_stores_date() -> None:
    skew = 1200.0
    late = error(403, "RequestTimeTooSkewed", date=formatdate(time.time() + skew, usegmt=True))
    store, net = fake_store([late, PUT, PUT])
    await store.put("k", b"abc", 3, PutOptions())
    await store.put("k", b"abc", 3, PutOptions())
    stamps = [sent.headers["x-amz-date"] for sent in net.sent]
    seconds = [time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) for stamp in stamps]
    assert abs(seconds[1] - seconds[0] - skew) < 5
    assert abs(seconds[2] - seconds[1]) < 5
    assert abs(store.clock_offset - skew) < 5


async def test_a_streamed_body_whose_region_was_wrong_is_the_callers_to_send_again() -> None:
    moved = error(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1")
    store, net = fake_store([moved, PUT], profile="Amazon_S3", endpoint="")
    with pytest.raises(WrongRegion) as caught:
        await store.put("k", stream(b"ab", b"c"), 3, PutOptions())
    assert caught.value.retryable
    await store.put("k", stream(b"ab", b"c"), 3, PutOptions())
    assert net.sent[1].origin.host == "bucket.s3.eu-west-1.amazonaws.com"


class Renewing:
    """Old credentials until they are refused."""

    def __init__(self, fresh: Credentials) -> None:
        self.current = Credentials("OLD", "s", "old-token")
        self.fresh = fresh
        self.renewed = 0

    async def get(self) -> Credentials:
        return self.current

    async def renew(self, refused: Credentials | None) -> Credentials:
        self.renewed += 1
        self.current = self.fresh
        return self.current


@pytest.mark.parametrize("refused", [error(400, "ExpiredToken"), error(403, "InvalidAccessKeyId")])
async def test_refused_credentials_are_read_again_and_the_request_repeated(refused: FakeAnswer) -> None:
    provider = Renewing(Credentials("NEW", "s", "new-token"))
    store, net = fake_store([refused, PUT], credentials=provider)
    await store.put("k", b"abc", 3, PutOptions())
    assert net.sent[1].headers["x-amz-security-token"] == "new-token"


async def test_credentials_that_read_the_same_are_not_tried_twice() -> None:
    provider = Renewing(Credentials("OLD", "s", "old-token"))
    store, net = fake_store([error(403, "InvalidAccessKeyId")], credentials=provider)
    with pytest.raises(BadCredentials, match="check the access key"):
        await store.put("k", b"abc", 3, PutOptions())
    assert len(net.sent) == 1


@pytest.mark.parametrize(
    "bad",
    [
        error(500, "InternalError"),
        error(503, "SlowDown"),
        error(429, ""),
        error(400, "RequestTimeout"),
        error(400, "IncompleteBody"),
        error(502, ""),
        error(400, "BadDigest"),
        ConnectionLost("reset"),
        FakeAnswer(200, {}, b""),  # no ETag
        FakeAnswer(200, {"etag": '"e"'}, b"<Error><Code>InternalError</Code></Error>"),
    ],
    ids=lambda bad: getattr(bad, "body", b"")[:40] if isinstance(bad, FakeAnswer) else "reset",
)
async def test_what_may_pass_is_tried_again(bad: FakeAnswer | ConnectionLost) -> None:
    store, net = fake_store([bad, PUT])
    assert (await store.put("k", b"abc", 3, PutOptions())).etag == "e"
    assert store.requests == {"PutObject": 2}
    assert [sent.body for sent in net.sent] == [b"abc", b"abc"]


async def test_attempts_are_bounded_and_the_last_error_says_what_failed() -> None:
    store, net = fake_store(lambda _: error(503, "SlowDown", retry_after="0"))
    with pytest.raises(Throttled, match=r"source: PutObject s3://bucket/k: 503 SlowDown") as caught:
        await store.put("k", b"abc", 3, PutOptions())
    assert len(net.sent) == 3
    assert caught.value.retry_after == 0.0


async def test_a_streamed_body_is_sent_once() -> None:
    store, net = fake_store(lambda _: error(500, "InternalError"))
    with pytest.raises(ServerFault):
        await store.put("k", stream(b"abc"), 3, PutOptions())
    assert len(net.sent) == 1


async def test_lost_connections_are_named_by_side_and_object() -> None:
    store, _ = fake_store(lambda _: ConnectionLost("reset by peer", sent=False), attempts=2)
    with pytest.raises(ConnectionLost, match=r"source: HeadObject s3://bucket/k: reset by peer") as caught:
        await store.head("k")
    assert not caught.value.sent


async def test_an_upload_is_not_opened_twice_after_a_lost_answer() -> None:
    for lost in (ConnectionLost("reset"), error(502, ""), error(504, "")):
        store, net = fake_store([lost])
        with pytest.raises((ConnectionLost, ServerFault)) as caught:
            await store.create_upload("k", PutOptions())
        assert len(net.sent) == 1
        assert not caught.value.retryable
    opened = FakeAnswer(
        200, {}, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
    )
    store, net = fake_store([ConnectionLost("refused", sent=False), error(503, "SlowDown"), opened])
    assert await store.create_upload("k", PutOptions()) == "u"


async def test_the_missing_action_is_named() -> None:
    store, _ = fake_store(lambda _: error(403, "AccessDenied"))
    with pytest.raises(AccessDenied, match="s3:PutObject"):
        await store.put("k", b"", 0, PutOptions())
    with pytest.raises(AccessDenied, match="s3:ListBucket"):
        await store.check()
    with pytest.raises(AccessDenied, match="s3:AbortMultipartUpload"):
        await store.abort_upload("k", "u")


async def test_plain_http_carries_a_hash_where_unsigned_payload_is_refused() -> None:
    strict = replace(PROFILES["S3_Compatible"], unsigned_over_http=False)
    store, net = fake_store([PUT], profile=strict)
    assert store.capabilities.needs_payload_hash
    await store.put("k", b"abc", 3, PutOptions())
    assert net.sent[0].headers["x-amz-content-sha256"].startswith("ba7816bf8f01cfea")
    with pytest.raises(RequestRefused, match="plain HTTP"):
        await store.put("k", stream(b"abc"), 3, PutOptions())


async def test_the_payer_is_named_on_every_request() -> None:
    store, net = fake_store([HEAD, FakeAnswer(204)], request_payer=True)
    await store.head("k")
    await store.delete("k")
    assert {sent.headers["x-amz-request-payer"] for sent in net.sent} == {"requester"}


async def test_anonymous_requests_carry_no_signature() -> None:
    store, net = fake_store([HEAD], anonymous=True)
    await store.head("k")
    assert not [name for name in net.sent[0].headers if name.startswith(("authorization", "x-amz-"))]


async def test_an_unknown_store_that_names_itself_is_treated_as_what_it_is() -> None:
    listed = FakeAnswer(200, {"server": "SeaweedFS 8000GB 4.48"}, b"<ListBucketResult/>")
    for provider, expected in (("", "SeaweedFS"), ("S3_Compatible", "S3_Compatible")):
        store, _ = fake_store([listed], profile="S3_Compatible", provider=provider)
        await store.check()
        assert store.capabilities.provider == expected


@pytest.mark.parametrize(
    "answer",
    [
        FakeAnswer(200, {}, b"<Error><Code>InternalError</Code></Error>"),
        FakeAnswer(200, {}, b'<?xml version="1.0"?>\n   '),
        FakeAnswer(200, {}, b""),
        FakeAnswer(200, {}, b"   "),
        FakeAnswer(200, {}, b"<CompleteMultipartUploadResult/>"),
        FakeAnswer(200, {"etag": '"e"'}, b"<Other><ETag>e</ETag></Other>"),
    ],
    ids=["error", "cut after white space", "empty", "blank", "no ETag", "another element"],
)
async def test_completing_succeeds_only_with_a_whole_result(answer: FakeAnswer) -> None:
    whole = FakeAnswer(
        200, {}, b"\n\n<CompleteMultipartUploadResult><ETag>&quot;e-1&quot;</ETag></CompleteMultipartUploadResult>"
    )
    parts = [UploadedPart(1, 3, "p")]
    store, net = fake_store([answer, whole])
    assert (await store.complete_upload("k", "u", parts)).etag == "e-1"
    assert len(net.sent) == 2
    store, net = fake_store(lambda _: answer)
    with pytest.raises(StoreError) as caught:
        await store.complete_upload("k", "u", parts)
    # A named fault is asked again here. Of nonsense nobody knows what the store made: once more, then whoever asks looks first.
    named = isinstance(caught.value, ServerFault)
    assert caught.value.retryable == named
    assert len(net.sent) == (3 if named else 2)


async def test_an_error_in_a_200_is_the_error_that_it_names() -> None:
    store, _ = fake_store([FakeAnswer(200, {}, b"<Error><Code>NoSuchUpload</Code></Error>")])
    with pytest.raises(NoSuchUpload):
        await store.complete_upload("k", "u", [UploadedPart(1, 3, "p")])

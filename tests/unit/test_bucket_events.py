"""Bodies of other makers, as they document or send them, become the events that they mean."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.messages import MessageInvalid
from dth.queues.bucket_events import Happened, KeyEvent, events_in, sortable

CREATED, REMOVED, OTHER = Happened.CREATED, Happened.REMOVED, Happened.OTHER


def s3_record(name: str, key: str = "a%2Fb+c%C3%A9.txt", **stored: Any) -> dict[str, Any]:
    """A record as S3 sends it (userguide: notification-content-structure)."""
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "2026-01-01T00:00:00.000Z",
        "eventName": name,
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "testConfigRule",
            "bucket": {
                "name": "mybucket",
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": "arn:aws:s3:::mybucket",
            },
            "object": {"key": key, "sequencer": "0055AED6DCD90281E5", **stored},
        },
    }


PUT = s3_record(
    "ObjectCreated:Put",
    size=1024,
    eTag="d41d8cd98f00b204e9800998ecf8427e",
    versionId="096fKKXTRTtl3on89fVO.nfljtsv6qko",
)
KEY = "a/b cé.txt"


def one(document: Any) -> KeyEvent:
    (event,) = events_in(json.dumps(document)).events
    return event


def test_an_s3_creation_with_its_url_encoded_key() -> None:
    assert one({"Records": [PUT]}) == KeyEvent(
        CREATED,
        "mybucket",
        KEY,
        1024,
        "d41d8cd98f00b204e9800998ecf8427e",
        "0055AED6DCD90281E5",
        PUT["s3"]["object"]["key"],
        at=datetime(2026, 1, 1, tzinfo=UTC).timestamp(),
    )


@pytest.mark.parametrize(
    ("name", "happened"),
    [
        ("ObjectCreated:Put", CREATED),
        ("ObjectCreated:Post", CREATED),
        ("ObjectCreated:Copy", CREATED),
        ("ObjectCreated:CompleteMultipartUpload", CREATED),
        ("s3:ObjectCreated:Put", CREATED),
        ("ObjectRemoved:Delete", REMOVED),
        ("ObjectRemoved:DeleteMarkerCreated", REMOVED),
        ("LifecycleExpiration:Delete", REMOVED),
        ("LifecycleExpiration:DeleteMarkerCreated", REMOVED),
        ("ObjectRestore:Completed", CREATED),
        ("ObjectRestore:Post", OTHER),
        ("ObjectRestore:Delete", OTHER),
        ("ObjectTagging:Put", OTHER),
        ("ObjectAcl:Put", OTHER),
        ("LifecycleTransition", OTHER),
        ("IntelligentTiering", OTHER),
        ("ReducedRedundancyLostObject", OTHER),
    ],
)
def test_every_kind_of_s3_event(name: str, happened: Happened) -> None:
    assert one({"Records": [s3_record(name)]}).happened is happened


def test_many_records_are_many_events() -> None:
    records = [PUT, s3_record("ObjectRemoved:Delete", "x%2B%25")]
    assert [(event.happened, event.key) for event in events_in(json.dumps({"Records": records})).events] == [
        (CREATED, KEY),
        (REMOVED, "x+%"),
    ]


def test_a_test_event_means_nothing() -> None:
    body = {
        "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-21T22:00:00.000Z", "Bucket": "mybucket",
        "RequestId": "5582815E1AEA5ADF", "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
    }  # fmt: skip
    assert events_in(json.dumps(body)).events == []


def sns(message: str) -> dict[str, Any]:
    return {
        "Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-west-2:123456789012:MyTopic", "Subject": "Amazon S3 Notification", "Message": message,
        "Timestamp": "2026-05-02T00:54:06.655Z", "SignatureVersion": "1", "Signature": "EXAMPLEw6JRN...",
        "SigningCertURL": "https://sns.us-west-2.amazonaws.com/x.pem", "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/",
    }  # fmt: skip


def test_inside_an_sns_envelope() -> None:
    assert one(sns(json.dumps({"Records": [PUT]}))).key == KEY


EVENTBRIDGE = {
    "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created", "source": "aws.s3",
    "account": "111122223333", "time": "2026-11-12T00:00:00Z", "region": "ca-central-1",
    "resources": ["arn:aws:s3:::amzn-s3-demo-bucket1"],
    "detail": {
        "version": "0", "bucket": {"name": "amzn-s3-demo-bucket1"},
        "object": {
            "key": "100%+é/key", "size": 5, "etag": "b1946ac92492d2347c6235b4d2611184",
            "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e", "sequencer": "617f08299329d189",
        },
        "request-id": "N4N7GDK58NMKJ12R", "requester": "123456789012", "source-ip-address": "1.2.3.4", "reason": "PutObject",
    },
}  # fmt: skip


def test_eventbridge_sends_keys_as_they_are() -> None:
    assert one(EVENTBRIDGE) == KeyEvent(
        CREATED,
        "amzn-s3-demo-bucket1",
        "100%+é/key",
        5,
        "b1946ac92492d2347c6235b4d2611184",
        "617f08299329d189",
        "100% é/key",
        datetime(2026, 11, 12, tzinfo=UTC).timestamp(),
    )


@pytest.mark.parametrize(
    ("name", "happened"),
    [("Object Deleted", REMOVED), ("Object Restore Completed", CREATED), ("Object Tags Added", OTHER)],
)
def test_every_kind_of_eventbridge_event(name: str, happened: Happened) -> None:
    detail = {**EVENTBRIDGE["detail"], "deletion-type": "Delete Marker Created"}  # type: ignore[dict-item]
    assert one({**EVENTBRIDGE, "detail-type": name, "detail": detail}).happened is happened


def test_eventbridge_inside_sns() -> None:
    assert one(sns(json.dumps(EVENTBRIDGE))).key == "100%+é/key"


OSS_EVENT: dict[str, Any] = {
    "events": [{
        "eventName": "ObjectCreated:PutObject", "eventSource": "acs:oss", "eventTime": "2026-04-22T08:36:20.000Z",
        "eventVersion": "1.0", "region": "cn-hangzhou", "requestParameters": {"sourceIPAddress": "140.205.128.1"},
        "oss": {
            "bucket": {"arn": "acs:oss:cn-hangzhou:123456789:bucketname", "name": "bucketname", "ownerIdentity": "1"},
            "object": {"deltaSize": 122539, "eTag": "688A7BF4F233DC9C88A80BF985AB7329", "key": "image/a b.jpg", "size": 122539},
            "ossSchemaVersion": "1.0", "ruleId": "9adac8e253828f4f7c0466d941fa3db81161e853",
        },
        "responseElements": {"requestId": "58F9FF2D3DF792092E12044C"},
        "userIdentity": {"principalId": "262561392693583141"},
    }]
}  # fmt: skip


def test_an_oss_event_as_message_service_delivers_it() -> None:
    body = copy.deepcopy(OSS_EVENT)
    assert one(body) == KeyEvent(
        CREATED,
        "bucketname",
        "image/a b.jpg",
        122539,
        "688a7bf4f233dc9c88a80bf985ab7329",
        "",
        at=datetime(2026, 4, 22, 8, 36, 20, tzinfo=UTC).timestamp(),
    )
    body["events"][0]["eventName"] = "ObjectRemoved:DeleteObject"
    assert one(body).happened is REMOVED


def test_an_oss_event_of_its_eventbridge() -> None:
    body = {
        "id": "2020022000000000", "source": "acs.oss", "specversion": "1.0", "type": "oss:ObjectCreated:PostObject",
        "datacontenttype": "application/json", "subject": "acs:oss:cn-hangzhou:123:bucketname/k", "time": "2026-01-01T00:00:00Z",
        "data": {
            "eventName": "ObjectCreated:PostObject", "region": "cn-hangzhou",
            "oss": {"bucket": {"name": "bucketname"}, "object": {"key": "k", "size": 1, "eTag": "00"}},
        },
    }  # fmt: skip
    assert (one(body).happened, one(body).key) == (CREATED, "k")


@pytest.mark.parametrize("text", ["yesterday", "", None, 5, "9999999-01-01", "0001-01-01T00:00:00+23:59", {"a": 1}])
def test_a_time_that_cannot_be_read_is_no_time_and_spoils_no_event(text: object) -> None:
    document = copy.deepcopy(PUT)
    document["eventTime"] = text
    assert one({"Records": [document]}).at == 0.0


@pytest.mark.parametrize("size", [10, "10"])
def test_the_guide_s_own_message(size: object) -> None:
    assert one({"key": "a+b%20", "size": size}) == KeyEvent(CREATED, "", "a+b%20", 10, "", "", "a b ")


@pytest.mark.parametrize(
    "body",
    [
        "", "nonsense", "[]", "null", "1", '"text"', "{}", '{"Records":"x"}', '{"Records":[{}]}', '{"Records":[1]}',
        '{"events":[{"eventName":"x"}]}', '{"source":"aws.s3"}', '{"Type":"Notification","Message":"{"}',
        '{"Type":"SubscriptionConfirmation","Token":"t"}', '{"key":1}',
        '{"key":"k","kind":"objects"}', "[" * 100_000,
    ],
)  # fmt: skip
def test_garbage_is_refused_with_a_reason(body: str) -> None:
    with pytest.raises(MessageInvalid, match="event"):
        events_in(body)


def test_envelopes_without_end_are_refused() -> None:
    body = json.dumps({"key": "k"})
    for _ in range(9):
        body = json.dumps(sns(body))
    with pytest.raises(MessageInvalid):
        events_in(body)


@given(st.text())
def test_no_text_does_anything_but_mean_something_or_be_refused(body: str) -> None:
    try:
        events_in(body)
    except MessageInvalid as error:
        assert str(error)  # noqa: PT017 - either way is right


@given(st.recursive(st.none() | st.integers() | st.text(), lambda of: st.lists(of) | st.dictionaries(
    st.sampled_from(["Records", "s3", "object", "key", "size", "bucket", "name", "eventName", "detail", "source", "events",
                     "oss", "Type", "Message", "Event", "data", "detail-type", "type"]), of)))  # fmt: skip
def test_no_document_does_either(document: Any) -> None:
    try:
        events_in(json.dumps(document))
    except MessageInvalid as error:
        assert str(error)  # noqa: PT017


def test_sequencers_compare_padded_on_the_right() -> None:
    assert sortable("0055AED6DCD90281E5") < sortable("0055aed6dcd90281e6")
    assert sortable("1") == sortable("10")
    assert sortable("0A") < sortable("1")

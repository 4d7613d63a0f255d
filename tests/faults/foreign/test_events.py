"""Kind 7, one provider's encoding is assumed for all who share a format, and kind 8, all or nothing by message where it should
be by record: on events of the source."""

from __future__ import annotations

import json

import pytest

from dth.events import Buried
from dth.queues.bucket_events import Happened, events_in
from tests.faults.test_worker_events import Desk, desk
from tests.unit.test_bucket_events import EVENTBRIDGE, s3_record

__all__ = ["desk"]  # the fixture

GOOD = s3_record("ObjectCreated:Put", "in/good", size=3, eTag="")


def plain(key: str, name: str = "ObjectCreated:Put") -> dict[str, object]:
    """A record as Ceph writes it: the key as it is."""
    record = s3_record(name, "x", size=3, eTag="")
    record["s3"]["object"]["key"] = key
    return record


@pytest.mark.parametrize("key", ["in/a+b", "in/pct%41", "in/sp ace", "in/100%", "in/plain", "in/%2B", "in/ü+ü"])
async def test_a_key_arrives_whether_its_event_encodes_it_or_not(desk: Desk, key: str) -> None:
    desk.here.source.seed(key, b"new")
    await desk.play(json.dumps({"Records": [plain(key)]}))
    assert desk.copies == {key: b"new"}
    desk.here.destination.objects.clear()
    await desk.play(json.dumps({"Records": [s3_record("ObjectCreated:Put", key, size=3, eTag="")]}))
    assert desk.copies == {key: b"new"}


@pytest.mark.parametrize(
    "sent",
    [
        {**EVENTBRIDGE, "detail": {"bucket": {"name": "mybucket"}, "object": {"key": "in/a%20b"}}},
        {"events": [{"eventName": "ObjectCreated:PutObject", "oss": {"bucket": {"name": "mybucket"}, "object": {"key": "in/a%20b"}}}]},
        {"key": "in/a+b"},
    ],
    ids=["EventBridge", "OSS", "the guide's"],
)  # fmt: skip
async def test_formats_with_plain_keys_are_read_encoded_too_where_the_source_has_only_that(
    desk: Desk, sent: dict[str, object]
) -> None:
    desk.here.source.seed("in/a b", b"new")
    await desk.play(json.dumps(sent))
    assert desk.copies == {"in/a b": b"new"}


async def test_where_the_source_has_both_spellings_both_are_made_true(desk: Desk) -> None:
    desk.here.source.seed("in/a+b", b"plus")
    desk.here.source.seed("in/a b", b"space")
    await desk.play(json.dumps({"Records": [plain("in/a+b")]}))
    assert desk.copies == {"in/a+b": b"plus", "in/a b": b"space"}


async def test_a_removal_of_a_plain_key_removes_that_one_and_not_its_decoded_namesake(desk: Desk) -> None:
    desk.here.source.seed("in/a b", b"new")
    desk.here.destination.seed("in/a b", b"new")
    desk.here.destination.seed("in/a+b", b"old")
    await desk.play(json.dumps({"Records": [plain("in/a+b", "ObjectRemoved:Delete")]}))
    assert desk.copies == {"in/a b": b"new"}


STRANGE = {
    "of another service": {"eventSource": "aws:ses", "ses": {}},
    "no object": {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "mybucket"}}},
    "no record": 7,
    "null": None,
    "a key that is no text": plain(7),  # type: ignore[arg-type]
    "an empty key": plain(""),
    "a key that is too long": plain("in/" + "x" * 70_000),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
async def test_one_strange_record_is_buried_alone_and_said(desk: Desk, strange: object) -> None:
    desk.here.source.seed("in/good", b"new")
    await desk.play(json.dumps({"Records": [GOOD, strange, GOOD]}))
    assert desk.copies == {"in/good": b"new"}
    assert len(await desk.dead()) == 1
    assert len([event for event in desk.here.events if isinstance(event, Buried)]) == 1


def enveloped(body: str, *layers: str) -> str:
    for layer in layers:
        if layer == "sns":
            body = json.dumps({"Type": "Notification", "Message": body})
        elif layer == "lambda sns":
            body = json.dumps({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": body}}]})
        elif layer == "lambda sqs":
            body = json.dumps({"Records": [{"eventSource": "aws:sqs", "messageId": "m", "body": body}]})
        else:
            body = f"[{body}]"
    return body


@pytest.mark.parametrize(
    "layers",
    [("sns", "sns", "sns", "sns"), ("lambda sns",), ("lambda sqs", "sns"), ("sns", "lambda sqs"), ("list",), ("sns", "list")],
    ids=" in ".join,
)  # fmt: skip
def test_envelopes_within_envelopes_are_opened(layers: tuple[str, ...]) -> None:
    heard = events_in(enveloped(json.dumps({"Records": [GOOD]}), *layers))
    assert [event.key for event in heard.events] == ["in/good"]
    assert heard.strange == []


@pytest.mark.parametrize(
    "odd", [{"size": "many"}, {"size": -5}, {"sequencer": "not hex"}, {"eTag": None}, {"size": 1.5}]
)
def test_a_hint_that_makes_no_sense_costs_no_event(odd: dict[str, object]) -> None:
    record = s3_record("ObjectCreated:Put", "k")
    record["s3"]["object"].update(odd)
    (event,) = events_in(json.dumps({"Records": [record]})).events
    assert event.key == "k"


@pytest.mark.parametrize("name", ["s3:ObjectSynced:Create", "cos:ObjectCreated:Put", "b2:ObjectCreated:Upload", "Put"])
def test_an_event_of_a_name_that_nobody_knows_means_that_the_key_is_looked_at(name: str) -> None:
    """Kind 1: what is not understood is not nothing."""
    (event,) = events_in(json.dumps({"Records": [s3_record(name, "k")]})).events
    assert event.happened is Happened.CREATED

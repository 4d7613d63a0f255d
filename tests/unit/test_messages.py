"""The wire: every number and text of a message has a bound, in every kind of message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dth.errors import KeyRefused, ListingBroken
from dth.finder.pack import Packer
from dth.messages import KEY_CHARACTERS, MessageInvalid, ObjectsMessage, decode, encode
from dth.model import Change, Entry, KeyMapping
from dth.retry import RetryPolicy
from dth.states import Reason
from dth.stores.base import KeyRules
from dth.stores.bucket import Call

ENVELOPE: dict[str, Any] = {"job_id": "job", "run_id": "run", "message_id": "run-1"}
KINDS: dict[str, dict[str, Any]] = {
    "objects": {**ENVELOPE, "kind": "objects", "objects": [{"key": "a", "size": 1}]},
    "delete": {**ENVELOPE, "kind": "delete", "objects": [{"key": "a", "size": 1}]},
    "parts": {
        **ENVELOPE, "kind": "parts", "key": "a", "dest_key": "b", "size": 9, "etag": "e", "upload_id": "u", "part_size": 5,
        "first": 1, "stop": 3,
    },
    "image": {**ENVELOPE, "kind": "image", "source": "a:1", "destination": "b:1", "digest": "sha256:0"},
}  # fmt: skip
HUGE = 10**4000

OF_ALL: list[dict[str, Any]] = [
    {"attempt": 0},
    {"attempt": -5},
    {"attempt": 1100},
    {"attempt": HUGE},
    {"attempt": float("inf")},
    {"message_id": ""},
    {"message_id": "m/" + "9" * 5000},
    {"message_id": "run\n1"},
    {"message_id": "run 1"},
    {"message_id": "rün"},
    {"run_id": "x" * 100_000},
    {"run_id": "../../x\x1b[2J"},
    {"run_id": None},
    {"job_id": "a\nb"},
    {"version": 2},
]
OF_ENTRIES: list[dict[str, Any]] = [
    {"key": ""},
    {"key": "k" * (KEY_CHARACTERS + 1)},
    {"key": 7},
    {"size": -1},
    {"size": 1 << 63},
    {"size": HUGE},
    {"size": float("inf")},
    {"size": float("nan")},
    {"size": 0.5},
    {"attempt": 1100},
    {"attempt": -1},
    {"etag": "e" * 5000},
    {"version_id": "v" * 5000},
    {"last_modified": "t" * 5000},
    {"sequencer": "0" * 5000},
    {"reason": "because"},
]
OF_PARTS: list[dict[str, Any]] = [
    {"first": 0},
    {"first": -3},
    {"first": 3, "stop": 3},
    {"first": 5, "stop": 2},
    {"stop": 10_002},
    {"stop": 10**400},
    {"size": -1},
    {"size": 1 << 63},
    {"part_size": 1 << 64},
    {"part_size": -1},
    {"object_attempt": 0},
    {"object_attempt": 10**10},
    {"key": ""},
    {"dest_key": ""},
    {"upload_id": "u" * 5000},
]
OF_IMAGES: list[dict[str, Any]] = [
    {"source": "s" * 2000},
    {"destination": "d" * 2000},
    {"digest": "d" * 2000},
    {"registry": "r" * 2000},
]
CASES = [
    *((kind, change) for kind in KINDS for change in OF_ALL),
    *((kind, {"objects": [{"key": "a", "size": 1, **entry}]}) for kind in ("objects", "delete") for entry in OF_ENTRIES),
    *((kind, {"objects": objects}) for kind in ("objects", "delete") for objects in ([], None, [{"key": "a", "size": 1}] * 10_001)),
    *(("parts", change) for change in OF_PARTS),
    *(("image", change) for change in OF_IMAGES),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_decodes_to_what_it_was(kind: str) -> None:
    message = decode(json.dumps(KINDS[kind]))
    assert decode(encode(message)) == message


@pytest.mark.parametrize(("kind", "change"), CASES)
def test_what_is_beyond_a_bound_is_no_message(kind: str, change: dict[str, Any]) -> None:
    with pytest.raises(MessageInvalid) as raised:
        decode(json.dumps({**KINDS[kind], **change}))
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 100_000, '{"kind":"objects"', '"\ud800"', "9" * 5000, ""])
def test_what_is_no_json_is_no_message(text: str) -> None:
    with pytest.raises(MessageInvalid):
        decode(text)


def test_the_longest_key_that_stores_list_and_the_most_entries_travel() -> None:
    entries = [{"key": "\U0001f600" * 256, "size": (1 << 63) - 1}] * 10_000
    message = decode(json.dumps({**KINDS["objects"], "objects": entries}))
    assert isinstance(message, ObjectsMessage)
    assert len(message.objects) == 10_000


@pytest.mark.parametrize(
    "entry",
    [
        Entry("", 1, "", "", ""),
        Entry("k" * 5000, 1, "", "", ""),
        Entry("a", 1 << 63, "", "", ""),
        Entry("a", 1, "e" * 5000, "", ""),
    ],
)
def test_a_listing_that_names_what_cannot_be_is_a_broken_listing(entry: Entry) -> None:
    packer = Packer("objects", "job", "run", 10, 100, 100_000)
    with pytest.raises(ListingBroken) as raised:
        packer.add([Change(entry, Reason.MISSING)])
    assert len(str(raised.value)) < 5000


@pytest.mark.parametrize("tried", [1, 1025, 10**6, 10**400])
def test_the_wait_before_the_next_try_is_bounded_however_often_it_was_tried(tried: int) -> None:
    assert 0 <= RetryPolicy(0, 1.0, 15.0).wait_seconds(tried, None) <= 15.0


@pytest.mark.parametrize("strip", [True, False])
@pytest.mark.parametrize("key", ["XXX/a", "jo", "", "/job/a", "JOB/a"])
def test_a_key_outside_of_the_source_prefix_has_no_destination(key: str, strip: bool) -> None:
    mapping = KeyMapping("job/", "copy/", strip=strip)
    with pytest.raises(KeyRefused, match="outside of the job's source"):
        mapping.dest_key(key)
    assert mapping.dest_key("job/a") == ("copy/a" if strip else "copy/job/a")


def test_no_request_can_name_an_empty_key() -> None:
    with pytest.raises(KeyRefused, match="names no object"):
        Call("GetObject", "GET", "")
    assert Call("ListObjectsV2", "GET", None).key is None


def test_half_a_surrogate_pair_is_a_key_that_no_store_can_hold() -> None:
    assert "half of a surrogate pair" in KeyRules().refusal("a\ud800b")
    assert not KeyRules().refusal("a\udc80b")  # a byte that is no UTF-8

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dth.finder.pack import Packer
from dth.messages import ObjectEntry, ObjectsMessage, decode, encode, encode_entry
from dth.model import Change
from dth.states import Reason
from tests.unit.finder_fakes import entry, keys

MESSAGE_BYTES = 2_000


def decoded(texts: Sequence[str]) -> list[ObjectsMessage]:
    """The messages, each of which is exactly as `encode` writes it."""
    messages = []
    for text in texts:
        message = decode(text)
        assert isinstance(message, ObjectsMessage)
        assert encode(message) == text
        messages.append(message)
    return messages


change_lists = st.lists(
    st.builds(
        lambda key, size, etag: Change(entry(key, size, etag), Reason.MISSING),
        keys | keys.map(lambda key: key * 100),
        st.integers(0, 120),
        st.sampled_from(["", "a" * 32, "a" * 32 + "-10000"]),
    ),
    max_size=60,
)


@given(batches=st.lists(change_lists, max_size=4), pack_objects=st.integers(1, 7))
def test_packing_keeps_every_entry_within_all_three_limits(batches: list[list[Change]], pack_objects: int) -> None:
    packer = Packer("objects", "job", "run", pack_objects, 100, MESSAGE_BYTES)
    messages: list[ObjectsMessage] = []
    for batch in batches:
        messages += decoded(packer.add(batch))
    messages += decoded(packer.flush())
    assert packer.flush() == []
    sent = [(o.key, o.size, o.etag, o.last_modified, o.reason) for m in messages for o in m.objects]
    assert sorted(sent) == sorted(
        (c.entry.key, c.entry.size, c.entry.etag, c.entry.last_modified, c.reason) for b in batches for c in b
    )
    for message in messages:
        assert len(message.objects) <= pack_objects
        assert len(message.objects) == 1 or sum(o.size for o in message.objects) <= 100
        assert len(message.objects) == 1 or len(encode(message)) <= MESSAGE_BYTES
    ids = [message.message_id for message in messages]
    assert len(set(ids)) == len(ids)


def test_a_large_object_travels_alone_and_does_not_cut_the_message_being_filled() -> None:
    packer = Packer("objects", "job", "run", 10, 100, 100_000)
    full = packer.add([Change(entry(key, size), Reason.MISSING) for key, size in [("a", 1), ("b", 101), ("c", 99)]])
    assert [[o.key for o in m.objects] for m in decoded(full)] == [["b"]]
    assert [[o.key for o in m.objects] for m in decoded(packer.flush())] == [["a", "c"]]


def test_the_longest_key_fits_a_message_of_the_smallest_service() -> None:
    worst = Change(entry("\x01" * 1024, 1, "a" * 32), Reason.MISSING)
    packer = Packer("objects", "job", "run", 1000, 1 << 40, 262_144)
    messages = decoded(packer.add([worst] * 500) + packer.flush())
    assert sum(len(m.objects) for m in messages) == 500
    assert max(len(encode(m)) for m in messages) <= 262_144
    assert len(messages) < 20


def test_messages_grow_with_the_run() -> None:
    packer = Packer("objects", "job", "run", 1000, 1 << 40, 1 << 20)
    sizes = []
    for start in range(0, 20_000, 500):
        changes = [Change(entry(f"{number:06}", 1), Reason.MISSING) for number in range(start, start + 500)]
        sizes += [len(message.objects) for message in decoded(packer.add(changes))]
    assert sizes[:8] == [100] * 8
    assert sizes == sorted(sizes)
    assert sizes[-1] == 1000
    assert max(size / max(sum(sizes[:number]), 800) for number, size in enumerate(sizes)) <= 1 / 8
    few = Packer("objects", "job", "run", 5, 1 << 40, 1 << 20)
    assert decoded(few.add([Change(entry(f"{number}", 1), Reason.MISSING) for number in range(10)]))[0].objects[4:]


@given(
    key=keys | st.text(min_size=1, max_size=30),
    size=st.integers(0, 2**63 - 1),
    etag=st.text('a0"\\é\x00\x7f', max_size=3),
    time=st.sampled_from(["", "2024-05-01T12:00:00.000Z", '"', "\n"]),
    reason=st.sampled_from(list(Reason)),
)
def test_an_entry_is_encoded_as_in_a_whole_message(key: str, size: int, etag: str, time: str, reason: Reason) -> None:
    one = ObjectEntry(key=key, size=size, etag=etag, last_modified=time, reason=reason)
    whole = encode(ObjectsMessage(job_id="job", run_id="run", message_id="run-1", objects=[one]))
    assert whole.endswith(f'"objects":[{encode_entry(key, size, etag, time, reason)}]}}')


@pytest.mark.parametrize(
    ("key", "size", "etag"),
    [("", 1, "e"), ("k" * 5000, 1, "e"), ("k", 1 << 63, "e"), ("k", -1, "e"), ("k", 1, "e" * 5000)],
)
def test_an_entry_that_no_worker_would_take_is_not_encoded(key: str, size: int, etag: str) -> None:
    with pytest.raises(ValidationError):
        encode_entry(key, size, etag, "2024", Reason.MISSING)

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dth.finder.pack import Packer
from dth.messages import ObjectsMessage, decode, encode
from dth.model import Change
from dth.states import Reason
from tests.unit.finder_fakes import entry, keys

MESSAGE_BYTES = 2_000

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
    packer = Packer(ObjectsMessage, "job", "run", pack_objects, 100, MESSAGE_BYTES)
    messages: list[ObjectsMessage] = []
    for batch in batches:
        messages += packer.add(batch)
    messages += packer.flush()
    assert packer.flush() == []
    sent = [(o.key, o.size, o.etag, o.last_modified, o.reason) for m in messages for o in m.objects]
    assert sorted(sent) == sorted(
        (c.entry.key, c.entry.size, c.entry.etag, c.entry.last_modified, c.reason) for b in batches for c in b
    )
    for message in messages:
        assert len(message.objects) <= pack_objects
        assert len(message.objects) == 1 or sum(o.size for o in message.objects) <= 100
        assert len(message.objects) == 1 or len(encode(message)) <= MESSAGE_BYTES
        assert decode(encode(message)) == message
    ids = [message.message_id for message in messages]
    assert len(set(ids)) == len(ids)


def test_a_large_object_travels_alone_and_does_not_cut_the_message_being_filled() -> None:
    packer = Packer(ObjectsMessage, "job", "run", 10, 100, 100_000)
    full = packer.add([Change(entry(key, size), Reason.MISSING) for key, size in [("a", 1), ("b", 101), ("c", 99)]])
    assert [[o.key for o in m.objects] for m in full] == [["b"]]
    assert [[o.key for o in m.objects] for m in packer.flush()] == [["a", "c"]]


def test_the_longest_key_fits_a_message_of_the_smallest_service() -> None:
    worst = Change(entry("\x01" * 1024, 1, "a" * 32), Reason.MISSING)
    packer = Packer(ObjectsMessage, "job", "run", 1000, 1 << 40, 262_144)
    messages = packer.add([worst] * 500) + packer.flush()
    assert sum(len(m.objects) for m in messages) == 500
    assert max(len(encode(m)) for m in messages) <= 262_144
    assert len(messages) < 20


def test_messages_grow_with_the_run() -> None:
    packer = Packer(ObjectsMessage, "job", "run", 1000, 1 << 40, 1 << 20)
    sizes = []
    for start in range(0, 20_000, 500):
        changes = [Change(entry(f"{number:06}", 1), Reason.MISSING) for number in range(start, start + 500)]
        sizes += [len(message.objects) for message in packer.add(changes)]
    assert sizes[:8] == [100] * 8
    assert sizes == sorted(sizes)
    assert sizes[-1] == 1000
    assert max(size / max(sum(sizes[:number]), 800) for number, size in enumerate(sizes)) <= 1 / 8
    assert (
        Packer(ObjectsMessage, "job", "run", 5, 1 << 40, 1 << 20)
        .add([Change(entry(f"{number}", 1), Reason.MISSING) for number in range(10)])[0]
        .objects[4:]
    )

"""Pages as columns: what is decided of whole stretches is what would be decided key by key."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from dth.columns import Columns, Uniform
from dth.etags import EMPTY_MD5
from dth.finder import diff as diff_module
from dth.finder.compare import CompareMode, alike, deciding
from dth.finder.diff import Batch, diff
from dth.finder.listing import Feed
from dth.finder.pack import Packer
from dth.messages import encode_entries, encode_entry
from dth.model import Change, Entry
from dth.states import Reason
from tests.unit.finder_fakes import CAPABILITIES, IDENTITY, entry

MD5S = ["0123456789abcdef" * 2, "fedcba9876543210" * 2]
ETAGS = [*MD5S, *MD5S, *MD5S, EMPTY_MD5, "0" * 32, f"{MD5S[0]}-3", ""]


def columns(entries: Sequence[Entry]) -> Columns:
    """The same, field by field."""
    fields = [[str(one[at]) for one in entries] for at in range(5)]
    return Columns(*fields)


def side(chance: random.Random, share: float, odd: float) -> list[Entry]:
    """Some of 700 keys, of which few differ in size, ETag or storage class."""
    found = []
    for number in range(700):
        if chance.random() < share:
            unusual = chance.random() < odd
            etag = chance.choice(ETAGS) if unusual else MD5S[0]
            size, storage_class = (chance.choice([0, 7]), "GLACIER") if unusual else (7, "STANDARD")
            found.append(entry(f"k/{number:04}", size, etag)._replace(storage_class=storage_class))
    return found


def joined(source: list[Entry], destination: list[Entry], *, fast: bool, mode: CompareMode) -> list[Batch]:
    """All batches, of pages of 100 and 130."""

    async def run() -> list[Batch]:
        feeds = Feed(), Feed()
        async with asyncio.TaskGroup() as tasks:
            for feed, entries, size in ((feeds[0], source, 100), (feeds[1], destination, 130)):

                async def pages(entries: list[Entry] = entries, size: int = size):  # type: ignore[no-untyped-def]
                    for at in range(0, len(entries), size):
                        yield columns(entries[at : at + size]) if fast else entries[at : at + size]

                tasks.create_task(feed.fill(pages()))
            decide = deciding(mode, CAPABILITIES, CAPABILITIES)
            stretches = alike(mode, CAPABILITIES, CAPABILITIES) if fast else None
            return [batch async for batch in diff(*feeds, IDENTITY, decide, None, stretches)]

    return asyncio.run(run())


@pytest.mark.parametrize("stretch", [4, 256])
@pytest.mark.parametrize("mode", [CompareMode.AUTO, CompareMode.SIZE, CompareMode.ETAG])
def test_stretches_are_joined_as_single_keys_are(
    mode: CompareMode, stretch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diff_module, "_STRETCH", stretch)
    monkeypatch.setattr(diff_module, "_LEAST", 2)
    chance = random.Random(17)
    decide = deciding(mode, CAPABILITIES, CAPABILITIES)
    for share, their_share, odd in [
        (1, 1, 0.0),
        (1, 1, 0.01),
        (0.99, 0.99, 0.1),
        (1, 0.02, 0),
        (0.02, 1, 0),
        (0.5, 0, 0),
    ]:
        source, destination = side(chance, share, odd), side(chance, their_share, odd)
        theirs = {one.key: one for one in destination}
        ours = {one.key for one in source}
        wanted = []
        for one in source:
            reason = decide(one, theirs[one.key]) if one.key in theirs else Reason.MISSING
            if reason is not Reason.EQUAL:
                wanted.append((one, Reason.ARCHIVED if one.storage_class == "GLACIER" else reason))
        for fast in (True, False):
            batches = joined(source, destination, fast=fast, mode=mode)
            assert [(c.entry, c.reason) for batch in batches for c in batch.changes] == wanted
            assert [e for batch in batches for e in batch.extras] == [e for e in destination if e.key not in ours]
            assert sum(batch.source_objects for batch in batches) == len(source)
            assert sum(batch.destination_objects for batch in batches) == len(destination)


def test_a_page_is_a_sequence_of_its_entries() -> None:
    entries = side(random.Random(3), 0.9, 0.3)
    page = columns(entries)
    assert page == entries
    assert page[5] == entries[5]
    assert page[-3:] == entries[-3:]
    assert page[7:3] == []
    assert page.rising
    assert not page[::-1].rising
    assert columns([entries[1], entries[0]]) != entries[:2]
    assert not columns([entries[0], entries[0]]).rising, "a key that comes twice"
    changes = Uniform(page, Reason.MISSING)
    assert changes == [Change(one, Reason.MISSING) for one in entries]
    assert changes[2:4] == list(changes)[2:4]


@pytest.mark.parametrize(
    "odd",
    [
        entry("plain", 0, MD5S[0]),
        entry("a\u00e4\udc80", 7, MD5S[0]),
        entry('with "quotes"', 7, MD5S[0]),
        entry("back\\slash", 7, MD5S[0]),
        entry("line\nfeed", 7, MD5S[0]),
        entry("no etag", 7, ""),
        entry("huge", (1 << 63) - 1, MD5S[0]),
        entry("too heavy to travel in company", 90, MD5S[0]),
    ],
)
def test_messages_of_whole_pages_are_those_of_their_entries(odd: Entry) -> None:
    entries = [entry(f"k/{number:04}", number % 9, MD5S[number % 2]) for number in range(300)]
    packed = []
    for page in (entries, [*entries[:50], odd, *entries[50:]]):
        changes = Uniform(columns(page), Reason.MISSING)
        at_once, each = Packer("objects", "j", "r", 40, 80, 3000), Packer("objects", "j", "r", 40, 80, 3000)
        packed = [*at_once.add(changes), *at_once.add(changes[:7]), *at_once.flush()]
        assert packed == [*each.add(list(changes)), *each.add(list(changes[:7])), *each.flush()]
        encoded = encode_entries(changes.page, Reason.MISSING)
        assert encoded in ([], [encode_entry(*one[:4], Reason.MISSING) for one in page])
    assert len(packed) > 7


def test_noughts_before_a_size_are_not_written() -> None:
    page = Columns(["a", "b"], ["007", "0"], [MD5S[0]] * 2, ["2024-05-01T12:00:00.000Z"] * 2, [""] * 2)
    assert [one.split(",")[1] for one in encode_entries(page, Reason.MISSING)] == ['"size":7', '"size":0']

"""Uploads that all workers move: their messages, their rows, and when they are whole."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.ledgers.base import MovedPart, PartsRow, Sharing, UploadRow
from dth.ledgers.sharing_text import from_parts, from_sharing, to_parts, to_sharing
from dth.ledgers.sqlite import SqliteLedger
from dth.messages import ObjectEntry, ObjectsMessage
from dth.model import Generation
from dth.multipart.checksum import Crc
from dth.multipart.plan import MIB, PartPlan
from dth.multipart.sharing import (
    GROUP,
    all_rows,
    missing,
    parts_a_message,
    parts_row,
    plan_of,
    sent_parts,
    stretches,
    whole,
)
from dth.states import Reason
from dth.worker.outcomes import is_remainder, next_id, previous_id, sharable
from dth.worker.shared.messages import is_whole, parts_message, whole_message

SHARING = Sharing("run-1/1", "{}", 2, "crc64nvme")


def upload(parts: int, a_message: int = 2, part_size: int = 10) -> UploadRow:
    generation = Generation("etag", parts * part_size - 3)
    sharing = replace(SHARING, parts_a_message=a_message)
    return UploadRow("job", "run", "to", "from", generation, part_size, "id", "", 0.0, 3, 1.0, sharing)


def rows_of(row: UploadRow) -> list[PartsRow]:
    assert row.sharing
    return [
        PartsRow("job", "id", part.start, tuple(MovedPart(f"{n:032x}", n, answered=True) for n in part))
        for part in stretches(plan_of(row), row.sharing.parts_a_message)
    ]


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = await SqliteLedger.open(tmp_path / "ledger")
    yield ledger
    await ledger.close()


@given(parts=st.integers(1, 10_000), part_size=st.sampled_from([1, 5 * MIB, 16 * MIB, 512 * MIB, 5 << 30]))
def test_the_messages_of_an_upload_name_each_part_once_and_in_order(parts: int, part_size: int) -> None:
    plan = PartPlan(parts * part_size, part_size, parts)
    count = parts_a_message(plan)
    assert 1 <= count <= 16
    assert count == 1 or (count * part_size <= 128 * MIB and parts // count >= 32)
    assert [number for part in stretches(plan, count) for number in part] == list(range(1, parts + 1))


def test_ids_tell_an_object_from_its_upload_and_its_stretches() -> None:
    message = ObjectsMessage(job_id="job", run_id="run", message_id="run-1", objects=[ObjectEntry(key="from", size=97)])
    stands_for = sharable(message)
    assert stands_for is not None
    assert stands_for.message_id == next_id("run-1") == "run-1/1"
    assert previous_id("run-1/1") == "run-1"
    assert previous_id("run-1/12") == "run-1/11"
    first = whole_message(stands_for, upload(10))
    assert (first.message_id, first.first, first.stop, is_whole(first)) == ("run-1/1", 1, 11, True)
    stretch = parts_message(first, range(3, 5))
    assert (stretch.first, stretch.stop, is_whole(stretch)) == (3, 5, False)
    assert not is_remainder(stretch.message_id)
    assert stretch.message_id == parts_message(first, range(3, 5)).message_id
    assert is_remainder(next_id(stretch.message_id))
    assert not is_whole(stretch.model_copy(update={"message_id": next_id(stretch.message_id)}))


def test_only_a_lone_object_that_is_no_event_may_be_shared() -> None:
    entry = ObjectEntry(key="k", size=1)
    envelope = {"job_id": "job", "run_id": "run", "message_id": "run-1"}
    assert sharable(ObjectsMessage(**envelope, objects=[entry, entry])) is None  # type: ignore[arg-type]
    event = entry.model_copy(update={"reason": Reason.EVENT})
    assert sharable(ObjectsMessage(**envelope, objects=[event])) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("parts", "a_message"), [(1, 2), (7, 2), (2 * GROUP, 2), (5 * GROUP + 3, 2), (200, 1)])
async def test_of_those_who_write_rows_in_any_order_the_last_sees_all(
    parts: int, a_message: int, ledger: SqliteLedger
) -> None:
    row = upload(parts, a_message)
    rows = rows_of(row)
    for moved in random.Random(parts).sample(rows, len(rows)):
        assert await whole(row, moved.first, ledger) is None
        assert await all_rows(row, ledger) is None
        assert range(moved.first, moved.stop) in await missing(row, ledger)
        await ledger.put_parts(moved)
        last = await whole(row, moved.first, ledger)
    assert last == rows == await all_rows(row, ledger)
    assert await missing(row, ledger) == []


async def test_whoever_sees_its_group_complete_looks_at_the_others(ledger: SqliteLedger) -> None:
    row = upload(4 * GROUP)
    rows = rows_of(row)
    late = rows[3]
    for moved in rows:
        if moved is not late:
            await ledger.put_parts(moved)
    assert await whole(row, rows[-1].first, ledger) is None
    await ledger.put_parts(late)
    assert await whole(row, rows[-1].first, ledger) == rows
    assert await whole(row, late.first, ledger) == rows


async def test_a_closed_upload_leaves_no_rows_of_parts(ledger: SqliteLedger) -> None:
    row = await ledger.claim_upload(replace(upload(4), owned_until=time.time() + 60))
    for moved in rows_of(row):
        await ledger.put_parts(moved)
    await ledger.close_upload(row)
    assert [one async for one in ledger.parts("job", "id", 1, 9)] == []


def test_what_is_kept_of_parts_gives_back_what_was_sent() -> None:
    row = upload(3)
    crcs = [Crc("crc64nvme") for _ in range(3)]
    for crc, data in zip(crcs, (b"a" * 10, b"b" * 10, b"c" * 7), strict=True):
        crc.update(data)
    parts = tuple(MovedPart(f"{n}", crc.value, n != 1, bytes([n]), n == 2) for n, crc in enumerate(crcs))
    rows = [PartsRow("job", "id", 1, parts[:2]), PartsRow("job", "id", 3, parts[2:])]
    sent = sent_parts(rows, row)
    assert [(one.part.number, one.part.size, one.part.etag) for one in sent] == [
        (1, 10, "0"),
        (2, 10, "1"),
        (3, 7, "2"),
    ]
    assert [(one.crc.value, one.crc.length) for one in sent if one.crc] == [(c.value, c.length) for c in crcs]
    assert [parts_row("job", "id", sent[:2]), parts_row("job", "id", sent[2:])] == rows
    assert to_parts(from_parts(parts)) == parts
    assert to_sharing(from_sharing(SHARING)) == SHARING
    assert to_sharing(from_sharing(None)) is None

"""What stores, other workers and deaths do to an upload on its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dth.errors import (
    ConditionConflict,
    DthError,
    NoSuchBucket,
    NoSuchUpload,
    ObjectChanged,
    ServerFault,
    Throttled,
)
from dth.states import Outcome, VerifiedBy
from dth.transfer.copy import abandon_upload, copy_object
from tests.servers.copying import KIB, Make, Surroundings, entry_of, large_objects
from tests.servers.memory_store import AWS_LIKE, PLAIN

DATA = bytes(range(251)) * 1500  # 368 KiB: 6 parts of 64 KiB
OTHER = DATA[::-1]
PART = 64 * KIB


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dth.retry.RetryPolicy.wait_seconds", lambda *_: 0.0)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with large_objects(tmp_path) as make:
        yield make


async def copy(here: Surroundings, data: bytes = DATA) -> Any:
    return await copy_object(entry_of(here.source.seed("key", data)), here.context())


# the source


@pytest.mark.parametrize("after", [1, 3, 6])
async def test_a_source_overwritten_between_parts_never_mixes_and_the_new_generation_arrives(
    make: Make, after: int
) -> None:
    here = make()
    here.source.before("GetObject", lambda: here.source.seed("key", OTHER), after=after)
    await copy(here)
    await here.settled(DATA if after == 6 else OTHER)


async def test_a_source_overwritten_with_another_size_between_parts_is_planned_again(make: Make) -> None:
    here = make()
    here.source.before("GetObject", lambda: here.source.seed("key", OTHER * 2), after=2)
    await copy(here)
    await here.settled(OTHER * 2)


async def test_a_source_that_shrinks_below_the_threshold_between_parts_goes_by_one_put(make: Make) -> None:
    here = make()
    here.source.before("GetObject", lambda: here.source.seed("key", b"small"), after=2)
    await copy(here)
    await here.settled(b"small")


async def test_a_source_that_never_stands_still_is_given_up_and_no_upload_stays(make: Make) -> None:
    here = make()
    here.source.faults.append(
        lambda op, _: op == "GetObject" and here.source.seed("key", DATA + bytes([here.source.calls[op] % 251]))
    )
    with pytest.raises(ObjectChanged):
        await copy(here)
    await here.settled(None)


async def test_a_source_deleted_between_parts_is_skipped_and_the_upload_aborted(make: Make) -> None:
    here = make()
    here.source.before("GetObject", here.source.objects.clear, after=3)
    copied = await copy(here)
    assert (copied.outcome, copied.note) == (Outcome.SKIPPED, "source gone")
    await here.settled(None)


async def test_a_missing_source_bucket_does_not_count_as_a_deleted_object(make: Make) -> None:
    here = make()
    listed = here.source.seed("key", DATA)
    here.source.objects.clear()
    here.source.fail("GetObject", NoSuchBucket("NoSuchBucket"))
    with pytest.raises(NoSuchBucket):
        await copy_object(entry_of(listed), here.context())


async def test_parts_cut_short_are_read_again(make: Make) -> None:
    here = make()
    here.source.short_streams = 5
    await copy(here)
    await here.settled(DATA)


# the destination


async def test_throttled_and_failing_parts_are_sent_again(make: Make) -> None:
    here = make()
    here.destination.fail("UploadPart", Throttled("slow"), times=3)
    here.destination.fail("UploadPart.answer", ServerFault("lost"), times=3, after=1)
    await copy(here)
    await here.settled(DATA)


async def test_a_part_damaged_on_the_way_is_sent_again(make: Make) -> None:
    here = make()
    here.destination.damage_puts = 2
    assert (await copy(here)).verified_by is VerifiedBy.PART_CRC
    await here.settled(DATA)


async def test_a_part_said_to_be_done_before_it_was_sent_is_sent_again(make: Make) -> None:
    here = make()
    here.destination.early_successes = 2
    await copy(here)
    await here.settled(DATA)


async def test_bytes_that_differ_from_the_checksum_that_the_source_keeps_never_become_an_object(make: Make) -> None:
    here = make()
    here.source.keeps_checksums = True
    listed = here.source.seed("key", DATA)
    here.source.objects["key"].data = OTHER  # damaged where it lies, its ETag and checksums unchanged
    with pytest.raises(DthError, match="the source keeps"):
        await copy_object(entry_of(listed), here.context())
    await here.settled(None)


async def test_a_part_that_fails_for_ever_ends_in_bounded_time_and_its_upload_waits_for_the_next_attempt(
    make: Make,
) -> None:
    here = make()
    here.destination.fail("UploadPart", ServerFault("broken"), times=10**9, after=3)
    with pytest.raises(ServerFault):
        await copy(here)
    assert len(here.destination.uploads) == 1
    here.destination.faults.clear()
    received = len(here.destination.parts_received)
    assert received == 3
    await copy_object(entry_of(here.source.entry("key")), here.context("two"))
    assert sorted(number for _, number in here.destination.parts_received) == [1, 2, 3, 4, 5, 6]
    await here.settled(DATA)


async def test_who_gives_an_object_up_leaves_no_upload(make: Make) -> None:
    here = make()
    here.destination.fail("UploadPart", ServerFault("broken"), times=10**9)
    with pytest.raises(ServerFault):
        await copy(here)
    await abandon_upload("key", here.context())
    await here.settled(None)
    await abandon_upload("key", here.context())  # nothing there: nothing happens
    await here.settled(None)


async def test_who_gives_an_object_up_leaves_an_upload_alone_that_another_worker_is_at(make: Make) -> None:
    here = make()
    started = asyncio.Event()
    here.destination.before("UploadPart", started.set)
    task = asyncio.create_task(copy(here))
    await started.wait()
    await abandon_upload("key", here.context("two"))
    await task
    assert here.destination.calls["AbortMultipartUpload"] == 0
    await here.settled(DATA)


@pytest.mark.parametrize("after", [0, 3])
async def test_an_upload_that_the_store_has_lost_is_opened_anew(make: Make, after: int) -> None:
    here = make()
    here.destination.before("UploadPart", here.destination.uploads.clear, after=after)
    await copy(here)
    await here.settled(DATA)


async def test_an_upload_that_is_lost_again_and_again_fails(make: Make) -> None:
    here = make()

    def lose(operation: str, _key: str) -> None:
        if operation == "UploadPart":
            here.destination.uploads.clear()

    here.destination.faults.append(lose)
    with pytest.raises(NoSuchUpload):
        await copy(here)
    assert here.destination.calls["CreateMultipartUpload"] == 3
    await here.settled(None)


@pytest.mark.parametrize("capabilities", [AWS_LIKE, replace(PLAIN, multipart_etag=False)], ids=["by etag", "by change"])
async def test_a_complete_whose_answer_is_lost_is_seen_to_have_worked(make: Make, capabilities: Any) -> None:
    here = make(capabilities)
    here.destination.seed("key", OTHER)
    here.destination.lose_complete_answers = 1
    await copy(here)
    await here.settled(DATA)
    assert here.destination.calls["CompleteMultipartUpload"] == 1


async def test_a_lost_answer_costs_no_second_upload_where_the_bucket_itself_encrypts_with_kms(make: Make) -> None:
    here = make(PLAIN)
    here.destination.kms = True
    here.destination.lose_complete_answers = 1
    await copy(here)
    await here.settled(DATA)
    assert here.destination.calls["CreateMultipartUpload"] == 1


async def test_a_complete_that_finds_no_upload_is_not_taken_for_done_because_an_old_object_of_equal_size_is_there(
    make: Make,
) -> None:
    here = make(replace(PLAIN, multipart_etag=False))
    here.destination.seed("key", OTHER)
    here.destination.before("CompleteMultipartUpload", here.destination.uploads.clear)
    await copy(here)
    await here.settled(DATA)
    assert here.destination.calls["CreateMultipartUpload"] == 2


async def test_a_complete_that_fails_keeps_its_parts_for_the_next_attempt(make: Make) -> None:
    here = make()
    here.destination.fail("CompleteMultipartUpload", ServerFault("200 with an error inside"), times=4)
    with pytest.raises(ServerFault):
        await copy(here)
    received = len(here.destination.parts_received)
    await copy_object(entry_of(here.source.entry("key")), here.context("two"))
    assert len(here.destination.parts_received) == received
    await here.settled(DATA)


async def test_a_conflict_on_complete_takes_a_new_upload_and_never_loops(make: Make) -> None:
    here = make()
    here.set(no_clobber=True)
    here.destination.fail("CompleteMultipartUpload", ConditionConflict("409", status=409), times=1)
    await copy(here)
    await here.settled(DATA)
    assert here.destination.calls["CreateMultipartUpload"] == 2
    here = make()
    here.destination.fail("CompleteMultipartUpload", ConditionConflict("409", status=409), times=10**9)
    with pytest.raises(ConditionConflict):
        await copy(here)
    assert here.destination.calls["CreateMultipartUpload"] == 3
    await here.settled(None)

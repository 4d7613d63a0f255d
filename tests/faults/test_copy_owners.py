"""What earlier attempts left, and several workers at one object."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dth.errors import (
    LeaseLost,
    ServerFault,
)
from dth.events import Notice
from dth.ledgers.base import UploadRow
from dth.multipart.complete import note_name, sweep_uploads
from dth.multipart.context import UploadOwned
from dth.stores.base import PutOptions
from dth.transfer.copy import copy_object
from tests.servers.copying import KIB, Make, Surroundings, entry_of, large_objects, leave_upload
from tests.servers.memory_store import PLAIN

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


# what earlier attempts left


async def test_an_upload_of_the_same_generation_and_plan_is_gone_on_with(make: Make) -> None:
    here = make()
    upload_id = await leave_upload(here, DATA, part_size=PART)
    await copy_object(entry_of(here.source.entry("key")), here.context())
    assert sorted(number for _, number in here.destination.parts_received) == [3, 4, 5, 6]
    assert here.destination.calls["CreateMultipartUpload"] == 1
    assert upload_id not in here.destination.uploads
    await here.settled(DATA)


async def test_the_announcement_of_another_upload_does_not_make_an_old_object_pass_for_this_one(make: Make) -> None:
    here = make(replace(PLAIN, multipart_etag=False))
    here.destination.seed("key", OTHER)
    await leave_upload(here, DATA, part_size=PART)
    await here.ledger.put_note("job", note_name("key"), '{"upload_id": "another", "etag": "", "before": ""}')
    await copy_object(entry_of(here.source.entry("key")), here.context())
    await here.settled(DATA)


async def test_a_kept_part_of_the_wrong_size_is_sent_again(make: Make) -> None:
    here = make()
    upload_id = await leave_upload(here, DATA, part_size=PART)
    here.destination.uploads[upload_id].parts[2] = (b"short", "0" * 32)
    await copy_object(entry_of(here.source.entry("key")), here.context())
    await here.settled(DATA)


async def test_an_upload_with_other_part_sizes_is_aborted_not_reused(make: Make) -> None:
    here = make()
    data = DATA[: 160 * KIB]  # its third part has 32 KiB in both plans, but other ones
    await leave_upload(here, data, part_size=32 * KIB, parts=5)
    await copy_object(entry_of(here.source.entry("key")), here.context())
    assert len(here.destination.parts_received) == 3
    await here.settled(data)


async def test_an_upload_of_an_older_generation_is_aborted_not_reused(make: Make) -> None:
    here = make()
    await leave_upload(here, OTHER, part_size=PART)
    await copy(here)
    assert len(here.destination.parts_received) == 6
    await here.settled(DATA)


async def test_an_upload_whose_id_was_lost_is_found_and_aborted_but_not_one_of_a_longer_key(make: Make) -> None:
    here = make()
    lost = await leave_upload(here, DATA, part_size=PART, known=False)
    foreign = await here.destination.create_upload("key2", PutOptions())
    older = await here.destination.create_upload("key", PutOptions())
    here.destination.uploads[older].initiated = "2020-01-01T00:00:00.000Z"
    await copy_object(entry_of(here.source.entry("key")), here.context())
    assert lost not in here.destination.uploads
    assert set(here.destination.uploads) == {foreign, older}


async def test_an_upload_that_a_dead_workers_request_opens_late_is_aborted_in_the_end(make: Make) -> None:
    here = make()
    lost = await leave_upload(here, DATA, part_size=PART, known=False)
    under_way = here.destination.uploads.pop(lost)  # the request has left its sender, and not arrived
    here.destination.before("CompleteMultipartUpload", lambda: here.destination.uploads.update({lost: under_way}))
    await copy_object(entry_of(here.source.entry("key")), here.context())
    await here.settled(DATA)


async def test_two_keys_of_which_one_begins_with_the_other_never_share_an_upload(make: Make) -> None:
    here = make()
    entries = [entry_of(here.source.seed(key, data)) for key, data in (("a", DATA), ("ab", OTHER))]
    async with asyncio.TaskGroup() as group:
        for entry in entries:
            group.create_task(copy_object(entry, here.context()))
    assert here.destination.objects["a"].data == DATA
    assert here.destination.objects["ab"].data == OTHER


# two workers


async def test_a_second_worker_gives_back_while_the_first_is_at_it_and_one_upload_is_made(make: Make) -> None:
    here = make()
    entry = entry_of(here.source.seed("key", DATA))
    results = await asyncio.gather(
        *(copy_object(entry, here.context("same process")) for _ in range(3)), return_exceptions=True
    )
    assert Counter(type(result).__name__ for result in results) == {"Copied": 1, "UploadOwned": 2}
    assert here.destination.calls["CreateMultipartUpload"] == 1
    await here.settled(DATA)


async def test_the_error_of_the_second_worker_is_a_lost_lease_and_says_until_when(make: Make) -> None:
    here = make()
    until = time.time() + 60
    await leave_upload(here, DATA, part_size=PART, until=until)
    with pytest.raises(UploadOwned) as caught:
        await copy_object(entry_of(here.source.entry("key")), here.context())
    assert isinstance(caught.value, LeaseLost)
    assert caught.value.until == until


async def test_a_worker_whose_upload_was_taken_over_stops_and_leaves_it_to_the_new_owner(make: Make) -> None:
    here = make()
    here.lease_seconds = 0.0  # its lease is over as soon as it begins
    started, go_on = asyncio.Event(), asyncio.Event()
    put_note = here.ledger.put_note

    async def slow_note(*args: Any) -> None:
        started.set()
        await go_on.wait()
        await put_note(*args)

    here.ledger.put_note = slow_note  # type: ignore[method-assign,assignment]
    entry = entry_of(here.source.seed("key", DATA))
    first = asyncio.create_task(copy_object(entry, here.context("one")))
    await started.wait()
    here.ledger.put_note = put_note  # type: ignore[method-assign]
    here.lease_seconds = 60
    await copy_object(entry, here.context("two"))
    go_on.set()
    await asyncio.gather(first, return_exceptions=True)
    await copy_object(entry, here.context("three"))
    await here.settled(DATA)


async def test_the_lease_is_extended_while_parts_move(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    here = make()
    now = [1000.0]
    monkeypatch.setattr("dth.multipart.claim.time", type("clock", (), {"time": staticmethod(lambda: now[0])}))
    real_sleep = asyncio.sleep
    beats = 0

    async def quick(seconds: float) -> None:
        nonlocal beats
        if seconds >= 1:
            beats += 1
            now[0] += seconds
        await real_sleep(0)

    monkeypatch.setattr("dth.multipart.claim.asyncio.sleep", quick)
    entry = entry_of(here.source.seed("key", DATA))
    ctx = replace(here.context(), lease_until=lambda: now[0] + 30)
    seen: list[float] = []
    update = here.ledger.update_upload

    async def spy(row: UploadRow) -> UploadRow:
        seen.append(row.owned_until)
        return await update(row)

    here.ledger.update_upload = spy  # type: ignore[method-assign]
    await copy_object(entry, ctx)
    assert beats > 0
    assert seen[-1] > 1030
    await here.settled(DATA)


async def test_a_cancelled_copy_lets_the_next_worker_go_on_at_once(make: Make) -> None:
    here = make()
    stuck = asyncio.Event()
    upload_part = here.destination.upload_part

    async def stalls(key: str, upload_id: str, number: int, *rest: Any) -> Any:
        if number == 4:
            stuck.set()
            await asyncio.Event().wait()
        return await upload_part(key, upload_id, number, *rest)

    here.destination.upload_part = stalls  # type: ignore[method-assign,assignment]
    entry = entry_of(here.source.seed("key", DATA))
    task = asyncio.create_task(copy_object(entry, here.context("one")))
    await stuck.wait()
    while len(here.destination.parts_received) < 5:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert here.source.open_streams == 0
    here.destination.upload_part = upload_part  # type: ignore[method-assign]
    await copy_object(entry, here.context("two"))
    assert Counter(number for _, number in here.destination.parts_received) == dict.fromkeys(range(1, 7), 1)
    await here.settled(DATA)


# sweeping


async def test_a_sweep_aborts_what_has_no_owner_and_nothing_else(make: Make) -> None:
    here = make()
    await leave_upload(here, DATA, part_size=PART)
    foreign = await here.destination.create_upload("other", PutOptions())
    assert await sweep_uploads(here.job(), here.ledger, now=time.time(), emit=here.events.append) == 1
    assert set(here.destination.uploads) == {foreign}
    assert await here.row() is None


async def test_a_sweep_finds_an_upload_whose_id_was_lost(make: Make) -> None:
    here = make()
    await leave_upload(here, DATA, part_size=PART, known=False)
    assert await sweep_uploads(here.job(), here.ledger, now=time.time(), emit=here.events.append) == 1
    await here.settled(None)


async def test_a_sweep_leaves_an_upload_with_a_living_owner(make: Make) -> None:
    here = make()
    await leave_upload(here, DATA, part_size=PART, until=time.time() + 60)
    assert await sweep_uploads(here.job(), here.ledger, now=time.time(), emit=here.events.append) == 0
    assert len(here.destination.uploads) == 1


async def test_a_sweep_that_cannot_abort_keeps_the_row_and_says_so(make: Make) -> None:
    here = make()
    await leave_upload(here, DATA, part_size=PART)
    here.destination.fail("AbortMultipartUpload", ServerFault("broken"))
    assert await sweep_uploads(here.job(), here.ledger, now=time.time(), emit=here.events.append) == 0
    assert [event.code for event in here.events if isinstance(event, Notice)] == ["upload_left_open"]
    assert await sweep_uploads(here.job(), here.ledger, now=time.time(), emit=here.events.append) == 1
    await here.settled(None)

"""Objects that move as parts, when all goes well or ends on purpose."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dth.events import BytesMoved
from dth.model import Attributes
from dth.multipart.parts import PARTS_AT_ONCE
from dth.states import Outcome, VerifiedBy
from dth.transfer.copy import copy_object
from dth.transfer.options import Verify
from tests.servers.copying import KIB, Make, entry_of, large_objects
from tests.servers.memory_store import AWS_LIKE, MIB, PLAIN

DATA = bytes(range(251)) * 4200  # a little over 1 MiB: 17 parts of 64 KiB


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dth.retry.RetryPolicy.wait_seconds", lambda *_: 0.0)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with large_objects(tmp_path) as make:
        yield make


async def test_a_large_object_arrives_in_parts_with_its_attributes(make: Make) -> None:
    here = make()
    attributes = Attributes((("content-type", "x/y"), ("content-encoding", "gzip")), (("k", "v"),))
    here.set(storage_class="STANDARD_IA")
    copied = await copy_object(entry_of(here.source.seed("key", DATA, attributes)), here.context())
    stored = here.destination.objects["key"]
    assert stored.data == DATA
    assert stored.options.attributes == attributes
    assert stored.options.storage_class == "STANDARD_IA"
    assert (copied.outcome, copied.bytes, copied.dest_etag) == (Outcome.DONE, len(DATA), stored.etag)
    assert sorted(number for _, number in here.destination.parts_received) == list(range(1, 18))
    assert sum(event.bytes for event in here.events if isinstance(event, BytesMoved)) == len(DATA)
    await here.settled(DATA)


async def test_our_own_checksum_of_each_part_equal_to_the_answers_is_said_to_cover_our_leg(make: Make) -> None:
    here = make()
    assert (
        await copy_object(entry_of(here.source.seed("key", DATA)), here.context())
    ).verified_by is VerifiedBy.PART_CRC


async def test_a_store_that_wants_the_algorithm_declared_first_is_told(make: Make) -> None:
    here = make(replace(AWS_LIKE, declares_checksum=True, multipart_etag=False))
    assert (
        await copy_object(entry_of(here.source.seed("key", DATA)), here.context())
    ).verified_by is VerifiedBy.PART_CRC


async def test_a_checksum_kept_by_the_source_and_joined_from_the_parts_covers_both_legs(make: Make) -> None:
    here = make()
    here.source.keeps_checksums = True
    assert (await copy_object(entry_of(here.source.seed("key", DATA)), here.context())).verified_by is VerifiedBy.CRC


async def test_parts_aligned_with_the_sources_give_the_same_etag_and_that_is_the_proof(make: Make) -> None:
    here = make(PLAIN)
    here.set(part_size=0)
    data = bytes(9 * MIB) + b"end"
    copied = await copy_object(entry_of(here.source.seed("key", data, parts=8 * MIB)), here.context())
    assert copied.source_etag == copied.dest_etag
    assert copied.verified_by is VerifiedBy.ETAG


async def test_without_any_checksum_a_large_object_is_said_to_be_not_verifiable(make: Make) -> None:
    here = make(PLAIN)
    copied = await copy_object(entry_of(here.source.seed("key", DATA)), here.context())
    assert copied.verified_by is VerifiedBy.NOT_VERIFIABLE


async def test_verify_full_reads_a_large_object_back_and_compares_it_with_the_sources_md5(make: Make) -> None:
    here = make(PLAIN)
    here.set(verify=Verify.FULL)
    copied = await copy_object(entry_of(here.source.seed("key", DATA)), here.context())
    assert copied.verified_by is VerifiedBy.OWN_MD5


async def test_every_ranged_get_is_pinned_to_the_generation(make: Make) -> None:
    here = make()
    pins = []
    get = here.source.get

    async def spy(key: str, *, pinned: Any, span: Any = None) -> Any:
        pins.append(pinned.etag)
        return await get(key, pinned=pinned, span=span)

    here.source.get = spy  # type: ignore[method-assign]
    await copy_object(entry_of(here.source.seed("key", DATA)), here.context())
    assert pins == [hashlib.md5(DATA).hexdigest()] * 17


@pytest.mark.parametrize("capabilities", [AWS_LIKE, PLAIN], ids=["conditional", "asked first"])
async def test_no_clobber_leaves_what_is_there_and_sends_no_part(make: Make, capabilities: Any) -> None:
    here = make(capabilities)
    here.set(no_clobber=True)
    here.destination.seed("key", b"mine")
    copied = await copy_object(entry_of(here.source.seed("key", DATA)), here.context())
    assert copied.outcome is Outcome.SKIPPED
    assert not here.destination.parts_received


async def test_no_clobber_holds_against_an_object_that_appears_before_the_upload_completes(make: Make) -> None:
    here = make()
    here.set(no_clobber=True)
    here.destination.before("CompleteMultipartUpload", lambda: here.destination.seed("key", b"mine"))
    copied = await copy_object(entry_of(here.source.seed("key", DATA)), here.context())
    assert copied.outcome is Outcome.SKIPPED
    await here.settled(b"mine")


@pytest.mark.parametrize("outer", [False, True], ids=["slots taken here", "the caller holds one too"])
@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "held whole"])
async def test_with_one_slot_and_a_budget_of_one_kilobyte_a_large_object_still_moves(
    *, make: Make, outer: bool, whole: bool
) -> None:
    here = make(replace(AWS_LIKE, needs_payload_hash=whole))
    here.slots, here.memory = 1, KIB
    entries = [entry_of(here.source.seed(key, DATA)) for key in ("a", "b")]
    ctx = here.context()

    async def work(entry: Any) -> None:
        if outer:
            async with ctx.limiter.slot():
                await copy_object(entry, ctx)
        else:
            await copy_object(entry, ctx)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for entry in entries:
            group.create_task(work(entry))
    assert here.destination.objects["a"].data == here.destination.objects["b"].data == DATA


async def test_no_more_parts_are_in_flight_than_slots_and_no_more_tasks_than_a_fixed_number(make: Make) -> None:
    here = make()
    here.slots = 5
    here.set(part_size=KIB)
    most_streams, most_tasks = 0, 0

    def watch(*_: str) -> None:
        nonlocal most_streams, most_tasks
        most_streams = max(most_streams, here.source.open_streams)
        most_tasks = max(most_tasks, len(asyncio.all_tasks()))

    here.source.faults.append(watch)
    here.destination.faults.append(watch)
    await copy_object(entry_of(here.source.seed("key", DATA)), here.context())
    assert 1 < most_streams <= 5
    assert most_tasks <= PARTS_AT_ONCE + 3


async def test_a_store_whose_multipart_etags_are_its_own_still_gets_the_object(make: Make) -> None:
    here = make(replace(PLAIN, multipart_etag=False))
    copied = await copy_object(entry_of(here.source.seed("key", DATA)), here.context())
    assert copied.outcome is Outcome.DONE
    await here.settled(DATA)


async def test_after_a_large_copy_whose_etags_cannot_decide_the_source_is_asked_again(make: Make) -> None:
    here = make()
    listed = here.source.seed("key", DATA)
    here.source.before("HeadObject", lambda: here.source.seed("key", b"newer"), after=1)
    await copy_object(entry_of(listed), here.context())
    assert here.destination.objects["key"].data == b"newer"

"""What every ledger promises (`dth.ledgers.base`), checked on every ledger there is.

A place offers handles on one empty ledger. Leases are given as times: one of the past is over, one of the far future
lives, so that no test waits.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pytest

from dth.errors import LeaseLost, LedgerError, RunUnderWay
from dth.finder.checkpoint import TEXT_MAX, beginning, forget, keep, take_over
from dth.finder.ranges import KeyRange
from dth.ledgers.base import Ledger, MovedPart, OutcomeRow, PartsRow, Run, Sharing, UploadRow
from dth.ledgers.dynamodb import DynamoLedger
from dth.ledgers.sqlite import SqliteLedger
from dth.model import Counts, Generation
from dth.states import RunState
from tests.servers.aws import Aws, table_name

NOW = time.time()
OVER, LIVING = NOW - 1000, NOW + 100_000
ODD_KEYS = ["a/b", "a//b", "a\udc80b", "\udcc3\udca9", "é", "\ud800", "\uffff", "😀", "a\x00b", "a'b\"\\\n"]


class LedgerFactory(Protocol):
    async def __call__(self) -> Ledger:
        """Another handle on the same ledger."""
        ...


@dataclass
class SqliteLedgers:
    path: Path
    stack: AsyncExitStack

    async def __call__(self) -> SqliteLedger:
        ledger = await SqliteLedger.open(self.path)
        self.stack.push_async_callback(ledger.close)
        return ledger


@dataclass
class DynamoLedgers:
    table: str
    stack: AsyncExitStack

    async def __call__(self) -> DynamoLedger:
        ledger = await DynamoLedger.open(self.table)
        self.stack.push_async_callback(ledger.close)
        return ledger


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("moto", marks=pytest.mark.moto),
        pytest.param("ministack", marks=pytest.mark.ministack),
    ]
)
async def ledger_factory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LedgerFactory]:
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            yield SqliteLedgers(tmp_path / "ledger", stack)
        else:
            aws: Aws = request.getfixturevalue(request.param)
            stack.enter_context(aws.ambient())
            yield DynamoLedgers(await table_name(), stack)


@pytest.fixture
async def ledger(ledger_factory: LedgerFactory) -> Ledger:
    return await ledger_factory()


def a_run(run_id: str = "r1", *, job_id: str = "job", lease_until: float = LIVING, age: float = 0.0) -> Run:
    return Run(
        run_id=run_id,
        job_id=job_id,
        state=RunState.LISTING,
        job_settings=json.dumps({"prefix": "é\udc80"}),
        finder="finder-1",
        lease_until=lease_until,
        started_at=NOW - age,
        found=None,
        found_bytes=0,
        reasons={},
        counts=Counts(),
    )


def a_row(message_id: str = "m1", *, run_id: str = "r1", done: int = 1, remainder: str = "") -> OutcomeRow:
    return OutcomeRow(message_id, run_id, Counts(done, 2, 3, 10 * done), "0fa5", remainder)


def an_upload(
    dest_key: str = "key", *, owner: str = "me", owned_until: float = LIVING, job_id: str = "job"
) -> UploadRow:
    return UploadRow(
        job_id=job_id,
        run_id="r1",
        dest_key=dest_key,
        source_key=f"source/{dest_key}",
        generation=Generation("abc-3", 5 << 40, None),
        part_size=8 << 20,
        upload_id="",
        owner=owner,
        owned_until=owned_until,
        revision=0,
        created_at=NOW,
    )


async def all_uploads(ledger: Ledger, job_id: str = "job") -> list[UploadRow]:
    return [row async for row in ledger.uploads(job_id)]


# Runs


async def test_a_run_is_read_as_it_was_started(ledger: Ledger) -> None:
    await ledger.start_run(a_run())
    assert await ledger.run("r1") == a_run()
    assert await ledger.run("other") is None


async def test_a_listing_run_with_a_living_lease_keeps_others_of_its_job_out(ledger: Ledger) -> None:
    await ledger.start_run(a_run("r1"))
    with pytest.raises(RunUnderWay) as refused:
        await ledger.start_run(a_run("r2"))
    assert refused.value.run_id == "r1"
    assert await ledger.run("r2") is None
    await ledger.start_run(a_run("r3", job_id="another"))


async def test_overlap_lets_a_second_run_start_beside_a_living_one(ledger: Ledger) -> None:
    await ledger.start_run(a_run("r1"))
    await ledger.start_run(a_run("r2"), overlap=True)
    assert [run.state for run in await ledger.runs("job", 10)] == [RunState.LISTING, RunState.LISTING]


async def test_a_listing_run_whose_lease_is_over_becomes_abandoned_when_the_next_starts(ledger: Ledger) -> None:
    await ledger.start_run(a_run("r1", lease_until=OVER))
    await ledger.start_run(a_run("r2"))
    first = await ledger.run("r1")
    assert first
    assert (first.state, first.found) == (RunState.ABANDONED, None)


async def test_a_sealed_run_keeps_others_out_until_all_is_counted(ledger: Ledger) -> None:
    await ledger.start_run(a_run("r1"))
    await ledger.seal_run("r1", "finder-1", 12, 120, {})
    await ledger.record(a_row("m1", done=1), "p1")  # 6 of 12
    with pytest.raises(RunUnderWay):
        await ledger.start_run(a_run("r2"))
    await ledger.record(a_row("m2", done=1), "p2")
    await ledger.start_run(a_run("r2"))


async def test_a_sealed_run_is_not_abandoned_however_old_its_lease(ledger: Ledger) -> None:
    await ledger.start_run(a_run("r1", lease_until=OVER))
    await ledger.seal_run("r1", "finder-1", 5, 50, {})
    with pytest.raises(RunUnderWay):
        await ledger.start_run(a_run("r2"))
    assert not await ledger.abandon_run("r1")


async def test_starting_a_run_again_repeats_nothing_and_another_run_cannot_take_its_id(ledger: Ledger) -> None:
    await ledger.start_run(a_run())
    await ledger.start_run(a_run())
    with pytest.raises(LedgerError):
        await ledger.start_run(replace(a_run(), finder="another"), overlap=True)
    assert await ledger.runs("job", 10) == [a_run()]


async def test_of_finders_that_start_at_once_one_gets_the_run(ledger_factory: LedgerFactory) -> None:
    ledgers = [await ledger_factory() for _ in range(3)]
    starts = [ledger.start_run(a_run(f"r{number}")) for number, ledger in enumerate(ledgers)]
    results = await asyncio.gather(*starts, return_exceptions=True)
    assert sum(isinstance(result, RunUnderWay) for result in results) == 2
    assert len(await ledgers[0].runs("job", 10)) == 1


async def test_the_heartbeat_moves_the_lease(ledger: Ledger) -> None:
    await ledger.start_run(a_run(lease_until=OVER))
    await ledger.extend_run("r1", "finder-1", LIVING)
    with pytest.raises(RunUnderWay):
        await ledger.start_run(a_run("r2"))


async def test_only_the_finder_of_a_listing_run_may_extend_it(ledger: Ledger) -> None:
    await ledger.start_run(a_run())
    with pytest.raises(LeaseLost):
        await ledger.extend_run("r1", "another", LIVING)
    with pytest.raises(LeaseLost):
        await ledger.extend_run("unknown", "finder-1", LIVING)
    await ledger.abandon_run("r1")
    with pytest.raises(LeaseLost):
        await ledger.extend_run("r1", "finder-1", LIVING)


async def test_sealing_fixes_the_totals_and_may_be_repeated(ledger: Ledger) -> None:
    await ledger.start_run(a_run())
    for _ in range(2):
        await ledger.seal_run("r1", "finder-1", 7, 70, {"missing": 5, "size": 2})
    run = await ledger.run("r1")
    assert run
    assert (run.state, run.found, run.found_bytes) == (RunState.SEALED, 7, 70)
    assert run.reasons == {"missing": 5, "size": 2}
    with pytest.raises(LeaseLost):
        await ledger.seal_run("r1", "finder-1", 8, 70, {"missing": 5, "size": 2})
    with pytest.raises(LeaseLost):
        await ledger.extend_run("r1", "finder-1", LIVING)
    assert (await ledger.run("r1")) == run


async def test_an_abandoned_run_cannot_be_sealed(ledger: Ledger) -> None:
    await ledger.start_run(a_run())
    assert await ledger.abandon_run("r1")
    assert not await ledger.abandon_run("r1")
    assert not await ledger.abandon_run("unknown")
    with pytest.raises(LeaseLost):
        await ledger.seal_run("r1", "finder-1", 0, 0, {})
    with pytest.raises(LeaseLost):
        await ledger.seal_run("unknown", "finder-1", 0, 0, {})


async def test_abandoning_what_expired_spares_a_living_lease(ledger: Ledger) -> None:
    await ledger.start_run(a_run(lease_until=NOW))
    assert not await ledger.abandon_run("r1", expired_before=NOW - 1)
    assert await ledger.abandon_run("r1", expired_before=NOW + 1)


async def test_runs_come_newest_first_and_of_one_job_only(ledger: Ledger) -> None:
    for number in (2, 0, 3, 1):
        await ledger.start_run(a_run(f"r{number}", age=number), overlap=True)
    await ledger.start_run(a_run("other", job_id="another"))
    await ledger.record(a_row("m", run_id="r1"), "p")
    assert [run.run_id for run in await ledger.runs("job", 10)] == ["r0", "r1", "r2", "r3"]
    assert [run.counts for run in await ledger.runs("job", 2)] == [Counts(), a_row().counts]
    assert await ledger.runs("nobody", 10) == []


# Outcomes


async def test_an_outcome_is_kept_as_written_and_counted(ledger: Ledger) -> None:
    await ledger.start_run(a_run())
    row = a_row(remainder=json.dumps({"key": "\udc80\n"}))
    assert await ledger.record(row, "p1") == row
    assert await ledger.outcome("m1") == row
    assert await ledger.outcome("m2") is None
    run = await ledger.run("r1")
    assert run
    assert run.counts == row.counts


async def test_the_first_writer_of_an_outcome_wins_and_later_ones_learn_what_it_wrote(ledger: Ledger) -> None:
    await ledger.start_run(a_run())
    first, second = a_row(done=1, remainder="first"), a_row(done=50, remainder="second")
    await ledger.record(first, "p1")
    assert await ledger.record(second, "p2") == first
    assert await ledger.record(second, "p1") == first
    assert await ledger.outcome("m1") == first
    run = await ledger.run("r1")
    assert run
    assert run.counts == first.counts


async def test_counts_are_exact_when_everybody_records_the_same_messages(ledger_factory: LedgerFactory) -> None:
    ledgers = [await ledger_factory() for _ in range(3)]
    await ledgers[0].start_run(a_run())
    records = [
        ledger.record(a_row(f"m{number}", done=1 + who), f"p{who}")
        for number in range(30)
        for who, ledger in enumerate(ledgers)
    ]
    results = await asyncio.gather(*records)
    in_force = {row.message_id: row for row in results}
    assert all(row == in_force[row.message_id] for row in results)
    run = await ledgers[1].run("r1")
    assert run
    assert run.counts == sum((row.counts for row in in_force.values()), Counts())


async def test_a_process_counts_each_run_apart(ledger: Ledger) -> None:
    for run_id in ("r1", "r2"):
        await ledger.start_run(a_run(run_id), overlap=True)
    await ledger.record(a_row("m1", run_id="r1", done=1), "p")
    await ledger.record(a_row("m2", run_id="r2", done=5), "p")
    assert [run.counts.done for run in sorted(await ledger.runs("job", 9), key=lambda run: run.run_id)] == [1, 5]


# Uploads


async def test_the_first_claim_writes_the_intent_and_a_second_learns_who_owns_it(ledger: Ledger) -> None:
    mine = await ledger.claim_upload(an_upload())
    assert replace(mine, revision=0) == an_upload()
    theirs = await ledger.claim_upload(replace(an_upload(owner="another"), part_size=1, source_key="x"))
    assert theirs == mine
    assert await all_uploads(ledger) == [mine]


async def test_of_claims_made_at_once_one_wins(ledger_factory: LedgerFactory) -> None:
    ledgers = [await ledger_factory() for _ in range(4)]
    rows = await asyncio.gather(*(ledger.claim_upload(an_upload(owner=f"o{n}")) for n, ledger in enumerate(ledgers)))
    assert len({row.owner for row in rows}) == 1


async def test_a_lapsed_upload_goes_to_the_next_claimer_with_its_plan_unchanged(ledger: Ledger) -> None:
    old = await ledger.claim_upload(an_upload(owner="dead", owned_until=OVER))
    claim = replace(
        an_upload(owner="heir"), run_id="r2", part_size=1, source_key="x", upload_id="no", generation=Generation("n", 1)
    )
    heir = await ledger.claim_upload(claim)
    assert heir == replace(old, owner="heir", owned_until=LIVING, run_id="r2", revision=heir.revision)
    assert heir.revision > old.revision
    with pytest.raises(LeaseLost):
        await ledger.update_upload(replace(old, upload_id="late"))
    with pytest.raises(LeaseLost):
        await ledger.close_upload(old)
    assert await all_uploads(ledger) == [heir]


async def test_an_update_moves_the_revision_and_only_the_newest_may_move_it(ledger: Ledger) -> None:
    first = await ledger.claim_upload(an_upload())
    second = await ledger.update_upload(replace(first, upload_id="u1", generation=Generation("e", 2, "v")))
    assert second == replace(first, upload_id="u1", generation=Generation("e", 2, "v"), revision=second.revision)
    assert second.revision > first.revision
    with pytest.raises(LeaseLost):
        await ledger.update_upload(replace(first, upload_id="u2"))
    assert await all_uploads(ledger) == [second]


async def test_of_updates_made_at_once_one_wins(ledger_factory: LedgerFactory) -> None:
    ledgers = [await ledger_factory() for _ in range(4)]
    row = await ledgers[0].claim_upload(an_upload())
    updates = [ledger.update_upload(replace(row, upload_id=str(n))) for n, ledger in enumerate(ledgers)]
    results = await asyncio.gather(*updates, return_exceptions=True)
    won = [result for result in results if isinstance(result, UploadRow)]
    assert await all_uploads(ledgers[0]) == won
    assert len(won) == 1
    assert sum(isinstance(result, LeaseLost) for result in results) == 3


async def test_a_closed_upload_is_gone_and_closing_again_is_no_error(ledger: Ledger) -> None:
    row = await ledger.claim_upload(an_upload())
    newer = await ledger.update_upload(row)
    with pytest.raises(LeaseLost):
        await ledger.close_upload(row)
    await ledger.close_upload(newer)
    await ledger.close_upload(newer)
    assert await all_uploads(ledger) == []
    with pytest.raises(LeaseLost):
        await ledger.update_upload(newer)


async def test_an_owner_of_an_earlier_upload_of_the_key_cannot_touch_the_present_one(ledger: Ledger) -> None:
    old = await ledger.claim_upload(an_upload(owner="old"))
    await ledger.close_upload(old)
    new = await ledger.claim_upload(replace(an_upload(owner="new"), created_at=NOW + 60))
    with pytest.raises(LeaseLost):
        await ledger.update_upload(replace(old, upload_id="stale"))
    with pytest.raises(LeaseLost):
        await ledger.close_upload(old)
    assert await all_uploads(ledger) == [new]


SHARED = Sharing("m/1", '{"kind": "objects"}', 8, "crc64nvme", "md5", "sha256", 1, NOW)


async def test_a_shared_upload_is_taken_over_only_by_who_shares_it_under_the_same_id(ledger: Ledger) -> None:
    free = await ledger.claim_upload(replace(an_upload(owner="first", owned_until=OVER), sharing=SHARED))
    assert free.sharing == SHARED
    assert await ledger.claim_upload(an_upload(owner="alone")) == free
    stranger = replace(an_upload(owner="stranger"), sharing=replace(SHARED, message_id="m/3"))
    assert await ledger.claim_upload(stranger) == free
    again = await ledger.claim_upload(replace(an_upload(owner="again"), sharing=replace(SHARED, resends=0)))
    assert (again.owner, again.sharing) == ("again", SHARED)
    assert await ledger.upload("job", again.dest_key) == again
    assert await ledger.upload("another", again.dest_key) is None


async def test_moved_parts_are_read_back_in_order_and_by_range(ledger_factory: LedgerFactory) -> None:
    mine, theirs = await ledger_factory(), await ledger_factory()
    rows = [
        PartsRow("job", "upload", first, tuple(MovedPart(f"{n:032x}", n, n % 2 == 0) for n in range(first, first + 8)))
        for first in (9, 1, 9985, 17)
    ]
    for row in rows:
        await mine.put_parts(row)
    await mine.put_parts(PartsRow("job", "upload/2", 1, (MovedPart("", None, answered=False),)))
    assert [row async for row in theirs.parts("job", "upload", 1, 10_001)] == sorted(rows, key=lambda row: row.first)
    assert [row.first async for row in theirs.parts("job", "upload", 2, 18)] == [9, 17]
    assert [row.first async for row in theirs.parts("job", "upload", 2, 17)] == [9]
    assert rows[0].stop == 17
    await theirs.put_parts(
        replace(rows[0], parts=(MovedPart("other", None, answered=False, digest=b"\x00\xff", opaque_etag=True),))
    )
    (changed,) = [row async for row in mine.parts("job", "upload", 9, 10)]
    assert changed.parts == (MovedPart("other", None, answered=False, digest=b"\x00\xff", opaque_etag=True),)


async def test_uploads_come_in_key_order_with_any_keys_and_of_one_job_only(ledger: Ledger) -> None:
    keys = ODD_KEYS + [f"many/{number:04}" for number in range(30)]
    for key in keys:
        await ledger.claim_upload(replace(an_upload(key), source_key=f"{key}!"))
    await ledger.claim_upload(an_upload("x", job_id="another"))
    rows = await all_uploads(ledger)
    assert [row.dest_key for row in rows] == sorted(keys)
    assert all(row.source_key == f"{row.dest_key}!" for row in rows)


async def test_all_uploads_are_listed_however_many_there_are(ledger: Ledger) -> None:
    await asyncio.gather(*(ledger.claim_upload(an_upload(f"{number:04}")) for number in range(1103)))
    assert [row.dest_key for row in await all_uploads(ledger)] == [f"{number:04}" for number in range(1103)]


# Events


async def test_a_later_event_of_a_key_outruns_earlier_ones_and_the_same_may_come_again(ledger: Ledger) -> None:
    assert await ledger.advance("job", "k\udc80", "02")
    assert not await ledger.advance("job", "k\udc80", "01")
    assert await ledger.advance("job", "k\udc80", "02")
    assert await ledger.advance("job", "k\udc80", "1")
    assert await ledger.advance("job", "other", "01")
    assert await ledger.advance("another", "k\udc80", "01")


async def test_a_standing_run_keeps_nobody_out_and_is_counted(ledger: Ledger) -> None:
    standing = replace(a_run("events"), state=RunState.STANDING, lease_until=OVER)
    for _ in range(2):
        await ledger.start_run(standing, overlap=True)
    await ledger.start_run(a_run("r1"))
    await ledger.start_run(replace(a_run("events-2"), state=RunState.STANDING))
    await ledger.record(a_row(run_id="events"), "p")
    run = await ledger.run("events")
    assert run == replace(standing, counts=a_row().counts)
    assert not await ledger.abandon_run("events")


# Notes and the rest


async def test_notes_are_kept_per_job_and_name_replaced_and_removed(ledger: Ledger) -> None:
    text = "é😀\udc80\x00" + "x" * 5000
    await ledger.put_note("job", "n", "old")
    await ledger.put_note("job", "n", text)
    await ledger.put_note("job", "m", "other")
    assert await ledger.get_note("job", "n") == text
    assert await ledger.get_note("another", "n") is None
    for _ in range(2):
        await ledger.put_note("job", "n", "")
    assert await ledger.get_note("job", "n") is None
    assert await ledger.get_note("job", "m") == "other"


async def test_a_finders_checkpoint_of_any_size_is_kept_and_taken_over_where_nothing_failed(ledger: Ledger) -> None:
    bounds = [chr(0x4E00 + n) * 300 for n in range(200)]
    left = [KeyRange(after, until) for after, until in zip(bounds[::2], bounds[1::2], strict=True)]
    stored = beginning("{}", "r1", 1_000.0).reached(left, 3)
    assert TEXT_MAX / 3 < len(stored.to_json()) <= TEXT_MAX
    await ledger.start_run(a_run())
    await keep(ledger, "job", stored)
    fresh = beginning("{}", "r2", 2_000.0)
    assert (await take_over(ledger, "job", fresh)).taken is None  # it lists yet
    await ledger.abandon_run("r1")
    taken = (await take_over(ledger, "job", fresh)).taken
    assert taken
    assert (taken.runs, taken.ranges[0].after, taken.ranges[-1].until) == (("r1", "r2"), bounds[0], bounds[-1])
    await ledger.record(replace(a_row(), counts=Counts(failed=1)), "p")
    assert (await take_over(ledger, "job", fresh)).taken is None
    await forget(ledger, "job")
    assert not (await take_over(ledger, "job", fresh)).stored


async def test_rows_outlive_every_handle(ledger_factory: LedgerFactory) -> None:
    first = await ledger_factory()
    await first.start_run(a_run())
    await first.record(a_row(), "p")
    await first.close()
    await first.close()
    run = await (await ledger_factory()).run("r1")
    assert run == replace(a_run(), counts=a_row().counts)


@pytest.mark.parametrize("ledger_factory", ["sqlite"], indirect=True)  # only an embedded ledger knows its dead
async def test_reclaim_ends_the_leases_of_a_process_and_of_its_attempts(ledger: Ledger) -> None:
    assert isinstance(ledger, SqliteLedger)
    await ledger.start_run(replace(a_run("r1"), finder="host/1"))
    await ledger.start_run(replace(a_run("r2"), finder="host/12"), overlap=True)
    dead, alive = an_upload("dead", owner="host/1#ab"), an_upload("alive", owner="host/12#cd")
    for row in (dead, alive):
        await ledger.claim_upload(row)
    assert await ledger.owners() == {"host/1", "host/12"}
    await ledger.reclaim("host/1")
    assert await ledger.owners() == {"host/12"}
    leases = {run.run_id: run.lease_until > NOW for run in await ledger.runs("job", 9)}
    assert leases == {"r1": False, "r2": True}
    assert (await ledger.claim_upload(replace(dead, owner="heir"))).owner == "heir"
    assert (await ledger.claim_upload(replace(alive, owner="heir"))).owner == "host/12#cd"
    await ledger.reclaim()
    assert (await ledger.claim_upload(replace(alive, owner="heir"))).owner == "heir"
    await ledger.start_run(a_run("r3"))


async def test_a_note_is_swapped_only_where_it_is_what_the_caller_has_seen(ledger_factory: LedgerFactory) -> None:
    ledgers = [await ledger_factory() for _ in range(3)]
    assert not await ledgers[0].swap_note("job", "n", "seen", "new")
    assert await ledgers[0].swap_note("job", "n", "", "a\udc80\x00")
    assert not await ledgers[1].swap_note("job", "n", "", "b")
    assert await ledgers[1].swap_note("job", "n", "a\udc80\x00", "0")
    for _ in range(4):  # all add one, from what they have seen
        seen = await ledgers[0].get_note("job", "n") or ""
        won = await asyncio.gather(
            *(
                each.swap_note("job", "n", seen, f"{int(seen.partition('#')[0]) + 1}#{who}")
                for who, each in enumerate(ledgers)
            )
        )
        assert sum(won) == 1
    assert (await ledgers[2].get_note("job", "n") or "").startswith("4#")
    await ledgers[0].put_note("job", "n", "")
    assert await ledgers[1].swap_note("job", "n", "", "anew")


async def test_notes_are_found_by_how_their_names_begin(ledger: Ledger) -> None:
    for name in ("share/a:1", "share/é:2", "share", "shared", "other"):
        await ledger.put_note("job", name, f"value of {name}\udc80")
    await ledger.put_note("another", "share/c", "not here")
    await ledger.advance("job", "key", "01")
    assert await ledger.notes("job", "share/") == {
        "a:1": "value of share/a:1\udc80",
        "é:2": "value of share/é:2\udc80",
    }
    assert await ledger.notes("job", "nothing/") == {}

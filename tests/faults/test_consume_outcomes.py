"""What becomes of entries that fail, of messages that make no sense, and of a worker that cannot succeed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dth.errors import (
    AccessDenied,
    Archived,
    BadCredentials,
    ConnectFailed,
    KeyRefused,
    LedgerError,
    NoSuchKey,
    ObjectChanged,
    QueueError,
    ServerFault,
    Throttled,
    WrongJob,
)
from dth.events import Moved, Notice, ObjectFailed, RunAbandoned
from dth.flow.breaker import IN_A_ROW
from dth.messages import PartsMessage
from dth.model import Counts
from dth.queues.base import Delivery
from dth.states import Outcome, RunState
from dth.transfer.context import Job
from dth.worker import consume as consume_module
from dth.worker import run as run_module
from tests.faults.worker_stage import JOB, RUN, Script, Stage, make_impatient, objects, on_stage


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    make_impatient(monkeypatch)
    async with on_stage(tmp_path) as stage:
        yield stage


# Attempts


async def test_a_poison_entry_is_failed_after_its_attempts_and_its_letter_says_why(stage: Stage) -> None:
    await stage.ready(["a", "poison", "b"])
    script = Script({"poison": [ServerFault("the store is ill")]})
    assert await stage.work(script) == Counts(done=2, failed=1, bytes=2)
    assert script.tries == {"a": 1, "b": 1, "poison": 5}
    assert await stage.dead() == {"poison": "server_fault: the store is ill"}
    failures = stage.heard(ObjectFailed)
    assert [(event.attempt, event.final) for event in failures] == [
        (1, False),
        (2, False),
        (3, False),
        (4, False),
        (5, True),
    ]
    last = [record for record in stage.report.records if record.key == "poison"]
    assert [(record.outcome, record.attempt, record.error_code) for record in last] == [
        (Outcome.FAILED, 5, "server_fault")
    ]


async def test_what_another_try_cannot_help_is_failed_at_once(stage: Stage) -> None:
    await stage.ready(["a", "b"])
    script = Script({"b": [KeyRefused("folds")]})
    assert await stage.work(script) == Counts(done=1, failed=1, bytes=1)
    assert script.tries["b"] == 1


async def test_gone_and_archived_sources_are_skipped_with_their_code(stage: Stage) -> None:
    await stage.ready(["gone", "frozen"])
    await stage.work(Script({"gone": [NoSuchKey("gone")], "frozen": [Archived("deep")]}))
    assert await stage.counts() == Counts(skipped=2)
    assert {record.key: record.error_code for record in stage.report.records} == {
        "gone": "no_such_key",
        "frozen": "needs_restore",
    }
    assert await stage.dead() == {}


async def test_an_object_that_changes_too_often_counts_as_a_failed_attempt(stage: Stage) -> None:
    await stage.ready(["a"])
    script = Script({"a": [ObjectChanged("again"), Outcome.DONE]})
    assert await stage.work(script) == Counts(done=1, bytes=1)
    assert stage.report.records[0].attempt == 2


@pytest.mark.parametrize("error", [Throttled("slow down"), ConnectFailed("refused")], ids=["throttled", "away"])
async def test_what_is_not_the_entrys_fault_uses_up_no_attempt(stage: Stage, error: Exception) -> None:
    await stage.ready(["a", "b", "c"])
    script = Script({"a": [*[error] * 8, Outcome.DONE]})
    assert await stage.work(script) == Counts(done=3, bytes=3)
    assert {record.attempt for record in stage.report.records} == {1}
    assert script.tries["a"] == 9


async def test_giving_back_uses_up_no_attempt(stage: Stage) -> None:
    await stage.ready(["a"])
    for _ in range(7):
        begun = asyncio.Event()

        async def hang(begun: asyncio.Event = begun) -> None:
            begun.set()
            await asyncio.Event().wait()

        working = asyncio.create_task(stage.work(Script({"a": [hang]}), grace_seconds=0.01))
        await begun.wait()
        stage.stop.set()
        assert await working == Counts()
        stage.stop.clear()
    script = Script()
    assert await stage.work(script) == Counts(done=1, bytes=1)
    assert stage.report.records[-1].attempt == 1


async def test_a_defect_in_the_copy_fails_its_entry_and_not_the_worker(stage: Stage) -> None:
    await stage.ready(["a", "odd"])
    assert await stage.work(Script({"odd": [ValueError("unforeseen")]})) == Counts(done=1, failed=1, bytes=1)
    assert "unforeseen" in (await stage.dead())["odd"]


# Messages


async def test_garbage_goes_to_the_dead_letters_with_its_reason_and_blocks_nothing(stage: Stage) -> None:
    await stage.begin()
    junk = [
        "",
        "{",
        "[]",
        "null",
        '{"kind":"odd"}',
        "\\u0000",
        "[" * 50_000,
        json.dumps({"kind": "objects", "job_id": JOB}),
    ]
    await stage.queue.send(junk)
    await stage.seal(await stage.send_keys(["a"]))
    assert await stage.work(Script()) == Counts(done=1, bytes=1)
    await stage.clear(Script())
    letters = await stage.queue.dead_letters(100)
    assert sorted(letter.body for letter in letters) == sorted(junk)
    assert all("not a message of ours" in letter.reason for letter in letters)


async def test_parts_of_an_upload_that_nobody_knows_are_over(stage: Stage) -> None:
    await stage.begin()
    await stage.send(
        PartsMessage(
            job_id=JOB,
            run_id=RUN,
            message_id="p",
            key="k",
            dest_key="k",
            size=1,
            etag="e",
            upload_id="u",
            part_size=1,
            first=1,
            stop=2,
        ),
    )
    await stage.seal(0)
    assert await stage.work(Script()) == Counts()
    await stage.clear(Script())
    assert await stage.queue.dead_letters(9) == []


@pytest.mark.parametrize(
    "key",
    [
        'quo"te',
        "back\\slash",
        "new\nline",
        "nul\0",
        "\x01",
        "umlaut-\u00e4",
        "\U0001f600",
        "bytes-\udcff\udc80",
        "a+b%2B c",
    ],
)
async def test_any_key_survives_the_way_through_queue_remainder_and_dead_letter(stage: Stage, key: str) -> None:
    await stage.ready([key])
    script = Script({key: [ServerFault("x")]})
    await stage.work(script, max_attempts=2)
    assert script.tries == {key: 2}
    assert set(await stage.dead()) == {key}


async def test_another_jobs_message_ends_the_worker_and_is_given_back(stage: Stage) -> None:
    """One message: a receive that is cut off by the end may hold a second one, until `run_child` gives that back."""
    await stage.ready(["a"])

    async def refuse(run_id: str) -> Job:
        raise WrongJob(f"{run_id} is another job's")

    stage.open_job = refuse  # type: ignore[method-assign]
    with pytest.raises(WrongJob):
        await stage.work(Script())
    depth = await stage.queue.depth()
    assert (depth.visible, depth.leased, depth.dead) == (1, 0, 0)


async def test_a_message_of_a_run_that_nobody_knows_is_buried(stage: Stage) -> None:
    await stage.begin()
    await stage.send_keys(["lost"], run_id="unheard-of")
    await stage.seal(await stage.send_keys(["a"]))
    known = stage.open_job

    async def open_job(run_id: str) -> Job:
        if run_id != RUN:
            raise LedgerError("no such run")
        return await known(run_id)

    stage.open_job = open_job  # type: ignore[method-assign]
    assert await stage.work(Script()) == Counts(done=1, bytes=1)
    await stage.clear(Script())
    assert "unheard-of" in (await stage.dead())["lost"]


async def test_passing_trouble_with_the_ledger_gives_the_message_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consume_module, "TROUBLE_DELAY_SECONDS", 0.01)
    await stage.ready(["a"])
    real, troubles = stage.ledger.record, [LedgerError("busy"), QueueError("busy")]

    async def record(*args: object) -> object:
        if troubles:
            raise troubles.pop()
        return await real(*args)  # type: ignore[arg-type]

    stage.ledger.record = record  # type: ignore[method-assign,assignment]
    assert await stage.work(Script()) == Counts(done=1, bytes=1)


async def test_lasting_trouble_with_the_ledger_ends_the_worker(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consume_module, "TROUBLE_DELAY_SECONDS", 0.01)
    await stage.ready(["a"])

    async def record(*args: object) -> object:
        raise LedgerError("gone")

    stage.ledger.record = record  # type: ignore[method-assign,assignment]
    with pytest.raises(LedgerError):
        await stage.work(Script())
    assert (await stage.queue.depth()).visible == 1


# Limits, stop, hand-over


@pytest.mark.parametrize("packed", [1, 7])
async def test_with_every_limit_at_one_all_is_done_one_after_the_other(stage: Stage, packed: int) -> None:
    keys = [f"k{n}" for n in range(21)]
    found = await stage.ready(*[keys[n : n + packed] for n in range(0, 21, packed)])
    script = Script({"k3": [ServerFault("x"), Outcome.DONE]})
    await stage.work(script, worker_number=1, max_in_flight=1, memory_budget=1)
    assert (await stage.counts()).done == found
    assert script.highest == 1


async def test_the_number_of_leased_messages_is_bounded(stage: Stage) -> None:
    await stage.ready(*[[f"k{n}"] for n in range(60)])
    highest = 0

    async def look() -> None:
        nonlocal highest
        highest = max(highest, (await stage.queue.depth()).leased)

    await stage.work(Script({f"k{n}": [look] for n in range(60)}), worker_number=2, max_in_flight=1000)
    assert 0 < highest <= 4 * 2


async def test_on_stop_what_has_begun_is_finished_and_the_rest_given_back(stage: Stage) -> None:
    await stage.ready(["a", "b", "c"], ["d"], ["e"])
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        begun.set()
        await go.wait()

    script = Script({"a": [slow]})
    working = asyncio.create_task(stage.work(script, worker_number=1))
    await begun.wait()
    stage.stop.set()
    go.set()
    assert await working == Counts(done=1, bytes=1)
    depth = await stage.queue.depth()
    assert depth.leased == 0
    assert set(script.tries) == {"a"}
    stage.stop.clear()
    await stage.work(script)
    assert await stage.counts() == Counts(done=5, bytes=5)
    assert script.tries["a"] == 1


async def test_a_copy_that_outlives_the_grace_period_is_cut_off_and_given_back(stage: Stage) -> None:
    await stage.ready(["a", "b"])
    both = asyncio.Event()

    async def hang() -> None:
        both.set()
        await asyncio.Event().wait()

    working = asyncio.create_task(stage.work(Script({"b": [hang]}), grace_seconds=0.01))
    await both.wait()
    stage.stop.set()
    assert await working == Counts(done=1, bytes=1)
    stage.stop.clear()
    script = Script()
    await stage.work(script)
    assert script.tries == {"b": 1}


async def test_a_message_held_near_the_cap_is_handed_over_as_a_remainder(stage: Stage) -> None:
    await stage.ready(["quick", "endless"])
    tries = 0

    async def twice_endless() -> None:
        nonlocal tries
        tries += 1
        if tries <= 2:
            await asyncio.Event().wait()

    await stage.work(Script({"endless": [twice_endless]}), lease_cap_seconds=0.2, lease_seconds=0.1)
    assert await stage.counts() == Counts(done=2, bytes=2)
    assert [row.message_id for row in await stage.rows()] == ["run-0", "run-0/1", "run-0/2"]
    assert {record.attempt for record in stage.report.records} == {1}


async def test_leases_are_extended_from_receipt_on_by_a_constant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_impatient(monkeypatch)
    async with on_stage(tmp_path, lease_seconds=0.3) as stage:
        await stage.ready(["a"], ["b"])
        asked: list[float] = []
        beaten = asyncio.Event()
        real = stage.queue.extend

        async def extend(deliveries: list[object], lease_seconds: float) -> list[object]:
            asked.append(lease_seconds)
            if len(asked) >= 4:
                beaten.set()
            return await real(deliveries, lease_seconds)  # type: ignore[arg-type,return-value]

        stage.queue.extend = extend  # type: ignore[method-assign,assignment]

        async def slow() -> None:
            await beaten.wait()

        script = Script({"a": [slow]})
        await stage.work(script, worker_number=1, lease_seconds=0.3)
        assert set(asked) == {0.3}
        assert script.tries == {"a": 1, "b": 1}  # neither came again, though both were held beyond their first lease
        assert await stage.counts() == Counts(done=2, bytes=2)


async def test_a_lost_lease_is_no_error_and_the_work_counts_once(stage: Stage) -> None:
    await stage.ready(["a"])

    async def lose() -> None:
        await stage.queue.reclaim()

    await stage.work(Script({"a": [lose, lose]}))
    await stage.clear(Script())
    assert await stage.counts() == Counts(done=1, bytes=1)


async def test_a_stop_strands_no_message_that_is_just_being_received(stage: Stage) -> None:
    await stage.begin()
    real = stage.queue.receive
    leased = asyncio.Event()

    async def receive(limit: int, wait_seconds: float) -> list[Delivery]:
        deliveries = await real(limit, wait_seconds)
        if deliveries:
            leased.set()
            await asyncio.sleep(0.01)  # the answer is on its way
        return deliveries

    stage.queue.receive = receive  # type: ignore[method-assign]
    working = asyncio.create_task(stage.work(Script()))
    await stage.send_keys(["a"])
    await leased.wait()
    stage.stop.set()
    await working
    depth = await stage.queue.depth()
    assert (depth.visible, depth.leased) == (1, 0)


# Breaker


async def test_denials_before_any_success_stop_the_worker_and_lose_nothing(stage: Stage) -> None:
    found = await stage.ready(*[[f"k{n}"] for n in range(30)])
    denied = Script({f"k{n}": [AccessDenied("s3:PutObject is missing")] for n in range(30)})
    with pytest.raises(AccessDenied):
        await stage.work(denied, worker_number=1)
    assert denied.tries.total() <= IN_A_ROW + 1
    assert await stage.counts() == Counts()
    assert await stage.dead() == {}
    await stage.queue.reclaim()  # as a process does at its end: a receive that was cut off may hold a message
    await stage.work(Script())
    assert (await stage.counts()).done == found


async def test_a_denied_key_among_others_fails_alone(stage: Stage) -> None:
    keys = [f"k{n}" for n in range(40)]
    await stage.ready(["first"])
    await stage.work(Script())
    await stage.begin(run_id="two")
    await stage.send_keys(["ok", *keys], run_id="two")
    await stage.seal(41, "two")
    await stage.work(Script({key: [AccessDenied("no")] for key in keys}), worker_number=1)
    assert await stage.counts("two") == Counts(done=1, failed=40, bytes=1)


@pytest.mark.parametrize("error", [ConnectFailed("refused"), BadCredentials("unknown key")])
async def test_an_endpoint_that_never_works_stops_the_worker(stage: Stage, error: Exception) -> None:
    await stage.ready(["a"])
    with pytest.raises(type(error)):
        await stage.work(Script({"a": [error]}))
    assert await stage.counts() == Counts()
    assert (await stage.queue.depth()).visible == 1


async def test_credentials_that_end_in_the_middle_fail_no_entry(stage: Stage) -> None:
    keys = [f"k{n}" for n in range(50)]
    await stage.ready(keys)
    with pytest.raises(BadCredentials):
        await stage.work(Script({key: [BadCredentials("expired")] for key in keys[10:]}), worker_number=1)
    assert (await stage.counts()).failed == 0
    assert await stage.dead() == {}


# The end


async def test_a_worker_does_not_end_while_a_finder_lives(stage: Stage) -> None:
    await stage.begin()
    working = asyncio.create_task(stage.work(Script()))
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert not working.done()
    found = await stage.send_keys(["a"])
    await stage.seal(found)
    assert await working == Counts(done=1, bytes=1)


async def test_a_dead_finders_run_is_abandoned_and_its_messages_are_worked(stage: Stage) -> None:
    await stage.begin(lease_until=0)
    await stage.send_keys(["a"], ["b"])
    assert await stage.work(Script()) == Counts(done=2, bytes=2)
    run = await stage.ledger.run(RUN)
    assert run
    assert run.state is RunState.ABANDONED
    assert len(stage.heard(RunAbandoned)) == 1


async def test_a_message_that_killed_its_workers_is_counted_as_failed_and_the_run_ends(stage: Stage) -> None:
    await stage.ready(["a"], ["killer"])
    (first,) = await stage.queue.receive(1, 1)
    while deliveries := await stage.queue.receive(1, 0.05):
        await stage.queue.release(deliveries)  # as if each who got it had died
    await stage.queue.release([first])
    await stage.work(Script(), stall_seconds=3600.0)
    assert await stage.counts() == Counts(done=1, failed=1, bytes=1)
    assert [(event.key, event.error_code) for event in stage.heard(ObjectFailed)] == [("killer", "dead_letter")]
    assert sum(event.failed for event in stage.heard(Moved)) == 1
    assert stage.heard(Notice) == []


async def test_a_run_whose_messages_got_lost_ends_with_a_warning(stage: Stage) -> None:
    await stage.begin()
    await stage.seal(3)
    await stage.work(Script(), stall_seconds=0.05)
    assert [event.code for event in stage.heard(Notice)] == ["run_short"]


async def test_a_worker_stays_until_what_a_dead_one_held_of_a_counted_run_is_out_of_the_queue(tmp_path: Path) -> None:
    async with on_stage(tmp_path, lease_seconds=1.0) as stage:
        await stage.begin()
        twice = objects(["a"], "run-0")
        await stage.send(twice, twice)
        await stage.seal(1)
        await stage.queue.receive(1, 1)  # by somebody who dies
        await stage.work(Script(), lease_seconds=1.0)
        depth = await stage.queue.depth()
        assert (depth.visible, depth.leased) == (0, 0)


async def test_a_worker_waits_no_longer_than_a_lease_for_what_another_holds(stage: Stage) -> None:
    await stage.begin()
    twice = objects(["a"], "run-0")
    await stage.send(twice, twice)
    await stage.seal(1)
    await stage.queue.receive(1, 1)  # by somebody who lives, and holds it for a minute
    await stage.work(Script(), lease_seconds=0.1, stall_seconds=3600.0)
    assert (await stage.queue.depth()).leased == 1


async def test_what_is_said_adds_up_to_what_is_counted(stage: Stage) -> None:
    await stage.ready([f"k{n}" for n in range(9)], ["x", "y"])
    await stage.work(Script({"x": [Outcome.SKIPPED], "y": [KeyRefused("no")]}))
    moved = stage.heard(Moved)
    assert (
        Counts(
            sum(event.done for event in moved),
            sum(event.skipped for event in moved),
            sum(event.failed for event in moved),
            sum(event.bytes for event in moved),
        )
        == await stage.counts()
    )


async def test_a_worker_that_ends_by_itself_leaves_no_receive_behind_that_could_take_a_message(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "LONGEST_PAUSE_SECONDS", 0.02)  # sees the end long before its receive runs out
    await stage.ready(["a"])
    real = stage.queue.receive
    cut = []

    async def receive(limit: int, wait_seconds: float) -> list[Delivery]:
        try:
            return await real(limit, wait_seconds)
        except asyncio.CancelledError:
            cut.append(limit)
            raise

    stage.queue.receive = receive  # type: ignore[method-assign]
    await stage.work(Script(), poll_seconds=0.5)
    assert cut == []

"""A worker may die at any instruction, and any message may come twice: counts stay exact, each entry ends once.

On SQLite, and on SQS with DynamoDB of two makes. There each call costs milliseconds, so that every death is played on
SQLite and under DTH_TEST_FULL=1, else every thirteenth.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dth.errors import KeyRefused, ServerFault
from dth.messages import ObjectEntry, ObjectsMessage, decode
from dth.states import Outcome
from dth.transfer.context import CopyContext
from dth.transfer.result import Copied
from tests.e2e.harness import FULL
from tests.faults.worker_services import on_services
from tests.faults.worker_stage import Died, Fuse, Script, Stage, Step, make_impatient, objects, on_stage

Place = Callable[[], AbstractAsyncContextManager[Stage]]


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("moto", marks=pytest.mark.moto),
        pytest.param("ministack", marks=pytest.mark.ministack),
    ]
)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Place:
    """Opens stages, each with an empty queue and ledger of its own."""
    make_impatient(monkeypatch)
    if request.param == "sqlite":
        return lambda: on_stage(tmp_path_factory.mktemp("stage"))
    return lambda: on_services(request.getfixturevalue(request.param))


@pytest.fixture
def every_call(request: pytest.FixtureRequest) -> bool:
    """Whether the place is quick enough for all there is."""
    return FULL or request.node.callspec.params["place"] == "sqlite"


@pytest.fixture
async def stage(place: Place) -> AsyncIterator[Stage]:
    async with place() as stage:
        yield stage


def mixed() -> dict[str, list[Step]]:
    return {
        "skipped": [Outcome.SKIPPED],
        "flaky": [ServerFault("busy"), ServerFault("busy"), Outcome.DONE],
        "refused": [KeyRefused("cannot hold it")],
        "cursed": [ServerFault("always")],
    }


async def _play_with_death(stage: Stage, at: int, *, after: bool) -> bool:
    """Kill the first worker at its n-th call, let a second one finish; True where the fuse burnt."""
    script = Script(mixed())
    found = await stage.ready(["a", "skipped", "flaky"], ["refused", "b"], ["cursed"])
    fuse = Fuse(at, after=after)
    with contextlib.suppress(Died):
        await stage.work(script, fuse)
    if fuse.blown:
        await stage.queue.reclaim()
        await stage.work(script, process="p2")
        await stage.clear(script)
    counts = await stage.counts()
    assert (counts.done, counts.skipped, counts.failed) == (3, 1, 2), counts
    assert counts.ended == found
    assert (await stage.queue.depth()).visible == (await stage.queue.depth()).leased == 0
    dead = await stage.dead()
    assert set(dead) == {"refused", "cursed"}
    if not fuse.blown:
        assert "key_refused: cannot hold it" in dead["refused"]
        assert "server_fault: always" in dead["cursed"]
    ends = {(record.key, record.outcome) for record in stage.report.records}
    assert {key for key, _ in ends} == {"a", "b", "skipped", "flaky", "refused", "cursed"}
    assert ("flaky", Outcome.FAILED) not in ends
    return fuse.blown


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
async def test_a_death_at_any_call_loses_and_doubles_nothing(*, after: bool, place: Place, every_call: bool) -> None:
    for at in range(1 if every_call else 1 + 6 * after, 500, 1 if every_call else 13):
        async with place() as stage:
            if not await _play_with_death(stage, at, after=after):
                break
    else:
        pytest.fail("the worker never came to its end")
    assert at > 40


async def test_a_message_worked_by_two_workers_at_once_counts_once(stage: Stage) -> None:
    await stage.begin()
    twice = objects(["a", "flaky", "refused"], "run-0")
    await stage.send(twice, twice)
    await stage.seal(3)
    met = asyncio.Barrier(2)

    one = Script({"flaky": [ServerFault("x"), Outcome.DONE], "refused": [KeyRefused("no")]})
    two = Script({"flaky": [Outcome.DONE], "refused": [KeyRefused("no")]})

    async def paired(script: Script) -> None:
        async def copy(entry: ObjectEntry, context: CopyContext) -> Copied:
            if entry.key == "a" and not script.tries["a"]:
                async with asyncio.timeout(10):
                    await met.wait()
            return await script(entry, context)

        await stage.work(copy, process=str(id(script)), max_in_flight=1)

    await asyncio.gather(paired(one), paired(two))
    counts = await stage.counts()
    assert (counts.done, counts.skipped, counts.failed) == (2, 0, 1)
    assert set(await stage.dead()) == {"refused"}


@pytest.mark.parametrize(
    ("call", "rows", "sent"),
    [("send", 1, 0), ("ack", 1, 1)],
    ids=["between the row and sending the remainder", "between sending the remainder and acknowledging"],
)
async def test_a_worker_that_dies_once_its_row_is_written_loses_and_doubles_nothing(
    stage: Stage, call: str, rows: int, sent: int
) -> None:
    found = await stage.ready(["a", "flaky", "refused"])
    first = Script({"flaky": [ServerFault("busy")], "refused": [KeyRefused("no")]})
    with pytest.raises(Died):
        await stage.work(first, Fuse(1, after=False, only=call))
    assert len(await stage.rows()) == rows
    depth = await stage.queue.depth()
    assert depth.visible + depth.leased == sent + 1  # the dying one may have received what it had just sent
    assert depth.leased >= 1
    await stage.queue.reclaim()
    second = Script()
    # the remainder may be in the queue twice: one after the other, so that the row of the first is there for the second
    await stage.work(second, process="p2", max_in_flight=1)
    await stage.clear(second)
    assert second.tries == {"flaky": 1}  # what the row says is done is not done again
    counts = await stage.counts()
    assert (counts.done, counts.skipped, counts.failed, counts.ended) == (2, 0, 1, found)
    assert set(await stage.dead()) == {"refused"}
    depth = await stage.queue.depth()
    assert (depth.visible, depth.leased) == (0, 0)


async def test_a_redelivered_message_without_a_row_tells_the_copy_to_look_first(stage: Stage) -> None:
    await stage.ready(["a"])
    await stage.queue.receive(1, 1)  # by somebody who dies
    await stage.queue.reclaim()
    script = Script()
    await stage.work(script)
    assert script.redelivered == ["a"]


async def test_the_remainder_follows_under_the_next_id_and_with_the_attempts_of_its_entries(stage: Stage) -> None:
    await stage.ready(["a", "flaky", "waits"])
    await stage.work(Script({"flaky": [ServerFault("1"), ServerFault("2"), Outcome.DONE]}))
    rows = await stage.rows()
    assert [row.message_id for row in rows] == ["run-0", "run-0/1", "run-0/2"]
    message = decode(rows[1].remainder)
    assert isinstance(message, ObjectsMessage)
    assert [(entry.key, entry.attempt or message.attempt) for entry in message.objects] == [("flaky", 3)]


STEPS = st.lists(
    st.sampled_from(["ok", "ok", "skip", "fail", "refuse"]),
    min_size=1,
    max_size=4,
)


def a_step(word: str) -> Step:
    made: dict[str, Step] = {
        "ok": Outcome.DONE,
        "skip": Outcome.SKIPPED,
        "fail": ServerFault("f"),
        "refuse": KeyRefused("r"),
    }
    return made[word]


def test_whatever_the_schedule_of_deaths_and_repeats_all_entries_end_once(*, place: Place, every_call: bool) -> None:
    @settings(max_examples=25 if every_call else 3, deadline=None)
    @given(
        groups=st.lists(st.lists(STEPS, min_size=1, max_size=4), min_size=1, max_size=4),
        deaths=st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=4),
        repeats=st.sets(st.integers(0, 3)),
        slots=st.integers(1, 5),
    )
    def any_schedule(
        groups: list[list[list[str]]], deaths: list[tuple[int, bool]], repeats: set[int], slots: int
    ) -> None:
        asyncio.run(scenario(groups, deaths, repeats, slots))

    async def scenario(
        groups: list[list[list[str]]], deaths: list[tuple[int, bool]], repeats: set[int], slots: int
    ) -> None:
        script = Script(
            {
                f"{g}-{n}": [a_step(word) for word in words]
                for g, group in enumerate(groups)
                for n, words in enumerate(group)
            }
        )
        async with place() as stage:
            await stage.begin()
            for g, group in enumerate(groups):
                message = objects([f"{g}-{n}" for n in range(len(group))], f"run-{g}")
                await stage.send(*[message] * (2 if g in repeats else 1))
            await stage.seal(found := sum(map(len, groups)))
            for at, after in deaths:
                with contextlib.suppress(Died):
                    await stage.work(script, Fuse(at, after=after), worker_number=slots)
                await stage.queue.reclaim()
            await stage.work(script, worker_number=slots)
            await stage.clear(script)
            counts = await stage.counts()
            assert counts.ended == found
            assert len(await stage.dead()) >= counts.failed

    any_schedule()

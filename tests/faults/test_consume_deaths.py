"""A worker may die at any instruction, and any message may come twice: counts stay exact, each entry ends once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dth.errors import KeyRefused, ServerFault
from dth.messages import ObjectEntry, ObjectsMessage, decode
from dth.states import Outcome
from dth.worker.context import CopyContext
from dth.worker.job import Copied
from tests.faults.worker_stage import Died, Fuse, Script, Stage, Step, make_impatient, objects, on_stage


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    make_impatient(monkeypatch)
    async with on_stage(tmp_path) as stage:
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
async def test_a_death_at_any_call_loses_and_doubles_nothing(
    *, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_impatient(monkeypatch)
    for at in range(1, 500):
        folder = tmp_path / str(at)
        folder.mkdir()
        async with on_stage(folder) as stage:
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


async def test_a_redelivered_message_with_a_row_is_not_copied_again(stage: Stage) -> None:
    await stage.ready(["a", "flaky"])
    first = Script({"flaky": [ServerFault("busy"), Outcome.DONE]})
    queue = stage.queue
    real_send = queue.send

    async def die(bodies: Sequence[str]) -> None:
        raise Died

    queue.send = die  # type: ignore[method-assign]
    with pytest.raises(Died):
        await stage.work(first)
    queue.send = real_send  # type: ignore[method-assign]
    await queue.reclaim()
    second = Script()
    await stage.work(second)
    assert second.tries == {"flaky": 1}
    assert (await stage.counts()).done == 2


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


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    groups=st.lists(st.lists(STEPS, min_size=1, max_size=4), min_size=1, max_size=4),
    deaths=st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=4),
    repeats=st.sets(st.integers(0, 3)),
    slots=st.integers(1, 5),
)
def test_whatever_the_schedule_of_deaths_and_repeats_all_entries_end_once(
    tmp_path_factory: pytest.TempPathFactory,
    groups: list[list[list[str]]],
    deaths: list[tuple[int, bool]],
    repeats: set[int],
    slots: int,
) -> None:
    def step(word: str) -> Step:
        made: dict[str, Step] = {
            "ok": Outcome.DONE,
            "skip": Outcome.SKIPPED,
            "fail": ServerFault("f"),
            "refuse": KeyRefused("r"),
        }
        return made[word]

    steps = {
        f"{g}-{n}": [step(word) for word in words] for g, group in enumerate(groups) for n, words in enumerate(group)
    }

    async def scenario() -> None:
        async with on_stage(tmp_path_factory.mktemp("stage")) as stage:
            await stage.begin()
            for g, group in enumerate(groups):
                message = objects([f"{g}-{n}" for n in range(len(group))], f"run-{g}")
                await stage.send(*[message] * (2 if g in repeats else 1))
            await stage.seal(found := sum(map(len, groups)))
            script = Script(steps)
            for at, after in deaths:
                with contextlib.suppress(Died):
                    await stage.work(script, Fuse(at, after=after), worker_number=slots)
                await stage.queue.reclaim()
            await stage.work(script, worker_number=slots)
            await stage.clear(script)
            counts = await stage.counts()
            assert counts.ended == found
            assert len(await stage.dead()) >= counts.failed

    with pytest.MonkeyPatch.context() as patch:
        make_impatient(patch)
        asyncio.run(scenario())

"""Dead letters sent again: those that are wanted, at the rate that is asked for, counted by a run of their own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from dth.errors import KeyRefused, NoSuchKey
from dth.messages import DeleteMessage, ObjectEntry, encode
from dth.model import Counts
from dth.worker import redrive as redrive_module
from dth.worker.redrive import Redrive, Redriven, Wanted
from tests.faults.worker_services import on_services
from tests.faults.worker_stage import JOB, RUN, Died, Script, Stage, make_impatient, objects, on_stage


@pytest.fixture(params=["sqlite", pytest.param("moto", marks=pytest.mark.moto)])
async def stage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    make_impatient(monkeypatch)
    made = on_stage(tmp_path) if request.param == "sqlite" else on_services(request.getfixturevalue(request.param))
    async with made as stage:
        yield stage


async def redrive(stage: Stage, wanted: Wanted, rate: float = 0.0) -> Redriven:
    again = Redrive(
        stage.queue, stage.ledger, "redriver", wanted=wanted, rate=rate, lease_seconds=60, emit=stage.events.append
    )
    return await again.run(lambda: False)


async def fail_all(stage: Stage) -> None:
    """Two runs with four letters: two keys of each, for one reason each."""
    refused, denied = KeyRefused("cannot hold it"), KeyRefused("no such bucket policy")
    for run_id in (RUN, "other"):
        await stage.begin(run_id=run_id)
        await stage.send_keys(["a/1", "b/1"], run_id=run_id)
        await stage.seal(2, run_id)
        await stage.work(Script({"a/1": [refused], "b/1": [denied]}))
        await stage.clear(Script())


async def left(stage: Stage) -> int:
    await free_letters(stage)
    return (await stage.queue.depth()).dead


async def free_letters(stage: Stage) -> None:
    """What was looked at and not taken is hidden from others for a while, where the queue is a service."""
    for receipt in list(getattr(stage.queue, "_looked_at", {})):
        service = stage.queue._service  # type: ignore[attr-defined]
        url = stage.queue._dead_url  # type: ignore[attr-defined]
        with contextlib.suppress(Exception):  # gone by now
            await service.call("change_message_visibility", QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        (Wanted(), {"a/1": 2, "b/1": 2}),
        (Wanted(run_id=RUN), {"a/1": 1, "b/1": 1}),
        (Wanted(prefix="a/"), {"a/1": 2}),
        (Wanted(reason="bucket policy"), {"b/1": 2}),
        (Wanted(run_id="other", prefix="a/", reason="cannot hold"), {"a/1": 1}),
        (Wanted(prefix="c/"), {}),
    ],
    ids=["all", "of a run", "by prefix", "by reason", "by all three", "none"],
)
async def test_exactly_what_is_wanted_travels_again_and_the_rest_stays(
    stage: Stage, wanted: Wanted, keys: dict[str, int]
) -> None:
    await fail_all(stage)
    done = await redrive(stage, wanted)
    assert done.objects == sum(keys.values())
    assert await left(stage) == 4 - done.objects
    script = Script()
    await stage.work(script)
    assert script.tries == keys
    for run_id in done.runs:
        run = await stage.ledger.run(run_id)
        assert run
        assert (run.job_id, run.counted, run.counts.done) == (JOB, True, run.found)
    assert await stage.counts() == await stage.counts("other") == Counts(failed=2)  # sealed totals never change


async def test_no_more_than_the_rate_is_sent(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.begin()
    bodies = [(await stage.signed(objects([f"k{n}"], f"gone-{n}")), "delivered again and again") for n in range(7)]
    await stage.queue.bury(bodies)
    await stage.seal(7)
    monkeypatch.setattr(redrive_module, "PACKED", 2)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(
        redrive_module, "asyncio", SimpleNamespace(sleep=sleep)
    )  # a ledger's own pauses are none of this
    assert (await redrive(stage, Wanted(), rate=4.0)).objects == 7
    assert sum(slept) == pytest.approx(7 / 4)
    assert max(slept) <= 2 / 4


async def test_a_death_before_the_letters_are_forgotten_sends_them_twice_and_counts_each_run_exactly(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fail_all(stage)

    async def die(_letters: Sequence[object]) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(stage.queue, "forget", die)
        with pytest.raises(Died):
            await redrive(stage, Wanted())
    await free_letters(stage)
    second = await redrive(stage, Wanted())
    assert second.objects == 4
    script = Script({"a/1": [NoSuchKey("gone")]})
    await stage.clear(script)
    for run_id in second.runs:
        run = await stage.ledger.run(run_id)
        assert run
        assert run.counted
        assert (run.counts.done, run.counts.skipped) == (1, 1)
    assert await left(stage) == 0


async def test_what_cannot_travel_again_is_left_and_said(stage: Stage) -> None:
    await stage.begin()
    unknown = encode(objects(["k"], "x-1", "unknown"))
    wanted = DeleteMessage(job_id=JOB, run_id=RUN, message_id="d-1", objects=[ObjectEntry(key="k", size=1)])
    delete = await stage.signed(wanted)
    await stage.queue.bury([(body, "why") for body in ("nonsense", unknown, delete)])
    done = await redrive(stage, Wanted())
    assert (done.objects, done.left, done.runs) == (0, 3, ())
    assert await left(stage) == 3

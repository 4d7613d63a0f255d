"""Messages of images: a worker may die at any call, each image ends once, and one bad image stops no other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dth.errors import (
    AccessDenied,
    BodyMismatch,
    ConnectFailed,
    DthError,
    ManifestInvalid,
    NoSuchImage,
    ServerFault,
    Throttled,
)
from dth.events import ObjectFailed
from dth.ledgers.base import OutcomeRow, Run
from dth.messages import ImageMessage, decode
from dth.model import Counts
from dth.states import Outcome
from dth.stats import Breakdown
from dth.worker.dead_letters import count_dead_letters
from dth.worker.redrive import Redrive, Wanted
from tests.faults.worker_stage import (
    JOB,
    RUN,
    Died,
    Fuse,
    ScriptedImages,
    Stage,
    Step,
    image,
    make_impatient,
    objects,
    on_stage,
)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    make_impatient(monkeypatch)
    async with on_stage(tmp_path) as stage:
        yield stage


async def ready(stage: Stage, *names: str, digest: str = "sha256:0") -> int:
    """A sealed run with a message for each image."""
    await stage.begin()
    await stage.send(*(image(name, f"{RUN}-{number}", digest=digest) for number, name in enumerate(names)))
    await stage.seal(len(names))
    return len(names)


def mixed() -> dict[str, list[Step]]:
    return {
        "present:1": [Outcome.SKIPPED],
        "flaky:1": [BodyMismatch("cut"), ServerFault("busy"), Outcome.DONE],
        "broken:1": [ManifestInvalid("schema 1")],
        "cursed:1": [ServerFault("always")],
        "gone:1": [NoSuchImage("no such tag")],
    }


async def _play_with_death(stage: Stage, at: int, *, after: bool) -> bool:
    """Kill the first worker at its n-th call, let a second one finish; True where the fuse burnt."""
    stage.images = ScriptedImages(mixed())
    found = await ready(stage, "a:1", "present:1", "flaky:1", "broken:1", "cursed:1", "gone:1")
    fuse = Fuse(at, after=after)
    with contextlib.suppress(Died):
        await stage.work(None, fuse)
    if fuse.blown:
        await stage.queue.reclaim()
        await stage.work(process="p2")
        await stage.clear()
    counts = await stage.counts()
    assert (counts.done, counts.skipped, counts.failed) == (2, 2, 2), counts
    assert counts.ended == found
    assert (await stage.queue.depth()).visible == (await stage.queue.depth()).leased == 0
    assert set(await stage.dead()) == {"broken:1", "cursed:1"}
    ends = {(record.source, record.outcome) for record in stage.report.records}
    assert {source for source, _ in ends} == {"a:1", *mixed()}
    assert ("flaky:1", Outcome.FAILED) not in ends
    return fuse.blown


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
async def test_a_death_at_any_call_loses_and_doubles_no_image(
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
    assert at > 30


async def test_an_image_that_its_run_does_not_allow_is_buried_untouched_and_ends_no_image_of_the_run(
    stage: Stage,
) -> None:
    await ready(stage, "a:1", "b:1")
    await stage.send(image("forged:1", f"{RUN}-1"))
    stage.images = ScriptedImages()
    assert await stage.work() == Counts(done=2, bytes=2)
    assert not stage.images.tries["forged:1"]
    assert await stage.dead() == {"forged:1": "not of this run"}


async def test_an_image_that_keeps_failing_has_its_attempts_and_its_letter_says_why(stage: Stage) -> None:
    await ready(stage, "a:1", "cursed:1", "b:1")
    stage.images = ScriptedImages({"cursed:1": [ServerFault("ill")]})
    assert await stage.work() == Counts(done=2, failed=1, bytes=2)
    assert stage.images.tries == {"a:1": 1, "b:1": 1, "cursed:1": 5}
    assert await stage.dead() == {"cursed:1": "server_fault: ill"}
    told = [(event.key, event.attempt, event.final) for event in stage.heard(ObjectFailed)]
    assert told == [("cursed:1", attempt, attempt == 5) for attempt in range(1, 6)]


@pytest.mark.parametrize("error", [ManifestInvalid("x"), AccessDenied("x"), NoSuchImage("x")], ids=lambda e: e.code)
async def test_what_trying_again_cannot_cure_is_tried_once(stage: Stage, error: DthError) -> None:
    await ready(stage, "bad:1", digest="")  # nobody ever saw it: a missing image is the list's fault
    stage.images = ScriptedImages({"bad:1": [error]})
    assert await stage.work() == Counts(failed=1)
    assert stage.images.tries["bad:1"] == 1


async def test_throttling_uses_up_no_attempt(stage: Stage) -> None:
    await ready(stage, "slow:1")
    steps: list[Step] = [*[Throttled("slow")] * 8, Outcome.DONE]
    stage.images = ScriptedImages({"slow:1": steps})
    assert (await stage.work()).done == 1
    assert stage.report.records[-1].attempt == 1


async def test_a_source_that_answers_nobody_fails_its_images_alone(stage: Stage) -> None:
    names = [f"dead/{number}:1" for number in range(12)]
    await ready(stage, *names, "a:1")
    stage.images = ScriptedImages({name: [ConnectFailed("refused")] for name in names})
    assert await stage.work() == Counts(done=1, failed=12, bytes=1)


async def test_a_destination_that_answers_nobody_ends_the_worker_and_fails_no_image(stage: Stage) -> None:
    names = [f"x/{number}:1" for number in range(4)]
    await ready(stage, *names)
    stage.images = ScriptedImages({name: [ConnectFailed("refused")] for name in names}, silent=True)
    with pytest.raises(ConnectFailed):
        await stage.work()
    assert await stage.counts() == Counts()
    await stage.queue.reclaim()  # as a process does at its end: a receive that was cut off holds messages
    assert (await stage.queue.depth()).visible == len(names)
    stage.images = ScriptedImages()
    assert (await stage.work(process="p2")).done == len(names)


async def test_no_more_images_are_in_flight_than_the_run_says_beside_objects_that_need_not_wait(stage: Stage) -> None:
    await stage.begin()
    await stage.send(*(image(f"i:{n}", f"{RUN}-i{n}") for n in range(12)), objects(["a", "b"], f"{RUN}-o"))
    await stage.seal(14)
    stage.images = ScriptedImages(at_once=3)
    assert (await stage.work(worker_number=8)).done == 14
    assert stage.images.highest == 3


async def test_a_stop_gives_back_images_that_were_not_begun_with_no_attempt_used_up(stage: Stage) -> None:
    await ready(stage, *(f"i:{number}" for number in range(6)))

    async def stopped() -> None:
        stage.stop.set()
        await asyncio.sleep(0)

    stage.images = ScriptedImages({"i:0": [stopped]}, at_once=1)
    done = await stage.work()
    stage.stop.clear()
    assert 1 <= done.done < 6
    assert (await stage.queue.depth()).leased == 0
    await stage.work(process="p2")
    assert (await stage.counts()).done == 6
    assert {record.attempt for record in stage.report.records} == {1}


async def test_a_letter_that_nobody_counted_is_counted_once_and_redriven_as_a_new_run(stage: Stage) -> None:
    await ready(stage, "team/a:1", "team/b:1")
    killer = image("team/c:1", f"{RUN}-9")
    await stage.queue.bury([(await stage.signed(killer), "received 20 times")])
    other = image("other/d:1", f"{RUN}-10")
    await stage.queue.bury([(await stage.signed(other), "received 20 times")])
    for counted in (2, 0):
        assert await count_dead_letters(stage.queue, stage.ledger, "mender", stage.events.append) == counted
    assert (await stage.counts()).failed == 2
    again = await _redrive(stage, Wanted(prefix="team/"))
    assert again.found == 1
    assert set(await stage.dead()) == {"other/d:1"}
    assert (await stage.work()).done == 3
    newest = await stage.ledger.run(again.run_id)
    assert newest
    assert newest.counts.done == 1
    assert (await stage.counts()).failed == 2, "sealed totals never change"


async def _redrive(stage: Stage, wanted: Wanted) -> Run:
    redrive = Redrive(
        stage.queue, stage.ledger, "redriver", wanted=wanted, rate=0, lease_seconds=60, emit=stage.events.append
    )
    done = await redrive.run(lambda: False)
    (run_id,) = done.runs
    run = await stage.ledger.run(run_id)
    assert run
    return run


async def test_a_failed_image_that_is_redriven_has_all_its_attempts_again(stage: Stage) -> None:
    await ready(stage, "cursed:1")
    steps: list[Step] = [*[ServerFault("ill")] * 7, Outcome.DONE]
    stage.images = ScriptedImages({"cursed:1": steps})
    assert (await stage.work()).failed == 1
    (letter,) = await stage.queue.dead_letters(10)
    message = decode(letter.body)
    assert isinstance(message, ImageMessage)
    assert message.job_id == JOB
    await _redrive(stage, Wanted())
    assert (await stage.work()).done == 1
    assert await stage.dead() == {}


async def test_an_image_whose_end_is_recorded_is_not_copied_again_when_its_message_comes_back(stage: Stage) -> None:
    await ready(stage, "a:1")
    (delivery,) = await stage.queue.receive(1, 0)
    one = Breakdown(proofs={"digest": 1}, reasons={"missing": 1})
    await stage.ledger.record(OutcomeRow(f"{RUN}-0", RUN, Counts(done=1), "1", ""), "died", one)
    await stage.queue.release([delivery])
    await stage.clear()
    assert not stage.images.tries
    assert await stage.counts() == Counts(done=1)


async def test_a_message_of_a_run_that_nobody_knows_is_buried(stage: Stage) -> None:
    await ready(stage, "a:1")
    await stage.send(image("b:1", "other-1", run_id="other"))
    assert (await stage.work(until_empty=True)).done == 1
    await stage.clear()
    assert await stage.dead() == {"b:1": "the ledger knows no run 'other'"}

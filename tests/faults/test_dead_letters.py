"""A message that its queue gave up on, at any moment of its worker's life, still ends each of its entries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dth.ledgers.base import OutcomeRow
from dth.messages import encode
from dth.model import Counts
from dth.stats import Breakdown
from dth.worker.dead_letters import count_dead_letters

from .worker_stage import RUN, Script, Stage, objects, on_stage

ONE_DONE = Breakdown(proofs={"etag": 1}, reasons={"missing": 1})


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with on_stage(tmp_path) as stage:
        yield stage


async def test_what_a_dead_worker_recorded_and_did_not_send_is_sent_from_the_dead_letters(stage: Stage) -> None:
    await stage.begin()
    await stage.seal(2)
    message, remainder = objects(["a", "b"], f"{RUN}-0"), encode(objects(["b"], f"{RUN}-0/1"))
    await stage.ledger.record(OutcomeRow(f"{RUN}-0", RUN, Counts(done=1), "1", remainder), "dead", ONE_DONE)
    await stage.queue.bury([(await stage.signed(message), "delivered again and again")])
    for _ in range(2):  # the second finds it on its way or done, and counts nothing twice
        assert await count_dead_letters(stage.queue, stage.ledger, "p", stage.events.append) == 0
        await stage.clear(Script())
    assert await stage.counts() == Counts(done=2, bytes=1)


async def test_a_message_that_nobody_recorded_is_counted_as_failed_once(stage: Stage) -> None:
    await stage.begin()
    await stage.seal(2)
    await stage.queue.bury([(await stage.signed(objects(["a", "b"], f"{RUN}-0")), "delivered again and again")])
    counted = [await count_dead_letters(stage.queue, stage.ledger, "p", stage.events.append) for _ in range(2)]
    assert counted == [2, 0]
    assert await stage.counts() == Counts(failed=2)

"""Events of one key, in any order and again, leave at the destination what the source has."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dth.app.selection import Chosen, choice_of
from dth.ledgers.sqlite import SqliteLedger
from dth.model import Counts
from dth.queues.sqlite import SqliteQueue
from dth.settings import TransferJob
from dth.states import RunState
from dth.transfer.context import Job
from dth.worker.events import EventRules
from dth.worker.run import work
from tests.servers.copying import Surroundings
from tests.unit.test_bucket_events import s3_record

from .worker_stage import AT_ONCE, Kept, no_images, settings, standing_run

RUN = "events-job"


@dataclass
class Desk:
    """A worker's surroundings that follow the events of bucket `mybucket`."""

    here: Surroundings
    queue: SqliteQueue
    ledger: SqliteLedger
    removals: bool = True
    choice: Chosen | None = None

    async def open_job(self, _run_id: str) -> Job:
        return replace(self.here.job(), follows_removals=self.removals, choice=self.choice)

    async def rules(self) -> EventRules:
        return EventRules(
            "job", RUN, "mybucket", "in/", creations=True, removals=self.removals, takes_key=self.takes_key
        )

    def takes_key(self, key: str) -> bool:
        return self.choice is None or self.choice.takes_key(key)

    async def play(self, *bodies: str) -> Counts:
        """Work on these, one after the other."""
        for body in bodies:
            await self.queue.send([body])
            stop = asyncio.Event()
            working = asyncio.create_task(
                work(
                    self.open_job,
                    self.queue,
                    self.ledger,
                    settings(until_empty=False),
                    self.here.events.append,
                    Kept(),
                    stop,
                    open_images=no_images,
                    back_off=AT_ONCE,
                    event_rules=self.rules,
                )
            )
            async with asyncio.timeout(60):
                while (depth := await self.queue.depth()).visible or depth.leased:
                    await asyncio.sleep(0.005)
                stop.set()
                await working
        run = await self.ledger.run(RUN)
        assert run
        return run.counts

    async def dead(self) -> list[str]:
        return [letter.reason for letter in await self.queue.dead_letters(100)]

    @property
    def copies(self) -> dict[str, bytes]:
        return {key: stored.data for key, stored in self.here.destination.objects.items()}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with standing_run(tmp_path, RUN) as (queue, ledger):
        yield Desk(Surroundings(ledger), queue, ledger)


def body(*records: dict[str, object]) -> str:
    return json.dumps({"Records": records})


def created(key: str, sequencer: str, size: int = 3, etag: str = "") -> str:
    return body(s3_record("ObjectCreated:Put", key, size=size, eTag=etag, sequencer=sequencer))


def removed(key: str, sequencer: str) -> str:
    return body(s3_record("ObjectRemoved:Delete", key, sequencer=sequencer))


@pytest.mark.parametrize("exists", [True, False])
async def test_creations_and_removals_in_any_order_end_in_the_source_s_state(desk: Desk, exists: bool) -> None:
    events = [created("in/k", "01", etag="old"), removed("in/k", "02"), created("in/k", "03", etag="newer")]
    for order in itertools.permutations(events):
        if exists:
            desk.here.source.seed("in/k", b"new")
        desk.here.destination.seed("in/k", b"old")
        await desk.play(*order, order[0])
        assert desk.copies == ({"in/k": b"new"} if exists else {})
    assert await desk.dead() == []


async def test_an_event_from_the_far_future_keeps_no_later_one_from_being_followed(desk: Desk) -> None:
    """Whoever may send events could choose the highest sequencer of all."""
    await desk.play(created("in/k", "f" * 64), removed("in/gone", "f" * 64))
    desk.here.source.seed("in/k", b"new")
    desk.here.destination.seed("in/gone", b"old")
    await desk.play(created("in/k", "02"), removed("in/gone", "02"))
    assert desk.copies == {"in/k": b"new"}


async def test_without_removals_a_removal_deletes_nothing(desk: Desk) -> None:
    desk.removals = False
    desk.here.destination.seed("in/k", b"kept")
    assert (await desk.play(removed("in/k", "02"), created("in/k", "01"))).skipped == 2
    assert desk.copies == {"in/k": b"kept"}


async def test_a_source_that_may_not_be_asked_keeps_its_copies(desk: Desk) -> None:
    from dth.errors import AccessDenied

    desk.here.destination.seed("in/k", b"kept")
    desk.here.source.fail("HeadObject", AccessDenied("no s3:GetObject"), times=99)
    assert (await desk.play(removed("in/k", "01"))).failed == 1
    assert desk.copies == {"in/k": b"kept"}
    assert len(await desk.dead()) == 1


async def test_what_is_outside_the_job_is_acknowledged_and_counted(desk: Desk) -> None:
    desk.here.source.seed("in/k", b"abc")
    counts = await desk.play(
        created("out/k", "01"),  # another prefix
        json.dumps({"Records": [s3_record("ObjectTagging:Put", "in/k")]}),
        json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
        created("in/k", "01", etag=desk.here.source.entry("in/k").etag),
    )
    assert (counts.done, counts.skipped) == (1, 2)
    assert desk.copies == {"in/k": b"abc"}


async def test_what_the_job_does_not_select_is_neither_copied_nor_deleted(desk: Desk) -> None:
    desk.choice = choice_of(TransferJob(src_prefix="in/", exclude=("*.tmp",), min_size=3, max_size=99))
    for key, size in {"in/k": 5, "in/large": 100, "in/k.tmp": 5, "in/small": 2}.items():
        desk.here.source.seed(key, b"x" * size)
    desk.here.destination.seed("in/gone", b"gone")
    desk.here.destination.seed("in/gone.tmp", b"kept")
    desk.here.destination.seed("in/gone-large", b"k" * 100)
    counts = await desk.play(
        json.dumps({"key": "in/k"}),  # its size is asked for
        created("in/large", "01", size=5, etag="older"),  # which is larger by now
        created("in/k.tmp", "01", size=5, etag=desk.here.source.entry("in/k.tmp").etag),
        created("in/small", "01", size=2, etag=desk.here.source.entry("in/small").etag),
        removed("in/gone", "02"),
        removed("in/gone.tmp", "02"),
        removed("in/gone-large", "02"),
    )
    assert desk.copies == {"in/k": b"x" * 5, "in/gone.tmp": b"kept", "in/gone-large": b"k" * 100}
    assert (counts.done, counts.skipped, counts.failed) == (2, 5, 0)


async def test_the_guide_s_message_copies_its_key_and_equal_ones_are_messages_of_their_own(desk: Desk) -> None:
    desk.here.source.seed("in/a b%", b"one")
    message = json.dumps({"key": "in/a b%", "size": 3})
    await desk.play(message)
    desk.here.source.seed("in/a b%", b"two")
    counts = await desk.play(message)
    assert desk.copies == {"in/a b%": b"two"}
    assert counts.done == 2


async def test_garbage_is_a_dead_letter_with_its_reason_and_blocks_nothing(desk: Desk) -> None:
    desk.here.source.seed("in/k", b"abc")
    bodies: Sequence[str] = ["nonsense", '{"Records":[{}]}', '{"kind":"objects","objects":[]}', created("in/k", "01")]
    counts = await desk.play(*bodies)
    reasons = await desk.dead()
    assert len(reasons) == 3
    assert all(reasons)
    assert counts.done == 1
    run = await desk.ledger.run(RUN)
    assert run
    assert run.state is RunState.STANDING

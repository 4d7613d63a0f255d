"""A queue of its own for events: they reach the work queue as messages of the job, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dth.app.standing_run import StandingRun
from dth.events import Buried
from dth.ledgers.base import Ledger
from dth.messages import ObjectsMessage, decode, encode
from dth.model import Counts
from dth.queues.sqlite import SqliteQueue
from dth.settings import TransferJob
from dth.signing import is_signed
from dth.worker.event_inbox import EventInbox
from tests.faults.worker_stage import RUN, Stage, objects, on_stage

TRANSFER = TransferJob(src_bucket="from", src_prefix="in/", dest_bucket="into", src_event="Create", job_id="job")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with on_stage(tmp_path) as stage:
        yield stage


@pytest.fixture
async def inbox(tmp_path: Path) -> AsyncIterator[SqliteQueue]:
    queue = await SqliteQueue.open(
        tmp_path / "events.sqlite", owner="w", lease_seconds=60, message_bytes=262_144, receive_limit=20
    )
    yield queue
    await queue.close()


def event(*keys: str, bucket: str = "from") -> str:
    def record(key: str) -> dict[str, Any]:
        return {
            "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1, "eTag": "e"}},
        }  # fmt: skip

    return json.dumps({"Records": [record(key) for key in keys]})


async def forward(stage: Stage, inbox: SqliteQueue, ledger: Ledger | None = None) -> None:
    rules = StandingRun(TRANSFER, stage.ledger)
    await EventInbox(inbox, stage.queue, ledger or stage.ledger, "w", rules, stage.events.append, 0.01).run(
        until_empty=True
    )


async def test_events_travel_on_as_signed_messages_of_the_job_and_the_rest_is_counted(
    stage: Stage, inbox: SqliteQueue
) -> None:
    await inbox.send([event("in/a", "in/b", "out/c"), event("in/d", bucket="another")])
    await forward(stage, inbox)
    (delivery,) = await stage.queue.receive(10, 0)
    message = decode(delivery.body)
    assert isinstance(message, ObjectsMessage)
    assert [entry.key for entry in message.objects] == ["in/a", "in/b"]
    assert is_signed(delivery.body, await stage.ledger.run_key(message.run_id))
    assert await stage.counts(message.run_id) == Counts(skipped=2)
    assert not (await inbox.depth()).visible


@pytest.mark.parametrize("signed", [True, False])
async def test_a_message_of_ours_does_not_come_by_the_queue_of_events(
    stage: Stage, inbox: SqliteQueue, *, signed: bool
) -> None:
    await stage.begin()
    message = objects(["in/a"], f"{RUN}-0")
    body = await stage.signed(message) if signed else encode(message)
    await inbox.send([body, "nonsense", event("in/a")])
    await forward(stage, inbox)
    (delivery,) = await stage.queue.receive(10, 0)
    assert decode(delivery.body).run_id != RUN
    assert {letter.body for letter in await inbox.dead_letters(10)} == {body, "nonsense"}
    assert len(stage.heard(Buried)) == 2


async def test_an_event_that_is_forwarded_twice_is_one_message(
    stage: Stage, inbox: SqliteQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its forwarder died before it acknowledged."""

    async def die(*_: object) -> None:
        raise KeyboardInterrupt

    await inbox.send([event("in/a")])
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "ack", die)
        with pytest.raises(KeyboardInterrupt):
            await forward(stage, inbox)
    await inbox.reclaim()
    await forward(stage, inbox)
    bodies = {delivery.body for delivery in await stage.queue.receive(10, 0)}
    assert len(bodies) == 1


async def test_the_id_of_a_job_s_standing_run_cannot_be_computed(stage: Stage, tmp_path: Path) -> None:
    first = await StandingRun(TRANSFER, stage.ledger)()
    again = await StandingRun(TRANSFER, stage.ledger)()
    (tmp_path / "other").mkdir()
    async with on_stage(tmp_path / "other") as other:
        elsewhere = await StandingRun(TRANSFER, other.ledger)()
    assert first
    assert again
    assert elsewhere
    assert first.run_id == again.run_id
    assert first.run_id != elsewhere.run_id
    assert len(first.run_id.rpartition("-")[2]) == 16

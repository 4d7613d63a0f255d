"""What somebody may send who has no more than the right to send: no message takes a worker along, nor its neighbours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dth.model import Counts
from dth.worker.images import Images
from tests.faults.worker_stage import RUN, Stage, image, make_impatient, on_stage


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    make_impatient(monkeypatch)
    async with on_stage(tmp_path) as stage:
        yield stage


POISON = [
    '{"key":"job/a","size":1e999}',
    '{"key":"job/a","size":-1e999}',
    '{"key":"job/a","size":NaN}',
    '{"key":"","size":1}',
    json.dumps({"key": "k" * 200_000, "size": 1}),
    json.dumps({"key": "job/a", "size": 10**4000}),
    json.dumps({"key": "job/a", "size": "9" * 5000}),
    '{"kind":"objects","job_id":"job","run_id":"run","message_id":"m/' + "9" * 5000 + '","objects":[{"key":"a","size":1}]}',
    '{"kind":"objects","job_id":"job","run_id":"run","message_id":"m","attempt":1100,"objects":[{"key":"a","size":1}]}',
    '{"kind":"parts","job_id":"job","run_id":"run","message_id":"m/parts-1","key":"a","dest_key":"a","size":1,"etag":"e",'
    '"upload_id":"u","part_size":1,"first":1,"stop":1' + "0" * 400 + "}",
    ('{"kind":"parts","job_id":"job","run_id":"run","message_id":"m/parts-9","key":"a","dest_key":"a","size":1,"etag":"e",'
    '"upload_id":"u","part_size":1,"first":9,"stop":1}'),
    '{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"a","size":1e999}}}]}',
    '{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"","size":1}}}]}',
]  # fmt: skip


@pytest.mark.parametrize("body", POISON, ids=range(len(POISON)))
async def test_poison_is_a_dead_letter_and_its_neighbours_are_worked(stage: Stage, body: str) -> None:
    await stage.queue.send([body])
    found = await stage.ready(["a"], ["b"])
    assert await stage.work() == Counts(done=found, bytes=found)
    (letter,) = await stage.queue.dead_letters(10)
    assert letter.body == body
    assert letter.reason.isprintable()


async def test_a_message_that_sets_off_a_defect_is_a_dead_letter_and_the_worker_lives(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(run_id: str) -> Images:
        raise ZeroDivisionError(f"of {run_id}\x1b[2J")

    monkeypatch.setattr(stage, "open_images", broken)
    await stage.begin()
    await stage.send(*(image(f"r/{n}:v1", f"{RUN}-i{n}") for n in range(10)))
    await stage.send_keys(["a"], ["b"])
    await stage.seal(12)
    assert await stage.work() == Counts(done=2, bytes=2)
    letters = await stage.queue.dead_letters(100)
    assert len(letters) == 10
    assert all("defect of dth" in letter.reason and letter.reason.isprintable() for letter in letters)
    assert await stage.counts() == Counts(done=2, failed=10, bytes=2)  # told by the end, so that the run is over

"""What somebody may send who has no more than the right to send: no message takes a worker along, nor its neighbours."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from dth.errors import KeyRefused, NoSuchKey, ServerFault
from dth.events import Buried
from dth.messages import DeleteMessage, Message, ObjectEntry, ObjectsMessage, PartsMessage, decode
from dth.model import Counts, KeyMapping
from dth.signing import is_signed, signed
from dth.states import Outcome
from dth.stores.base import ObjectStore
from dth.transfer.context import Choice, Job
from dth.transfer.options import CopyOptions
from dth.worker.admission import Admission, forbidden
from dth.worker.dead_letters import count_dead_letters
from dth.worker.images import Images
from dth.worker.redrive import Redrive, Wanted
from tests.faults.worker_stage import JOB, RUN, Script, Stage, image, make_impatient, objects, on_stage


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


# Who wrote it


def forged(kind: str, run_id: str = RUN, **changes: Any) -> str:
    """A message of ours, as somebody writes it who knows everything but the run's key."""
    fields: dict[str, Any] = {"kind": kind, "version": 1, "job_id": JOB, "run_id": run_id, "message_id": f"{RUN}-0"}
    if kind in {"objects", "delete"}:
        fields["objects"] = [{"key": "victim", "size": 1}]
    elif kind == "parts":
        fields |= {"key": "victim", "dest_key": "victim", "size": 1, "etag": "e", "upload_id": "u", "part_size": 1}
        fields |= {"first": 1, "stop": 2}
    else:
        fields |= {"source": "evil/api:1", "destination": "prod/api:latest", "digest": "", "registry": "evil:5000"}
    return json.dumps({**fields, **changes}, separators=(",", ":"))


KINDS = ["objects", "delete", "parts", "image"]


async def assert_disbelieved(stage: Stage, body: str, found: int) -> None:
    """The forged message ends nothing and begins nothing, and the command says that it was there."""
    script = Script()
    assert await stage.work(script) == Counts(done=found, bytes=found)
    assert "victim" not in script.tries
    assert not stage.images.tries
    (letter,) = await stage.queue.dead_letters(10)
    assert letter.body == body
    assert await stage.counts() == Counts(done=found, bytes=found)
    assert [event.reason for event in stage.heard(Buried)] == [letter.reason]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_that_nobody_signed_is_not_believed_and_takes_no_outcome(stage: Stage, kind: str) -> None:
    body = forged(kind)  # under the id of a message that is still to come
    await stage.queue.send([body])
    found = await stage.ready(["a"], ["b", "c"])
    await assert_disbelieved(stage, body, found)


@pytest.mark.parametrize(
    "mac", ["", "A" * 43, "A" * 42, "é" * 43, ["A"], None, "A" * 5000], ids=["empty", "wrong", "short", "odd", "list", "null", "long"]
)  # fmt: skip
async def test_a_wrong_signature_is_none(stage: Stage, mac: object) -> None:
    body = forged("objects", mac=mac)
    await stage.queue.send([body])
    found = await stage.ready(["a"])
    await assert_disbelieved(stage, body, found)


async def test_the_signature_of_another_message_or_run_is_none(stage: Stage) -> None:
    await stage.begin(run_id="other")
    await stage.seal(0, "other")
    true = await stage.signed(objects(["a"], "other-1", "other"))
    under_another_run = forged("objects")[:-1] + true[true.index(',"mac"') :]
    with_another_key = true.replace('"key":"a"', '"key":"victim"')
    with_another_field = true[:-1] + ',"attempt":2}'
    twice = true.replace(',"mac"', ',"job_id":"x","mac"')
    bodies = [under_another_run, with_another_key, with_another_field, twice, true + " "]
    await stage.queue.send(bodies)
    found = await stage.ready(["b"])
    script = Script()
    assert await stage.work(script) == Counts(done=found, bytes=found)
    assert set(script.tries) == {"b"}
    assert {letter.body for letter in await stage.queue.dead_letters(10)} == set(bodies)


async def test_a_run_is_not_complete_by_outcomes_that_nobody_who_may_has_recorded(stage: Stage) -> None:
    """A sender takes the ids of all messages to come, with keys that the source lacks."""
    bodies = [forged("objects", message_id=f"{RUN}-{n}") for n in range(3)]
    await stage.queue.send(bodies)
    await stage.ready(["a"], ["b"], ["c"])
    assert await stage.work(Script({"victim": [NoSuchKey("none")]})) == Counts(done=3, bytes=3)
    assert await stage.counts() == Counts(done=3, bytes=3)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_forged_dead_letter_ends_no_entry_and_does_not_travel_again(stage: Stage, kind: str) -> None:
    await stage.begin()
    await stage.queue.bury([(forged(kind), "because")])
    assert await count_dead_letters(stage.queue, stage.ledger, "p", stage.events.append) == 0
    assert await stage.ledger.outcome(f"{RUN}-0") is None
    again = Redrive(stage.queue, stage.ledger, "p", wanted=Wanted(), rate=0, lease_seconds=60, emit=stage.events.append)
    done = await again.run(lambda: False)
    assert (done.objects, done.left) == (0, 1)
    assert len(await stage.queue.dead_letters(10)) == 1


async def test_what_a_worker_sends_and_buries_is_believed_by_the_next(stage: Stage) -> None:
    """Remainders, letters, and what a redrive makes of them."""
    await stage.ready(["a", "slow", "bad"])
    script = Script({"slow": [ServerFault("later"), Outcome.DONE], "bad": [KeyRefused("folds")]})
    assert await stage.work(script) == Counts(done=2, failed=1, bytes=2)
    key = await stage.ledger.run_key(RUN)
    (letter,) = await stage.queue.dead_letters(10)
    assert is_signed(letter.body, key)
    again = Redrive(stage.queue, stage.ledger, "p", wanted=Wanted(), rate=0, lease_seconds=60, emit=stage.events.append)
    (run_id,) = (await again.run(lambda: False)).runs
    assert await stage.ledger.run_key(run_id) not in {b"", key}
    await stage.work(Script())
    assert await stage.counts(run_id) == Counts(done=1, bytes=1)
    assert not stage.heard(Buried)


async def test_a_dead_letter_that_is_put_back_by_hand_adds_no_outcome(stage: Stage) -> None:
    await stage.ready(["a", "bad"])
    await stage.work(Script({"bad": [KeyRefused("folds")]}))
    (letter,) = await stage.queue.dead_letters(10)
    await stage.queue.send([letter.body] * 3)
    script = Script()
    await stage.clear(script)
    assert script.tries["bad"] >= 1
    assert await stage.counts() == Counts(done=1, failed=1, bytes=1)


# What its job allows


async def refused(stage: Stage, message: Message, **job: Any) -> str:
    """The reason of the letter that a signed message of the run becomes; nothing was done for it."""
    opened = stage.open_job

    async def open_job(run_id: str) -> Job:
        return replace(await opened(run_id), **job)

    stage.open_job = open_job  # type: ignore[method-assign]
    await stage.begin()
    await stage.send(message)
    await stage.seal(1)
    script = Script()
    await stage.work(script)
    assert not script.tries
    (letter,) = await stage.queue.dead_letters(10)
    assert await stage.counts() == Counts(failed=1)
    return letter.reason


COPY = KeyMapping("job/", "copy/", strip=True)


@pytest.mark.parametrize("key", ["private/secret", "XXX/a", "job", "/job/a"])
@pytest.mark.parametrize("kind", [ObjectsMessage, DeleteMessage])
async def test_a_key_outside_of_the_source_is_not_allowed_even_if_signed(
    stage: Stage, kind: type[ObjectsMessage | DeleteMessage], key: str
) -> None:
    message = kind(job_id=JOB, run_id=RUN, message_id=f"{RUN}-0", objects=[ObjectEntry(key=key, size=1)])
    assert "outside of the job's source" in await refused(stage, message, mapping=COPY, deletes=True)


async def test_a_job_that_does_not_delete_takes_no_delete(stage: Stage) -> None:
    message = DeleteMessage(job_id=JOB, run_id=RUN, message_id=f"{RUN}-0", objects=[ObjectEntry(key="job/a", size=1)])
    assert "it deletes, and the job does not" in await refused(stage, message, mapping=COPY)


@pytest.mark.parametrize(("key", "dest_key"), [("job/a", "elsewhere/a"), ("job/a", "copy/b"), ("private/a", "copy/a")])
def test_parts_go_where_the_job_s_mapping_says(key: str, dest_key: str) -> None:
    nothing = cast("ObjectStore", None)
    job = Job(JOB, nothing, nothing, COPY, cast("CopyOptions", None))
    parts = PartsMessage(
        job_id=JOB, run_id=RUN, message_id="p", key=key, dest_key=dest_key, size=1, etag="e", upload_id="u", part_size=1,
        first=1, stop=2,
    )  # fmt: skip
    assert "not allowed" in forbidden(parts, job, selected=False)
    assert not forbidden(parts.model_copy(update={"key": "job/b", "dest_key": "copy/b"}), job, selected=False)


async def test_a_message_that_names_another_job_than_its_run_is_not_believed(stage: Stage) -> None:
    await stage.begin()
    await stage.queue.send([signed(forged("objects", job_id="another"), await stage.ledger.run_key(RUN))])
    await stage.seal(0)
    await stage.work()
    (letter,) = await stage.queue.dead_letters(10)
    assert letter.reason == "not to be believed: run run is not of job another"


# Runs that an older version opened


class TestOlder:
    """A run without a key: its messages are held to the job's settings alone."""

    @pytest.fixture
    async def older(self, stage: Stage, tmp_path: Path) -> Stage:
        await stage.begin()
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection, connection:
            connection.execute("DELETE FROM run_keys")
        return stage

    async def test_its_messages_are_worked(self, older: Stage) -> None:
        await older.queue.send([forged("objects")])
        await older.seal(1)
        assert await older.work() == Counts(done=1, bytes=1)

    async def test_but_not_longer_than_a_queue_keeps_them(self, older: Stage) -> None:
        admission = Admission(older.ledger, clock=lambda: time.time() + 15 * 86_400)
        assert "too old" in await admission.refusal(forged("objects"), decode(forged("objects")))

    async def test_nor_outside_of_the_job_s_selection(self) -> None:
        class Only:
            def takes_key(self, key: str) -> bool:
                return key == "job/a"

        nothing = cast("ObjectStore", None)
        job = Job(JOB, nothing, nothing, COPY, cast("CopyOptions", None), choice=cast("Choice", Only()))
        taken, other = objects(["job/a"], "m"), objects(["job/a", "job/b"], "m")
        assert not forbidden(taken, job, selected=True)
        assert "does not select 'job/b'" in forbidden(other, job, selected=True)
        assert not forbidden(other, job, selected=False)

    async def test_a_job_s_events_take_nothing_but_events(self, older: Stage, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection, connection:
            connection.execute("UPDATE runs SET state = 'standing'")
        admission = Admission(older.ledger)
        event = forged("objects", objects=[{"key": "a", "size": 0, "reason": "event"}])
        assert not await admission.refusal(event, decode(event))
        for kind in KINDS:
            body = forged(kind)
            assert "nothing but events" in await admission.refusal(body, decode(body))

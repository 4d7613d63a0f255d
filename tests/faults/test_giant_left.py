"""What errors, refusals and the dead leave of giant objects holds up nobody: workers alone come to the end of the run."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from dth.errors import AccessDenied, LedgerError, ServerFault, WrongJob
from dth.events import Notice
from dth.flow.budget import ByteBudget
from dth.flow.limiter import Limiter
from dth.ledgers.base import MovedPart, OutcomeRow, PartsRow, Sharing, UploadRow
from dth.messages import ObjectEntry, ObjectsMessage, PartsMessage, decode, encode
from dth.model import Attributes, Counts, Generation, KeyMapping, ObjectHead
from dth.multipart.claim import claim_upload, take
from dth.multipart.complete import sweep_uploads
from dth.multipart.context import UploadContext, UploadTask
from dth.multipart.plan import PartPlan
from dth.multipart.sharing import share_upload
from dth.queues.base import Delivery, QueueDepth
from dth.states import Reason
from dth.stores.base import PutOptions
from dth.transfer.context import Job
from dth.transfer.copy import copy_object
from dth.transfer.options import CopyOptions, Verify
from dth.worker.dead_letters import count_dead_letters
from dth.worker.entries import EntriesWorker
from dth.worker.leases import Held
from dth.worker.process import WorkerProcess
from dth.worker.run import EMPTY
from dth.worker.shared.finish import SharedUploads
from dth.worker.shared.mend import Mended, Mender
from dth.worker.shared.parts import PartsWorker
from tests.faults.test_giant import stores
from tests.faults.worker_stage import AT_ONCE, JOB, RUN, Died, Fuse, Stage, make_impatient, on_stage, settings
from tests.servers.quirky import Quirks, Quirky

KEY = "giant/object"
PART, PARTS = 2048, 40


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dth.retry.RetryPolicy.wait_seconds", lambda *_: 0.0)
    make_impatient(monkeypatch)


@dataclass
class Refusing:
    """A store whose calls raise what a test says, as often as it says."""

    store: Any
    capabilities: Any
    errors: dict[str, list[Exception]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        if self.errors.get(name):
            return self._refuse(name)
        return getattr(self.store, name)

    def _refuse(self, name: str) -> Any:
        async def refused(*_args: Any, **_kwargs: Any) -> Any:
            raise self.errors[name].pop(0)

        return refused


@dataclass
class Giant:
    """One object of forty parts, and who moves it."""

    stage: Stage
    quirky: Quirky
    body: bytes
    entry: ObjectEntry
    job: Job
    source: Refusing
    destination: Refusing

    async def ready(self) -> None:
        await self.stage.begin()
        await self.stage.send(ObjectsMessage(job_id=JOB, run_id=RUN, message_id=f"{RUN}-1", objects=[self.entry]))
        await self.stage.seal(1)

    async def work(self) -> None:
        async with asyncio.timeout(20):
            await self.stage.work(copy_object, memory_budget=64 << 20)

    def process(self, **changes: Any) -> WorkerProcess:
        stage = self.stage
        own = settings(memory_budget=64 << 20, **changes)
        return WorkerProcess(stage.open_job, stage.queue, stage.ledger, own, stage.events.append, stage.report)

    async def rows(self) -> list[UploadRow]:
        return [row async for row in self.stage.ledger.uploads(JOB)]

    def stored(self) -> bytes | None:
        held = self.quirky.objects.get(("destination", KEY))
        return held.body if held else None


@pytest.fixture
async def giant(tmp_path: Path) -> AsyncIterator[Giant]:
    body = random.Random(1).randbytes(PARTS * PART - 7)
    async with AsyncExitStack() as stack:
        quirky = stack.enter_context(Quirky(Quirks(), part_min=PART))
        held = quirky.hold("source", KEY, body)
        here, there = await stack.enter_async_context(stores(quirky.server, "source", "destination", "MinIO"))
        stage = await stack.enter_async_context(on_stage(tmp_path))
        source = Refusing(here, here.capabilities)
        destination = Refusing(there, replace(there.capabilities, part_min=1))
        options = CopyOptions(
            include_metadata=True, storage_class="", acl="", sse="", sse_kms_key_id="", verify=Verify.TRANSFER,
            no_clobber=False, multipart_threshold=PART, part_size=PART, giant_threshold=2 * PART,
        )  # fmt: skip
        job = Job(JOB, source, destination, KeyMapping("", "", strip=True), options)

        async def open_job(_run_id: str) -> Job:
            return job

        stage.open_job = open_job  # type: ignore[assignment, method-assign]
        entry = ObjectEntry(key=KEY, size=len(body), etag=held.etag, reason=Reason.MISSING)
        yield Giant(stage, quirky, body, entry, job, source, destination)


async def test_an_upload_that_the_store_did_not_open_is_opened_by_the_next_attempt(giant: Giant) -> None:
    giant.destination.errors["create_upload"] = [ServerFault("not now")]
    await giant.ready()
    await giant.work()
    assert (await giant.stage.counts()).done == 1
    assert giant.stage.report.records[-1].attempt == 2
    assert giant.stored() == giant.body
    assert giant.quirky.uploads.open == {}
    assert await giant.rows() == []


async def test_an_object_that_failed_before_it_was_split_leaves_no_upload(giant: Giant) -> None:
    giant.destination.errors["create_upload"] = [ServerFault("not now") for _ in range(5)]
    await giant.ready()
    await giant.work()
    assert (await giant.stage.counts()).failed == 1
    assert await giant.rows() == []


@pytest.mark.parametrize("generation", ["same", "other"])
async def test_an_upload_whose_message_ended_otherwise_is_taken_over_by_whoever_wants_its_key(
    giant: Giant, generation: str
) -> None:
    """Its worker died after it had opened it, and the next one failed before it came to it."""
    upload_id = await giant.destination.create_upload(KEY, PutOptions(), "")
    await giant.stage.ledger.record(OutcomeRow("old-1", "old", Counts(failed=1), "3", ""), "dead")
    message = ObjectsMessage(job_id=JOB, run_id="old", message_id="old-1/1", objects=[giant.entry])
    etag = giant.entry.etag if generation == "same" else "other"
    await giant.stage.ledger.claim_upload(
        UploadRow(
            JOB, "old", KEY, KEY, Generation(etag, giant.entry.size), PART, upload_id, "dead#1", 1.0, 0, time.time(),
            Sharing("old-1/1", encode(message), 1, "crc64nvme"),
        )
    )  # fmt: skip
    await giant.ready()
    await giant.work()
    assert (await giant.stage.counts()).done == 1
    assert giant.stored() == giant.body
    assert giant.quirky.uploads.open == {}
    assert await giant.rows() == []


async def test_an_upload_that_may_not_be_aborted_holds_up_neither_its_run_nor_the_next(giant: Giant) -> None:
    """Its source is overwritten, and the store, which lets nobody abort, keeps it: the object is FAILED by that name."""
    newest = random.Random(2).randbytes(PARTS * PART)
    giant.destination.errors["abort_upload"] = [AccessDenied("s3:AbortMultipartUpload") for _ in range(1000)]
    overwrite_at(giant, PART, newest)
    await giant.ready()
    await giant.work()
    assert (await giant.stage.counts()).failed == 1
    assert "s3:AbortMultipartUpload" in giant.stage.report.records[-1].error
    assert any(notice.code == "upload_left_open" for notice in giant.stage.heard(Notice))

    giant.destination.errors.clear()
    await giant.stage.begin(run_id="next")
    entry = giant.entry.model_copy(update={"etag": giant.quirky.objects["source", KEY].etag})
    await giant.stage.send(ObjectsMessage(job_id=JOB, run_id="next", message_id="next-1", objects=[entry]))
    await giant.stage.seal(1, "next")
    await giant.work()
    assert (await giant.stage.counts("next")).done == 1
    assert giant.stored() == newest
    assert giant.quirky.uploads.open == {}


def overwrite_at(giant: Giant, start: int, newest: bytes) -> None:
    """The source is another object once the byte at `start` is asked for."""
    open_stream = giant.source.store.get

    async def get(key: str, *, pinned: Any, span: Any = None) -> Any:
        if span is not None and span.start == start and giant.quirky.objects["source", KEY].body == giant.body:
            giant.quirky.hold("source", KEY, newest)
        return await open_stream(key, pinned=pinned, span=span)

    giant.source.get = get  # type: ignore[attr-defined]


async def test_parts_that_were_given_up_but_not_aborted_are_not_gone_on_with(giant: Giant) -> None:
    """They may be what damaged the object: kept, they would agree with themselves."""
    task, ctx = UploadTask(KEY, KEY, ObjectHead(GENERATION, "", Attributes()), PutOptions(), PART, ""), uploading(giant)
    plan = PartPlan(GENERATION.size, PART, PARTS)
    first = await claim_upload(task, plan, ctx)
    giant.destination.errors["abort_upload"] = [ServerFault("not now")]
    await first.discard()
    second = await claim_upload(task, plan, ctx)
    assert not second.resumed
    assert list(giant.quirky.uploads.open) == [second.upload_id]


async def test_handing_out_parts_says_nothing_of_the_stores(giant: Giant) -> None:
    """Or a worker that the destination lets do nothing would blame the object, at once and for good."""
    row = await shared(giant)
    process = giant.process()
    parts = PartsWorker(process, SharedUploads(process), AT_ONCE)
    (delivery,) = await giant.stage.queue.receive(1, 0)
    await parts.work(*leased(process, delivery))
    assert (await giant.stage.queue.depth()).visible == PARTS
    ever = [process.breaker.ever_succeeded]
    (delivery,) = await giant.stage.queue.receive(1, 0)
    await parts.work(*leased(process, delivery))
    assert [*ever, process.breaker.ever_succeeded] == [False, True]
    assert len([one async for one in giant.stage.ledger.parts(JOB, row.upload_id, 1, PARTS + 1)]) == 1


async def test_parts_that_come_while_a_worker_drains_are_given_back_unread(giant: Giant) -> None:
    row = await shared(giant)
    process = giant.process()
    parts = PartsWorker(process, SharedUploads(process), AT_ONCE)
    (whole,) = await giant.stage.queue.receive(1, 0)
    await parts.work(*leased(process, whole))
    (delivery,) = await giant.stage.queue.receive(1, 0)
    process.draining.set()
    await parts.work(*leased(process, delivery))
    depth = await giant.stage.queue.depth()
    assert (depth.visible, depth.leased) == (PARTS, 0)
    assert [one async for one in giant.stage.ledger.parts(JOB, row.upload_id, 1, PARTS + 1)] == []


async def test_an_object_without_an_etag_is_moved_by_one_worker(giant: Giant) -> None:
    """Nothing else could tell, over hours and many workers, that all parts are of one generation."""
    ask = giant.source.store.head

    async def head(key: str, **options: Any) -> ObjectHead:
        answer = await ask(key)
        assert isinstance(answer, ObjectHead)
        return replace(answer, generation=replace(answer.generation, etag=""), md5="")

    giant.source.head = head  # type: ignore[attr-defined]
    giant.entry = giant.entry.model_copy(update={"etag": ""})
    await giant.ready()
    await giant.work()
    assert (await giant.stage.counts()).done == 1
    assert giant.stored() == giant.body
    assert await giant.stage.rows(f"{RUN}-1") == [await giant.stage.ledger.outcome(f"{RUN}-1")]


async def test_a_message_that_comes_twice_keeps_the_checksums_of_parts_that_others_moved(giant: Giant) -> None:
    row = await shared(giant)
    assert row.sharing
    upload, number = row.upload_id, 3
    put = await giant.destination.upload_part(KEY, upload, number, b"x" * PART, PART, PutOptions())
    moved = PartsRow(JOB, upload, number, (MovedPart(put.etag, 7, answered=True),))
    await giant.stage.ledger.put_parts(moved)
    head = ObjectHead(Generation(giant.entry.etag, giant.entry.size), "", Attributes())
    task = UploadTask(KEY, KEY, head, PutOptions(), PART, "crc64nvme")
    again = await share_upload(task, row.sharing.message_id, row.sharing.message, uploading(giant))
    assert again.upload_id == upload
    assert [one async for one in giant.stage.ledger.parts(JOB, upload, number, number + 1)] == [moved]


async def test_parts_of_another_job_among_the_dead_letters_are_left_to_that_job(giant: Giant) -> None:
    """Queues of several jobs may share one of dead letters."""

    async def other(run_id: str) -> Job:
        raise WrongJob(f"{run_id} is another job's")

    giant.stage.open_job = other  # type: ignore[method-assign]
    letter = PartsMessage(
        job_id="another", run_id="its-run", message_id="its-run-1/1", key=KEY, dest_key=KEY, size=1, etag="e",
        upload_id="u", part_size=1, first=1, stop=2,
    )  # fmt: skip
    await giant.stage.queue.bury([(encode(letter), "worn out")])
    give_up = Mender(giant.process(), EMPTY).give_up
    ledger, emit = giant.stage.ledger, giant.stage.events.append
    assert await count_dead_letters(giant.stage.queue, ledger, "p1", emit, give_up=give_up) == 0
    assert (await giant.stage.queue.depth()).dead == 1


async def test_an_upload_whose_run_is_forgotten_is_left_to_the_sweep(giant: Giant) -> None:
    """Or its key would be held, and its parts be paid for, for ever."""
    row = await shared(giant)
    await giant.stage.ledger.update_upload(replace(row, run_id="forgotten"))
    (row,) = await giant.rows()

    async def unknown(run_id: str) -> Job:
        raise LedgerError(f"no run {run_id}")

    giant.stage.open_job = unknown  # type: ignore[method-assign]
    await Mender(giant.process(), EMPTY).mend(row)
    now, emit = time.time(), giant.stage.events.append
    assert await sweep_uploads(giant.job, giant.stage.ledger, now=now, emit=emit) == 1
    assert giant.quirky.uploads.open == {}
    assert await giant.rows() == []


async def test_parts_that_arrive_begin_the_count_of_lost_messages_anew(giant: Giant) -> None:
    """An upload of days, on a queue whose depth is an estimate, must not fail for having looked lost now and then."""
    row = await shared(giant)
    moved = (MovedPart("e", 1, answered=True),)
    now = time.time()
    mended = []
    for number in (*range(1, 8), 7, 7):
        await giant.stage.ledger.put_parts(PartsRow(JOB, row.upload_id, number, moved))
        now += 1000
        mender = Mender(giant.process(max_attempts=2), EMPTY, clock=lambda at=now: at)  # type: ignore[misc]
        (row,) = await giant.rows()
        mended.append(await mender.mend(row))
        await giant.stage.ledger.reclaim()  # type: ignore[attr-defined]
    assert mended == [Mended.SENT_AGAIN] * 8 + [Mended.ENDED]
    assert (await giant.stage.counts()).failed == 1


@pytest.mark.parametrize("dead", [False, True], ids=["all live", "one dies having recorded"])
async def test_an_upload_that_is_gone_without_an_outcome_is_planned_again(giant: Giant, dead: bool) -> None:
    """Its object's message came twice at once, and the second worker, who found another generation at the source, took the
    first one's upload for one that nobody would call for."""
    row = await shared(giant)
    newest = random.Random(2).randbytes(PARTS * PART)
    giant.quirky.hold("source", KEY, newest)
    await (await take(row, uploading(giant))).discard()
    if dead:
        fuse = Fuse(1, after=True, only="record")
        with pytest.raises(Died):
            await giant.stage.work(copy_object, fuse)
        await giant.stage.queue.reclaim()
    await giant.work()
    assert (await giant.stage.counts()).done == 1
    assert giant.stage.report.records[-1].attempt == 2
    assert giant.stage.report.records[-1].reason is Reason.MISSING
    assert giant.stored() == newest
    assert await giant.rows() == []


async def shared(giant: Giant) -> UploadRow:
    """The object's message, split by a worker; the upload's row. The message of all parts waits in the queue."""
    await giant.ready()
    process = giant.process()
    (delivery,) = await giant.stage.queue.receive(1, 0)
    entries = EntriesWorker(process, SharedUploads(process), copy_object, AT_ONCE)
    await entries.work(*leased(process, delivery))
    (row,) = await giant.rows()
    assert row.sharing
    return row


def leased(process: WorkerProcess, delivery: Delivery) -> tuple[Held, Any]:
    """A delivery as a worker holds it, and its message."""
    (held,) = process.leases.take([delivery])
    return held, decode(delivery.body)


async def test_an_end_is_an_end_though_the_store_does_not_say_what_a_dead_owner_began(giant: Giant) -> None:
    """It raised, also where a part was given up, and then the worker died of it, each that received the message."""
    row = await shared(giant)
    await giant.stage.ledger.update_upload(replace(row, strays_since=1.0))
    (row,) = await giant.rows()

    async def open_uploads(key: str) -> AsyncIterator[Any]:
        if key == KEY:
            raise ServerFault("not now")
        yield key

    giant.destination.open_uploads = open_uploads  # type: ignore[attr-defined]
    await (await take(row, uploading(giant))).discard()
    (left,) = await giant.rows()
    assert (left.sharing, left.owned_until, left.generation.etag) == (None, 0.0, "")
    assert [notice.code for notice in giant.stage.heard(Notice)] == ["upload_left_open"]


GENERATION = Generation("etag", PARTS * PART)


def uploading(giant: Giant) -> UploadContext:
    return UploadContext(
        JOB, RUN, "p1#1", lambda: time.time() + 60, giant.job.source, giant.job.destination, ByteBudget(1 << 20),
        Limiter(fixed=1, upper=1), giant.stage.ledger, giant.stage.events.append,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("visible", "leased", "patience"),
    [(0, 0, 60.0), (0, 3, 43_200.0), (1, 0, 14 * 86_400.0), (1, 3, 14 * 86_400.0)],
    ids=["empty", "only leased", "waiting", "both"],
)
async def test_messages_are_lost_once_the_queue_cannot_hold_them_any_more(
    giant: Giant, visible: int, leased: int, patience: float
) -> None:
    """A later run's message for the key may wait in a worker's hands for this very upload: it must not wait for ever."""
    row = await shared(giant)
    depth = QueueDepth(visible, leased, dead=0, exact=True)
    mended = []
    for seconds in (patience - 5, patience + 5):
        now = row.created_at + seconds
        mended.append(await Mender(giant.process(), depth, clock=lambda at=now: at).mend(row))  # type: ignore[misc]
    assert mended == [Mended.LEFT, Mended.SENT_AGAIN]

"""Which runs a worker process opens: those of its own job, at hosts that it may touch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dth import settings
from dth.app.build import JobOpener
from dth.app.images.work import ImagesOpener
from dth.errors import AccessDenied, WrongJob
from dth.ledgers.base import Run
from dth.ledgers.sqlite import SqliteLedger
from dth.messages import MessageInvalid
from dth.model import Counts
from dth.settings import ImageJob, TransferJob
from dth.states import RunState

HERE = "store.example:9000"


def job(name: str, **changes: object) -> TransferJob:
    places = {"src_endpoint": f"http://{HERE}", "dest_endpoint": f"http://{HERE}"}
    return TransferJob.model_validate(
        {"job_id": name, "src_bucket": "from", "dest_bucket": "into", **places, **changes}
    )


async def begin(ledger: SqliteLedger, run_id: str, job_id: str, job_settings: str) -> None:
    run = Run(run_id, job_id, RunState.LISTING, job_settings, "finder", time.time() + 600, time.time(), None, 0, {}, Counts())  # fmt: skip
    await ledger.start_run(run)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")
    yield ledger
    await ledger.close()


async def test_a_run_of_another_job_is_a_message_s_fault_where_the_worker_s_own_job_is_known(
    ledger: SqliteLedger,
) -> None:
    """Two jobs share a queue: the message is buried, and the worker goes on with its own."""
    own, other = job("own"), job("other", dest_bucket="elsewhere")
    for each in (own, other):
        await begin(ledger, f"run-of-{each.job_id}", each.job_id, settings.run_settings_json(each))
    opener = JobOpener(own, ledger, strict=True)
    with pytest.raises(MessageInvalid, match="a message of job other; this worker was started for job own"):
        await opener("run-of-other")


async def test_a_worker_that_was_started_for_a_job_that_nobody_knows_is_told_so(ledger: SqliteLedger) -> None:
    await begin(ledger, "run", "other", settings.run_settings_json(job("other", dest_bucket="elsewhere")))
    with pytest.raises(WrongJob, match=r"made with other settings than this worker was given \(dest_bucket, job_id\)"):
        await JobOpener(job("own"), ledger, strict=True)("run")


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("place", ["evil.example", "store.example.evil.example:9000", "store.example"])
async def test_a_run_at_a_place_that_the_worker_may_not_touch_is_refused(
    ledger: SqliteLedger, side: str, place: str
) -> None:
    name = "src_endpoint" if side == "source" else "dest_endpoint"
    await begin(ledger, "run", "j", settings.run_settings_json(job("j", **{name: f"http://{place}"})))
    opener = JobOpener(TransferJob(allow=(HERE,)), ledger, strict=False)
    with pytest.raises(MessageInvalid, match=f"has its {side} at {place}.*, which --allow does not name"):
        await opener("run")


@pytest.mark.parametrize("bucket", ["from", "into"])
async def test_a_bucket_that_the_worker_may_not_touch_is_refused(ledger: SqliteLedger, bucket: str) -> None:
    await begin(ledger, "run", "j", settings.run_settings_json(job("j")))
    opener = JobOpener(TransferJob(allow=(f"{HERE}/{bucket}",)), ledger, strict=False)
    with pytest.raises(MessageInvalid, match="which --allow does not name"):
        await opener("run")


async def test_a_registry_that_the_worker_may_not_touch_is_refused(ledger: SqliteLedger) -> None:
    images = ImageJob(source_type="Public", src_registry="http://r.example", dest_registry="http://evil.example")
    await begin(ledger, "run", "j", settings.image_run_settings_json(images, ""))
    opener = ImagesOpener(TransferJob(allow=("r.example:80",)), ledger, lambda _: None, strict=False)
    try:
        with pytest.raises(MessageInvalid, match=r"it needs the registry evil\.example.*, which --allow does not name"):
            await opener("run")
    finally:
        await opener.close()


async def test_a_job_whose_stores_let_nobody_in_leaves_no_connection_open(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    closed = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline() not in {b"\r\n", b""}:
            pass
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await reader.read()  # until the other side closes
        closed.set()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        here = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await begin(ledger, "run", "j", settings.run_settings_json(job("j", src_endpoint=here)))
        with pytest.raises(AccessDenied):
            await JobOpener(TransferJob(), ledger, strict=False)("run")
        await asyncio.wait_for(closed.wait(), 30)

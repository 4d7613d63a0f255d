"""Which runs a worker process opens: those of its own job, at hosts that it may touch."""

from __future__ import annotations

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
from dth.stores.s3 import S3Store

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


async def test_the_stores_of_a_job_that_let_nobody_in_are_closed(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands in the way. Nobody else knows of them, and what they hold stays open."""
    closed: list[S3Store] = []
    close = S3Store.close

    async def refuse(_store: S3Store, _prefix: str) -> None:
        raise AccessDenied("no")

    async def spy(store: S3Store) -> None:
        closed.append(store)
        await close(store)

    monkeypatch.setattr(S3Store, "check", refuse)
    monkeypatch.setattr(S3Store, "close", spy)
    await begin(ledger, "run", "j", settings.run_settings_json(job("j")))
    opener = JobOpener(TransferJob(), ledger, strict=False)
    with pytest.raises(AccessDenied):
        await opener("run")
    assert len(set(closed)) == 2
    await opener.close(lambda _: None)

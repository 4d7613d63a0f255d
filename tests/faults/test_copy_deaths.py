"""A worker dies before or after any of its calls to a store or the ledger; the next one finishes what it left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dth.ledgers.sqlite import SqliteLedger
from dth.multipart.complete import sweep_uploads
from dth.stores.base import Capabilities
from dth.transfer.copy import copy_object
from tests.servers.copying import KIB, Surroundings, entry_of
from tests.servers.memory_store import AWS_LIKE, PLAIN, MemoryStore

DATA = bytes(range(251)) * 1200  # 294 KiB: 5 parts of 64 KiB


class Died(BaseException):
    """Not an Exception: nothing may handle it."""


class Life:
    """Lets `calls` calls through; from then on every call dies, before or after its effect."""

    def __init__(self, calls: int, *, after_effect: bool) -> None:
        self.left = calls
        self.after_effect = after_effect
        self.dead = False

    def wrap(self, target: Any, names: tuple[str, ...]) -> Any:
        return _Mortal(target, self, names)

    async def run(self, call: Any) -> Any:
        if self.dead:
            raise Died
        self.left -= 1
        if self.left >= 0:
            return await call()
        self.dead = True
        if self.after_effect:
            await call()
        raise Died


class _Mortal:
    def __init__(self, target: Any, life: Life, names: tuple[str, ...]) -> None:
        self._target = target
        self._life = life
        self._names = names

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        if name not in self._names:
            return attribute

        async def mortal(*args: Any, **kwargs: Any) -> Any:
            return await self._life.run(lambda: attribute(*args, **kwargs))

        return mortal


STORE = ("head", "get", "put", "create_upload", "upload_part", "complete_upload", "abort_upload")
LEDGER = ("claim_upload", "update_upload", "close_upload", "get_note", "put_note")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dth.retry.RetryPolicy.wait_seconds", lambda *_: 0.0)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")
    yield ledger
    await ledger.close()


def large(ledger: SqliteLedger, capabilities: Capabilities = AWS_LIKE, *, job_id: str = "job") -> Surroundings:
    here = Surroundings(ledger, destination=MemoryStore(capabilities), slots=1, job_id=job_id)
    here.set(multipart_threshold=100 * KIB, part_size=64 * KIB)
    here.source.seed("key", DATA)
    return here


async def one_life(here: Surroundings, calls: int, *, after_effect: bool, redelivered: bool) -> bool:
    """True where the copy ended before the worker had to die."""
    life = Life(calls, after_effect=after_effect)
    ctx = here.context(f"worker-{calls}", redelivered=redelivered)
    job = replace(ctx.job, source=life.wrap(here.source, STORE), destination=life.wrap(here.destination, STORE))
    ctx = replace(ctx, job=job, ledger=life.wrap(here.ledger, LEDGER), lease_until=lambda: time.time() - 1)
    try:
        await copy_object(entry_of(here.source.entry("key")), ctx)
    except Died:
        return False
    return True


@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("capabilities", [AWS_LIKE, replace(PLAIN, multipart_etag=False)], ids=["aws", "own etags"])
async def test_whichever_call_a_worker_dies_at_the_next_one_finishes_and_no_finished_part_is_sent_twice(
    *, ledger: SqliteLedger, capabilities: Any, after_effect: bool
) -> None:
    for calls in range(200):
        here = large(ledger, capabilities, job_id=f"job {calls}")
        ended = await one_life(here, calls, after_effect=after_effect, redelivered=False)
        finished = "key" in here.destination.objects and await here.row() is None  # all but the worker's own return
        await copy_object(entry_of(here.source.entry("key")), here.context("next"))
        await check(here, f"died at call {calls}", once=not finished)
        if ended:
            assert calls >= 19  # HEAD, three to open, two a part, five to end
            return
    pytest.fail("the copy never ended")


@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
async def test_workers_that_die_ever_later_one_after_the_other_get_there_together(
    *, ledger: SqliteLedger, after_effect: bool
) -> None:
    here = large(ledger)
    for calls in range(2, 200):
        ended = await one_life(here, calls, after_effect=after_effect, redelivered=True)
        if ended or ("key" in here.destination.objects and await here.row() is None):
            await check(here, "after many deaths", once=True)
            return
    pytest.fail("nobody got there")


@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
async def test_whichever_call_a_worker_dies_at_a_sweep_leaves_no_open_upload(
    *, ledger: SqliteLedger, after_effect: bool
) -> None:
    for calls in range(200):
        here = large(ledger, job_id=f"job {calls}")
        ended = await one_life(here, calls, after_effect=after_effect, redelivered=False)
        await sweep_uploads(here.job(), here.ledger, now=time.time(), emit=here.events.append)
        assert not here.destination.uploads, f"died at call {calls}"
        if ended:
            return


async def check(here: Surroundings, when: str, *, once: bool) -> None:
    assert here.destination.objects["key"].data == DATA, when
    assert not here.destination.uploads, when
    assert await here.row() is None, when
    if once:
        sent = Counter(number for _, number in here.destination.parts_received)
        assert sent == dict.fromkeys(range(1, 6), 1), when

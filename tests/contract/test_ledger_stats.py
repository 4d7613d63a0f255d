"""What every ledger keeps about a run beside its counters: causes, proofs, reasons, failed objects, processes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from dth.ledgers.base import Ledger
from dth.model import Counts
from dth.stats import Breakdown, Failure, Lag, ProcessRow, ProcessState
from tests.contract.test_ledger import NOW, ODD_KEYS, LedgerFactory, a_run, ledger, ledger_factory  # noqa: F401
from tests.contract.test_ledger import a_row as plain_row

pytestmark = pytest.mark.usefixtures("ledger_factory")


def a_failure(key: str, *, code: str = "access_denied", run_id: str = "r1", error: str = "no") -> Failure:
    return Failure(run_id, key, code, error, 1 << 40, "missing", 5, "m1", NOW)


def broken_down(done: int, failed: int, *, code: str = "access_denied", proof: str = "etag") -> Breakdown:
    return Breakdown(causes={code: failed}, skips={"no_such_key": 2}, proofs={proof: done}, reasons={"missing": done})


def a_process(process: str = "host/1", *, run_id: str = "r1", job_id: str = "job") -> ProcessRow:
    return ProcessRow(
        job_id=job_id,
        run_id=run_id,
        process=process,
        role="worker",
        host="höst",
        pid=12,
        state=ProcessState.WORKING,
        started_at=NOW - 60,
        seen_at=NOW,
        requests={"source": {"GetObject": 7}, "destination": {"PutObject": 9}},
        retries={"destination": {"throttled": 2}},
        regions={"source": "eu-west-1", "destination": ""},
        lag=Lag(1.5, NOW, {3: 4, 200: 1}),
        listed=(4, 5),
    )


async def test_what_stands_behind_the_counters_is_counted_with_them_over_all_processes(ledger: Ledger) -> None:  # noqa: F811
    await ledger.start_run(a_run())
    row = plain_row("m1", done=5)
    await ledger.record(row, "p1", broken_down(5, 3))
    await ledger.record(plain_row("m2", done=4), "p2", broken_down(4, 3, code="throttled", proof="crc"))
    await ledger.record(plain_row("m3", done=1), "p1", broken_down(1, 3))
    run = await ledger.run("r1")
    assert run
    assert run.breakdown == Breakdown(
        causes={"access_denied": 6, "throttled": 3},
        skips={"no_such_key": 6},
        proofs={"etag": 6, "crc": 4},
        reasons={"missing": 10},
    )
    assert [each.breakdown for each in await ledger.runs("job", 5)] == [run.breakdown]
    for part, counter in (("causes", "failed"), ("skips", "skipped"), ("proofs", "done"), ("reasons", "done")):
        assert sum(getattr(run.breakdown, part).values()) == getattr(run.counts, counter)


async def test_of_two_records_of_one_message_only_the_first_is_broken_down(ledger_factory: LedgerFactory) -> None:  # noqa: F811
    ledgers = [await ledger_factory() for _ in range(3)]
    await ledgers[0].start_run(a_run())
    await asyncio.gather(
        *(
            each.record(plain_row(f"m{number}", done=1), f"p{who}", broken_down(1, 3, code=f"code{who}"))
            for number in range(10)
            for who, each in enumerate(ledgers)
        )
    )
    run = await ledgers[2].run("r1")
    assert run
    assert sum(run.breakdown.causes.values()) == run.counts.failed == 30
    assert run.breakdown.proofs == {"etag": 10}


async def test_what_failed_can_be_read_by_code_and_page_by_page(ledger: Ledger) -> None:  # noqa: F811
    await ledger.start_run(a_run())
    odd = [a_failure(key, error=f"{key}?") for key in ODD_KEYS]
    many = [a_failure(f"many/{number:04}", code="throttled") for number in range(450)]
    await ledger.record(plain_row("m1"), "p", failures=odd)
    await asyncio.gather(
        *(ledger.record(plain_row(f"m2-{at}"), "p", failures=many[at : at + 45]) for at in range(0, 450, 45))
    )
    await ledger.record(plain_row("m3", run_id="r2"), "p", failures=[a_failure("other", run_id="r2")])
    assert set((await ledger.failures("r1", code="access_denied", limit=1000)).items) == set(odd)
    seen: list[Failure] = []
    after = ""
    while True:
        page = await ledger.failures("r1", code="throttled", after=after, limit=100)
        assert len(page.items) <= 100
        seen += page.items
        after = page.after
        if not after:
            break
    assert sorted(seen, key=lambda one: one.key) == many
    assert len((await ledger.failures("r1", limit=1000)).items) == len(odd) + len(many)
    assert len((await ledger.failures("r1", code="throttled", limit=20)).items) == 20
    assert not (await ledger.failures("nobody")).items


async def test_a_process_says_again_and_again_what_it_is_and_does(ledger_factory: LedgerFactory) -> None:  # noqa: F811
    mine, theirs = await ledger_factory(), await ledger_factory()
    first = a_process()
    later = replace(first, seen_at=NOW + 5, state=ProcessState.ENDED, requests={"source": {"GetObject": 70}})
    for row in (first, later, a_process("host/2"), a_process(run_id=""), a_process("far/1", job_id="another")):
        await mine.put_process(row)
    assert sorted(await theirs.processes("job", "r1"), key=lambda row: row.process) == [later, a_process("host/2")]
    assert await theirs.processes("job", "") == [a_process(run_id="")]
    assert await theirs.processes("job", "r") == []


async def test_a_run_without_anything_behind_its_counters_is_read(ledger: Ledger) -> None:  # noqa: F811
    await ledger.start_run(a_run())
    await ledger.record(plain_row(), "p")
    run = await ledger.run("r1")
    assert run
    assert (run.counts, run.breakdown) == (Counts(1, 2, 3, 10), Breakdown())

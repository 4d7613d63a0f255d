"""What opening, sharing and failing look like for the embedded files."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dth import database as module
from dth.database import Database, Schema
from dth.errors import DthError, LeaseLost, LedgerError, QueueError
from dth.ledgers import sqlite_prune
from dth.ledgers.base import OutcomeRow, UploadRow
from dth.ledgers.sqlite import SqliteLedger
from dth.model import Counts, Generation
from dth.queues.sqlite import LONGEST_LEASE_SECONDS, SqliteQueue
from dth.stats import Breakdown, Failure
from tests.contract.test_ledger import a_run, an_upload

SCHEMA = Schema("ledger", 0x1234, 2, ("CREATE TABLE numbers (n INTEGER NOT NULL UNIQUE) STRICT",), LedgerError)


async def open_queue(path: Path, now: float | None = None) -> SqliteQueue:
    if now is None:
        return await SqliteQueue.open(path, owner="me", lease_seconds=60, message_bytes=100, receive_limit=20)
    return await SqliteQueue.open(
        path, owner="me", lease_seconds=60, message_bytes=100, receive_limit=20, clock=lambda: now
    )


def add(number: int) -> module.Work[int]:
    return lambda connection: connection.execute("INSERT INTO numbers VALUES (?)", (number,)).rowcount


def numbers(connection: sqlite3.Connection) -> set[int]:
    return {row[0] for row in connection.execute("SELECT n FROM numbers")}


async def refusal(path: Path) -> str:
    with pytest.raises(QueueError) as refused:
        await open_queue(path)
    assert str(path) in str(refused.value)
    return str(refused.value)


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 1000)
    assert "no SQLite file" in await refusal(path)
    assert path.read_text() == "not a database\n" * 1000


async def test_somebody_elses_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE t (x)")
    before = path.read_bytes()
    assert "is no queue of dth" in await refusal(path)
    assert path.read_bytes() == before


async def test_a_ledger_is_refused_as_a_queue(tmp_path: Path) -> None:
    await (await SqliteLedger.open(tmp_path / "ledger")).close()
    assert "is no queue of dth" in await refusal(tmp_path / "ledger")


async def test_a_file_of_a_newer_dth_is_refused_with_the_advice_to_update(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    await (await open_queue(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 9")
    assert "update dth" in await refusal(path)


async def test_a_ledger_of_an_older_dth_is_brought_up_to_date_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    row = UploadRow("job", "run", "key", "key", Generation("e", 1), 5, "upload", "owner", 0.0, 0, 1.0)
    ledger = await SqliteLedger.open(path)
    await ledger.claim_upload(row)
    await ledger.close()
    with closing(sqlite3.connect(path)) as connection:  # as version 1 made it
        for column in ("sharing", "strays_since"):
            connection.execute(f"ALTER TABLE uploads DROP COLUMN {column}")
        for table in ("parts", "tallies", "failures", "processes", "run_keys"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    for _ in range(2):
        ledger = await SqliteLedger.open(path)
        assert await ledger.upload("job", "key") == row
        assert [one async for one in ledger.parts("job", "upload", 1, 9)] == []
        assert await ledger.processes("job", "run") == []
        await ledger.close()


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    assert "directory exists" in await refusal(tmp_path / "missing" / "queue")
    assert "cannot be opened" in await refusal(tmp_path)


async def test_a_damaged_file_is_named_when_the_damage_is_met(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    queue = await open_queue(path)
    await queue.send(["x" * 100] * 2000)
    await queue.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)

    async def use() -> None:
        queue = await open_queue(path)
        try:
            await queue.receive(10, 0)
        finally:
            await queue.close()

    with pytest.raises(QueueError, match="damaged") as failed:
        await use()
    assert str(path) in str(failed.value)


async def test_an_older_sqlite_is_refused_by_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OLDEST_SQLITE", (99, 0, 0))
    with pytest.raises(QueueError, match=r"SQLite 99\.0\.0 or newer"):
        await open_queue(tmp_path / "queue")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (sqlite3.SQLITE_FULL, "disk is full"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "read-only"),
        (sqlite3.SQLITE_BUSY_RECOVERY, "locked"),
        (sqlite3.SQLITE_IOERR_WRITE, "disk failed"),
        (sqlite3.SQLITE_CORRUPT_VTAB, "damaged"),
    ],
)
async def test_sqlites_errors_become_ours_with_path_and_advice(tmp_path: Path, code: int, advice: str) -> None:
    database = await Database.open(tmp_path / "file", SCHEMA)

    def fail(connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("as sqlite says it")
        error.sqlite_errorcode = code
        raise error

    with pytest.raises(LedgerError, match=advice) as failed:
        await database.write(fail, durable=True)
    assert str(tmp_path / "file") in str(failed.value)
    assert isinstance(failed.value.__cause__, sqlite3.OperationalError)
    assert await database.write(add(1), durable=True) == 1
    await database.close()


async def test_a_full_file_refuses_the_send_whole_and_works_again_once_there_is_room(tmp_path: Path) -> None:
    queue = await open_queue(tmp_path / "queue")
    await queue.send(["kept"])
    await queue._database.read(lambda connection: connection.execute("PRAGMA max_page_count = 20").fetchone())
    with pytest.raises(QueueError, match="disk is full"):
        await queue.send(["x" * 100] * 5000)
    assert (await queue.depth()).visible == 1
    await queue._database.read(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
    await queue.send(["x" * 100] * 5000)
    assert (await queue.depth()).visible == 5001
    await queue.close()


async def test_an_empty_queue_can_be_polled_while_somebody_holds_the_write_lock(tmp_path: Path) -> None:
    queue = await open_queue(tmp_path / "queue")
    with closing(sqlite3.connect(tmp_path / "queue", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(module.BUSY_SECONDS / 2):
            assert await queue.receive(10, 0.05) == []
            assert (await queue.depth()).visible == 0
        other.execute("ROLLBACK")
    await queue.close()


async def test_a_lock_that_is_never_freed_is_an_error_for_all_who_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    database = await Database.open(tmp_path / "file", SCHEMA)
    with closing(sqlite3.connect(tmp_path / "file", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writes = [database.write(add(number), durable=True) for number in range(20)]
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(result, LedgerError) and "locked" in str(result) for result in results)
        other.execute("ROLLBACK")
    assert await database.write(add(1), durable=True) == 1
    await database.close()


async def test_calls_that_share_a_transaction_do_not_share_their_errors(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "file", SCHEMA)
    busy = threading.Event()

    def hold(connection: sqlite3.Connection) -> None:
        busy.wait(10)  # the calls below gather behind it

    def lose(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO numbers VALUES (99)")
        raise LeaseLost("somebody else's")

    async with asyncio.TaskGroup() as group:
        first = group.create_task(database.write(hold, durable=False))
        await asyncio.sleep(0.01)
        rest = group.create_task(
            asyncio.wait_for(
                asyncio.gather(
                    *(database.write(add(number), durable=True) for number in (1, 2, 3)),
                    database.write(lose, durable=True),
                    database.write(add(2), durable=True),
                    return_exceptions=True,
                ),
                30,
            )
        )
        await asyncio.sleep(0.01)
        busy.set()
    assert first.done()
    results = rest.result()
    assert results[:3] == [1, 1, 1]
    assert [type(result) for result in results[3:]] == [LeaseLost, LedgerError]
    assert await database.read(numbers) == {1, 2, 3}
    await database.close()


async def test_a_call_cancelled_before_its_turn_does_nothing(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "file", SCHEMA)
    busy = threading.Event()
    first = asyncio.create_task(database.write(lambda connection: busy.wait(10), durable=False))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(database.write(add(1), durable=True))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    busy.set()
    await first
    assert await database.read(numbers) == set()
    await database.close()


async def test_a_closed_file_says_so_and_its_thread_has_ended(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    queue = await open_queue(tmp_path / "queue")
    (own,) = [each for each in threading.enumerate() if each not in before and each.name == "dth-queue"]
    await queue.close()
    with pytest.raises(DthError, match="after it was closed"):
        await queue.depth()
    own.join(10)
    assert not own.is_alive()


async def test_many_may_create_one_file_at_once(tmp_path: Path) -> None:
    for turn in range(10):
        path = tmp_path / str(turn)
        queues = await asyncio.gather(*(open_queue(path) for _ in range(12)))
        await asyncio.gather(*(queue.send(["x"]) for queue in queues))
        assert (await queues[0].depth()).visible == 12
        await asyncio.gather(*(queue.close() for queue in queues))


async def test_what_must_survive_a_power_cut_is_flushed_and_what_may_be_lost_is_not(tmp_path: Path) -> None:
    queue = await open_queue(tmp_path / "queue")

    async def level() -> int:
        return await queue._database.read(lambda connection: connection.execute("PRAGMA synchronous").fetchone()[0])

    normal, full = 1, 2
    await queue.send(["a", "b"])
    assert await level() == full
    deliveries = await queue.receive(1, 0)
    await queue.ack(deliveries)
    assert await level() == normal
    await queue.bury([("b", "why")])
    assert await level() == full
    await queue.close()
    ledger = await SqliteLedger.open(tmp_path / "ledger")
    await ledger.put_note("job", "n", "v")
    found = await ledger._database.read(lambda connection: connection.execute("PRAGMA synchronous").fetchone()[0])
    assert found == full
    await ledger.close()


async def test_old_runs_are_forgotten_whole_and_nothing_that_may_be_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_prune, "_ROWS", 2)
    ledger, days = await SqliteLedger.open(tmp_path / "ledger"), 86_400
    ages = {"old": 40, "old-upload": 41, "short": 39, "abandoned": 38, "older-abandoned": 100, "kept": 37, "new": 1}
    for run_id, age in ages.items():
        started = replace(a_run(run_id, age=age * days), started_at=time.time() - age * days)
        await ledger.start_run(started, overlap=True)
        for number in range(5):
            failed = Failure(run_id, "key", "timed_out", "", 1, "missing", 5, f"{run_id}-{number}", started.started_at)
            row = OutcomeRow(f"{run_id}-{number}", run_id, Counts(done=1), "1", "")
            await ledger.record(row, "p", Breakdown(proofs={"etag": 1}), [failed])
        if "abandoned" in run_id:
            await ledger.abandon_run(run_id)
        else:
            await ledger.seal_run(run_id, "finder-1", 6 if run_id == "short" else 5, 0, {})
    await ledger.claim_upload(replace(an_upload(owner="dead"), run_id="old-upload"))
    monkeypatch.setattr(sqlite_prune, "KEPT_RUNS", 3)
    await ledger.start_run(a_run("another", job_id="another"), overlap=True)
    assert len(await ledger.runs("job", 99)) == len(ages)
    await ledger.start_run(a_run("next"), overlap=True)
    left = {run.run_id for run in await ledger.runs("job", 99)}
    assert left == {"next", "new", "kept", "abandoned", "short", "old-upload"}
    for run_id in ages:
        run = await ledger.run(run_id)
        assert (run is not None) == (run_id in left)
        assert not run or run.counts.done == 5
        rows = [await ledger.outcome(f"{run_id}-{number}") for number in range(5)]
        assert all(rows) if run_id in left else not any(rows), run_id
        assert len((await ledger.failures(run_id)).items) == (5 if run_id in left else 0)
    await ledger.close()


async def test_messages_of_a_clock_that_was_years_ahead_are_seen_once_it_is_right(tmp_path: Path) -> None:
    ahead = await open_queue(tmp_path / "queue", now=2_000_000_000.0)
    await ahead.send(["fresh", "leased"])
    await ahead.receive(1, 0)
    await ahead.close()
    right = await open_queue(tmp_path / "queue", now=2_000_000_000.0 - 2 * LONGEST_LEASE_SECONDS)
    assert len(await right.receive(10, 0)) == 2
    await right.close()


async def test_bodies_that_no_message_can_hold_are_buried_as_escapes_and_refused_by_send(tmp_path: Path) -> None:
    queue = await open_queue(tmp_path / "queue")
    with pytest.raises(QueueError) as refused:
        await queue.send(["ok", "\udc80", "nul\x00and é"])
    assert refused.value.failed == ("1",)
    assert {delivery.body for delivery in await queue.receive(10, 0)} == {"ok", "nul\x00and é"}
    await queue.bury([("\udc80", "a \ud800 key")])
    (letter,) = await queue.dead_letters(1)
    assert (letter.body, letter.reason) == ("\\udc80", "a \\ud800 key")
    await queue.close()

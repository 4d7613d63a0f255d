"""The embedded ledger's half that tells what a run knows about itself: see `dth.stats`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from dth.database import Database
from dth.ledgers.sqlite_rows import blob, text
from dth.stats import Breakdown, Failure, Failures, ProcessRow

_TALLY = """
    INSERT INTO tallies VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET count = count + excluded.count
"""
_FAILED = """
    INSERT INTO failures (run_id, key, code, error, size, reason, attempt, message_id, failed_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_FAILURES = """
    SELECT sequence, run_id, key, code, error, size, reason, attempt, message_id, failed_at FROM failures
    WHERE run_id = :run_id AND {code} sequence > :after ORDER BY sequence LIMIT :limit
"""
_PROCESSES = "SELECT said FROM processes WHERE job_id = ? AND run_id = ? ORDER BY process"


def break_down(connection: sqlite3.Connection, run_id: str, breakdown: Breakdown, failures: Sequence[Failure]) -> None:
    """Count what stands behind an outcome, and name what failed: part of the transaction that records it."""
    connection.executemany(_TALLY, [(run_id, *count) for count in breakdown.counts()])
    connection.executemany(_FAILED, map(_values, failures))


def _values(failure: Failure) -> tuple[object, ...]:
    return (
        *(failure.run_id, blob(failure.key), failure.code, blob(failure.error), failure.size, failure.reason),
        *(failure.attempt, failure.message_id, failure.failed_at),
    )


class SqliteStats:
    """See `ledgers.base.Ledger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def failures(self, run_id: str, *, code: str = "", after: str = "", limit: int = 100) -> Failures:
        """Objects of a run that ended FAILED, a page at a time."""
        statement = _FAILURES.format(code="code = :code AND" if code else "")
        values = {"run_id": run_id, "code": code, "after": int(after or 0), "limit": limit}
        rows = await self._database.read(lambda connection: connection.execute(statement, values).fetchall())
        items = tuple(Failure(row[1], text(row[2]), row[3], text(row[4]), *row[5:]) for row in rows)
        return Failures(items, str(rows[-1][0]) if len(rows) == limit else "")

    async def put_process(self, row: ProcessRow) -> None:
        """Write what a process says of itself."""
        values = (row.job_id, row.run_id, row.process, row.to_json())
        await self._database.write(
            lambda connection: connection.execute("INSERT OR REPLACE INTO processes VALUES (?, ?, ?, ?)", values),
            durable=False,
        )

    async def processes(self, job_id: str, run_id: str) -> list[ProcessRow]:
        """What every process of a run last said."""
        statement = _PROCESSES
        rows = await self._database.read(lambda each: each.execute(statement, (job_id, run_id)).fetchall())
        return [ProcessRow.from_json(said) for (said,) in rows]

"""A row for each object, so that people can query them in SQL (`--ledger-records object`): `objects.db` beside the ledger.

A file of its own, which nothing in dth reads: it may be queried while work goes on, and deleted to forget. One row a key,
the last word about it, so it grows with the objects and not with the runs.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from dth.database import Database, Schema
from dth.errors import LedgerError
from dth.model import ObjectRecord

SCHEMA = Schema(
    name="objects",
    application_id=int.from_bytes(b"dthO"),
    version=1,
    statements=(
        """CREATE TABLE objects (
            key TEXT NOT NULL PRIMARY KEY,  -- the source's, byte for byte
            dest_key TEXT NOT NULL,
            outcome TEXT NOT NULL,
            reason TEXT NOT NULL,
            size INTEGER NOT NULL,
            source_etag TEXT NOT NULL,
            dest_etag TEXT NOT NULL,
            verified_by TEXT,
            attempt INTEGER NOT NULL,
            error_code TEXT NOT NULL,
            error TEXT NOT NULL,
            run_id TEXT NOT NULL,
            time TEXT NOT NULL  -- when it was written, UTC
        ) STRICT, WITHOUT ROWID""",
    ),
    error=LedgerError,
)

# A parameter of bytes becomes text without a look at it: keys need not be UTF-8, and SQLite does not mind.
_TEXT = "CAST(? AS TEXT)"
_PUT = f"INSERT OR REPLACE INTO objects VALUES ({_TEXT}, {_TEXT}, ?, ?, ?, ?, ?, ?, ?, ?, {_TEXT}, ?, ?)"  # noqa: S608


class SqliteObjects:
    """Rows in a file; see `report.Report`."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    @classmethod
    async def open(cls, path: Path, *, clock: Callable[[], float] = time.time) -> Self:
        """The rows in the file at `path`, created where there is none."""
        return cls(await Database.open(path, SCHEMA), clock)

    async def write(self, records: Sequence[ObjectRecord]) -> None:
        """One transaction. A power cut may undo it, as it may the report's last lines."""
        now = written_at(self._clock())
        rows = [_row(record, now) for record in records]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_PUT, rows)

        await self._database.write(work, durable=False)

    async def close(self) -> None:
        """Let go of the file."""
        await self._database.close()


def written_at(seconds: float) -> str:
    """`2026-11-25T18:40:00Z`: orders as time does."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def raw(text: str) -> bytes:
    """A key's own bytes. Text that stands for none (no store has such a key, but a message may name one) as it is."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def _row(record: ObjectRecord, now: str) -> tuple[object, ...]:
    return (
        *(raw(record.key), raw(record.dest_key), record.outcome.value, record.reason.value, record.size),
        *(record.source_etag, record.dest_etag, record.verified_by.value if record.verified_by else None),
        *(record.attempt, record.error_code, raw(record.error), record.run_id, now),
    )

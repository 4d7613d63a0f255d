"""The embedded ledger's tables, and its values to and from their rows.

Keys and notes are BLOBs of UTF-8 with `surrogatepass`: any Python text survives, bytes order as code points do, and no
two texts share one form (`surrogateescape` would fold the escaped bytes of "é" and "é" itself into one key).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from dth.database import Schema
from dth.errors import LedgerError
from dth.ledgers.base import OutcomeRow, Run, UploadRow
from dth.ledgers.sharing_text import from_sharing, to_sharing
from dth.model import Counts, Generation
from dth.states import RunState
from dth.stats import Breakdown

_PARTS = """CREATE TABLE parts (
    job_id TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    first INTEGER NOT NULL,
    parts TEXT NOT NULL,  -- JSON
    PRIMARY KEY (job_id, upload_id, first)
) STRICT, WITHOUT ROWID"""

_TALLIES = """CREATE TABLE tallies (
    run_id TEXT NOT NULL,
    kind TEXT NOT NULL,  -- one of stats.KINDS
    name TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (run_id, kind, name)
) STRICT, WITHOUT ROWID"""
_FAILURES = """CREATE TABLE failures (
    sequence INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    code TEXT NOT NULL,
    key BLOB NOT NULL,
    error BLOB NOT NULL,
    size INTEGER NOT NULL,
    reason TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    failed_at REAL NOT NULL
) STRICT"""
_FAILURES_BY_CODE = "CREATE INDEX failures_by_code ON failures (run_id, code, sequence)"
_PROCESSES = """CREATE TABLE processes (
    job_id TEXT NOT NULL,
    run_id TEXT NOT NULL,  -- '' of those that have met none
    process TEXT NOT NULL,
    said TEXT NOT NULL,  -- JSON
    PRIMARY KEY (job_id, run_id, process)
) STRICT, WITHOUT ROWID"""
_RUN_KEYS = """CREATE TABLE run_keys (
    run_id TEXT NOT NULL PRIMARY KEY,
    key BLOB NOT NULL  -- secret: whoever has it can write messages of the run
) STRICT, WITHOUT ROWID"""

SCHEMA = Schema(
    name="ledger",
    application_id=int.from_bytes(b"dthL"),
    version=4,
    statements=(
        """CREATE TABLE runs (
            sequence INTEGER PRIMARY KEY,
            run_id TEXT NOT NULL UNIQUE,
            job_id TEXT NOT NULL,
            state TEXT NOT NULL,
            job_settings TEXT NOT NULL,
            finder TEXT NOT NULL,
            lease_until REAL NOT NULL,
            started_at REAL NOT NULL,
            found INTEGER,
            found_bytes INTEGER NOT NULL,
            reasons TEXT NOT NULL  -- JSON
        ) STRICT""",
        "CREATE INDEX runs_by_job ON runs (job_id, started_at, sequence)",
        """CREATE TABLE counters (
            run_id TEXT NOT NULL,
            process TEXT NOT NULL,
            done INTEGER NOT NULL,
            skipped INTEGER NOT NULL,
            failed INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            PRIMARY KEY (run_id, process)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE outcomes (
            message_id TEXT NOT NULL PRIMARY KEY,
            run_id TEXT NOT NULL,
            done INTEGER NOT NULL,
            skipped INTEGER NOT NULL,
            failed INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            bitmap TEXT NOT NULL,
            remainder TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE uploads (
            job_id TEXT NOT NULL,
            dest_key BLOB NOT NULL,
            run_id TEXT NOT NULL,
            source_key BLOB NOT NULL,
            etag TEXT NOT NULL,
            size INTEGER NOT NULL,
            version_id TEXT,
            part_size INTEGER NOT NULL,
            upload_id TEXT NOT NULL,
            owner TEXT NOT NULL,
            owned_until REAL NOT NULL,
            revision INTEGER NOT NULL,
            created_at REAL NOT NULL,
            sharing TEXT NOT NULL,  -- JSON, '' where none
            strays_since REAL NOT NULL,
            PRIMARY KEY (job_id, dest_key)
        ) STRICT, WITHOUT ROWID""",
        _PARTS,
        _TALLIES,
        _FAILURES,
        _FAILURES_BY_CODE,
        _PROCESSES,
        _RUN_KEYS,
        """CREATE TABLE notes (
            job_id TEXT NOT NULL,
            name TEXT NOT NULL,
            value BLOB NOT NULL,
            PRIMARY KEY (job_id, name)
        ) STRICT, WITHOUT ROWID""",
    ),
    error=LedgerError,
    upgrades={
        1: (
            "ALTER TABLE uploads ADD COLUMN sharing TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE uploads ADD COLUMN strays_since REAL NOT NULL DEFAULT 0",
            _PARTS,
        ),
        2: (_TALLIES, _FAILURES, _FAILURES_BY_CODE, _PROCESSES),
        3: (_RUN_KEYS,),
    },
)

_RUNS = """
    SELECT run_id, job_id, state, job_settings, finder, lease_until, started_at, found, found_bytes, reasons,
           (SELECT json_group_array(json_array(kind, name, count)) FROM tallies WHERE tallies.run_id = runs.run_id),
           coalesce(sum(done), 0), coalesce(sum(skipped), 0), coalesce(sum(failed), 0), coalesce(sum(bytes), 0)
    FROM runs LEFT JOIN counters USING (run_id)
    WHERE {where} GROUP BY sequence ORDER BY started_at DESC, sequence DESC
"""
RUN = _RUNS.format(where="run_id = ?")
NEWEST_RUNS = _RUNS.format(
    where="sequence IN (SELECT sequence FROM runs WHERE job_id = ? ORDER BY started_at DESC, sequence DESC LIMIT ?)"
)
OPEN_RUNS = _RUNS.format(where="job_id = ? AND state IN ('listing', 'sealed')")
COUNT = """
    INSERT INTO counters VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET done = done + excluded.done, skipped = skipped + excluded.skipped,
                              failed = failed + excluded.failed, bytes = bytes + excluded.bytes
"""
UPLOAD = """
    SELECT job_id, run_id, dest_key, source_key, etag, size, version_id, part_size, upload_id, owner, owned_until,
           revision, created_at, sharing, strays_since
    FROM uploads
"""
# A revision alone would let an owner of the key's last life pass as the owner of this one.
_SAME_UPLOAD = "job_id = ? AND dest_key = ? AND revision = ? AND created_at = ?"
HAS_UPLOAD = f"SELECT 1 FROM uploads WHERE {_SAME_UPLOAD}"  # noqa: S608 - constants
REMOVE_UPLOAD = f"DELETE FROM uploads WHERE {_SAME_UPLOAD} RETURNING upload_id"  # noqa: S608
PARTS = "SELECT first, parts FROM parts WHERE job_id = ? AND upload_id = ? AND first >= ? AND first < ? ORDER BY first"


def blob(text: str) -> bytes:
    """Any Python text as bytes that order as its code points do."""
    return text.encode(errors="surrogatepass")


def text(stored: bytes) -> str:
    """What `blob` was given."""
    return stored.decode(errors="surrogatepass")


def to_json(reasons: Mapping[str, int]) -> str:
    """The same text for the same reasons, whatever their order."""
    return json.dumps(dict(reasons), sort_keys=True)


def to_run(row: Iterable[Any]) -> Run:
    """A row of one of the run statements, counters summed."""
    run_id, job_id, state, settings, finder, lease_until, started_at, found, found_bytes, reasons, tallies, *counts = (
        row
    )
    return Run(
        run_id=run_id,
        job_id=job_id,
        state=RunState(state),
        job_settings=settings,
        finder=finder,
        lease_until=lease_until,
        started_at=started_at,
        found=found,
        found_bytes=found_bytes,
        reasons=json.loads(reasons),
        counts=Counts(*counts),
        breakdown=Breakdown.of(json.loads(tallies)),
    )


def find_outcome(connection: sqlite3.Connection, message_id: str) -> OutcomeRow | None:
    """The row of a message, if it has one."""
    row = connection.execute(
        "SELECT run_id, bitmap, remainder, done, skipped, failed, bytes FROM outcomes WHERE message_id = ?",
        (message_id,),
    ).fetchone()
    return OutcomeRow(message_id, row[0], Counts(*row[3:]), row[1], row[2]) if row else None


def find_upload(connection: sqlite3.Connection, job_id: str, dest_key: str) -> UploadRow | None:
    """The row of a key, if it has one."""
    statement = f"{UPLOAD} WHERE job_id = ? AND dest_key = ?"
    row = connection.execute(statement, (job_id, blob(dest_key))).fetchone()
    return to_upload(row) if row else None


def to_upload(row: Iterable[Any]) -> UploadRow:
    """A row of UPLOAD."""
    job_id, run_id, dest_key, source_key, etag, size, version_id, *rest, sharing, strays_since = row
    generation = Generation(etag, size, version_id)
    upload = UploadRow(job_id, run_id, text(dest_key), text(source_key), generation, *rest)
    return replace(upload, sharing=to_sharing(sharing), strays_since=strays_since)


def put_upload(connection: sqlite3.Connection, row: UploadRow) -> None:
    """Write the row over whatever the key has."""
    connection.execute(
        "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(row.job_id, blob(row.dest_key), row.run_id, blob(row.source_key)),
            *(row.generation.etag, row.generation.size, row.generation.version_id),
            *(row.part_size, row.upload_id, row.owner, row.owned_until, row.revision, row.created_at),
            from_sharing(row.sharing),
            row.strays_since,
        ),
    )


def identity(row: UploadRow) -> tuple[str, bytes, int, float]:
    """The values of HAS_UPLOAD and REMOVE_UPLOAD."""
    return row.job_id, blob(row.dest_key), row.revision, row.created_at

"""The embedded ledger: runs, outcomes, uploads and notes in one SQLite file, shared by the processes of one machine.

Every write is flushed to disk before it returns (see `dth.database`; many tasks share one flush), because something
elsewhere relies on each: a message is acknowledged on the strength of its outcome, an upload is created on the strength
of its intent, and a finder goes on from its checkpoint. Only a finder's heartbeat may be forgotten.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from dth.database import Database
from dth.errors import LeaseLost, LedgerError, RunUnderWay
from dth.ledgers.base import OutcomeRow, PartsRow, Run, UploadRow, claimable
from dth.ledgers.sharing_text import from_parts, to_parts
from dth.ledgers.sqlite_prune import prune_some
from dth.ledgers.sqlite_rows import (
    COUNT,
    HAS_UPLOAD,
    NEWEST_RUNS,
    OPEN_RUNS,
    PARTS,
    REMOVE_UPLOAD,
    RUN,
    SCHEMA,
    UPLOAD,
    blob,
    find_outcome,
    find_upload,
    identity,
    put_upload,
    text,
    to_json,
    to_run,
    to_upload,
)
from dth.ledgers.sqlite_stats import SqliteStats, break_down
from dth.signing import new_key
from dth.states import RunState
from dth.stats import NOTHING, Breakdown, Failure

_PAGE = 500  # uploads read at once
_PRUNED_PARTS = 50  # at the start of a run: a hundred million objects are forgotten over ten of them


class SqliteLedger(SqliteStats):
    """A ledger in a file. Every method is one transaction."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(database)
        self._clock = clock

    @classmethod
    async def open(cls, path: Path, *, clock: Callable[[], float] = time.time) -> Self:
        """The ledger in the file at `path`, created where there is none."""
        return cls(await Database.open(path, SCHEMA), clock=clock)

    async def start_run(self, run: Run, *, overlap: bool = False) -> None:
        """Write a new LISTING run, or raise RunUnderWay. Repeating it while the run lists is no error; another run of
        that id is a LedgerError. Runs of the job whose finder's lease is over become ABANDONED; old ones are forgotten
        (see `ledgers.sqlite_prune`)."""

        def work(connection: sqlite3.Connection) -> None:
            present = connection.execute("SELECT state, finder FROM runs WHERE run_id = ?", (run.run_id,)).fetchone()
            if present == (run.state, run.finder):
                return
            if present:
                raise LedgerError(f"ledger {self._database.path}: run {run.run_id} exists already; choose another id")
            connection.execute(
                "UPDATE runs SET state = 'abandoned' WHERE job_id = ? AND state = 'listing' AND lease_until <= ?",
                (run.job_id, self._clock()),
            )
            for other in (
                ()
                if overlap or run.state is RunState.STANDING
                else map(to_run, connection.execute(OPEN_RUNS, (run.job_id,)))
            ):
                if not other.counted:
                    raise RunUnderWay(f"run {other.run_id} of job {run.job_id} is still under way", other.run_id)
            connection.execute(
                """INSERT INTO runs (run_id, job_id, state, job_settings, finder, lease_until, started_at, found,
                                     found_bytes, reasons)
                   VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?, ?)""",
                (
                    *(run.run_id, run.job_id, run.state, run.job_settings, run.finder, run.lease_until, run.started_at),
                    *(run.found_bytes, to_json(run.reasons)),
                ),
            )
            connection.execute("INSERT OR REPLACE INTO run_keys VALUES (?, ?)", (run.run_id, new_key()))

        await self._database.write(work, durable=True)
        for _ in range(_PRUNED_PARTS):
            if not await self._database.write(lambda each: prune_some(each, run.job_id, self._clock()), durable=False):
                break

    async def extend_run(self, run_id: str, finder: str, lease_until: float) -> None:
        """The finder's heartbeat. Raises LeaseLost where the run is no longer its LISTING run."""

        def work(connection: sqlite3.Connection) -> None:
            extended = connection.execute(
                "UPDATE runs SET lease_until = ? WHERE run_id = ? AND finder = ? AND state = 'listing'",
                (lease_until, run_id, finder),
            )
            if not extended.rowcount:
                raise _run_lost(run_id, finder)

        await self._database.write(work, durable=False)

    async def seal_run(
        self, run_id: str, finder: str, found: int, found_bytes: int, reasons: Mapping[str, int]
    ) -> None:
        """Fix the totals, once. Raises LeaseLost where the run is no longer the finder's LISTING run, or where it is
        sealed with other totals."""

        def work(connection: sqlite3.Connection) -> None:
            sealed = connection.execute(
                """UPDATE runs SET state = 'sealed', found = ?, found_bytes = ?, reasons = ?
                   WHERE run_id = ? AND finder = ? AND state = 'listing'""",
                (found, found_bytes, to_json(reasons), run_id, finder),
            )
            if sealed.rowcount:
                return
            present = connection.execute(
                "SELECT state, finder, found, found_bytes, reasons FROM runs WHERE run_id = ?", (run_id,)
            ).fetchone()
            if present != (RunState.SEALED, finder, found, found_bytes, to_json(reasons)):
                raise _run_lost(run_id, finder)

        await self._database.write(work, durable=True)

    async def abandon_run(self, run_id: str, *, expired_before: float | None = None) -> bool:
        """LISTING becomes ABANDONED, with `expired_before` only where the lease ended before. True where it did."""

        def work(connection: sqlite3.Connection) -> bool:
            abandoned = connection.execute(
                """UPDATE runs SET state = 'abandoned'
                   WHERE run_id = :run_id AND state = 'listing' AND (:before IS NULL OR lease_until < :before)""",
                {"run_id": run_id, "before": expired_before},
            )
            return abandoned.rowcount > 0

        return await self._database.write(work, durable=True)

    async def run(self, run_id: str) -> Run | None:
        """The run with its counters, consistently read."""
        rows = await self._database.read(lambda connection: connection.execute(RUN, (run_id,)).fetchall())
        return to_run(rows[0]) if rows else None

    async def run_key(self, run_id: str) -> bytes:
        """What signs the run's messages; b"" where there is no key."""
        statement = "SELECT key FROM run_keys WHERE run_id = ?"
        row = await self._database.read(lambda connection: connection.execute(statement, (run_id,)).fetchone())
        return bytes(row[0]) if row else b""

    async def runs(self, job_id: str, limit: int) -> list[Run]:
        """The job's newest runs first, all read at one moment."""
        parameters = (job_id, max(limit, 0))
        rows = await self._database.read(lambda connection: connection.execute(NEWEST_RUNS, parameters).fetchall())
        return [to_run(row) for row in rows]

    async def record(
        self, row: OutcomeRow, process: str, breakdown: Breakdown = NOTHING, failures: Sequence[Failure] = ()
    ) -> OutcomeRow:
        """Write the row and count it, unless the message has a row. Returns the row in force."""
        counts = row.counts
        counted = (counts.done, counts.skipped, counts.failed, counts.bytes)

        def work(connection: sqlite3.Connection) -> OutcomeRow:
            written = connection.execute(
                "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (row.message_id, row.run_id, *counted, row.bitmap, row.remainder),
            )
            if not written.rowcount:
                return find_outcome(connection, row.message_id) or row
            connection.execute(COUNT, (row.run_id, process, *counted))
            break_down(connection, row.run_id, breakdown, failures)
            return row

        return await self._database.write(work, durable=True)

    async def outcome(self, message_id: str) -> OutcomeRow | None:
        """The row of a message."""
        return await self._database.read(lambda connection: find_outcome(connection, message_id))

    async def claim_upload(self, row: UploadRow) -> UploadRow:
        """Write the intent where the key has none; take it over where its owner has let it lapse; else change nothing.
        Returns the row in force."""

        def work(connection: sqlite3.Connection) -> UploadRow:
            present = find_upload(connection, row.job_id, row.dest_key)
            if present and not claimable(present, row, self._clock()):
                return present
            taken = row
            if present:
                taken = replace(
                    present,
                    owner=row.owner,
                    owned_until=row.owned_until,
                    run_id=row.run_id,
                    revision=present.revision + 1,
                )
            put_upload(connection, taken)
            return taken

        return await self._database.write(work, durable=True)

    async def upload(self, job_id: str, dest_key: str) -> UploadRow | None:
        """The row of a key, if it has one."""
        return await self._database.read(lambda connection: find_upload(connection, job_id, dest_key))

    async def update_upload(self, row: UploadRow) -> UploadRow:
        """Write the row if nobody has since `row.revision`; returns it with its new revision. Else raises LeaseLost."""

        def work(connection: sqlite3.Connection) -> UploadRow:
            if not connection.execute(HAS_UPLOAD, identity(row)).fetchone():
                raise _upload_lost(row)
            updated = replace(row, revision=row.revision + 1)
            put_upload(connection, updated)
            return updated

        return await self._database.write(work, durable=True)

    async def close_upload(self, row: UploadRow) -> None:
        """Remove the row if nobody has changed it since. Raises LeaseLost where somebody did; absent is no error."""

        def work(connection: sqlite3.Connection) -> None:
            closed = connection.execute(REMOVE_UPLOAD, identity(row)).fetchall()
            if not closed and find_upload(connection, row.job_id, row.dest_key):
                raise _upload_lost(row)
            connection.executemany(
                "DELETE FROM parts WHERE job_id = ? AND upload_id = ?", [(row.job_id, *one) for one in closed]
            )

        await self._database.write(work, durable=True)

    async def uploads(self, job_id: str) -> AsyncIterator[UploadRow]:
        """All rows of the job in key order; those that come or go meanwhile may or may not be among them."""
        after = b""  # no key is empty
        statement = f"{UPLOAD} WHERE job_id = ? AND dest_key > ? ORDER BY dest_key LIMIT {_PAGE}"
        while True:
            parameters = (job_id, after)
            page = await self._database.read(
                lambda connection, values=parameters: connection.execute(statement, values).fetchall()  # type: ignore[misc]
            )
            for row in map(to_upload, page):
                yield row
            if len(page) < _PAGE:
                return
            after = page[-1][2]

    async def put_parts(self, row: PartsRow) -> None:
        """Write what one `parts` message has moved."""
        values = (row.job_id, row.upload_id, row.first, from_parts(row.parts))
        await self._database.write(
            lambda connection: connection.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?)", values),
            durable=True,
        )

    async def parts(self, job_id: str, upload_id: str, first: int, stop: int) -> AsyncIterator[PartsRow]:
        """Rows that begin in `first` up to but not including `stop`, in order."""
        values = (job_id, upload_id, first, stop)
        rows = await self._database.read(lambda connection: connection.execute(PARTS, values).fetchall())
        for began, parts in rows:
            yield PartsRow(job_id, upload_id, began, to_parts(parts))

    async def advance(self, job_id: str, key: str, sequencer: str) -> bool:
        """Remember the event as the key's latest; False where a later one was seen already."""
        name = "sequencer/" + hashlib.sha256(blob(key)).hexdigest()

        def work(connection: sqlite3.Connection) -> bool:
            present = connection.execute(
                "SELECT value FROM notes WHERE job_id = ? AND name = ?", (job_id, name)
            ).fetchone()
            if present and text(present[0]) > sequencer:
                return False
            connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (job_id, name, blob(sequencer)))
            return True

        return await self._database.write(work, durable=True)

    async def get_note(self, job_id: str, name: str) -> str | None:
        """A small durable value of the job."""
        statement = "SELECT value FROM notes WHERE job_id = ? AND name = ?"
        row = await self._database.read(lambda connection: connection.execute(statement, (job_id, name)).fetchone())
        return text(row[0]) if row else None

    async def put_note(self, job_id: str, name: str, value: str) -> None:
        """Write such a value, "" to remove it."""

        def work(connection: sqlite3.Connection) -> None:
            if value:
                connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (job_id, name, blob(value)))
            else:
                connection.execute("DELETE FROM notes WHERE job_id = ? AND name = ?", (job_id, name))

        await self._database.write(work, durable=True)

    async def keep_note(self, job_id: str, name: str, value: str) -> str:
        """Write such a value where there is none; the one in force."""

        def work(connection: sqlite3.Connection) -> str:
            connection.execute("INSERT INTO notes VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (job_id, name, blob(value)))
            query = "SELECT value FROM notes WHERE job_id = ? AND name = ?"
            return text(connection.execute(query, (job_id, name)).fetchone()[0])

        return await self._database.write(work, durable=True)

    async def swap_note(self, job_id: str, name: str, before: str, value: str) -> bool:
        """Write such a value where it is still `before`."""
        statement = "UPDATE notes SET value = ? WHERE job_id = ? AND name = ? AND value = ?"
        values: tuple[object, ...] = (blob(value), job_id, name, blob(before))
        if not before:
            statement, values = "INSERT INTO notes VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (job_id, name, blob(value))
        return await self._database.write(
            lambda connection: connection.execute(statement, values).rowcount > 0, durable=True
        )

    async def notes(self, job_id: str, prefix: str) -> dict[str, str]:
        """The values of the job whose names begin so, by the rest of their names."""
        statement = "SELECT name, value FROM notes WHERE job_id = ? AND name >= ? AND name < ?"
        values = (job_id, prefix, prefix + "\U0010ffff")
        found = await self._database.read(lambda connection: connection.execute(statement, values).fetchall())
        return {name[len(prefix) :]: text(value) for name, value in found}

    async def reclaim(self, owner: str | None = None) -> None:
        """End the leases on runs and uploads of `owner` (of everyone: None). `owner` is a process; uploads are owned by
        its attempts, `process#attempt`."""
        whose = {"owner": owner}

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE runs SET lease_until = 0 WHERE state = 'listing' AND (:owner IS NULL OR finder = :owner)", whose
            )
            # A change like any other: an owner who lives after all must learn that it lost the row.
            connection.execute(
                """UPDATE uploads SET owned_until = 0, revision = revision + 1
                   WHERE owned_until > 0
                     AND (:owner IS NULL OR owner = :owner OR substr(owner, 1, length(:owner) + 1) = :owner || '#')""",
                whose,
            )

        await self._database.write(work, durable=True)

    async def owners(self) -> set[str]:
        """The processes that hold a lease on a listing run or an upload."""
        held = """SELECT finder FROM runs WHERE state = 'listing' AND lease_until > :now
                  UNION SELECT owner FROM uploads WHERE owned_until > :now"""
        now = {"now": self._clock()}
        rows = await self._database.read(lambda connection: connection.execute(held, now).fetchall())
        return {owner.partition("#")[0] for (owner,) in rows}

    async def close(self) -> None:
        """Let go of the file."""
        await self._database.close()


def _run_lost(run_id: str, finder: str) -> LeaseLost:
    return LeaseLost(f"run {run_id} is no longer the listing run of finder {finder}")


def _upload_lost(row: UploadRow) -> LeaseLost:
    return LeaseLost(f"the upload to {row.dest_key} was changed by somebody else meanwhile")

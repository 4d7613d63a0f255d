"""One SQLite file, as the embedded queue and the embedded ledger share it: opening, threading, transactions, errors.

Each `Database` has one connection on one thread of its own, so that nothing blocks the event loop. Calls that wait
while a transaction commits share the next one (group commit): many tasks cost one flush to disk, not one each.
Any number of processes may open the same file, spawned and not forked (a connection must not cross a fork), and never
on a network file system, where WAL does not work (https://sqlite.org/wal.html).

Durability. WAL in SQLite keeps every commit through the death of a process; through a power cut only those that were
flushed, and always a prefix of all commits: an order within one file never turns round, one across two files may.
`write(durable=True)` returns after the flush (synchronous=FULL), `durable=False` before it (NORMAL). The callers say
which of their writes may be forgotten; whatever another file or a bucket relies on may not.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import field
from pathlib import Path
from typing import Any, TypeVar

from dth.errors import DthError, LedgerError, QueueError
from dth.values import value

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
BUSY_SECONDS = 30.0  # transactions last milliseconds: who waits longer than this waits for something stuck
_GROUP = 256  # calls in one transaction at most, so that no call waits for an endless one
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_HINTS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and run again",
    sqlite3.SQLITE_READONLY: "the file or its directory is read-only; make both writable",
    sqlite3.SQLITE_PERM: "the file may not be accessed; check its owner and mode",
    sqlite3.SQLITE_AUTH: "the file may not be accessed; check its owner and mode",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its directory exists and is writable",
    sqlite3.SQLITE_IOERR: "the disk failed; check it, and that it is no network file system",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away and run again, the buckets will be compared anew",
    sqlite3.SQLITE_NOTADB: "this is no SQLite file, or a damaged one; name another path or move it away",
    **dict.fromkeys(_LOCKED, f"another process has kept it locked for {BUSY_SECONDS:.0f} s; end the one that hangs"),
}


@value
class Schema:
    """What a file must be. `application_id` marks it as ours, `version` is raised by every change of `statements`;
    `upgrades` holds, by version, what makes a file of that version one of the next."""

    name: str
    application_id: int
    version: int
    statements: tuple[str, ...]
    error: type[QueueError | LedgerError]
    upgrades: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


@value
class _Call:
    """One piece of work on the way to the thread. It may run twice, so it changes nothing but the database."""

    work: Work[Any]
    write: bool
    durable: bool
    future: Future[Any]


class Database:
    """A SQLite file of ours, open. Raises the schema's error, with path and advice, for whatever SQLite refuses."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path = path.absolute()  # a relative one could be read as ":memory:"
        self._schema = schema
        # Holds at most one call for each task that waits, so the tasks bound it.
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._closed = False
        self._ended: Future[None] = Future()
        self._synchronous = ""

    @classmethod
    async def open(cls, path: Path, schema: Schema) -> Database:
        """The file at `path`, created where there is none. Refuses files that are not of this kind or too new."""
        database = cls(path, schema)
        ready: Future[None] = Future()
        name = f"dth-{schema.name}"
        # A daemon, because a forgotten `close` must not keep the process alive: WAL survives a death at any point.
        threading.Thread(target=database._serve, args=(ready,), name=name, daemon=True).start()
        await asyncio.wrap_future(ready)
        return database

    async def read(self, work: Work[T]) -> T:
        """What `work` returns, on one consistent snapshot and without waiting for writers."""
        return await self._submit(work, write=False, durable=False)

    async def write(self, work: Work[T], *, durable: bool) -> T:
        """What `work` returns, once it is committed whole; nothing of it is where it raises.

        Cancelling before it began prevents it; later it is completed, and nobody learns the result.
        """
        return await self._submit(work, write=True, durable=durable)

    async def close(self) -> None:
        """Finish what was asked for, then let go of the file. Repeating it is no error."""
        if not self._closed:
            self._closed = True
            self._calls.put(None)
        await asyncio.wrap_future(self._ended)

    async def _submit(self, work: Work[T], *, write: bool, durable: bool) -> T:
        if self._closed:
            raise self._schema.error(f"{self._schema.name} {self.path}: used after it was closed")
        future: Future[T] = Future()
        self._calls.put(_Call(work, write, durable, future))
        return await asyncio.wrap_future(future)

    # On the thread

    def _serve(self, ready: Future[None]) -> None:
        try:
            connection = self._connect()
        except (sqlite3.Error, OSError, DthError) as error:
            self._closed = True
            self._ended.set_result(None)
            ready.set_exception(self._translated(error))
            return
        ready.set_result(None)
        try:
            while self._serve_group(connection):
                pass
        finally:
            connection.close()
            self._ended.set_result(None)

    def _serve_group(self, connection: sqlite3.Connection) -> bool:
        """Run all calls that wait; writes and reads apart, so that reads need no lock. False at the end."""
        group: list[_Call] = []
        call = self._calls.get()
        while call is not None:
            if call.future.set_running_or_notify_cancel():
                group.append(call)
            if len(group) >= _GROUP or self._calls.empty():
                break
            call = self._calls.get()
        self._transact(connection, [each for each in group if each.write])
        self._transact(connection, [each for each in group if not each.write])
        return call is not None

    def _transact(self, connection: sqlite3.Connection, calls: list[_Call]) -> None:
        if not calls:
            return
        try:
            results = self._commit(connection, calls)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the callers, not to this thread
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if len(calls) == 1 or _code(error) in _LOCKED:  # the others would wait for the same lock as long again
                for call in calls:
                    call.future.set_exception(self._translated(error))
            else:  # one call's error is not its neighbours': each again, alone
                for call in calls:
                    self._transact(connection, [call])
            return
        for call, result in zip(calls, results, strict=True):
            call.future.set_result(result)

    def _commit(self, connection: sqlite3.Connection, calls: list[_Call]) -> list[Any]:
        # IMMEDIATE takes the lock at the start: a reader that turns writer half-way could only fail.
        begin = "BEGIN"
        if calls[0].write:
            begin = "BEGIN IMMEDIATE"
            synchronous = "FULL" if any(call.durable for call in calls) else "NORMAL"
            if synchronous != self._synchronous:
                connection.execute(f"PRAGMA synchronous = {synchronous}")
                self._synchronous = synchronous
        connection.execute(begin)
        results = [call.work(connection) for call in calls]
        connection.execute("COMMIT")
        return results

    def _connect(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            oldest = ".".join(map(str, OLDEST_SQLITE))
            raise self._schema.error(
                f"SQLite {oldest} or newer is needed, this Python has {sqlite3.sqlite_version}; use another Python build"
            )
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            _make_private(self.path)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                self._prepare(connection)
            except BaseException as error:
                connection.close()
                # Switching a new file to WAL can fail at once, without the timeout, while others do the same.
                if _code(error) not in _LOCKED or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN")  # one snapshot: another process may be creating the file right now
        self._is_new(connection)  # before anything is written into a file that is not ours
        connection.execute("COMMIT")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise self._schema.error(
                f"{self._schema.name} {self.path}: no write-ahead log possible there; choose a local file system"
            )
        connection.execute("PRAGMA journal_size_limit = 67108864")  # bytes that the log keeps after a busy hour
        connection.execute("PRAGMA fullfsync = ON")  # macOS: through the drive's cache; elsewhere without effect
        connection.execute("BEGIN IMMEDIATE")
        if self._is_new(connection):  # again, under the lock: another process may have been first
            for statement in self._schema.statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {self._schema.application_id}")
        else:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            for older in range(version, self._schema.version):
                for statement in self._schema.upgrades[older]:
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {self._schema.version}")
        connection.execute("COMMIT")

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        """Whether the file is empty; False for one of ours. Raises for every other."""
        schema = self._schema
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application_id == 0 and version == 0:
            if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                return True
        elif application_id == schema.application_id:
            if version > schema.version:
                raise schema.error(
                    f"{schema.name} {self.path}: written by a newer dth (format {version}, this one knows up to "
                    f"{schema.version}); update dth, or name another path"
                )
            return False
        raise schema.error(f"{schema.name} {self.path}: this file is no {schema.name} of dth; name another path")

    def _translated(self, error: BaseException) -> BaseException:
        """SQLite's and the system's errors become the schema's; ours, and bugs, stay what they are."""
        if not isinstance(error, (sqlite3.Error, OSError)):
            return error
        hint = _HINTS.get(_code(error), "")
        translated = self._schema.error(f"{self._schema.name} {self.path}: {error}" + (f": {hint}" if hint else ""))
        translated.__cause__ = error
        return translated


def _make_private(path: Path) -> None:
    """A new file is its owner's alone: SQLite would leave the mode to the umask. Its log gets the mode of the file.

    One that is there is not opened here: closing it would end the locks of other connections of this process
    (https://sqlite.org/howtocorrupt.html). What is wrong otherwise, SQLite says with its own code.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a link, and what it leads to may be somebody's", str(path))
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _code(error: BaseException) -> int:
    """SQLite's primary result code, 0 where there is none: extended ones keep it in their low byte."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF

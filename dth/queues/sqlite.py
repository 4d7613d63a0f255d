"""The embedded queue: messages in one SQLite file, shared by the processes of one machine.

A message is a small row that says when it is visible, beside its body in another table, so that leasing and extending
write a few bytes and not the body again. One column serves waiting, leases and delays: a message is visible from
`visible_at` on. A lease is proved by a random number that is new with every delivery.

What a power cut may take (see `dth.database`): leases, acknowledgements and releases, because losing those means one
delivery more. Never what `send` or `bury` have returned from: the finder seals its totals in another file, and an
outcome's remainder is acknowledged on the strength of it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from dth.database import Database, Schema
from dth.errors import QueueError
from dth.queues.base import DeadLetter, Delivery, QueueDepth, worn_out

LONGEST_LEASE_SECONDS = 12 * 3600  # SQS's own cap; what lies further ahead was written under a clock that was wrong
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.01, 0.1

_SCHEMA = Schema(
    name="queue",
    application_id=int.from_bytes(b"dthQ"),
    version=1,
    statements=(
        """CREATE TABLE messages (
            id INTEGER PRIMARY KEY,
            visible_at REAL NOT NULL,
            deliveries INTEGER NOT NULL,
            owner TEXT,
            lease INTEGER
        ) STRICT""",
        "CREATE INDEX messages_by_visibility ON messages (visible_at)",
        "CREATE TABLE bodies (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT",
        """CREATE TABLE dead (
            id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: a receipt must not hit a later letter
            body TEXT NOT NULL,
            reason TEXT NOT NULL,
            buried_at REAL NOT NULL
        ) STRICT""",
    ),
    error=QueueError,
)
_ANY_VISIBLE = "SELECT EXISTS (SELECT 1 FROM messages WHERE visible_at <= ?)"
_LEASE = """
    UPDATE messages
    SET visible_at = :until, deliveries = deliveries + 1, owner = :owner, lease = random() & 0x7fffffffffffffff
    WHERE id IN (SELECT id FROM messages WHERE visible_at <= :now ORDER BY visible_at, id LIMIT :limit)
    RETURNING id, lease, deliveries, (SELECT body FROM bodies WHERE bodies.id = messages.id)
"""
_BURY = "INSERT INTO dead (body, reason, buried_at) VALUES (?, ?, ?)"


class SqliteQueue:
    """A queue in a file. `send` is atomic: all bodies of a call, or none; the longest visible are received first.

    A lease that ran out but that nobody else took since may still be extended and acknowledged: after a laptop slept,
    its work goes on. A message delivered `receive_limit` times without an end goes to the dead letters.
    """

    def __init__(
        self,
        database: Database,
        *,
        owner: str,
        lease_seconds: float,
        message_bytes: int,
        receive_limit: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._message_bytes = message_bytes
        self._receive_limit = receive_limit
        self._clock = clock  # the wall's, because several processes and restarts share it

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        owner: str,
        lease_seconds: float,
        message_bytes: int,
        receive_limit: int,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """The queue in the file at `path`, created where there is none. `owner` names this process to `reclaim`."""
        database = await Database.open(path, _SCHEMA)
        opened = cls(
            database,
            owner=owner,
            lease_seconds=lease_seconds,
            message_bytes=message_bytes,
            receive_limit=receive_limit,
            clock=clock,
        )
        try:
            await opened._heal_clock()
        except BaseException:
            await database.close()
            raise
        return opened

    @property
    def message_bytes(self) -> int:
        """Largest body."""
        return self._message_bytes

    async def send(self, bodies: Sequence[str]) -> None:
        """All bodies in one durable transaction. What cannot be a message (too large, no text) is left out and named
        by a QueueError whose `failed` holds its positions; the rest was sent."""
        refused = {index: why for index, body in enumerate(bodies) if (why := self._refusal(body))}
        accepted = [body for index, body in enumerate(bodies) if index not in refused]

        def work(connection: sqlite3.Connection) -> None:
            now = self._clock()
            # At least the time in microseconds: an id must not come again when its message is gone.
            statement = "SELECT max(coalesce(max(id), 0) + 1, ?) FROM messages"
            first = connection.execute(statement, (int(now * 1e6),)).fetchone()[0]
            connection.executemany("INSERT INTO bodies VALUES (?, ?)", enumerate(accepted, first))
            connection.executemany(
                "INSERT INTO messages VALUES (?, ?, 0, NULL, NULL)",
                ((number, now) for number in range(first, first + len(accepted))),
            )

        if accepted:
            await self._database.write(work, durable=True)
        if refused:
            position, why = next(iter(refused.items()))
            raise QueueError(
                f"{len(refused)} of {len(bodies)} messages were not sent; number {position} {why}",
                failed=tuple(map(str, refused)),
            )

    async def receive(self, limit: int, wait_seconds: float) -> list[Delivery]:
        """Up to `limit` messages, the longest visible first. Looks with a read that hinders nobody, and takes the
        write lock only where there is something to lease; between looks it sleeps."""
        if limit <= 0:
            return []
        deadline = time.monotonic() + wait_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            if await self._database.read(self._any_visible):
                deliveries = await self._database.write(
                    lambda connection: self._lease(connection, limit), durable=False
                )
                if deliveries:
                    return deliveries
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)

    async def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> list[Delivery]:
        """Let the leases run `lease_seconds` from now. Returns those that another delivery or a reclaim has ended."""

        def work(connection: sqlite3.Connection) -> list[Delivery]:
            until = self._clock() + lease_seconds
            statement = "UPDATE messages SET visible_at = ? WHERE id = ? AND lease = ?"
            return [each for each in deliveries if not connection.execute(statement, (until, *_proof(each))).rowcount]

        return await self._database.write(work, durable=False) if deliveries else []

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Remove the messages, in one transaction, except where the lease is another's by now."""

        def work(connection: sqlite3.Connection) -> None:
            for each in deliveries:
                number, lease = _proof(each)
                removed = connection.execute("DELETE FROM messages WHERE id = ? AND lease = ?", (number, lease))
                if removed.rowcount:
                    connection.execute("DELETE FROM bodies WHERE id = ?", (number,))

        if deliveries:
            await self._database.write(work, durable=False)

    async def release(self, deliveries: Sequence[Delivery], delay_seconds: float = 0.0) -> None:
        """Give back, visible again after `delay_seconds`, except where the lease is another's by now."""

        def work(connection: sqlite3.Connection) -> None:
            visible_at = self._clock() + delay_seconds
            connection.executemany(
                "UPDATE messages SET visible_at = ?, owner = NULL, lease = NULL WHERE id = ? AND lease = ?",
                [(visible_at, *_proof(each)) for each in deliveries],
            )

        if deliveries:
            await self._database.write(work, durable=False)

    async def bury(self, bodies: Sequence[tuple[str, str]]) -> None:
        """Put (body, reason) pairs into the dead letters, durably. What UTF-8 cannot hold is kept as escapes."""

        def work(connection: sqlite3.Connection) -> None:
            now = self._clock()
            connection.executemany(_BURY, [(_storable(body), _storable(reason), now) for body, reason in bodies])

        if bodies:
            await self._database.write(work, durable=True)

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """The oldest dead letters; they stay until forgotten, and may be looked at again."""

        def work(connection: sqlite3.Connection) -> list[DeadLetter]:
            rows = connection.execute("SELECT id, body, reason FROM dead ORDER BY id LIMIT ?", (max(limit, 0),))
            return [DeadLetter(body, reason, str(number)) for number, body, reason in rows]

        return await self._database.read(work)

    async def forget(self, letters: Sequence[DeadLetter]) -> None:
        """Remove dead letters. One that is gone already is no error."""
        numbers = [(int(letter.receipt),) for letter in letters]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM dead WHERE id = ?", numbers)

        if numbers:
            await self._database.write(work, durable=False)

    async def depth(self) -> QueueDepth:
        """Exact counts of one moment. A message that waits for its delay to end counts as visible."""

        def work(connection: sqlite3.Connection) -> QueueDepth:
            now = self._clock()
            every, leased, dead, oldest = connection.execute(
                """SELECT (SELECT count(*) FROM messages),
                          (SELECT count(*) FROM messages WHERE visible_at > :now AND lease IS NOT NULL),
                          (SELECT count(*) FROM dead),
                          (SELECT min(id) FROM messages WHERE visible_at <= :now)""",
                {"now": now},
            ).fetchone()
            waited = max(now - oldest / 1e6, 0.0) if oldest else None  # ids are times, see `send`
            return QueueDepth(visible=every - leased, leased=leased, dead=dead, exact=True, oldest_seconds=waited)

        return await self._database.read(work)

    async def reclaim(self, owner: str | None = None) -> int:
        """End the leases of `owner` (of everyone: None) at once; returns how many."""

        def work(connection: sqlite3.Connection) -> int:
            now = self._clock()
            return connection.execute(
                """UPDATE messages SET visible_at = :now, owner = NULL, lease = NULL
                   WHERE visible_at > :now AND lease IS NOT NULL AND (:owner IS NULL OR owner = :owner)""",
                {"now": now, "owner": owner},
            ).rowcount

        return await self._database.write(work, durable=False)

    async def owners(self) -> set[str]:
        """Who holds a lease."""
        held = "SELECT DISTINCT owner FROM messages WHERE visible_at > ? AND lease IS NOT NULL"
        now = self._clock()
        return await self._database.read(lambda connection: {row[0] for row in connection.execute(held, (now,))})

    async def close(self) -> None:
        """Let go of the file. Leases stay until they end: `reclaim` frees them at once."""
        await self._database.close()

    def _refusal(self, body: str) -> str:
        """Why this cannot be a message, "" where it can."""
        try:
            size = len(body) if body.isascii() else len(body.encode())
        except UnicodeEncodeError:
            return "is no text that UTF-8 can hold"
        return f"has {size} bytes, {self._message_bytes} are allowed" if size > self._message_bytes else ""

    def _any_visible(self, connection: sqlite3.Connection) -> bool:
        return bool(connection.execute(_ANY_VISIBLE, (self._clock(),)).fetchone()[0])

    def _lease(self, connection: sqlite3.Connection, limit: int) -> list[Delivery]:
        leased_at, now = time.monotonic(), self._clock()  # in this order: our idea of the lease ends first
        values = {"until": now + self._lease_seconds, "owner": self._owner, "now": now, "limit": limit}
        deliveries: list[Delivery] = []
        for number, lease, count, body in sorted(connection.execute(_LEASE, values).fetchall()):
            if count > self._receive_limit:
                connection.execute(_BURY, (body, worn_out(self._receive_limit), now))
                connection.execute("DELETE FROM messages WHERE id = ?", (number,))
                connection.execute("DELETE FROM bodies WHERE id = ?", (number,))
            else:
                deliveries.append(
                    Delivery(
                        body, f"{number}-{lease}", count, leased_at, self._lease_seconds, str(number), number / 1e6
                    )
                )
        return deliveries

    async def _heal_clock(self) -> None:
        """Show messages again that a clock, wrong and later set back, would hide for days or years."""
        now = self._clock()
        parameters = (now, now + LONGEST_LEASE_SECONDS)
        find = "SELECT EXISTS (SELECT 1 FROM messages WHERE visible_at > ?)"
        if await self._database.read(lambda connection: bool(connection.execute(find, parameters[1:]).fetchone()[0])):
            heal = "UPDATE messages SET visible_at = ?, owner = NULL, lease = NULL WHERE visible_at > ?"
            await self._database.write(lambda connection: connection.execute(heal, parameters).rowcount, durable=False)


def _proof(delivery: Delivery) -> tuple[int, int]:
    """A receipt's message and lease."""
    number, _, lease = delivery.receipt.partition("-")
    return int(number), int(lease)


def _storable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()

"""Sessions, one-time links and notes in the hub's database."""

from __future__ import annotations

from dth.database import Database


class SqliteKeep:
    """See `login.Keep`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_token(self, hashed: str, until: float) -> None:
        """See `login.Keep`."""
        await self._database.write(
            lambda db: db.execute("INSERT INTO tokens VALUES (?, ?)", (hashed, until)), durable=False
        )

    async def use_token(self, hashed: str, now: float) -> bool:
        """See `login.Keep`."""

        def work(db: object) -> bool:
            row = db.execute("DELETE FROM tokens WHERE hash = ? RETURNING until", (hashed,)).fetchone()  # type: ignore[attr-defined]
            db.execute("DELETE FROM tokens WHERE until < ?", (now,))  # type: ignore[attr-defined]
            return bool(row and row[0] > now)

        return await self._database.write(work, durable=True)

    async def add_session(self, hashed: str, who: str, until: float) -> None:
        """See `login.Keep`."""
        await self._database.write(
            lambda db: db.execute("INSERT INTO sessions VALUES (?, ?, ?)", (hashed, who, until)), durable=False
        )

    async def session(self, hashed: str) -> tuple[str, float] | None:
        """See `login.Keep`."""
        row = await self._database.read(
            lambda db: db.execute("SELECT who, until FROM sessions WHERE hash = ?", (hashed,)).fetchone()
        )
        return (str(row[0]), float(row[1])) if row else None

    async def extend_session(self, hashed: str, until: float) -> None:
        """See `login.Keep`."""
        await self._database.write(
            lambda db: db.execute("UPDATE sessions SET until = ? WHERE hash = ?", (until, hashed)), durable=False
        )

    async def end_session(self, hashed: str) -> None:
        """See `login.Keep`."""
        await self._database.write(
            lambda db: db.execute("DELETE FROM sessions WHERE hash = ? OR until < unixepoch()", (hashed,)), durable=True
        )

    async def note(self, name: str) -> str:
        """See `login.Keep`."""
        row = await self._database.read(
            lambda db: db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        )
        return str(row[0]) if row else ""

    async def set_note(self, name: str, value: str) -> None:
        """Keep a text."""
        await self._database.write(
            lambda db: db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value)), durable=True
        )

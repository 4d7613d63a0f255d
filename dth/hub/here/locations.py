"""Locations that tasks use, each once, with the tasks that use it and what its last check said."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from dth.database import Database
from dth.hub import forms
from dth.hub.base import Saved
from dth.hub.here.answers import CHECKED
from dth.hub.states import TaskType

MOST = 1000  # places in one answer; whoever has more looks for tasks instead


class SqliteLocations:
    """See `base.Locations`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Sequence[Saved]:
        """See `base.Locations`."""
        return await self._database.read(_all)


def _all(db: sqlite3.Connection) -> list[Saved]:
    users: dict[tuple[str, ...], list[str]] = {}
    kind = TaskType.S3EC2.value
    for task_id, text in db.execute("SELECT id, settings FROM tasks WHERE type = ? ORDER BY updated_at DESC", (kind,)):
        settings = json.loads(text)
        for side in ("src", "dest"):
            if settings.get(f"{side}_bucket"):
                users.setdefault((side, *forms.place_of(side, settings)), []).append(task_id)
    checks = {
        tuple(json.loads(name.removeprefix(CHECKED))): json.loads(value)
        for name, value in db.execute("SELECT name, value FROM notes WHERE name GLOB ?", (f"{CHECKED}*",))
    }
    for place in checks:
        users.setdefault(place, [])
    return [_saved(place, tasks, checks.get(place)) for place, tasks in list(users.items())[:MOST]]


def _saved(place: tuple[str, ...], tasks: Sequence[str], check: dict[str, Any] | None) -> Saved:
    side, values = place[0], dict(zip(forms.PLACE, place[1:], strict=True))
    return Saved(side, {f"{side}_{name}": value for name, value in values.items() if value}, tasks, check)

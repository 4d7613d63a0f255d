"""Plans and checks: questions to the engine that take a while, asked in processes of their own."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from dth.database import Database
from dth.hub import forms
from dth.hub.base import Answer, TaskRow
from dth.hub.here import processes
from dth.hub.here.folder import HubFolder, remove
from dth.hub.here.output import read_events
from dth.hub.here.processes import Life
from dth.hub.here.reckoning import KINDS, Reckoning
from dth.hub.states import PlanState, TaskType

KEPT_SECONDS = 24 * 3600.0
CHECKED = "checked:"  # begins the names of notes about the last check of a place
LONGEST_SECONDS = 6 * 3600.0


class Answers:
    """Starts them, reads what they find, keeps the answers for a day."""

    def __init__(self, database: Database, folder: HubFolder) -> None:
        self._database = database
        self._folder = folder

    async def plan(self, task: TaskRow) -> Answer:
        """A dry run of these settings."""
        answer_id = str(uuid.uuid4())
        job = self._folder.answer(answer_id) / "job.json"
        verb = "ecr-sync" if task.type is TaskType.ECR else "sync"
        settings = {**task.settings}
        self._folder.write_job(job, settings)
        reckoning = KINDS["plan"](bandwidth=int(_size(settings.get("bandwidth", "")) or 0))
        return await self._begin(answer_id, "plan", reckoning, [verb, "--job", str(job), "--dry-run", "--json"])

    async def check(self, side: str, settings: Mapping[str, str], *, write: bool) -> Answer:
        """A probe of one location."""
        answer_id = str(uuid.uuid4())
        job = self._folder.answer(answer_id) / "job.json"
        spelt = {"source": "src", "destination": "dest"}[side]
        names = ("bucket", "prefix")
        place = f"s3://{settings.get(f'{spelt}_bucket', '')}/{settings.get(f'{spelt}_prefix', '')}"
        own = {name: value for name, value in settings.items() if name.partition("_")[2] not in names}
        self._folder.write_job(job, own)
        arguments = ["probe", "--side", side, "--job", str(job), "--json", *(["--write"] if write else []), "--", place]
        reckoning = KINDS["check"](
            side=spelt,
            bucket=settings.get(f"{spelt}_bucket", ""),
            policy=forms.policy_of(settings),
            place=json.dumps([spelt, *forms.place_of(spelt, settings)]),
        )
        return await self._begin(answer_id, "check", reckoning, arguments)

    async def _begin(self, answer_id: str, kind: str, reckoning: Reckoning, arguments: list[str]) -> Answer:
        body = json.dumps(reckoning.to_json())
        made = time.time()
        await self._database.write(
            lambda db: db.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?, 0, ?)", (answer_id, kind, PlanState.LISTING.value, made, body)
            ),
            durable=False,
        )
        folder = self._folder.answer(answer_id)
        processes.start(folder / "1", arguments, folder / "output.jsonl", folder / "errors.txt")
        return Answer(answer_id, PlanState.LISTING, {"id": answer_id, "state": "LISTING", **reckoning.fields()})

    async def get(self, answer_id: str) -> Answer | None:
        """The answer as far as it is known; None where there is none, or it is too old."""
        row = await self._database.read(
            lambda db: db.execute("SELECT kind, state, fields FROM answers WHERE id = ?", (answer_id,)).fetchone()
        )
        if row is None:
            return None
        reckoning = KINDS[row[0]].from_json(json.loads(row[2]))
        return Answer(answer_id, PlanState(row[1]), {"id": answer_id, "state": row[1], **reckoning.fields()})

    async def tick(self) -> None:
        """Read on in all that are under way; forget old ones."""
        rows = await self._database.read(
            lambda db: db.execute(
                "SELECT id, kind, position, fields, made_at FROM answers WHERE state = ?", (PlanState.LISTING.value,)
            ).fetchall()
        )
        for row in rows:
            await self._look_at(*row)
        await self._forget()

    async def _look_at(self, answer_id: str, kind: str, position: int, body: str, made_at: float) -> None:
        reckoning = KINDS[kind].from_json(json.loads(body))
        folder = self._folder.answer(answer_id)
        standing = processes.look(folder / "1")
        if standing.life is Life.COMING and processes.is_late(folder / "1"):
            standing = processes.take_back(folder / "1")
        if time.time() - made_at > LONGEST_SECONDS:
            processes.ask_to_end(standing)
        before = position
        async for events, read in read_events(folder / "output.jsonl", position):
            for event in events:
                reckoning.take(event)
            position = read
        over = standing.life in {Life.ENDED, Life.DEAD}
        if position == before and not over:
            return
        state = PlanState.LISTING
        if over:
            state = PlanState.READY if reckoning.is_good(standing.exit_code) else PlanState.FAILED
            if state is PlanState.FAILED and not reckoning.error:
                reckoning.error = "it ended without a reason; see the hub's folder"
        text = json.dumps(reckoning.to_json())
        place = getattr(reckoning, "place", "") if over else ""
        check = {"id": answer_id, "state": state.value, "at": time.time(), "ok": is_fine(reckoning)} if place else {}

        def work(db: Any) -> None:
            change = "UPDATE answers SET state = ?, position = ?, fields = ? WHERE id = ?"
            db.execute(change, (state.value, position, text, answer_id))
            if place:  # kept for longer than the answer
                db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (CHECKED + place, json.dumps(check)))

        await self._database.write(work, durable=False)

    async def _forget(self) -> None:
        oldest = time.time() - KEPT_SECONDS

        def work(db: Any) -> list[str]:
            ids = [row[0] for row in db.execute("SELECT id FROM answers WHERE made_at < ? LIMIT 20", (oldest,))]
            db.executemany("DELETE FROM answers WHERE id = ?", [(one,) for one in ids])
            return ids

        old = await self._database.read(
            lambda db: db.execute("SELECT 1 FROM answers WHERE made_at < ? LIMIT 1", (oldest,)).fetchone()
        )
        for answer_id in await self._database.write(work, durable=False) if old else []:
            remove(self._folder.answer(answer_id))


def is_fine(reckoning: Reckoning) -> bool:
    """Whether a check found nothing that is missing."""
    findings = reckoning.fields().get("findings", ())
    return not reckoning.error and all(one["ok"] for one in findings)


def _size(text: str) -> int:
    from dth.settings import parse_size  # noqa: PLC0415

    return int(str(parse_size(text))) if text else 0

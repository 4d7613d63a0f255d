"""The schema's root fields, each with the function that answers it: `resolve(args, who, wanted)`. Nothing else knows the
names of GraphQL."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from time import time
from typing import Any

from dth.hub import forms, shapes
from dth.hub.base import Answer, Hub, LogQuery, RecordQuery, Refused, RunRow, TaskQuery, TaskRow, Who
from dth.hub.kept import Kept
from dth.hub.original import Original
from dth.hub.schedule import parse_schedule
from dth.hub.serve import Table
from dth.hub.states import LogLevel, RunKind, SeriesName, TaskSort, TaskState, TaskType
from dth.hub.wanted import Wanted
from dth.stores.providers import PROFILES
from dth.text import is_unicode

Args = Mapping[str, Any]
DEMO_TASK = "00000000-0000-4000-8000-64746864656d"
MAX_NAME = 200
MAX_DESCRIPTION = 250
REGIONS = (
    "us-east-1", "us-east-2", "us-west-1", "us-west-2", "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1",
    "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3",
    "ap-southeast-4", "ap-southeast-5", "ap-southeast-7", "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2",
    "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "eusc-de-east-1", "il-central-1",
    "me-central-1", "me-south-1", "mx-central-1", "sa-east-1", "us-gov-east-1", "us-gov-west-1", "cn-north-1",
    "cn-northwest-1",
)  # fmt: skip


def table(hub: Hub) -> Table:
    """All of them."""
    return {**Questions(hub).table(), **Kept(hub).table(), **Changes(hub).table(), **Original(hub).table()}


class _Part:
    """What both halves need."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def _shown(self, row: TaskRow, wanted: Wanted) -> dict[str, Any]:
        latest = (await self._hub.tasks.latest([row.latest_run])).get(row.latest_run)
        return shapes.task(row, latest, wanted)


class Questions(_Part):
    """Queries of our own."""

    def table(self) -> Table:
        """Field to function."""
        return {
            ("Query", "hub"): self.hub,
            ("Query", "settings"): self.settings,
            ("Query", "tasks"): self.tasks,
            ("Query", "run"): self.run,
            ("Query", "plan"): self.answer,
            ("Query", "check"): self.answer,
            ("Query", "records"): self.records,
            ("Query", "story"): self.story,
            ("Query", "series"): self.series,
            ("Query", "logs"): self.logs,
        }

    async def hub(self, _args: Args, who: Who, wanted: Wanted) -> dict[str, Any]:
        """Who one is, and what this hub can do."""
        provider = wanted.arguments("regions").get("provider", "")
        return {
            "kind": self._hub.kind,
            "version": self._hub.version,
            "user": who.name,
            "canWrite": who.can_write,
            "demo": self._hub.demo is not None and self._hub.demo.there(),
            "region": self._hub.region or None,
            "regions": list(REGIONS) if provider in {"Amazon_S3", "Amazon_ECR"} else [],
            "providers": [
                {
                    "name": name,
                    "label": name.replace("_", " "),
                    "endpointNeeded": not one.endpoint and name != "Amazon_S3",
                    "notes": [],
                }
                for name, one in PROFILES.items()
            ],
            "pollSeconds": self._hub.poll_seconds,
        }

    async def settings(self, args: Args, _who: Who, _wanted: Wanted) -> list[dict[str, Any]]:
        """The catalogue for forms."""
        return forms.panels(TaskType(args["type"]))

    async def tasks(self, args: Args, _who: Who, wanted: Wanted) -> dict[str, Any]:
        """A page of tasks."""
        chosen = args.get("filter") or {}
        query = TaskQuery(
            states=tuple(TaskState(state) for state in chosen.get("states") or ()),
            type=TaskType(chosen["type"]) if chosen.get("type") else None,
            text=chosen.get("text") or "",
            bucket=chosen.get("bucket") or "",
            sort=TaskSort(args.get("sort") or TaskSort.CREATED_DESC),
            limit=args.get("limit") or 50,
            after=args.get("after") or "",
        )
        found = await self._hub.tasks.page(query)
        latest: Mapping[str, RunRow] = {}
        if {"items/latest", "items/workers", "items/queue", "items/problems", "items/progressInfo"} & set(wanted.paths):
            latest = await self._hub.tasks.latest([row.latest_run for row in found.items])
        items = [shapes.task(row, latest.get(row.latest_run), wanted, "items/") for row in found.items]
        counts = [{"name": name, "label": name.lower(), "count": count} for name, count in found.counts.items()]
        return {"items": items, "after": found.after or None, "total": found.total, "counts": counts}

    async def run(self, args: Args, _who: Who, _wanted: Wanted) -> dict[str, Any] | None:
        """One run."""
        row = await self._hub.tasks.run(args["id"])
        return shapes.run(row) if row else None

    async def answer(self, args: Args, _who: Who, _wanted: Wanted) -> Mapping[str, Any] | None:
        """A plan or a check."""
        found = await self._hub.launcher.answer(args["id"])
        return found.fields if found else None

    async def records(self, args: Args, _who: Who, _wanted: Wanted) -> dict[str, Any]:
        """What became of objects."""
        query = RecordQuery(
            task_id=(await self._hub.task(args["taskId"])).id,
            run_id=args.get("runId") or "",
            outcomes=tuple(args.get("outcomes") or ()),
            code=args.get("code") or "",
            prefix=args.get("prefix") or "",
            limit=args.get("limit") or 100,
            after=args.get("after") or "",
        )
        return shapes.page(await self._hub.records.page(query), lambda one: one)

    async def story(self, args: Args, _who: Who, _wanted: Wanted) -> Mapping[str, Any]:
        """All about one key."""
        return await self._hub.records.story(await self._hub.task(args["taskId"]), args["key"])

    async def series(self, args: Args, _who: Who, _wanted: Wanted) -> list[dict[str, Any]]:
        """Figures over time."""
        names = [SeriesName(name) for name in args["names"]]
        row = await self._hub.task(args["taskId"])
        start, end = _moment(args.get("from")), _moment(args.get("to"))
        found = await self._hub.samples.series(row.id, names, start, end, args.get("points") or 120)
        return [shapes.series(one) for one in found]

    async def logs(self, args: Args, _who: Who, _wanted: Wanted) -> dict[str, Any]:
        """What processes said."""
        query = LogQuery(
            task_id=(await self._hub.task(args["taskId"])).id,
            process=args.get("process") or "",
            level=LogLevel(args["level"]) if args.get("level") else None,
            contains=args.get("contains") or "",
            limit=args.get("limit") or 200,
            after=args.get("after") or "",
        )
        found, streaming = await self._hub.logs.page(query)
        return {**shapes.page(found, shapes.log_line), "streaming": streaming}


class Changes(_Part):
    """Mutations of our own."""

    def table(self) -> Table:
        """Field to function."""
        return {
            ("Mutation", "checkLocation"): self.check,
            ("Mutation", "planTask"): self.plan,
            ("Mutation", "saveTask"): self.save,
            ("Mutation", "runTask"): self.run,
            ("Mutation", "startDemo"): self.demo,
            ("Mutation", "pauseTask"): self.pause,
            ("Mutation", "resumeTask"): self.resume,
            ("Mutation", "limitTask"): self.limit,
            ("Mutation", "verifyTask"): self.verify,
            ("Mutation", "redriveTask"): self.redrive,
            ("Mutation", "deleteTask"): self.delete,
            ("Mutation", "saveCredential"): self.credential,
        }

    async def check(self, args: Args, who: Who, _wanted: Wanted) -> Mapping[str, Any]:
        """Begin to ask a location what it can do."""
        given = args["input"]
        if given["side"] not in {"source", "destination"}:
            raise Refused("bad_request", "side is source or destination")
        settings, _ = forms.read_settings(TaskType.S3EC2, _pairs(given["values"]))
        forms.checked_place(given["side"], settings, who, confined=self._hub.confined)
        return (await self._hub.launcher.check(given["side"], settings, write=bool(given.get("write")))).fields

    async def plan(self, args: Args, who: Who, _wanted: Wanted) -> Mapping[str, Any]:
        """Begin to find out what a task would do."""
        row = self._read(args["input"], who, None)
        answer: Answer = await self._hub.launcher.plan(row)
        return answer.fields

    def _read(self, given: Args, who: Who, there: TaskRow | None) -> TaskRow:
        """A task from a form, its settings checked."""
        kind = TaskType(given["type"])
        settings, extras = forms.read_settings(kind, _pairs(given["settings"]))
        forms.checked(kind, settings, who, confined=self._hub.confined)
        schedule = " ".join((given.get("schedule") or "").split())
        parse_schedule(schedule)
        name, description = (given.get("name") or "").strip(), given.get("description") or ""
        if len(name) > MAX_NAME or len(description) > MAX_DESCRIPTION:
            raise Refused("settings", f"a name has {MAX_NAME} characters at most, a description {MAX_DESCRIPTION}")
        if not is_unicode(name + description):
            raise Refused("settings", "a name and a description are whole Unicode characters")
        base = there or TaskRow(id=str(uuid.uuid4()), type=kind)
        if base.type is not kind:
            raise Refused("settings", "a task's type cannot be changed", "make a new task")
        return replace(
            base,
            name=name,
            description=description,
            settings=settings,
            extras=forms.kept_extras(base.extras, extras, settings, same_schedule=schedule == base.schedule),
            schedule=schedule,
        )

    async def save(self, args: Args, who: Who, wanted: Wanted) -> dict[str, Any]:
        """Add or change a task, and run it unless that is not wanted. One that is under way is only changed: its next run
        has the new settings."""
        there = await self._hub.task(args["id"]) if args.get("id") else None
        row = self._read(args["input"], who, there)
        if there is None or row.schedule != there.schedule:
            schedule = parse_schedule(row.schedule)
            row = replace(row, next_run_at=schedule.next(time()) if schedule and _follows(there, args) else None)
        if row.state in {TaskState.DRAFT, TaskState.DONE, TaskState.WAITING} and args.get("run"):
            row = replace(row, state=TaskState.WAITING if row.next_run_at else _rest(row))
        saved = await self._hub.tasks.save(row, args.get("revision"))
        if args.get("run") and _starts(saved, there):
            await self._hub.launcher.start(saved, RunKind.SYNC, {})
            saved = await self._hub.task(saved.id)
        return await self._shown(saved, wanted)

    async def run(self, args: Args, _who: Who, _wanted: Wanted) -> dict[str, Any]:
        """Start it now."""
        row = await self._hub.task(args["id"])
        options = {"plan": args.get("planId") or "", "verify": bool(args.get("verify"))}
        return shapes.run(await self._hub.launcher.start(row, RunKind.SYNC, options))

    async def demo(self, _args: Args, _who: Who, wanted: Wanted) -> dict[str, Any]:
        """Make and run a first task, or run it again."""
        if self._hub.demo is None:
            raise Refused("no_demo", "there are no stores to try things on here")
        settings = await self._hub.demo.settings()
        there = await self._hub.tasks.get(DEMO_TASK)
        row = replace(there or TaskRow(id=DEMO_TASK, type=TaskType.S3EC2, name="First task"), settings=settings)
        if row != there:
            row = await self._hub.tasks.save(row, None)
        await self._hub.launcher.start(row, RunKind.SYNC, {"verify": True, "download": True})
        return await self._shown(await self._hub.task(DEMO_TASK), wanted)

    async def pause(self, args: Args, _who: Who, wanted: Wanted) -> dict[str, Any]:
        """Finish what is in flight, then rest."""
        return await self._shown(await self._hub.launcher.pause(await self._hub.task(args["id"])), wanted)

    async def resume(self, args: Args, _who: Who, wanted: Wanted) -> dict[str, Any]:
        """Go on."""
        return await self._shown(await self._hub.launcher.resume(await self._hub.task(args["id"])), wanted)

    async def limit(self, args: Args, who: Who, wanted: Wanted) -> dict[str, Any]:
        """Change how much it may use."""
        row = await self._hub.task(args["id"])
        bandwidth, workers = args.get("bandwidth"), args.get("workers")
        settings = {**row.settings}
        for name, value in (("bandwidth", bandwidth), ("processes", workers)):
            if value is not None:
                if value < 0 or value != int(value):
                    raise Refused("settings", f"{name} is a whole number, 0 for no limit")
                settings[name] = str(int(value))
        forms.checked(row.type, settings, who, confined=self._hub.confined)
        size = None if bandwidth is None else int(bandwidth)
        return await self._shown(await self._hub.launcher.limit(row, size, workers), wanted)

    async def verify(self, args: Args, _who: Who, _wanted: Wanted) -> dict[str, Any]:
        """Compare both sides, writing nothing."""
        row = await self._hub.task(args["id"])
        return shapes.run(await self._hub.launcher.start(row, RunKind.VERIFY, {"download": bool(args.get("download"))}))

    async def redrive(self, args: Args, _who: Who, _wanted: Wanted) -> dict[str, Any]:
        """Try again what failed."""
        row = await self._hub.task(args["id"])
        options = {"codes": list(args.get("codes") or ()), "run": args.get("runId") or ""}
        return shapes.run(await self._hub.launcher.start(row, RunKind.REDRIVE, options))

    async def delete(self, args: Args, _who: Who, _wanted: Wanted) -> str:
        """Forget it."""
        row = await self._hub.task(args["id"])
        await self._hub.tasks.delete(row.id, keep_records=args.get("keepRecords", True))
        return row.id

    async def credential(self, args: Args, _who: Who, _wanted: Wanted) -> dict[str, Any]:
        """Keep new keys, where there is a place for them."""
        given = args["input"]
        keys = given["accessKeyId"], given["secretAccessKey"]
        await self._hub.credentials.save(given["name"], given.get("description") or "", *keys)
        return {"name": given["name"], "description": given.get("description")}


def _pairs(values: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    return [(one["name"], one["value"]) for one in values]


def _follows(there: TaskRow | None, args: Args) -> bool:
    """Whether a new schedule takes effect at once: not that of a draft, of what is paused, or of what was stopped."""
    if there is None:
        return bool(args.get("run", True))
    return there.state not in {TaskState.PAUSED, TaskState.STOPPED, TaskState.STOPPING, TaskState.DRAFT} or bool(
        args.get("run")
    )


def _rest(row: TaskRow) -> TaskState:
    return row.state if row.state is not TaskState.WAITING else TaskState.DONE


def _starts(saved: TaskRow, there: TaskRow | None) -> bool:
    """A task that is saved and run begins now, unless its schedule says when, or a run is under way."""
    if saved.schedule:
        return False
    busy = {TaskState.STARTING, TaskState.RUNNING, TaskState.PAUSED, TaskState.STOPPING}
    return there is None or saved.state not in busy


def _moment(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise Refused("bad_request", f"{text!r} is no date and time") from None

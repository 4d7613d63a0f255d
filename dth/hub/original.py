"""The nine operations of Data Transfer Hub, answered with its types, so that its clients go on working.

What it shows from CloudFormation, CloudWatch and Step Functions is answered from the run itself, or with nothing: its clients
know empty lists.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from time import time
from typing import Any
from urllib.parse import quote, unquote

from dth.hub import forms, shapes
from dth.hub.base import Hub, LogQuery, Refused, TaskQuery, TaskRow, Who
from dth.hub.schedule import parse_schedule
from dth.hub.serve import Table
from dth.hub.states import PROGRESS, RunKind, SeriesName, TaskState, TaskType
from dth.hub.wanted import Wanted
from dth.text import is_unicode

Args = Mapping[str, Any]
MAX_PAGE = 1000
_NEVER = 253_402_300_799  # the last second of 9999
_ENCODED = ("srcPrefix", "destPrefix", "srcPrefixsListFile")
_GRAPHS: dict[str, tuple[tuple[SeriesName, str], ...]] = {
    "Network": ((SeriesName.BYTES, "CompletedBytes"),),
    "TransferredFailedObjects": ((SeriesName.OBJECTS, "TransferredObjects"), (SeriesName.FAILED, "FailedObjects")),
    "RunningWaitingJobHistory": ((SeriesName.IN_HAND, "RunningJob"), (SeriesName.WAITING, "WaitingJob")),
    "DesiredInServiceInstances": ((SeriesName.WORKERS, "DesiredCapacity"), (SeriesName.WORKERS, "InServiceInstances")),
}


class Original:
    """Its queries and mutations."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def table(self) -> Table:
        """Field to function."""
        return {
            ("Query", "listTasksV2"): self.list_tasks,
            ("Query", "getTask"): self.get_task,
            ("Query", "listSecrets"): self.list_secrets,
            ("Query", "listLogStreams"): self.list_log_streams,
            ("Query", "getLogEvents"): self.get_log_events,
            ("Query", "getMetricHistoryData"): self.metrics,
            ("Query", "getErrorMessage"): self.error_message,
            ("Mutation", "createTask"): self.create_task,
            ("Mutation", "stopTask"): self.stop_task,
        }

    async def list_tasks(self, args: Args, _who: Who, wanted: Wanted) -> dict[str, Any]:
        """Newest first, by page and count; stopped ones only where they are asked for."""
        progress = args.get("progress")
        states = tuple(
            state for state, shown in PROGRESS.items() if (shown == progress if progress else shown != "STOPPED")
        )
        page, count = max(args.get("page") or 1, 1), min(max(args.get("count") or 20, 1), MAX_PAGE)
        after, left = "", page
        while True:
            found = await self._hub.tasks.page(TaskQuery(states=states, limit=count, after=after))
            left -= 1
            if not left or not found.after:
                break
            after = found.after
        rows = found.items if not left else []
        latest = await self._hub.tasks.latest([row.latest_run for row in rows])
        items = [shapes.task(row, latest.get(row.latest_run), wanted, "items/") for row in rows]
        return {"items": items, "total": found.total}

    async def get_task(self, args: Args, who: Who, wanted: Wanted) -> dict[str, Any] | None:
        """One task. As there, its description and the prefixes among its parameters are URL-encoded."""
        row = await self._hub.tasks.get(args["id"])
        return await self._shown(row, wanted, who) if row else None

    async def _shown(self, row: TaskRow, wanted: Wanted, who: Who) -> dict[str, Any]:
        latest = (await self._hub.tasks.latest([row.latest_run])).get(row.latest_run)
        runs = None
        if "runs" in wanted:
            asked = wanted.arguments("runs")
            runs = await self._hub.tasks.runs(row.id, int(asked.get("limit") or 20), str(asked.get("after") or ""))
        shown = shapes.task(row, latest, wanted, "", runs)
        shown["description"] = quote(row.description, safe="")
        for one in shown.get("parameters", ()):
            if one["ParameterKey"] in _ENCODED:
                one["ParameterValue"] = quote(one["ParameterValue"], safe="")
        if "command" in wanted and who.trusted:
            shown["command"] = await self._hub.tasks.command(row)
        return shown

    async def list_secrets(self, _args: Args, _who: Who, _wanted: Wanted) -> list[dict[str, Any]]:
        """Names of what opens stores."""
        return [{"name": name, "description": text} for name, text in await self._hub.credentials.names()]

    async def list_log_streams(self, args: Args, _who: Who, _wanted: Wanted) -> dict[str, Any]:
        """The processes of a task; its id is the name of its log group."""
        page, count = _given(args, "page", 1), _given(args, "count", 20)
        if not (1 <= page <= MAX_PAGE and 1 <= count <= MAX_PAGE):
            raise Refused("bad_request", f"page and count are from 1 to {MAX_PAGE}")
        task = await self._hub.tasks.get(args.get("logGroupName") or "")
        names = await self._hub.logs.processes(task.id) if task else []
        chosen = [name for name in names if name.startswith(args.get("logStreamNamePrefix") or "")]
        return {
            "logStreams": [
                {"logStreamName": name, "arn": None, "storedBytes": 0}
                for name in chosen[(page - 1) * count : page * count]
            ]
        }

    async def get_log_events(self, args: Args, _who: Who, _wanted: Wanted) -> dict[str, Any]:
        """Lines of one of them, forward from a token."""
        limit = _given(args, "limit", 100)
        if limit < 1:
            raise Refused("bad_request", "limit is 1 or more")
        token = args.get("nextToken") or ""
        task = await self._hub.tasks.get(args.get("logGroupName") or "")
        if task is None:
            return {"logEvents": [], "nextForwardToken": token, "nextBackwardToken": token}
        query = LogQuery(task.id, process=args.get("logStreamName") or "", limit=limit, after=token)
        found, _ = await self._hub.logs.page(query)
        events = [
            {"timestamp": str(int(one.at * 1000)), "message": one.text, "ingestionTime": str(int(one.at * 1000))}
            for one in found.items
        ]
        return {"logEvents": events, "nextForwardToken": found.after or token, "nextBackwardToken": token}

    async def metrics(self, args: Args, _who: Who, _wanted: Wanted) -> dict[str, Any]:
        """A graph's series; -1 where nothing was measured, as there."""
        row = await self._hub.tasks.get(args["id"])
        start, end = _epoch(args.get("startTime")), _epoch(args.get("endTime"))
        if row is None:
            return {"series": [], "xaxis": {"categories": []}}
        graph = _GRAPHS[args["graphName"]]
        drawn = {
            one.name: one for one in await self._hub.samples.series(row.id, [n for n, _ in graph], start, end, 120)
        }
        times = next(iter(drawn.values())).t
        width = times[1] - times[0] if len(times) > 1 else 1
        series = []
        for name, label in graph:
            one = drawn[name]
            factor = width if one.unit.endswith("/s") else 1  # there, sums of a period; here, rates
            series.append({"name": label, "data": [-1 if value is None else value * factor for value in one.v]})
        return {"series": series, "xaxis": {"categories": [t * 1000 for t in times]}}

    async def error_message(self, args: Args, _who: Who, _wanted: Wanted) -> dict[str, Any]:
        """Why a task is in error."""
        try:
            uuid.UUID(args["id"])
        except ValueError:
            raise Refused("bad_request", "id is no UUID") from None
        row = await self._hub.tasks.get(args["id"])
        if row is None or not row.cause:
            return {"errMessage": "", "errCode": None}
        return {"errMessage": row.detail or shapes.words(row.cause), "errCode": _error_code(row.cause)}

    async def create_task(self, args: Args, who: Who, wanted: Wanted) -> dict[str, Any]:
        """Keep a task and run it: at once, and, with a schedule, whenever that says."""
        given = args["input"]
        kind = TaskType(given["type"])
        pairs = [(one["ParameterKey"], one["ParameterValue"] or "") for one in given.get("parameters") or ()]
        pairs = [(key, unquote(value) if key in _ENCODED else value) for key, value in pairs]
        description = unquote(given.get("description") or "")
        if not is_unicode(description):
            raise Refused("settings", "a description is whole Unicode characters")
        if len(description) > 250:  # noqa: PLR2004 - the original's
            raise Refused("settings", "a description has 250 characters at most")
        settings, extras = forms.read_settings(kind, pairs)
        forms.checked(kind, settings, who, confined=self._hub.confined)
        cron = extras.get("ec2CronExpression", "")
        schedule = f"cron({cron})" if cron and given["scheduleType"] == "FIXED_RATE" else ""
        timing = parse_schedule(schedule)
        row = TaskRow(
            id=str(uuid.uuid4()),
            type=kind,
            description=description,
            settings=settings,
            extras=extras,
            schedule=schedule,
            next_run_at=timing.next(time()) if timing else None,
        )
        saved = await self._hub.tasks.save(replace(row, state=TaskState.WAITING if timing else TaskState.DRAFT), None)
        await self._hub.launcher.start(saved, RunKind.SYNC, {})
        return await self._shown(await self._hub.tasks.get(saved.id) or saved, wanted, who)

    async def stop_task(self, args: Args, who: Who, wanted: Wanted) -> dict[str, Any]:
        """End it for good."""
        row = await self._hub.tasks.get(args.get("id") or "")
        if row is None:
            raise Refused("no_such_task", "there is no such task")
        return await self._shown(await self._hub.launcher.stop(row), wanted, who)


def _given(args: Args, name: str, default: int) -> int:
    value = args.get(name)
    return default if value is None else int(value)


def _epoch(text: str | None) -> float | None:
    if not text:
        return None
    if not text.isdigit() or len(text) < 10:  # noqa: PLR2004 - seconds since 1970 have ten digits since 2001
        raise Refused("bad_request", f"{text!r} is no time: seconds or milliseconds since 1970")
    value = int(text[:16])
    return float(value if value < _NEVER else value / 1000)


def _error_code(cause: str) -> str:
    if cause in {"listing_failed", "no_such_bucket", "access_denied", "bad_credentials", "wrong_region", "settings"}:
        return "FINDER_ERROR"
    return "COMPLETE_CHECK_ERROR" if cause == "some_failed" else "UN_KNOWN"

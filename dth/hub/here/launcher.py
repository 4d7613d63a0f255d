"""Starts and ends runs, plans and checks on this machine: by noting what is wanted. The supervisor does it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dth.database import Database
from dth.hub.base import Answer, Refused, RunRow, TaskRow
from dth.hub.here import outside, processes, runs
from dth.hub.here.answers import Answers
from dth.hub.here.folder import HubFolder
from dth.hub.here.live import change_live, forget_live, pause_live
from dth.hub.here.runs import AGAIN, PAUSE, RUN, STOP
from dth.hub.here.tasks import change_task, engine_job_id, get_task, keep_revision
from dth.hub.schedule import parse_schedule
from dth.hub.states import RunKind, TaskState, TaskType

_TOLD = (RunKind.SYNC, RunKind.REDRIVE)  # their workers read limits while they run


class LocalLauncher:
    """See `base.Launcher`. `wake` makes the supervisor look at once."""

    def __init__(self, database: Database, folder: HubFolder, answers: Answers, wake: Callable[[], None]) -> None:
        self._database = database
        self._folder = folder
        self._answers = answers
        self._wake = wake

    async def start(self, task: TaskRow, kind: RunKind, options: Mapping[str, Any]) -> RunRow:
        """See `base.Launcher`."""
        return await self.start_for(task, kind, options, scheduled_for=None)

    async def start_for(
        self, task: TaskRow, kind: RunKind, options: Mapping[str, Any], *, scheduled_for: float | None
    ) -> RunRow:
        """The same, for a time of the schedule: never twice for one."""
        if kind is RunKind.SYNC and task.type is TaskType.ECR:
            kind = RunKind.IMAGES
        if kind is not RunKind.VERIFY:
            self._refuse_in_terminal(task)
        elif task.type is TaskType.ECR:
            raise Refused("not_for_images", "images prove themselves by their digests: there is nothing to verify")
        run_id = runs.new_run_id()
        pinned = await asyncio.to_thread(self._pin, task, run_id, str(options.get("plan") or ""))
        commands = self._commands(task, kind, run_id, options, pinned)
        schedule = parse_schedule(task.schedule)
        following = schedule.next(time.time()) if schedule else None
        self._folder.write_job(
            self._folder.job_file(task.id), task.settings
        )  # again: a hub may die between row and file
        row = await self._database.write(
            lambda db: runs.begin(
                db, task, kind, commands, run_id=run_id, scheduled_for=scheduled_for, next_run_at=following
            ),
            durable=True,
        )
        if kind in _TOLD:
            await forget_live(self._folder, task)
        self._wake()
        return row

    def _refuse_in_terminal(self, task: TaskRow) -> None:
        pid = outside.holder(self._folder.root / engine_job_id(task))
        if pid:
            raise Refused(
                "under_way",
                f"pid {pid} works on this job already, started outside of the hub",
                "wait for its end, or end it where it was started",
            )

    def _commands(
        self, task: TaskRow, kind: RunKind, run_id: str, options: Mapping[str, Any], pinned: Sequence[str]
    ) -> Sequence[Sequence[str]]:
        """The argument lists of the run's steps. Settings are in the job file, and go nowhere near a shell."""
        job = str(self._folder.job_file(task.id))
        records = str(self._folder.run(task.id, run_id) / "records.jsonl")
        common = ["--job", job, "--json"]
        report = ["--report", records, *([] if "report_level" in task.settings else ["--report-level", "all"])]
        reading = ["--download"] if options.get("download") else []
        match kind:
            case RunKind.SYNC:
                proof = [["verify", *common, *reading]] if options.get("verify") else []
                return [["sync", *common, *report, *pinned], *proof]
            case RunKind.IMAGES:
                return [["ecr-sync", *common, *report]]
            case RunKind.VERIFY:
                return [["verify", *common, *report, *reading]]
            case RunKind.REDRIVE:
                again = [f"--run={options['run']}"] if options.get("run") else []
                reasons = options.get("codes") or [""]
                first = [["redrive", *common, *again, *([f"--reason={one}"] if one else [])] for one in reasons]
                return [*first, ["work", "--until-empty", *common, *report]]
            case _:
                raise Refused("bad_request", f"a run of kind {kind} cannot be started")

    def _pin(self, task: TaskRow, run_id: str, plan_id: str) -> Sequence[str]:
        """What makes a run move only what a plan names: a list of its keys, which the engine asks for one by one."""
        if not plan_id:
            return []
        if task.type is not TaskType.S3EC2 or task.settings.get("delete", "false") == "true":
            raise Refused(
                "not_pinned", "a plan of images, or with deletes, cannot be run exactly", "run the task instead"
            )
        try:
            folder = self._folder.answer(plan_id)
            planned = json.loads((folder / "job.json").read_text("utf-8"))
        except (OSError, ValueError):
            raise Refused("no_such_plan", "there is no such plan any more", "plan once more") from None
        planned.pop("state", None)
        if planned != dict(task.settings):
            raise Refused("other_plan", "the plan was made with other settings than the task has", "plan once more")
        if processes.look(folder / "1").exit_code != 0:
            raise Refused("plan_under_way", "the plan is not ready, or failed", "wait for it, or plan once more")
        target = self._folder.run(task.id, run_id) / "planned.jsonl"
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / "output.jsonl").open(encoding="ascii") as plan, target.open("w", encoding="ascii") as keys:
            for line in plan:
                if line.startswith('{"event":"Planned"') and (event := json.loads(line))["action"] == "copy":
                    keys.write(json.dumps({"key": event["key"]}) + "\n")
        return ["--from-file", str(target)]

    async def pause(self, task: TaskRow) -> TaskRow:
        """See `base.Launcher`."""
        return await self._want(task, PAUSE)

    async def resume(self, task: TaskRow) -> TaskRow:
        """See `base.Launcher`."""
        return await self._want(task, RUN)

    async def stop(self, task: TaskRow) -> TaskRow:
        """See `base.Launcher`."""
        return await self._want(task, STOP)

    async def _want(self, task: TaskRow, wanted: str) -> TaskRow:
        if task.outside and task.pid and wanted != STOP:
            return await self._tell_outside(task, wanted)
        changed = await self._database.write(lambda db: _wish(db, task.id, wanted), durable=True)
        self._wake()
        return changed

    async def _tell_outside(self, task: TaskRow, wanted: str) -> TaskRow:
        """A job of a terminal keeps its processes: they are told to begin nothing new, or to go on."""
        state = TaskState.PAUSED if wanted == PAUSE else TaskState.RUNNING
        if not await pause_live(self._folder, task, paused=wanted == PAUSE):
            raise Refused("outside", f"pid {task.pid} cannot be told to do so", "end it where it was started")

        def work(db: Any) -> TaskRow:
            change_task(db, task.id, state=state.value, updated_at=time.time())
            changed = get_task(db, task.id)
            assert changed
            return changed

        return await self._database.write(work, durable=True)

    async def limit(self, task: TaskRow, bandwidth: int | None, workers: int | None) -> TaskRow:
        """See `base.Launcher`. The workers of a run that is under way are told, and go on within the new limits; a run of images,
        and one whose workers cannot be told, is asked to end and goes on at once."""
        values: dict[str, str] = dict(task.settings)
        for name, value in (("bandwidth", bandwidth), ("processes", workers)):
            if value is None:
                continue
            if value:
                values[name] = str(value)
            else:
                values.pop(name, None)

        told = await change_live(self._folder, task, bandwidth, workers)

        def work(db: Any) -> TaskRow:
            now = get_task(db, task.id)
            if now is None:
                raise Refused("no_such_task", "there is no such task")
            change_task(db, task.id, settings=json.dumps(values), updated_at=time.time(), revision=now.revision + 1)
            run = runs.active_run(db, task.id)
            if run and run.wanted == RUN and run.attempt and not (told and run.kind in _TOLD):
                runs.want(db, task.id, AGAIN)
            changed = get_task(db, task.id)
            assert changed
            keep_revision(db, changed)
            return changed

        changed = await self._database.write(work, durable=True)
        self._folder.write_job(self._folder.job_file(task.id), changed.settings)
        self._wake()
        return changed

    async def plan(self, task: TaskRow) -> Answer:
        """See `base.Launcher`."""
        return await self._answers.plan(task)

    async def check(self, side: str, settings: Mapping[str, str], *, write: bool) -> Answer:
        """See `base.Launcher`."""
        return await self._answers.check(side, settings, write=write)

    async def answer(self, answer_id: str) -> Answer | None:
        """See `base.Launcher`."""
        return await self._answers.get(answer_id)


def _wish(db: Any, task_id: str, wanted: str) -> TaskRow:
    """Note what is wanted of a task: of its run, and of its schedule."""
    now = get_task(db, task_id)
    if now is None:
        raise Refused("no_such_task", "there is no such task")
    run = runs.active_run(db, task_id)
    if run is None and now.pid:
        raise Refused("outside", f"it runs in a terminal, pid {now.pid}", "end it where it was started")
    if run and run.wanted == STOP and wanted != STOP:
        raise Refused("stopping", "the task is being stopped", "start it again when it has ended")
    schedule = parse_schedule(now.schedule)
    following = schedule.next(time.time()) if schedule and wanted == RUN else None
    if run:
        runs.want(db, task_id, wanted)
        state = TaskState.STOPPING if wanted == STOP else now.state
    else:
        state = _state_at_rest(now, wanted, scheduled=following is not None)
    stopped = {"stopped_at": time.time()} if state is TaskState.STOPPED else {}
    change_task(db, task_id, state=state.value, next_run_at=following, updated_at=time.time(), **stopped)
    changed = get_task(db, task_id)
    assert changed
    return changed


def _state_at_rest(task: TaskRow, wanted: str, *, scheduled: bool) -> TaskState:
    """The state of a task without a run. Refused where there is nothing to pause or to resume."""
    if wanted == STOP:
        return TaskState.STOPPED
    if wanted == PAUSE:
        if task.state is not TaskState.WAITING:
            raise Refused("not_running", "there is nothing to pause: no run is under way, and none is scheduled")
        return TaskState.PAUSED
    if task.state is not TaskState.PAUSED:
        raise Refused("not_paused", "the task is not paused", "start it instead")
    return TaskState.WAITING if scheduled else TaskState.DONE

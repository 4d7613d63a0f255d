"""What the API asks of the place where it runs: contracts, and the values that travel through them.

`here/` answers them with SQLite, child processes and files. Nothing above knows more than this page says. Times are
seconds since the epoch, sizes bytes. Every method may raise `Refused`, whose text and hint are for the person who asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from dth.errors import DthError
from dth.hub.figures import Figures
from dth.hub.states import LogLevel, PlanState, RunKind, SeriesName, TaskSort, TaskState, TaskType


class Refused(DthError):
    """What was asked for cannot be done. `kind` is a stable word for programs, `hint` says what to do instead."""

    code: ClassVar[str] = "refused"
    exit_code: ClassVar[int] = 2

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks. `trusted`: may name files of the machine and its AWS profiles, because they could read them anyway."""

    name: str
    trusted: bool = False
    can_write: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task as it is kept. `settings` are raw texts by our names; `extras` are parameters that only a deployment uses,
    kept for clients that sent them; `schedule` is `dth.hub.schedule`'s text. `pid`: a process that was started outside
    of the hub works on it. `revision` rises with every edit."""

    id: str
    type: TaskType
    name: str = ""
    description: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, str] = field(default_factory=dict)
    schedule: str = ""
    revision: int = 1
    created_at: float = 0.0
    updated_at: float = 0.0
    stopped_at: float | None = None
    state: TaskState = TaskState.DRAFT
    cause: str = ""
    detail: str = ""
    next_run_at: float | None = None
    latest_run: str = ""
    pid: int = 0
    outside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One execution of a task, with all its interruptions. `cause` is a stable word for how it ended, `detail` a sentence."""

    id: str
    task_id: str
    kind: RunKind
    started_at: float
    ended_at: float | None = None
    paused: bool = False
    exit_code: int | None = None
    cause: str = ""
    detail: str = ""
    figures: Figures = field(default_factory=Figures)


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks, in which order. `after` is the cursor of the page before."""

    states: tuple[TaskState, ...] = ()
    type: TaskType | None = None
    text: str = ""
    bucket: str = ""
    sort: TaskSort = TaskSort.CREATED_DESC
    limit: int = 50
    after: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a list. `after` is the cursor of what follows, "" at the end; `total` counts the whole list, None where that
    would mean reading all of it."""

    items: Sequence[Any]
    after: str = ""
    total: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """Which ended objects of which run ("": the newest)."""

    task_id: str
    run_id: str = ""
    outcomes: tuple[str, ...] = ()
    code: str = ""
    prefix: str = ""
    limit: int = 100
    after: str = ""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines of a task's log."""

    task_id: str
    process: str = ""
    level: LogLevel | None = None
    contains: str = ""
    limit: int = 200
    after: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log."""

    at: float
    level: LogLevel
    process: str
    text: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One series: points in time, and values, None where nothing was measured."""

    name: SeriesName
    unit: str
    t: Sequence[float]
    v: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A long question's state: a plan's or a check's. `fields` are those of the schema's `Plan` or `Check`."""

    id: str
    state: PlanState
    fields: Mapping[str, Any]


class Tasks(Protocol):
    """Tasks and their runs, kept."""

    async def get(self, task_id: str) -> TaskRow | None:
        """The task; None where there is none."""
        ...

    async def page(self, query: TaskQuery) -> Page:
        """Tasks, and how many there are by state."""
        ...

    async def save(self, task: TaskRow, revision: int | None) -> TaskRow:
        """Add it, or change the one of this id. Raises Refused `stale` where its revision is another than `revision` by now."""
        ...

    async def delete(self, task_id: str, *, keep_records: bool) -> None:
        """Forget it. Refused while a run is under way."""
        ...

    async def run(self, run_id: str) -> RunRow | None:
        """The run; None where there is none."""
        ...

    async def runs(self, task_id: str, limit: int, after: str) -> Page:
        """The task's runs, the newest first."""
        ...

    async def revisions(self, task_id: str, limit: int, after: str) -> Page:
        """The task as it was saved, `Revision`s, the newest first."""
        ...

    async def command(self, task: TaskRow) -> str:
        """What does the same in a terminal of the hub's machine; "" where nothing does."""
        ...

    async def latest(self, run_ids: Sequence[str]) -> Mapping[str, RunRow]:
        """Several runs by id, at once: a list of tasks asks for all of its rows together."""
        ...


class Launcher(Protocol):
    """Starts and ends what moves objects. Never two runs of one task: the second is Refused `under_way`."""

    async def start(self, task: TaskRow, kind: RunKind, options: Mapping[str, Any]) -> RunRow:
        """Begin a run. `options`: `download` of VERIFY; `codes` and `run` of REDRIVE; `plan` of SYNC, and `verify`, which
        compares both sides when it has moved everything."""
        ...

    async def pause(self, task: TaskRow) -> TaskRow:
        """End the processes gracefully; the run stays, and its schedule waits."""
        ...

    async def resume(self, task: TaskRow) -> TaskRow:
        """Go on with a paused run, or let a paused schedule run again."""
        ...

    async def stop(self, task: TaskRow) -> TaskRow:
        """End the run for good, and the schedule with it."""
        ...

    async def limit(self, task: TaskRow, bandwidth: int | None, workers: int | None) -> TaskRow:
        """Change how much a run may use, while it runs and from now on."""
        ...

    async def plan(self, task: TaskRow) -> Answer:
        """Begin to find out what a run of these settings would do, writing nothing."""
        ...

    async def check(self, side: str, settings: Mapping[str, str], *, write: bool) -> Answer:
        """Begin to ask one location what it can do."""
        ...

    async def answer(self, answer_id: str) -> Answer | None:
        """The state of a plan or a check; None where there is none."""
        ...


class Samples(Protocol):
    """Figures over time."""

    async def series(
        self, task_id: str, names: Sequence[SeriesName], start: float | None, end: float | None, points: int
    ) -> Sequence[Drawn]:
        """At most `points` points of each."""
        ...


class Logs(Protocol):
    """What processes said."""

    async def page(self, query: LogQuery) -> tuple[Page, bool]:
        """Lines in the order of time, and whether more may come."""
        ...

    async def processes(self, task_id: str) -> Sequence[str]:
        """Who wrote."""
        ...


class Records(Protocol):
    """What became of single objects."""

    async def page(self, query: RecordQuery) -> Page:
        """Some of them, as the report has them."""
        ...

    async def story(self, task: TaskRow, key: str) -> Mapping[str, Any]:
        """All that can be said of one source key: the schema's `Story`."""
        ...


@dataclass(frozen=True, slots=True)
class Revision:
    """A task as it was saved once. `before` is the same of the revision before it, None of the first one that is kept."""

    number: int
    at: float
    fields: Mapping[str, Any]
    before: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Saved:
    """A location that tasks use. `side` is `src` or `dest`, `settings` are those of that side; `check` has the last one's `id`,
    `state`, `at` and `ok`, None where there was none."""

    side: str
    settings: Mapping[str, str]
    tasks: Sequence[str]
    check: Mapping[str, Any] | None


class Locations(Protocol):
    """Where tasks read and write."""

    async def all(self) -> Sequence[Saved]:
        """Each once, those of tasks that were changed last first."""
        ...


class Credentials(Protocol):
    """Names of what opens stores; never what is behind them."""

    async def names(self) -> Sequence[tuple[str, str]]:
        """Name and description."""
        ...

    async def save(self, name: str, description: str, access_key_id: str, secret_access_key: str) -> None:
        """Keep a new one, where there is a place for it."""
        ...


class Demo(Protocol):
    """Two stores to try things on."""

    def there(self) -> bool:
        """Whether they can be started here."""
        ...

    async def settings(self) -> Mapping[str, str]:
        """The settings of a task from the first, which holds some objects, to the second; started where they do not run yet."""
        ...


@dataclass(frozen=True, slots=True)
class Hub:
    """Everything that the API stands on. `kind` is LOCAL or AWS; `confined` refuses files and profiles to everybody."""

    kind: str
    version: str
    poll_seconds: float
    tasks: Tasks
    launcher: Launcher
    samples: Samples
    logs: Logs
    records: Records
    credentials: Credentials
    locations: Locations
    demo: Demo | None = None
    region: str = ""
    confined: bool = False

    async def task(self, task_id: str) -> TaskRow:
        """One task. Raises Refused `no_such_task`."""
        row = await self.tasks.get(task_id)
        if row is None:
            raise Refused("no_such_task", "there is no such task", "it may have been deleted; look at the list")
        return row

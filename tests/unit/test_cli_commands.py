"""What each command does with its words, its signals and its errors. The engine behind it is a stand-in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import types
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import dth.app
from dth.app.status import Status
from dth.cli.main import app as command
from dth.errors import AccessDenied, ConnectFailed, DthError, QueueError, RunUnderWay
from dth.events import Difference, Emit, Moved, Notice, ObjectFailed, Planned, RunOver, RunSealed, RunStarted
from dth.ledgers.base import Run
from dth.model import Counts
from dth.queues.base import QueueDepth
from dth.settings import TransferJob
from dth.states import RunState
from dth.summary import Summary, Tally, Verified

URLS = ["s3://photos/2026", "s3://backup/photos"]
PLACES = ["--src-bucket", "photos", "--dest-bucket", "backup"]


VERIFIED = Verified({"equal": 3}, {"etag": 3}, 3, 3, 0, 1.0, 0, complete=True, report="/state/verify.jsonl")


@dataclass
class Engine:
    """Stands for `dth.app.verbs`: keeps how it was called, and does what the test says."""

    calls: list[tuple[str, TransferJob, dict[str, Any]]] = field(default_factory=list)
    does: Callable[[Emit, asyncio.Event], Any] = lambda _emit, _stop: None
    statuses: list[Status] = field(default_factory=list)
    verified: Verified = VERIFIED

    async def _verb(self, name: str, job: TransferJob, emit: Emit, stop: asyncio.Event, **options: Any) -> Summary:
        self.calls.append((name, job, options))
        tally = Tally()

        def both(event: Any) -> None:
            tally(event)
            emit(event)

        done = self.does(both, stop)
        if asyncio.iscoroutine(done):
            await done
        return tally.summary()

    async def sync(self, job: TransferJob, emit: Emit, stop: asyncio.Event, *, dry_run: bool, start: Any) -> Summary:
        return await self._verb("sync", job, emit, stop, dry_run=dry_run)

    async def find(self, job: TransferJob, emit: Emit, stop: asyncio.Event, *, dry_run: bool) -> Summary:
        return await self._verb("find", job, emit, stop, dry_run=dry_run)

    async def work(
        self,
        job: TransferJob,
        emit: Emit,
        stop: asyncio.Event,
        *,
        until_empty: bool,
        health_file: str,
        instance_notices: str,
        start: Any,
    ) -> Summary:
        return await self._verb("work", job, emit, stop, until_empty=until_empty)

    async def verify(
        self, job: TransferJob, emit: Emit, stop: asyncio.Event, *, download: bool, metadata: bool, tags: bool
    ) -> Verified:
        await self._verb("verify", job, emit, stop, download=download, metadata=metadata, tags=tags)
        return self.verified

    async def status(self, job: TransferJob) -> Status:
        self.calls.append(("status", job, {}))
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    stand_in = Engine()
    module = types.ModuleType("dth.app.verbs")
    for name in ("sync", "find", "work", "verify", "status"):
        setattr(module, name, getattr(stand_in, name))
    monkeypatch.setitem(sys.modules, "dth.app.verbs", module)
    monkeypatch.setattr("dth.cli.sync.warm_zygote", lambda: None)  # this process is the test's own
    monkeypatch.setattr("dth.cli.work.warm_zygote", lambda: None)
    monkeypatch.setattr(dth.app, "verbs", module, raising=False)
    return stand_in


def dth_(*words: str, **env: str) -> Result:
    return CliRunner().invoke(command, list(words), env=env)


def copied(emit: Emit, _stop: asyncio.Event) -> None:
    emit(RunStarted("r1", "s3://photos/2026/", "s3://backup/photos/"))
    emit(RunSealed("r1", 3, 3000, 10, {"missing": 3}))
    emit(Moved("r1", 3, 0, 0, 3000))
    emit(RunOver("r1", "sealed", 3, 3, 0, 0, 3000))


def one_failed(emit: Emit, _stop: asyncio.Event) -> None:
    emit(RunSealed("r1", 2, 2000, 10, {"missing": 2}))
    emit(ObjectFailed("r1", "a\x1b[31m", "access_denied", "s3:PutObject is missing", 5, final=True))
    emit(Moved("r1", 1, 0, 1, 1000))


def raises(error: BaseException) -> Callable[[Emit, asyncio.Event], Any]:
    def do(_emit: Emit, _stop: asyncio.Event) -> None:
        raise error

    return do


def test_sync_makes_folders_of_its_urls_and_replaces_the_prefix(engine: Engine) -> None:
    engine.does = copied
    result = dth_("sync", *URLS, "--memory-budget", "64MiB", "--no-include-metadata")
    assert result.exit_code == 0, result.output
    ((name, job, options),) = engine.calls
    assert (name, options) == ("sync", {"dry_run": False})
    assert (job.src_bucket, job.src_prefix) == ("photos", "2026/")
    assert (job.dest_bucket, job.dest_prefix) == ("backup", "photos/")
    assert job.strip_src_prefix
    assert (job.memory_budget, job.include_metadata) == (64 * 2**20, False)
    assert "Complete: 3 objects copied" in result.stdout


def test_the_urls_of_sync_beat_environment_and_file(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text('{"srcPrefix": "x", "verify": "full", "processes": 2}')
    assert dth_("sync", *URLS, "--job", str(file), DTH_SRC_BUCKET="other", DTH_PROCESSES="3").exit_code == 0
    job = engine.calls[0][1]
    assert (job.src_bucket, job.src_prefix, job.verify, job.processes) == ("photos", "2026/", "full", 3)


def test_find_and_work_take_their_locations_as_settings(engine: Engine) -> None:
    assert dth_("find", *PLACES, "--dry-run", "--no-clobber").exit_code == 0
    assert dth_("work", *PLACES, "--until-empty").exit_code == 0
    assert dth_("work", "--job-id", "nightly").exit_code == 0
    assert [(name, options) for name, _, options in engine.calls] == [
        ("find", {"dry_run": True}),
        ("work", {"until_empty": True}),
        ("work", {"until_empty": False}),
    ]
    assert engine.calls[0][1].no_clobber
    assert not engine.calls[0][1].strip_src_prefix


@pytest.mark.parametrize(
    ("words", "must"),
    [
        (["sync", "photos", URLS[1]], "did you mean s3://photos?"),
        (["sync", URLS[0]], "SOURCE and DEST come together"),
        (["sync", *URLS, "--verify", "md5"], "verify = 'md5' (from --verify) is not allowed"),
        (["sync", *URLS, "--src-bucket", "x"], "No such option"),
        (["sync", "s3://photos/a", "s3://photos/a/b"], "contains the other"),
        (["find"], "src_bucket is required"),
        (["work"], "src_bucket is required"),
        (["status"], "src_bucket is required"),
        (["status", URLS[0]], "both SOURCE and DEST"),
        (["work", *PLACES, "--job", "/none.toml"], "cannot read the job file /none.toml"),
        (["sync"], "give SOURCE and DEST"),
        (["verify"], "give SOURCE and DEST"),
        (["nonsense"], "No such command"),
    ],
)
def test_a_wrong_word_is_exit_2_and_never_reaches_the_engine(engine: Engine, words: list[str], must: str) -> None:
    result = dth_(*words, COLUMNS="200")
    assert result.exit_code == 2
    assert must in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.output
    assert engine.calls == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectFailed("no route to the destination"), 4),
        (AccessDenied("s3:ListBucket is missing"), 4),
        (QueueError("disk full"), 1),
        (RunUnderWay("run r1 is still under way", "r1"), 0),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [ConnectFailed("no route to the destination")])]), 4),
    ],
)
def test_an_error_of_the_engine_is_one_message_and_its_exit_code(engine: Engine, error: Exception, code: int) -> None:
    engine.does = raises(error)
    ours: Any = error
    while isinstance(ours, ExceptionGroup):
        ours = ours.exceptions[0]
    result = dth_("sync", *URLS)
    assert result.exit_code == code
    assert result.stderr.strip() == f"dth: {'error: ' if code else ''}{ours}"
    as_json = dth_("sync", *URLS, "--json")
    assert as_json.exit_code == code
    said = json.loads(as_json.stdout)
    assert said == {"event": "error", "code": ours.code, "message": str(ours), "exit_code": code}
    assert as_json.stderr == ""


def test_a_defect_is_one_line_and_a_traceback_only_when_asked_for(engine: Engine) -> None:
    engine.does = raises(KeyError("boom"))
    quiet, loud = dth_("sync", *URLS), dth_("sync", *URLS, "-v")
    assert quiet.exit_code == loud.exit_code == 1
    assert "internal error, a defect of dth: KeyError: 'boom'; run with -v for the traceback" in quiet.stderr
    assert "Traceback" not in quiet.output
    assert "Traceback" in loud.stderr


def test_failed_objects_are_exit_3_named_as_they_come_and_harmless_to_a_terminal(engine: Engine) -> None:
    engine.does = one_failed
    result = dth_("sync", *URLS)
    assert result.exit_code == 3
    assert "failed: a\\x1b[31m: access_denied: s3:PutObject is missing" in result.stderr
    assert "Not complete: 1 failed, 1 object copied" in result.stdout
    assert "access_denied 1" in result.stdout
    assert "\x1b" not in result.output


def test_many_failures_are_named_up_to_a_bound_and_counted_beyond(engine: Engine) -> None:
    def many(emit: Emit, _stop: asyncio.Event) -> None:
        for number in range(500):
            emit(ObjectFailed("r1", f"key-{number}", "server_fault", "500", 5, final=True))
        emit(Moved("r1", 0, 0, 500, 0))

    engine.does = many
    result = dth_("sync", *URLS)
    assert result.stderr.count("failed: key-") == 20
    assert result.stderr.count("more failures are counted") == 1
    assert "server_fault 500" in result.stdout
    assert "and 480 more; all are in the report" in result.stdout


def test_json_is_one_object_a_line_and_nothing_else(engine: Engine) -> None:
    engine.does = one_failed
    result = dth_("sync", *URLS, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["RunSealed", "ObjectFailed", "Moved", "Summary"]
    end = lines[-1]
    assert (end["found"], end["done"], end["failed"], end["exit_code"], end["complete"]) == (2, 1, 1, 3, True)
    assert end["failures"] == [{"key": "a\x1b[31m", "code": "access_denied", "error": "s3:PutObject is missing"}]
    assert result.stderr == ""


def test_a_dry_run_prints_the_plan(engine: Engine) -> None:
    def plan(emit: Emit, _stop: asyncio.Event) -> None:
        emit(Planned("copy", "2026/a", "photos/a", 2048, "missing"))
        emit(Planned("copy", "2026/\udcff", "photos/\udcff", 0, "size"))

    engine.does = plan
    result = dth_("sync", *URLS, "--dry-run")
    assert engine.calls[0][2] == {"dry_run": True}
    assert result.stdout.splitlines() == [
        "copy 2026/a -> photos/a (2.0 KiB, missing)",
        "copy 2026/\\udcff -> photos/\\udcff (0 B, size)",
        "Dry run: 2 objects, 2.0 KiB would be copied; nothing was written",
    ]


def test_verify_names_each_difference_and_exits_3(engine: Engine) -> None:
    def find(emit: Emit, _stop: asyncio.Event) -> None:
        emit(Difference("missing", "2026/a\x1b[31m", "photos/a\x1b[31m", ""))
        emit(Difference("content", "b", "b", "first different byte at offset 7"))

    engine.does = find
    counts = {"equal": 3, "missing": 1, "content": 1, "not_verifiable": 2}
    engine.verified = replace(VERIFIED, counts=counts, exit_code=3)
    result = dth_("verify", *URLS, "--download")
    assert result.exit_code == 3
    assert engine.calls[0][2] == {"download": True, "metadata": False, "tags": False}
    job = engine.calls[0][1]
    assert (job.src_prefix, job.dest_prefix, job.strip_src_prefix) == ("2026/", "photos/", True)
    assert result.stdout.splitlines() == [
        "missing 2026/a\\x1b[31m -> photos/a\\x1b[31m",
        "content b: first different byte at offset 7",
        "Different: 2 of 7 objects (1.00 s)",
        "  1 missing at the destination",
        "  1 of other content",
        "  3 equal, proven by etag 3",
        "  2 of one size, their ETags not comparable: --download would read them",
        "  all differences are in /state/verify.jsonl",
    ]


def test_verify_says_how_many_it_knows_by_size_only(engine: Engine) -> None:
    engine.verified = replace(VERIFIED, counts={"equal": 3, "not_verifiable": 2})
    result = dth_("verify", *URLS)
    assert result.exit_code == 0
    assert result.stdout.startswith("No difference found: 5 objects in 1.00 s, 2 of them by size only\n")


def test_verify_as_json_ends_with_its_counts(engine: Engine) -> None:
    end = json.loads(dth_("verify", *URLS, "--json").stdout.splitlines()[-1])
    assert (end["event"], end["compared"], end["differences"], end["counts"]) == ("Summary", 3, 0, {"equal": 3})


def test_a_verify_that_was_stopped_is_130_and_no_verdict(engine: Engine) -> None:
    engine.does = lambda emit, stop: until_stopped(emit, stop, [signal.SIGINT])
    engine.verified = replace(VERIFIED, complete=False, exit_code=130)
    result = dth_("verify", *URLS)
    assert result.exit_code == 130
    assert result.stdout.startswith("Interrupted: 3 objects compared")


async def until_stopped(emit: Emit, stop: asyncio.Event, signals: list[int]) -> None:
    emit(RunStarted("r1", "a", "b"))
    for number in signals:
        os.kill(os.getpid(), number)
        await asyncio.sleep(0)
    await stop.wait()
    if len(signals) > 1:
        await asyncio.Event().wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_worker_drains_and_exits_0(engine: Engine, number: int) -> None:
    engine.does = lambda emit, stop: until_stopped(emit, stop, [number])
    result = dth_("work", *PLACES)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("words", [["sync", *URLS], ["find", *PLACES]])
def test_a_sync_stopped_before_its_end_exits_130(engine: Engine, words: list[str], number: int) -> None:
    engine.does = lambda emit, stop: until_stopped(emit, stop, [number])
    result = dth_(*words)
    assert result.exit_code == 130
    assert "run it again to go on" in result.stdout


def test_a_sync_that_was_complete_when_stopped_exits_0(engine: Engine) -> None:
    async def complete(emit: Emit, stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await stop.wait()
        copied(emit, stop)

    engine.does = complete
    assert dth_("sync", *URLS).exit_code == 0


@pytest.mark.parametrize("words", [["sync", *URLS], ["work", *PLACES]])
def test_a_second_interrupt_ends_at_once_with_130(engine: Engine, words: list[str]) -> None:
    engine.does = lambda emit, stop: until_stopped(emit, stop, [signal.SIGINT, signal.SIGINT])
    result = dth_(*words)
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_the_first_interrupt_says_what_a_second_one_would_do(engine: Engine) -> None:
    engine.does = lambda emit, stop: until_stopped(emit, stop, [signal.SIGINT])
    assert "press Ctrl-C again" in dth_("work", *PLACES).stderr


def test_infos_are_for_the_verbose_and_warnings_for_everyone(engine: Engine) -> None:
    def notes(emit: Emit, _stop: asyncio.Event) -> None:
        emit(Notice("info", "detail", "small print"))
        emit(Notice("warning", "slow", "look out"))

    engine.does = notes
    quiet, loud = dth_("sync", *URLS).stderr, dth_("sync", *URLS, "-v").stderr
    assert "warning: look out" in quiet
    assert "small print" not in quiet
    assert "small print" in loud


def run(
    state: RunState = RunState.SEALED, *, found: int | None = 3, done: int = 3, failed: int = 0, name: str = "r1"
) -> Run:
    return Run(name, "nightly", state, "{}", "host/1", 0.0, 1.7e9, found, 3000, {}, Counts(done, 0, failed, 3000))


def depth(visible: int = 0) -> QueueDepth:
    return QueueDepth(visible, 0, 1, exact=True)


def test_status_shows_runs_and_queue(engine: Engine) -> None:
    engine.statuses = [Status([run(), run(RunState.ABANDONED, found=None)], depth(4))]
    result = dth_("status", *URLS)
    assert result.exit_code == 0, result.output
    assert "complete" in result.stdout
    assert "abandoned" in result.stdout
    assert "queue:     4 waiting, 0 in work, 1 dead" in result.stdout
    assert engine.calls[0][1].src_prefix == "2026/"


def test_status_as_json_is_one_object_per_run(engine: Engine) -> None:
    engine.statuses = [Status([run(failed=1, done=2)], depth())]
    lines = [json.loads(line) for line in dth_("status", "--job-id", "nightly", "--json").stdout.splitlines()]
    want = {"run_id": "r1", "state": "sealed", "found": 3, "done": 2, "skipped": 0, "failed": 1, "bytes": 3000}
    assert want.items() <= lines[0].items()
    assert lines[1] == {**asdict(depth()), "event": "Queue"}


def test_status_before_the_first_run_says_so(engine: Engine) -> None:
    engine.statuses = [Status([], depth())]
    result = dth_("status", *URLS)
    assert result.exit_code == 0
    assert "No run of this job yet" in result.stdout


def test_waiting_for_a_run_that_does_not_exist_is_no_success(engine: Engine) -> None:
    engine.statuses = [Status([], depth())]
    result = dth_("status", *URLS, "--wait")
    assert result.exit_code == 2
    assert "no run of this job to wait for: check its locations or --job-id" in result.stderr


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (Status([run()], depth()), 0),
        (Status([run(done=2, failed=1)], depth()), 3),
        (Status([run(RunState.ABANDONED, found=None)], depth()), 3),
        (Status([run(), run(RunState.ABANDONED, found=None)], depth()), 0),
        (Status([run(), run(RunState.ABANDONED, found=None, failed=1, name="old")], depth()), 0),
        (Status([run(), run(RunState.ABANDONED, found=None, failed=1, name="old")], depth(), continued=("old",)), 3),
        (Status([run(RunState.STANDING, found=None), run(failed=1, done=2)], depth()), 3),
        (Status([run(RunState.STANDING, found=None, failed=1), run()], depth()), 0),
        (Status([run(RunState.STANDING, found=None, failed=1)], depth()), 3),
    ],
)
def test_status_waits_until_all_runs_are_over(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, last: Status, code: int
) -> None:
    monkeypatch.setattr("dth.cli.status.WATCH_SECONDS", 0.001)
    under_way = [
        Status([run(RunState.LISTING, found=None)], depth()),
        Status([run(done=1)], depth(2)),
        Status([run(RunState.ABANDONED, found=None)], depth(1)),
    ]
    engine.statuses = [*under_way, last]
    result = dth_("status", *URLS, "--wait")
    assert result.exit_code == code, result.output
    assert len(engine.calls) == 4
    assert result.stdout.count("queue:") == 1


def test_what_fails_of_a_run_that_another_continues_is_shown_with_it(engine: Engine) -> None:
    old = run(RunState.ABANDONED, found=None, failed=2, name="old")
    engine.statuses = [Status([run(), old], depth(), continued=("old",))]
    shown = dth_("status", *URLS).stdout
    assert "continues: old" in shown
    assert "failed:    2" in shown
    lines = [json.loads(line) for line in dth_("status", *URLS, "--json").stdout.splitlines()]
    assert [line["continues"] for line in lines[:2]] == [["old"], []]


def test_errors_have_no_other_exit_codes_than_the_documented_ones() -> None:
    codes, waiting = set(), [DthError]
    while waiting:
        kind = waiting.pop()
        codes.add(kind.exit_code)
        waiting += kind.__subclasses__()
    assert codes <= {0, 1, 2, 3, 4}


def test_the_version_is_printed() -> None:
    assert dth_("--version").stdout == f"dth {dth.__version__}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_ends_at_the_first_signal_and_cleans_up(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    cleaned = []

    async def hangs(emit: Emit, stop: asyncio.Event, *, objects: int) -> Summary:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
            raise AssertionError(emit, stop, objects)
        finally:
            cleaned.append(objects)

    module = types.ModuleType("dth.demo.run")
    monkeypatch.setattr(module, "demo", hangs, raising=False)
    monkeypatch.setitem(sys.modules, "dth.demo.run", module)
    assert dth_("demo", "--objects", "20").exit_code == 130
    assert cleaned == [20]


def test_a_demo_tells_its_story_without_prefixes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tells(emit: Emit, _stop: asyncio.Event, *, objects: int) -> Summary:
        emit(Notice("info", "demo", f"filling with {objects}"))
        return Tally().summary()

    module = types.ModuleType("dth.demo.run")
    monkeypatch.setattr(module, "demo", tells, raising=False)
    monkeypatch.setitem(sys.modules, "dth.demo.run", module)
    assert dth_("demo", "--objects", "20").stderr == "filling with 20\n"

"""Worker processes and their parent: what is said while one of them is only starting, and what becomes of those that hang or die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from dth import children, settings
from dth.children import WORDS, Children, ChildTask
from dth.embedded import StateFolder
from dth.error_groups import first_error
from dth.errors import StartFailed
from dth.events import Event, InFlight, Notice, WorkerStarted, WorkerStopped, to_json
from dth.settings import TransferJob


async def test_a_worker_told_to_drain_before_it_has_read_its_task_drains(tmp_path: Path) -> None:
    job = TransferJob(src_bucket="one", dest_bucket="two", state=tmp_path)
    StateFolder(job.state, settings.job_id(job)).make()
    task = ChildTask("here:1:1/1", job.model_dump_json(exclude_unset=True), strict=False, until_empty=False)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dth.cli.child"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin
    assert child.stdout
    try:
        child.stdin.write(task.line() + b"drain\n")
        async with asyncio.timeout(60):
            said = [json.loads(line)["event"] async for line in child.stdout]
            assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        child.stdin.close()
    assert "WorkerStarted" in said


class Watched:
    """`Children` with workers of a test's own, until the test ends them."""

    def __init__(self, program: str, *, stall_seconds: float = 300.0) -> None:
        self.program = program
        self.events: list[Event] = []
        self.bereaved: list[str] = []
        self.children = Children(
            lambda number: ChildTask(f"here:1:1/{number}", "{}", strict=False, until_empty=False),
            most=1,
            lock=-1,
            emit=self.events.append,
            bereaved=self._bereaved,
            start=self._start,
            stall_seconds=stall_seconds,
        )

    async def _bereaved(self, name: str) -> None:
        self.bereaved.append(name)

    async def _start(self, _lock: int) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", self.program, stdin=pipe, stdout=pipe)

    async def keep(self, until: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(120), asyncio.TaskGroup() as group:
                while not until():
                    await self.children.ensure(1, group)
                    await asyncio.sleep(0.02)
                for child in self.children.staying:
                    child.kill()
                await self.children.ended()
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None


TALKS = f"""
import sys, time
print({to_json(WorkerStarted("here:1:1/1", 1))!r}, flush=True)
"""
BEATS = (
    TALKS
    + f"""
while True:
    print({to_json(InFlight("here:1:1/1", 1, 5))!r}, flush=True)
    time.sleep(0.1)
"""
)


async def test_a_worker_that_says_nothing_any_more_is_ended_told_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "HUNG_SECONDS", 0.0)
    watched = Watched(BEATS, stall_seconds=3.0)
    stopped: list[int] = []

    def replaced() -> bool:
        started = [event for event in watched.events if isinstance(event, WorkerStarted)]
        if started and not stopped:
            stopped.append(watched.children.staying[0]._process.pid)
            os.kill(stopped[0], signal.SIGSTOP)
        return len(started) > 1

    await watched.keep(replaced)
    ended = [(event.pid, event.exit_code) for event in watched.events if isinstance(event, WorkerStopped)]
    assert ended[0] == (stopped[0], -signal.SIGKILL)
    assert watched.bereaved[0] == "here:1:1/1"
    assert [event.code for event in watched.events if isinstance(event, Notice)] == ["worker_hung"]


async def test_silence_while_the_parent_itself_was_stopped_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "HUNG_SECONDS", 0.0)
    watched = Watched(BEATS, stall_seconds=30.0)
    clock = time.monotonic

    def late() -> bool:
        if any(isinstance(event, WorkerStarted) for event in watched.events):
            monkeypatch.setattr(children, "time", SimpleNamespace(monotonic=lambda: clock() + 3600))
        return sum(isinstance(event, InFlight) for event in watched.events) > 10

    await watched.keep(late)
    assert not any(isinstance(event, Notice) for event in watched.events)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL (was the machine short of memory?)"),
        ("import os; os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
        ("raise SystemExit(7)", "ended with exit code 7"),
        (
            f"print({to_json(Notice('warning', WORDS, 'OSError: no disk'))!r}); raise SystemExit(1)",
            "1: OSError: no disk",
        ),
    ],
    ids=["killed", "crashed", "exit", "with words"],
)
async def test_workers_that_die_at_once_again_and_again_end_the_parent_with_the_reason(
    program: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "REPLACEMENTS", 6)
    monkeypatch.setattr(children, "BACK_OFF_SECONDS", 0.05)
    watched = Watched(program)
    with pytest.raises(StartFailed) as failed:
        await watched.keep(lambda: False)
    assert reason in str(failed.value)
    assert "died 7 times in a row" in str(failed.value)
    assert failed.value.exit_code == 1
    assert len(watched.bereaved) == 7


async def test_deaths_of_workers_that_had_lived_are_no_crash_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "REPLACEMENTS", 1)
    monkeypatch.setattr(children, "STEADY_SECONDS", 0.0)
    watched = Watched("raise SystemExit(7)")
    await watched.keep(lambda: len(watched.bereaved) > 4)

"""Processes that outlive the hub: started in a session of their own, found again, asked to end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from dth.hub.here import claim

LATE_SECONDS = 60.0  # what a process may take until it says who it is, on a machine that is very busy


class Life(Enum):
    """How a process stands."""

    COMING = auto()  # started, and not heard of yet
    ALIVE = auto()
    ENDED = auto()  # and said how
    DEAD = auto()  # without a word: killed


@dataclass(frozen=True, slots=True)
class Standing:
    """A process of ours, looked at now."""

    life: Life
    pid: int = 0
    exit_code: int | None = None


_mine: dict[int, subprocess.Popen[bytes]] = {}  # children of this process: who is not asked for stays a zombie


def start(folder: Path, arguments: Sequence[str], output: Path, errors: Path) -> None:
    """Start `dth ARGUMENTS` for the attempt in `folder`, which is made. Its output is appended to the two files."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    out, err = os.open(output, flags, 0o600), os.open(errors, flags, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603 - an argument list, its program is this Python
            [sys.executable, "-m", "dth.cli.attempt", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment(),
            start_new_session=True,
            close_fds=True,
        )
    finally:
        os.close(out)
        os.close(err)
    _mine[process.pid] = process


def environment() -> dict[str, str]:
    """The hub's, without settings of jobs: a task is what its job file says."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DTH_")}


def reap() -> None:
    """Take leave of children that ended. Call it often."""
    for pid, process in list(_mine.items()):
        if process.poll() is not None:
            _mine.pop(pid, None)


def look(folder: Path) -> Standing:
    """How the attempt's process stands."""
    reap()
    said = _read(folder / "pid").split()
    if not said:
        return Standing(Life.COMING)
    pid, born = int(said[0]), said[1] if len(said) > 1 else ""
    alive = pid > 0 and claim.birth(pid) == born
    if alive and not (folder / "exit").exists():
        return Standing(Life.ALIVE, pid)
    code = _read(folder / "exit").strip()  # after the look: who ends in between has written it
    if code:
        return Standing(Life.ALIVE if alive else Life.ENDED, pid, int(code))
    return Standing(Life.DEAD, pid)


def take_back(folder: Path) -> Standing:
    """Make sure that a process which has not said who it is never will. Where it just did, it stays."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    claim.claim(folder, claim.VOID)
    return look(folder)


def is_late(folder: Path) -> bool:
    """Whether a process that was started has been silent for too long."""
    try:
        return time.time() - folder.stat().st_mtime > LATE_SECONDS
    except OSError:
        return True


def began(folder: Path) -> float:
    """When the attempt's process said who it is; now, where it never did."""
    try:
        return (folder / "pid").stat().st_mtime
    except OSError:
        return time.time()


def ask_to_end(standing: Standing) -> None:
    """SIGTERM: what is in flight is finished or given back."""
    _signal(standing, signal.SIGTERM)


def kill(standing: Standing) -> None:
    """End it and its workers now."""
    if standing.life is Life.ALIVE:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(standing.pid, signal.SIGKILL)


def _signal(standing: Standing, number: signal.Signals) -> None:
    if standing.life is Life.ALIVE:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(standing.pid, number)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except FileNotFoundError:
        return ""

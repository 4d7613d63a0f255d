"""The state of one job on one machine: a folder with queue, ledger and a lock that outlives nobody.

The lock is `flock` on an inherited file descriptor: worker processes hold it together with their parent, so that it is
free only when the whole tree has ended, however it ended. `sync` holds it alone; `find` and `work` share it.
Not for network file systems, where neither SQLite's locks nor these can be trusted.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import stat
import time
from functools import cache
from pathlib import Path

from dth.errors import RunUnderWay, SettingsError


class StateFolder:
    """Paths of one job's state. Made on first use, and nobody else's to read, whatever the umask: it holds keys, errors and
    places. A folder that others own, or may write to, is refused: they could put links or settings of theirs into it."""

    def __init__(self, root: Path, job_id: str) -> None:
        self._root = root
        self.path = root / job_id
        self.queue = self.path / "queue.db"
        self.ledger = self.path / "ledger.db"
        self.scratch = self.path / "scratch"
        self._lock = self.path / "lock"

    def make(self) -> None:
        """Create the folder. Raises SettingsError where that cannot be, or where it is not private."""
        try:
            _make_private(self._root)
            _refuse_writers(self._root.resolve(), {os.geteuid(), 0})
            for folder in (self.path, self.scratch):
                _make_private(folder)
                _refuse_writers(folder, {os.geteuid()})
                folder.chmod(0o700)  # an older version followed the umask
        except OSError as exc:
            raise SettingsError(
                f"the state folder {self.path} cannot be made: {exc.strerror}; choose another with --state"
            ) from exc

    async def lock(self, *, alone: bool, patience_seconds: float) -> int:
        """Take the lock; returns the descriptor that holds it (inheritable by children, closed by the caller).

        A holder that is dead leaves children that are ending: wait for them up to `patience_seconds`. Raises RunUnderWay
        at once where the holder lives, SettingsError where the folder cannot be written.
        """
        self.make()
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise SettingsError(
                f"the state folder {self.path} cannot be written: {exc.strerror}; choose another with --state"
            ) from exc
        try:
            give_up = time.monotonic() + patience_seconds
            while not _try_lock(descriptor, alone=alone):
                holder = _read_pid(descriptor)
                if _alive(holder) or time.monotonic() > give_up:
                    raise RunUnderWay(
                        f"another dth (pid {holder or 'unknown'}) is working on this job; its state is {self.path}", ""
                    )
                await asyncio.sleep(0.05)
            if alone:
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _make_private(folder: Path) -> None:
    """Make it, and what is missing above it, for its owner alone."""
    if folder.is_dir():
        return
    _make_private(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:  # another process was first, or it is no folder
        if not folder.is_dir():
            raise


def _refuse_writers(folder: Path, owners: set[int]) -> None:
    """Raises SettingsError where anybody else could put something into the folder, or take it away. In a sticky one, such
    as /tmp, nobody takes away what is another's."""
    seen = folder.lstat() if folder.is_symlink() else folder.stat()
    if seen.st_uid not in owners or folder.is_symlink():
        whose = "is a link" if folder.is_symlink() else f"belongs to user {seen.st_uid}"
        raise SettingsError(
            f"the state folder {folder} {whose}, so somebody else decides what is in it; choose another with --state"
        )
    if seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not seen.st_mode & stat.S_ISVTX:
        raise SettingsError(
            f"others may write to the state folder {folder}: run `chmod go-w {folder}`, or choose another with --state"
        )


def _try_lock(descriptor: int, *, alone: bool) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_pid(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace")
    return int(text) if text.isdigit() else 0


def _alive(pid: int) -> bool:
    """Whether a process of that id runs. Zombies count as dead: they hold no descriptor."""
    if pid <= 0 or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state not in {"Z", "X"}


def process_name() -> str:
    """This process, for leases and counters: place, pid and start, so that a reused pid is no old owner."""
    return f"{_place()}:{os.getpid()}:{time.time_ns() // 1_000_000:x}"


def is_dead_here(name: str) -> bool:
    """True where `name` (see `process_name`) ran in this place and its pid is gone."""
    place, _, rest = name.partition(":")
    pid = rest.partition(":")[0]
    return place == _place() and pid.isdigit() and not _alive(int(pid)) and int(pid) != os.getpid()


@cache
def _place() -> str:
    """Where pids mean the same processes: one boot of one machine, and there one namespace of pids. The host's name alone
    does not tell: containers may share it, and so may machines that were made from one image."""
    boot = pids = ""
    with contextlib.suppress(OSError):
        pids = str(Path("/proc/self/ns/pid").readlink())
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")  # a hardened service may not see it
    return f"{os.uname().nodename}-{hashlib.sha256((boot + pids).encode()).hexdigest()[:8]}"

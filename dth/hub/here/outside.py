"""Jobs that the command line works on, beside the hub: who holds the lock of a job's state folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

from dth.hub.here import claim

_LOCKS = Path("/proc/locks")
_CACHE_SECONDS = 1.0
_cache: tuple[float, dict[tuple[int, int], int]] = (0.0, {})


def holder(folder: Path) -> int:
    """The process that holds the lock of a state folder; 0 where nobody does. Looks without touching the lock: whoever takes
    it for a moment may keep somebody else from starting."""
    path = folder / "lock"
    try:
        found = path.stat()
        text = path.read_text("ascii", errors="replace").strip()
    except OSError:
        return 0
    if _LOCKS.exists():
        pid = _held().get((found.st_dev, found.st_ino), 0)
        return max(0, pid)
    pid = int(text) if text.isdigit() else 0
    return pid if pid and claim.birth(pid) else 0


def _held() -> dict[tuple[int, int], int]:
    """Who holds which file by flock(2), by device and inode: `1: FLOCK  ADVISORY  WRITE 2345 08:01:1310 0 EOF`."""
    global _cache  # noqa: PLW0603 - a list of tasks asks for each of them
    now = time.monotonic()
    if now - _cache[0] > _CACHE_SECONDS:
        held = {}
        for line in _LOCKS.read_text("ascii", errors="replace").splitlines():
            words = line.split()
            if len(words) < 6 or words[1] != "FLOCK":  # noqa: PLR2004 - waiters have an arrow in between
                continue
            major, minor, inode = words[5].split(":")
            held[os.makedev(int(major, 16), int(minor, 16)), int(inode)] = int(words[4])
        _cache = (now, held)
    return _cache[1]

"""The processes below one, and the memory that they hold together. Linux only."""

import contextlib
from pathlib import Path

_PROC = Path("/proc")


def memory(root: int) -> int:
    """Bytes that `root` and everything below it hold now: proportional set sizes, so that a page shared by two counts
    once. A process that ends meanwhile counts as nothing."""
    return sum(_held(pid) for pid in _below(root))


def _below(root: int) -> set[int]:
    """`root` and all its descendants."""
    parents: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                # the name of a process, in brackets, may hold spaces: the parent is the second word after it
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def _held(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0

"""What processes use, from /proc; nothing where there is none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def usage(workers: Mapping[str, Mapping[str, Any]]) -> tuple[float, float]:
    """CPU seconds and resident bytes of all workers together; what is known of each is noted with it."""
    seconds = memory = 0.0
    for worker in workers.values():
        used = of_process(worker.get("pid") or 0)
        if used and isinstance(worker, dict):
            worker["cpu_seconds"], worker["memory"] = used
        if used:
            seconds += used[0]
            memory += used[1]
    return seconds, memory


def of_process(pid: int) -> tuple[float, float] | None:
    """CPU seconds and resident bytes of one process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS, float(int(fields[21]) * _PAGE)
    except (OSError, IndexError, ValueError):
        return None

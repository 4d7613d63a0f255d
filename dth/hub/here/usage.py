"""What processes use, from /proc; nothing where there is none."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def usage(workers: Mapping[str, dict[str, Any]]) -> tuple[float, float]:
    """CPU seconds and resident bytes of all workers together; what each uses (`cpu`: cores since the last look) is noted with
    it."""
    seconds = memory = 0.0
    now = time.time()
    for worker in workers.values():
        used = of_process(worker.get("pid") or 0)
        if used is None:
            continue
        before, looked = worker.get("cpu_seconds"), worker.get("cpu_at")
        if before is not None and looked is not None and now > looked:
            worker["cpu"] = round(max(used[0] - before, 0.0) / (now - looked), 3)
        worker["cpu_seconds"], worker["memory"] = used
        worker["cpu_at"] = now
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

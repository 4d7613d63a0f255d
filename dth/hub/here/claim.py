"""Who an attempt's process is, in a file that exactly one can make.

A process says who it is before it does anything, so a hub that was killed between starting it and noting its id finds it.
`pid` is made by a hard link: a hub that takes an attempt back makes it first, and the process that comes too late ends at once.
"""

from __future__ import annotations

import os
from pathlib import Path

VOID = "0 0\n"


def claim(folder: Path, text: str) -> bool:
    """Make the folder's `pid` file with this text; False where somebody else was first."""
    beside = folder / f".pid.{os.getpid()}"
    beside.write_text(text, "ascii")
    try:
        os.link(beside, folder / "pid")
    except FileExistsError:
        return False
    finally:
        beside.unlink()
    return True


def birth(pid: int) -> str:
    """When a process began, in a form to compare: a pid that is used again has another. "" where there is none.

    On Linux the boot's id and the field `starttime` of /proc/PID/stat (proc(5)); elsewhere what `ps` says.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()[:8]
    except FileNotFoundError:
        return "" if Path("/proc/self/stat").exists() else _birth_elsewhere(pid)
    except OSError:
        return ""
    return "" if fields[0] in {"Z", "X"} else f"{boot}:{fields[19]}"


def _birth_elsewhere(pid: int) -> str:
    import subprocess  # noqa: PLC0415 - only where there is no /proc

    told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return told.stdout.strip().replace(" ", "_")

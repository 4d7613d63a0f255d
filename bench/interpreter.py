"""Which Python dth is measured with, and how that was built: one without PGO costs an eighth to a quarter more.

Users have a build with PGO: Debian's, python.org's, a container's. So the bench takes `/usr/bin/python3` where it is new
enough, with an environment of its own below `build/`, and says what it was.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_SYSTEM = Path("/usr/bin/python3")
_LOCKS = ("dth", "bench")
_MARK = "DTH_BENCH_INTERPRETER"
_QUESTION = "import sys, json; print(json.dumps([list(sys.version_info[:2]), sys.base_prefix]))"


def run_with(asked: str) -> None:
    """Go on in the interpreter that was `asked` for: a path; `auto`: the system's where it will do; `this`: ours.

    Replaces this process, once. Returns where ours is the one. Exits with words where the one asked for can't be used.
    """
    if asked == "this" or os.environ.get(_MARK):
        return
    wanted = _SYSTEM if asked == "auto" else Path(asked)
    if reason := _unusable(wanted):
        if asked != "auto":
            sys.exit(f"--python {asked}: {reason}")
        return
    try:
        python = _environment(wanted)
    except (subprocess.CalledProcessError, OSError) as failed:
        said = (getattr(failed, "stderr", "") or str(failed)).strip().splitlines()
        if asked != "auto":
            sys.exit(f"--python {asked}: no environment for it could be made: {said[-1] if said else failed}")
        print(f"{_SYSTEM} was left alone: no environment for it could be made ({said[-1] if said else failed})")
        return
    os.execve(python, [str(python), *sys.orig_argv[1:]], os.environ | {_MARK: "1"})


def _unusable(python: Path) -> str:
    """Why; "" if it can be used."""
    if not python.exists():
        return "there is no such program"
    done = subprocess.run([str(python), "-c", _QUESTION], capture_output=True, text=True, check=False)
    if done.returncode:
        return "it is no Python"
    version, prefix = json.loads(done.stdout)
    if version < [3, 11]:
        return "dth needs Python 3.11 or newer"
    if prefix == sys.base_prefix and version == list(sys.version_info[:2]):
        return "it is the one that runs"
    return ""


def _environment(python: Path) -> Path:
    """The interpreter of an environment with dth's packages and its peers, made anew where the locks have changed."""
    locks = [_ROOT / "locks" / f"{name}.txt" for name in _LOCKS]
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks) + str(python).encode()).hexdigest()[:12]
    folder = _ROOT / "build" / f"bench-{digest}"
    inside = folder / "bin" / "python"
    if not (folder / "installed").exists():
        print(f"making an environment for {python} (once)", flush=True)
        subprocess.run(
            [str(python), "-m", "venv", "--clear", "--without-pip", str(folder)], check=True, capture_output=True
        )
        subprocess.run(
            [sys.executable, "-m", "ensurepip"], check=True, capture_output=True
        )  # uv makes ours without pip
        for lock in locks:  # with our pip: Debian's Python may have none
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", str(inside), "install"]
            words = [*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
            subprocess.run(words, check=True, capture_output=True, text=True)
        (folder / "installed").touch()
    return inside


def machine() -> dict[str, Any]:
    """What the figures depend on, and nothing that names the machine: no host, no path."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "")
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    debian = sys.base_prefix == "/usr" and Path("/etc/debian_version").exists()
    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count() or 0,
        "kernel": os.uname().release.partition("-")[0],
        "python": platform.python_version(),
        "debian": debian,
        "pgo": debian or "--enable-optimizations" in arguments,  # Debian's rules build it so, by a target of make
        "lto": debian or "--with-lto" in arguments,
    }


def named(on: dict[str, Any]) -> str:
    """The Python of `machine`, in words."""
    whose = "Debian's" if on["debian"] else "not Debian's"
    built = "with PGO" if on["pgo"] else "without PGO (dearer than what users have)"
    return f"Python {on['python']}, {whose}, built {built}"

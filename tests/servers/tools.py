"""Programs that check what is shipped, in an environment of their own: `DTH_TEST_TOOLS` names its `bin`, else `build/tools/bin`."""

import os
import subprocess
from pathlib import Path

_FOLDER = Path(os.environ.get("DTH_TEST_TOOLS") or Path(__file__).parents[2] / "build/tools/bin")
"""Read when the run begins: unit tests take the switches of the run out of their environment."""


def folder() -> Path:
    """Where they are."""
    return _FOLDER


def missing() -> str:
    """Why they cannot run here; "" if they can."""
    return "" if (folder() / "hadolint").exists() else "no tools in build/tools (make build/tools.installed)"


def check(name: str, *words: str) -> str:
    """What the tool prints; AssertionError with its findings unless it ends with 0."""
    done = subprocess.run([folder() / name, *words], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

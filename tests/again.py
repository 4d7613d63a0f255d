"""Run pytest in several processes, and what failed there once more alone: `python -m tests.again STREAMS [pytest's arguments]`.

On a machine of two cores the tests' servers, containers and fleets take the processors from each other. A test that fails
there and holds alone says something about the machine; one that fails alone says something about dth. Both are named.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

MANY = 5  # more failures than that are no accident
FAILED = 1  # pytest's exit code: tests were run, and some failed


def main(streams: str, *arguments: str) -> int:
    """The exit code."""
    with tempfile.TemporaryDirectory(prefix="dth-pytest-") as cache:
        pytest = [sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}", *arguments]
        first = subprocess.run([*pytest, "-n", streams], check=False).returncode
        failed = failures(Path(cache))
        if first != FAILED or not 0 < len(failed) <= MANY:
            return first
        print(f"\nFailed beside other tests, now run alone ({len(failed)}):", *failed, sep="\n  ", flush=True)  # noqa: T201
        return subprocess.run([*pytest, "--last-failed", "--last-failed-no-failures", "none"], check=False).returncode


def failures(cache: Path) -> list[str]:
    """The tests that failed, as pytest remembers them."""
    file = cache / "v" / "cache" / "lastfailed"
    return list(json.loads(file.read_text())) if file.exists() else []


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

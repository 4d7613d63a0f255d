"""What `--help` says, held in golden files: a change of it is a decision, seen in the diff.

To write them anew: `GOLDEN=write pytest tests/unit/test_cli_help.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dth.settings import NOT_YET, TransferJob, settings_of

GOLDEN = Path(__file__).parent / "golden"
WRITE = os.environ.get("GOLDEN") == "write"
COMMANDS = [
    "",
    "sync",
    "ecr-sync",
    "verify",
    "find",
    "work",
    "status",
    "init",
    "redrive",
    "complete-multipart",
    "probe",
    "hub",
    "demo",
]


def help_text(command: str) -> str:
    environment = {
        "COLUMNS": "100",
        "TERMINAL_WIDTH": "100",
        "NO_COLOR": "1",
        "PATH": os.environ["PATH"],
        "HOME": "/home/you",
    }
    words = [sys.executable, "-c", "import sys; sys.argv[0] = 'dth'; from dth.cli.main import run; run()", command]
    done = subprocess.run(
        [word for word in [*words, "--help"] if word], env=environment, capture_output=True, text=True, check=True
    )
    return "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda name: name or "dth")
def test_help_reads_as_agreed(command: str) -> None:
    path = GOLDEN / f"help_{command or 'dth'}.txt"
    text = help_text(command)
    if WRITE:
        path.write_text(text)
    assert text == path.read_text()


def test_the_help_of_find_names_every_setting_that_works_and_no_other() -> None:
    text = help_text("find")
    for name, setting in settings_of(TransferJob).items():
        assert (f"{setting.flag} " in text) is (name not in NOT_YET), name


def test_help_needs_no_engine() -> None:
    program = "import sys, dth.cli.main; print([m for m in ('dth.app', 'uvloop', 'botocore', 'dth.finder') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""What `--help` says, held in golden files: a change of it is a decision, seen in the diff.

To write them anew: `GOLDEN=write pytest tests/unit/test_cli_help.py`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from dth.cli.help import COLUMNS
from dth.cli.main import app
from dth.settings import NOT_YET, TransferJob, settings_of
from tests.servers.terminal import in_terminal

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
    "policy",
    "settings",
    "redrive",
    "complete-multipart",
    "probe",
    "hub",
    "completion",
    "demo",
]


def help_text(command: str, *, columns: int = 100) -> str:
    environment = {
        "COLUMNS": str(columns),
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


ALL = """
import contextlib, sys
from dth.cli.main import app
for command in sys.argv[1:]:
    with contextlib.suppress(SystemExit):
        app([*filter(None, [command]), "--help"], prog_name="dth")
"""


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_a_terminal_shows_every_name_whole_and_no_line_is_cut(columns: int) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/home/you", "PYTHONPATH": os.pathsep.join(sys.path)}
    shown = in_terminal([sys.executable, "-c", ALL, *COMMANDS], environment, columns)
    assert shown.code == 0
    assert max(len(line) for line in shown.lines) <= min(columns, COLUMNS)
    words = set(re.findall(r"[^\s,]+", " ".join(shown.lines)))
    group = get_command(app)
    assert set(group.commands) == {name for name in COMMANDS if name} <= words  # type: ignore[attr-defined]
    for command in group.commands.values():  # type: ignore[attr-defined]
        for one in command.params:
            names = [] if getattr(one, "hidden", False) else [*one.opts, *one.secondary_opts]
            assert {name for name in names if name.startswith("-")} <= words, (command.name, one.name)
    assert not [line for line in shown.lines if "…" in line]


def test_examples_can_be_copied() -> None:
    """Joined by the shell as they stand, they are one command with no word lost."""
    text = help_text("sync", columns=60)
    example = text.partition("Example:\n")[2].partition("\n\n")[0]
    assert example.count("\\\n") == 2
    assert shlex.split(example.replace("\\\n", "")) == [
        "dth", "sync", "s3://photos/2026", "s3://backup/photos/2026", "--dest-endpoint", "https://minio.example:9000",
        "--dest-profile", "backup",
    ]  # fmt: skip


def test_help_needs_no_engine() -> None:
    program = "import sys, dth.cli.main; print([m for m in ('dth.app', 'uvloop', 'botocore', 'dth.finder', 'rich', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

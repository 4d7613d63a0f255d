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
from typing import Any

import pytest
from typer import Context
from typer.core import TyperGroup
from typer.main import get_command

import dth
from dth.cli import main
from dth.cli.help import COLUMNS
from dth.settings import NOT_YET, TransferJob, settings_of
from tests.servers.terminal import in_terminal

GOLDEN = Path(__file__).parent / "golden"
WRITE = os.environ.get("GOLDEN") == "write"
COMMANDS = ["", *main.COMMANDS]


def command_named(name: str) -> Any:
    group = get_command(main.app)
    assert isinstance(group, TyperGroup)
    return group.get_command(Context(group), name)


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
    assert set(main.COMMANDS) <= words
    for command in map(command_named, main.COMMANDS):
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


@pytest.mark.parametrize("name", main.COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    command = command_named(name)
    assert command.name == name
    assert " ".join(command.help.partition("\n\n")[0].split()) == main.COMMANDS[name]


@pytest.mark.parametrize(
    ("words", "most", "without"),
    [
        (["--help"], 190, ["asyncio", "pydantic", "dth.settings", "rich", "yaml", "ssl"]),
        (
            ["sync", "--help"],
            370,
            [
                "dth.app",
                "uvloop",
                "aioboto3",
                "botocore",
                "dth.finder",
                "rich",
                "yaml",
                "tomllib",
                "importlib.metadata",
            ],
        ),
    ],
    ids=["help", "help of sync"],
)
def test_a_start_imports_no_more_than_it_needs(words: list[str], most: int, without: list[str]) -> None:
    """Most of a start's time is imports."""
    program = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); from dth.__main__ import run; run()"
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    imported = done.stderr.split()
    assert "dth.cli.main" in imported
    assert not set(without) & set(imported)
    assert len(imported) <= most


def test_the_version_needs_nothing() -> None:
    """A script that asks for it waits for the interpreter alone."""
    command = [sys.executable, "-X", "importtime", "-m", "dth", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"dth {dth.__version__}\n"
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "dth" in imported
    assert not {"typer", "typing", "threading", "dth.cli"} & imported


def test_a_command_makes_the_options_that_its_words_name() -> None:
    group = get_command(main.app)
    assert isinstance(group, TyperGroup)

    def made(*words: str) -> set[str]:
        _, command, left = group.resolve_command(Context(group), ["sync", *words])
        assert command
        assert left == list(words)
        return {option for one in command.params for option in one.opts}

    own = {"source", "dest", "--dry-run", "--job", "--json", "--verbose"}
    few = made("s3://a", "s3://b", "--src-region=eu-west-1", "--clobber", "-v")
    assert own | {"--src-region", "--no-clobber"} <= few
    assert "--dest-region" not in few
    for words in (["--help"], ["-h"], ["--src-regoin", "x"], ["--src-prefix", "-x"], ["-vh"]):
        assert few < made(*words), words  # help and errors know all of them


def test_a_job_on_this_machine_needs_no_aws_library() -> None:
    program = "import sys, dth.app.verbs, dth.aws, dth.ecr.aws; print([m for m in ('aioboto3', 'boto3', 'botocore', 's3transfer') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

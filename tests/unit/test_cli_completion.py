"""Completion as a real bash asks for it, and a script for each shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
source <(dth completion bash)
COMP_WORDS=($1)
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_dth_completion dth
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    command = tmp_path / "dth"
    program = "from dth.cli.main import run; run()"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c \'import sys; sys.argv[0] = "dth"; {program}\' "$@"\n')
    command.chmod(0o755)
    return {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("dth sy", {"sync"}),
        ("dth sync --src-en", {"--src-endpoint"}),
        ("dth work --unt", {"--until-empty"}),
        ("dth nothing-like-this", set()),
    ],
)
def test_bash_completes_commands_and_options(typed: str, offered: set[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", ASK, "bash", typed], env=environment, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == offered, done.stderr


@pytest.mark.parametrize(("shell", "marks"), [("zsh", "#compdef dth"), ("fish", "complete --command dth")])
def test_other_shells_have_a_script_of_their_own(shell: str, marks: str, environment: dict[str, str]) -> None:
    done = subprocess.run(["dth", "completion", shell], env=environment, capture_output=True, text=True, check=True)
    assert marks in done.stdout

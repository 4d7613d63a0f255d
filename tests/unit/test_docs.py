"""What the documentation shows is true: commands parse, targets, files and options exist, every verb and code is named."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from dth.cli.main import COMMANDS, app
from dth.settings import TransferJob, settings_of
from dth.summary import ExitCode

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shell_lines() -> list[str]:
    """Every command in a shell block of a page, comments left out."""
    lines = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            joined = block.replace("\\\n", " ")
            lines += [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return lines


@pytest.mark.parametrize("line", shell_lines())
def test_every_command_in_the_documentation_is_one(line: str) -> None:
    words = shlex.split(line, comments=True)
    while words and "=" in words[0]:
        words.pop(0)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[1] in targets
    elif words[0] == "dth":
        group = typer.main.get_command(app)
        assert isinstance(group, TyperGroup)
        verb = group.get_command(typer.Context(group), words[1])
        assert verb is not None
        verb.make_context(words[1], words[2:])  # raises where an option or argument does not exist
    else:
        assert words[0] in {"pip", "docker", "podman", "aws", "skopeo"}


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_names_every_exit_code() -> None:
    named = {int(code) for code in re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)}
    assert named == {int(code) for code in ExitCode}


def test_options_named_in_prose_exist() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    verbs = [group.get_command(typer.Context(group), name) for name in COMMANDS]
    known = {opt for verb in verbs if verb for param in verb.params for opt in (*param.opts, *param.secondary_opts)}
    known |= {setting.flag for setting in settings_of(TransferJob).values()}
    for page in PAGES:
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for option in re.findall(r"`(--[a-z][a-z-]+)", prose):
            assert option in known, f"{page.name}: {option}"

"""What the documentation shows is true: commands parse, targets, files and options exist, every verb and code is named."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from dth.cli import reference
from dth.cli.main import COMMANDS, app
from dth.settings import TransferJob, settings_of
from dth.settings.catalog import entries
from dth.settings.jobfile import DEPLOYMENT_ONLY, MEANINGLESS, ORIGINAL
from dth.stores.providers import PROFILES
from dth.summary import ExitCode
from tests.documentation import PAGES, ROOT, shell_lines, without_shell


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in shell_lines(page)}))
def test_every_command_in_the_documentation_is_one(line: str) -> None:
    words = shlex.split(without_shell(line))
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
        assert words[0] in {"pip", "pipx", "uvx", "man", "docker", "podman", "aws", "skopeo"}


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


BESIDE = Path(reference.__file__).with_name("dth.1")  # of a checkout; installed, it is where manual pages are
MANUAL = BESIDE if BESIDE.exists() else Path(sys.prefix) / "share/man/man1/dth.1"


@pytest.mark.parametrize(
    ("page", "made"),
    [(ROOT / "docs/commands.md", reference.page), (MANUAL, reference.manual)],
    ids=["commands", "manual"],
)
def test_what_is_made_from_the_commands_is_what_they_say_of_themselves(page: Path, made: Callable[[], str]) -> None:
    assert page.read_text() == made(), "python -m dth.cli.reference makes it anew"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_section_with_an_example(name: str) -> None:
    section = (ROOT / "docs" / "commands.md").read_text().partition(f"\n## dth {name}\n")[2].partition("\n## ")[0]
    assert re.search(rf"```sh\n.*\bdth {name}\b", section)


def test_whoever_comes_from_the_original_finds_each_of_its_names() -> None:
    page = (ROOT / "docs" / "migrating.md").read_text()
    of_settings = {one.guide for one in entries() if one.guide}
    missing = {name for name in {*of_settings, *DEPLOYMENT_ONLY, *MEANINGLESS, *ORIGINAL} if f"`{name}`" not in page}
    assert not missing


@pytest.mark.parametrize("name", PROFILES)
def test_each_kind_of_store_has_its_place_in_the_page_of_providers(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "providers.md").read_text()


def test_every_page_is_in_the_menu_of_the_site() -> None:
    menu = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    pages = [str(page.relative_to(ROOT / "docs")) for page in PAGES[1:]]
    assert [page for page in pages if page not in menu and not page.startswith("decisions/2")] == []

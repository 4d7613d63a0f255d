"""The package is laid out as the design says, and its files have a size that can be read."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.unit.test_imports import PACKAGE, modules

ROOT = Path(__file__).parents[2]
MOST_LINES, LEAST_LINES = 400, 30

SMALL_FOR_A_REASON = {
    "cli.completion": "one file a verb",
    "cli.output.probe": "the words of one verb, beside those of the others",
    "transport.memory": "it imports ctypes, which only who lists many pages pays for",
}


def rooms_of_the_design() -> str:
    """The section that lists them, whichever page holds it."""
    sections = [
        section
        for page in (ROOT / "docs").rglob("*.md")
        for section in re.findall(r"^## Rooms$(.*?)(?=^## |\Z)", page.read_text(), re.DOTALL | re.MULTILINE)
    ]
    assert len(sections) == 1
    return str(sections[0])


def test_the_rooms_of_the_design_are_the_packages_of_the_tree() -> None:
    named = re.findall(r"^dth/([\w/]+)/ ", rooms_of_the_design(), re.MULTILINE)
    there = [str(path.parent.relative_to(PACKAGE)) for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE]
    assert sorted(named) == sorted(there)


def test_the_design_names_every_file_that_is_in_no_room() -> None:
    named = re.findall(r"`(\w+\.py)`", rooms_of_the_design())
    there = [path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")]
    assert sorted(named) == sorted(there)


def test_every_room_says_what_it_is() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_no_file_is_over_400_lines_without_a_reason_in_its_docstring() -> None:
    for name, path in modules():
        text = path.read_text()
        if text.count("\n") > MOST_LINES:
            assert "400 lines" in (ast.get_docstring(ast.parse(text)) or ""), name


def imported_modules(path: Path, known: set[str]) -> set[str]:
    """The modules of the package that the file imports, be it by `import` or by `from`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name.removeprefix("dth.") for name in found} & known


def test_no_small_file_exists_only_to_be_imported_by_one_other() -> None:
    files = {name: path for name, path in modules() if path.stem not in {"__init__", "__main__"}}
    small = {name for name, path in files.items() if path.read_text().count("\n") < LEAST_LINES}
    users = [imported_modules(path, small) for _, path in modules()]
    alone = {name for name in small if sum(name in used for used in users) <= 1}
    assert alone == set(SMALL_FOR_A_REASON)

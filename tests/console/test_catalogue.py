"""What the console says in Chinese of settings and errors covers the catalogues that Python keeps."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from dth.causes import ALL
from dth.hub import forms
from dth.hub.states import TaskType

from .site import source

CATALOGUE = "console/src/i18n/zh-catalogue.ts"


def names_in(section: str) -> set[str]:
    """The keys of one part of the catalogue that have a title and a sentence."""
    part = re.search(rf"^  {section}: \{{\n(.*?)^  \}},$", source(CATALOGUE), re.DOTALL | re.MULTILINE)
    assert part
    return set(re.findall(r"^    (\w+): \[", part[1], re.MULTILINE))


@pytest.mark.parametrize("kind", list(TaskType))
def test_every_setting_of_the_forms_has_a_chinese_title_and_help(kind: TaskType) -> None:
    shown = {setting["name"] for panel in forms.panels(kind) for setting in panel["settings"]}
    assert shown - names_in("settings") == set()


def test_every_error_code_has_a_chinese_label_and_remedy() -> None:
    assert set(ALL) - names_in("causes") == set()


def test_every_refusal_of_the_hub_has_chinese_words() -> None:
    texts = "".join(path.read_text("utf-8") for path in Path(str(files("dth.hub"))).rglob("*.py"))
    codes = set(re.findall(r'Refused\(\s*"(\w+)"', texts))
    assert len(codes) > 20, "they are spelt in another way now"
    assert codes - names_in("refusals") == set()


def test_every_panel_has_a_chinese_name() -> None:
    panels = {panel["name"] for kind in TaskType for panel in forms.panels(kind)}
    texts = source(CATALOGUE)
    missing = {name for name in panels if f'"{name}":' not in texts and f"    {name}:" not in texts}
    assert missing == set()


def test_every_test_that_the_list_of_the_journey_names_is_there() -> None:
    folder = Path(__file__).parent
    listed = re.findall(r"`(?:(test_\w+)\.)?(test_\w+)`", (folder / "test_journey.py").read_text("utf-8"))
    assert len(listed) >= 17
    for module, name in listed:
        assert f"def {name}(" in (folder / f"{module or 'test_journey'}.py").read_text("utf-8"), name

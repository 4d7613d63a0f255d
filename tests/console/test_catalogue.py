"""What the console says in Chinese of settings and errors covers the catalogues that Python keeps."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from dth.causes import ALL
from dth.finder.explain import CODES
from dth.hub import forms
from dth.hub.here.questions import QUESTIONS
from dth.hub.states import TaskType
from dth.prices import MISSING
from dth.probe.findings import Verdict
from dth.probe.writing import CHECKSUMS
from dth.states import Comparison, Reason, VerifiedBy

from .site import source

CATALOGUE = "console/src/i18n/zh-catalogue.ts"


SAID = "console/src/i18n/zh-said.ts"


def part_of(section: str, file: str) -> str:
    """One part of a catalogue."""
    part = re.search(rf"^  {section}: \{{\n(.*?)^  \}},$", source(file), re.DOTALL | re.MULTILINE)
    assert part
    return part[1]


def names_in(section: str, file: str = CATALOGUE) -> set[str]:
    """The keys of one part of a catalogue that have Chinese words: a sentence, or a title and a sentence."""
    found = re.findall(r'^    "?([\w ]+?)"?: \[?\s*"[^"]*[\u4e00-\u9fff]', part_of(section, file), re.MULTILINE)
    return set(found)


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


def texts_of(*packages: str) -> str:
    """The source text of everything in these packages."""
    return "".join(
        path.read_text("utf-8") for name in packages for path in Path(str(files(f"dth.{name}"))).rglob("*.py")
    )


def test_every_warning_of_a_plan_has_chinese_words() -> None:
    texts = texts_of("app", "finder", "ecr", "worker", "multipart", "transfer", "stores")
    notices = re.findall(r'Notice\(\s*"warning",\s*"(\w+)"', texts)
    assert len(notices) > 15, "they are spelt in another way now"
    assert set(notices) - names_in("notices", SAID) == set()


def test_every_question_of_a_check_has_english_and_chinese_words() -> None:
    texts = texts_of("probe")
    asked = set(re.findall(r'findings\.ask\(\s*"(\w+)"', texts)) | {f"{name}_verified" for name in CHECKSUMS}
    assert len(asked) > 20, "they are spelt in another way now"
    asked |= {"delete", "reach"}
    assert asked == set(QUESTIONS)
    assert asked - names_in("questions", SAID) == set()
    assert {verdict.value for verdict in Verdict} - names_in("phrases") == set()


def test_every_rule_about_a_key_and_every_missing_price_has_chinese_words() -> None:
    assert set(CODES) == names_in("rules", SAID)
    assert set(MISSING) == names_in("unpriced", SAID)


def test_every_reason_and_every_proof_has_a_chinese_name() -> None:
    words = {one.value.replace("_", " ") for kind in (Reason, Comparison) for one in kind}
    words |= {f"proof {one.value.replace('_', ' ')}" for one in VerifiedBy}
    words |= {"copy", "keep", "delete", "skip", "nothing", "unknown"}
    assert words - {Reason.OPEN.value} - names_in("phrases") == set()


def test_the_page_of_proof_takes_every_difference_for_one() -> None:
    listed = re.search(r"DIFFERENCES = \[(.*?)\]", source("console/src/pages/task/proof.tsx"))
    assert listed
    assert set(re.findall(r'"(\w+)"', listed[1])) == {one.value for one in Comparison if one.differs}


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

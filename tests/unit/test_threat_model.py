"""The threat model names its tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "threat-model.md").read_text()
NAMED = sorted(set(re.findall(r"`(test_\w+)`", TEXT)))
DEFINED = {
    name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
}


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_the_threat_model_names_exists(name: str) -> None:
    assert name in DEFINED


def test_every_finding_of_the_review_has_a_row() -> None:
    rows = [line for line in TEXT.splitlines() if re.match(r"\| [0-9]+ \|", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 32))
    assert all("test" in row.rsplit("|", 2)[1] for row in rows)

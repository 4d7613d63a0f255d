"""Unit tests run the command line in this very process: the switches of the test run itself are none of its settings."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_switches_of_the_test_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DTH_TEST_")]:
        monkeypatch.delenv(name)

"""Which tests stay together where they run in several processes (`pytest -n 2`)."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

SYSTEMS = {
    f"tests/e2e/test_{name}.py" for name in ("container", "deployed_images", "deployed_machine", "release", "service")
}
"""Files whose tests need the image or the root of a system: made once, because each takes minutes."""


def scope_of(nodeid: str) -> str:
    """The tests of one scope run in one process: a file's, and those of all `SYSTEMS`."""
    file = nodeid.partition("::")[0]
    return "systems" if file in SYSTEMS else file


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # the package has no types
    """Hands out files in the order in which they were collected: the long scenarios first, unit tests last."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """Called by pytest-xdist. Its own groups have no effect since pytest 9.2: it renames tests no more."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say where a test that needs a system's image would run beside others of its kind."""
    for item in items:
        if "systems" in getattr(item, "fixturenames", ()) and scope_of(item.nodeid) != "systems":
            raise pytest.UsageError(f"{item.nodeid} uses a system's image: name its file in tests/streams.py")

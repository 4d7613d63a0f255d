"""A browser, and a hub with tasks in every state between real stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.hub.refusing import Refusing
from tests.servers import chromium
from tests.servers.s3server import S3Server

from .site import WAIT_MILLISECONDS, Site, opened

expect.set_options(timeout=WAIT_MILLISECONDS)  # only ends what would never end


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window. Playwright keeps an event loop of its own: it ends with the module, because no test of an
    async function could run beside it."""
    with sync_playwright() as playwright:
        # Root has no sandbox; the pages are ours.
        started = playwright.chromium.launch(executable_path=chromium.program(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(seaweed: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A hub, and what its tasks move things between. Tasks are made once for a module."""
    front = Refusing(seaweed)
    made = Site.start(Path(tmp_path_factory.mktemp("console")), seaweed, front)
    yield made
    made.hub.end()
    front.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A tab of somebody who signed in, in English, at 1,440 pixels."""
    with opened(browser, site) as tab:
        yield tab

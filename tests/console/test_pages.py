"""Each page in both languages, light and dark, wide and narrow: without a fault that axe knows, and as a picture."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.harness import FULL

from .site import Site, axe, opened, pictures, settled, source

pytestmark = [pytest.mark.browser, pytest.mark.seaweed, pytest.mark.slow]

AXE = "console/node_modules/axe-core/axe.min.js"
LOOKS: dict[str, dict[str, Any]] = {
    "en-1440": {"language": "en", "width": 1440},
    "zh-1024": {"language": "zh", "width": 1024, "density": "compact"},
    "en-1024": {"language": "en", "width": 1024},
    "zh-1440": {"language": "zh", "width": 1440},
}
OF_TEXTS = ("color-contrast", "html-lang-valid", "label", "button-name", "link-name", "document-title")
CHOSEN = list(LOOKS) if FULL else list(LOOKS)[:2]
OUTSIDE = """() => {
    const scrolls = (one) => one && (["auto", "scroll"].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
    const width = document.documentElement.clientWidth;
    const wide = document.documentElement.scrollWidth > width ? ["the page"] : [];
    return [...wide, ...[...document.querySelectorAll("a, button, input, select, textarea, summary")]
        .filter((one) => one.checkVisibility() && !one.closest(".skip, [popover]") && !one.matches(".skip") && !scrolls(one.parentElement))
        .filter((one) => { const box = one.getBoundingClientRect(); return box.width && (box.right > width + 1 || box.left < -1); })
        .map((one) => one.outerHTML.slice(0, 120))];
}"""
PAGES = {
    "tasks": "/",
    "stores": "/stores",
    "new": "/tasks/new",
    "new-images": "/tasks/new?type=ECR",
    "edit": "/tasks/{running}/edit",
    "overview": "/tasks/{running}",
    "overview-done": "/tasks/{failures}",
    "draft": "/tasks/{draft}",
    "failures": "/tasks/{failures}/failures",
    "objects": "/tasks/{failures}/objects",
    "proof": "/tasks/{done}/proof",
    "workers": "/tasks/{running}/fleet",
    "logs": "/tasks/{failures}/logs",
    "settings": "/tasks/{done}/settings",
    "gone": "/tasks/no-such-task",
    "nowhere": "/no/such/page",
}


@pytest.mark.parametrize("look", CHOSEN)
def test_every_page_is_accessible_and_fits_light_and_dark(browser: Browser, site: Site, look: str) -> None:
    checker, found = source(AXE), []
    with opened(browser, site, theme="light", **LOOKS[look]) as page:
        for name, path in PAGES.items():
            page.goto(site.hub.base + path.format(**site.tasks))
            settled(page)
            page.screenshot(path=pictures() / f"{name}-{look}-light.png")
            found += [(name, one) for one in axe(page, checker, *([] if look.startswith("en") else OF_TEXTS))]
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{name} is {overflow} pixels wider than the window"
            page.evaluate("document.documentElement.dataset.theme = 'dark'")
            page.screenshot(path=pictures() / f"{name}-{look}-dark.png")
            found += [(name, one) for one in axe(page, checker, "color-contrast")]  # nothing else depends on the theme
            if look.startswith("zh"):
                assert re.search("[\u4e00-\u9fff]", page.title() + page.inner_text("main")), name
    assert found == []


@pytest.mark.parametrize("language", ["en", "zh"] if FULL else ["zh"])
def test_every_page_can_be_used_at_twice_the_size(browser: Browser, site: Site, language: str) -> None:
    """A window of 1,024 pixels at 200% holds 512."""
    with opened(browser, site, width=512, height=384, language=language, theme="light") as page:
        for name, path in PAGES.items():
            page.goto(site.hub.base + path.format(**site.tasks))
            settled(page)
            page.screenshot(path=pictures() / f"{name}-{language}-zoomed.png", full_page=True)
            outside = page.evaluate(OUTSIDE)
            assert outside == [], f"{name}: controls that nobody can reach at twice the size"


@pytest.mark.parametrize("look", CHOSEN)
def test_the_door_is_accessible(browser: Browser, site: Site, look: str) -> None:
    with opened(browser, site, signed_in=False, **LOOKS[look]) as page:
        page.goto(site.hub.base)
        expect(page.locator("h1")).to_be_visible()
        page.screenshot(path=pictures() / f"sign-in-{look}.png")
        assert axe(page, source(AXE)) == []

"""A hub with a task in each state that pages show differently, and tabs of a browser that look at it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.hub.hubs import HubProcess, hub_between
from tests.hub.refusing import Refusing
from tests.hub.test_life import new_bucket
from tests.servers.s3server import S3Server

WAIT_MILLISECONDS = 60_000
HOSTILE = [
    "<img src=x onerror=document.title='broken'>.txt",
    "right-\u202eto-left.txt",
    "line\nbreak.txt",
    "a b+c%2F&d.txt",
]


@dataclass
class Site:
    """The hub, settings of a task between its stores, and the ids of its tasks by what they are for."""

    hub: HubProcess
    store: S3Server
    front: Refusing
    base: dict[str, str]
    tasks: dict[str, str] = field(default_factory=dict)
    buckets: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def start(cls, folder: Path, store: S3Server, front: Refusing) -> Site:
        """With tasks that are done (and verified), done with failures, paused, scheduled, and a draft."""
        hub, base = hub_between(folder, store, store)
        site = cls(hub.start(), store, front, base)
        fine = site.bucket(
            {f"photos/{n:04}.jpg": 30_000 for n in range(120)} | {f"docs/{n:03}.pdf": 250_000 for n in range(20)}
        )
        mixed = site.bucket(dict.fromkeys(HOSTILE, 100) | {f"reports/{n:03}.csv": 4000 for n in range(60)})
        slow = site.bucket({f"videos/{n:03}.mp4": 20_000 for n in range(400)})
        front.keys = {f"reports/{n:03}.csv" for n in range(3, 10)}
        site.tasks["done"] = site.task("Photo archive to Frankfurt", fine)
        site.tasks["failures"] = site.task("Reports for the data lake", mixed, src_endpoint=front.endpoint)
        site.tasks["running"] = site.task("Video masters", slow, bandwidth="30000", pack_objects="5")
        site.tasks["scheduled"] = site.task("Nightly backup", fine, schedule="0 3 * * * Europe/Berlin")
        site.tasks["draft"] = site.task("Old invoices", mixed, run=False)
        hub.wait(site.tasks["done"], "DONE", "FAILED")
        hub.wait(site.tasks["failures"], "DONE", "FAILED")
        hub.change("verifyTask", site.tasks["done"], "id")
        hub.wait(site.tasks["done"], "DONE", "FAILED")
        return site

    def bucket(self, objects: dict[str, int]) -> str:
        """A new bucket that holds keys of these sizes."""
        name = new_bucket(self.store)
        client = self.store.client()
        with ThreadPoolExecutor(8) as pool:
            list(
                pool.map(
                    lambda one: client.put_object(Bucket=name, Key=one[0], Body=os.urandom(one[1])), objects.items()
                )
            )
        return name

    def task(self, name: str, source: str, *, run: bool = True, schedule: str = "", **others: str) -> str:
        """A new task to a bucket of its own; its id."""
        settings = {**self.base, "src_bucket": source, "dest_bucket": new_bucket(self.store), **others}
        found: str = self.hub.save(settings, run=run, name=name, schedule=schedule)["id"]
        self.buckets[found] = (source, settings["dest_bucket"])
        return found


@contextlib.contextmanager
def opened(
    browser: Browser, site: Site, *, width: int = 1440, height: int = 900, signed_in: bool = True, **prefs: Any
) -> Iterator[Page]:
    """A tab with an own session and these preferences. Any error that a page does not handle fails the test."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale="en-US", timezone_id="Europe/Berlin"
    )
    context.set_default_timeout(WAIT_MILLISECONDS)
    if signed_in:
        name, _, value = site.hub.cookie.partition("=")
        context.add_cookies([{"name": name, "value": value, "url": site.hub.base}])
    if prefs:
        context.add_init_script(f"localStorage.setItem('dth.prefs', {json.dumps(json.dumps(prefs))})")
    broken: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: broken.append(str(error)))
    try:
        yield page
        assert not broken, broken
    finally:
        context.close()


def settled(page: Page) -> Page:
    """Once nothing on the page is a placeholder any more."""
    page.wait_for_selector("main h1, main .empty")
    expect(page.locator(".skeleton")).to_have_count(0)
    return page


def axe(page: Page, source: str, *rules: str) -> list[dict[str, Any]]:
    """What the accessibility checker finds: by all of its rules, or by these."""
    page.evaluate(source)
    found: list[dict[str, Any]] = page.evaluate(
        "async (rules) => (await axe.run(document, {resultTypes: ['violations'], ...(rules.length ? {runOnly: rules} : {})}))"
        ".violations.map(({id, help, nodes}) => ({id, help, where: nodes.map((one) => one.target + ' ' + one.failureSummary)}))",
        rules,
    )
    return found


def source(path: str) -> str:
    """A file of the checkout. Tests may run in a folder that does not hold the console's sources."""
    return (_checkout() / path).read_text("utf-8")


def pictures() -> Path:
    """Where screenshots go: `dist/console` of the checkout."""
    folder = _checkout() / "dist" / "console"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _checkout() -> Path:
    return Path(os.environ.get("DTH_TEST_SOURCE") or Path(__file__).parents[2])

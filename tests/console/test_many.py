"""Many tasks, many records, many hours: what a page costs must not grow with the whole. Full size: 10,000 tasks, a report of
1,000,000 lines and 1,800 polls (an hour of them), `DTH_TEST_FULL=1 ... pytest -s tests/console/test_many.py`."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.e2e.harness import FULL, scaled
from tests.hub.hubs import HubProcess, alone
from tests.hub.test_many import LINES, TASKS, fill

from .site import WAIT_MILLISECONDS, Site, opened, settled

pytestmark = [pytest.mark.browser, pytest.mark.slow]

POLLS = scaled(1800)  # of 2 s each: an hour
POLLING = ["/", "/tasks/{task}"] if FULL else ["/tasks/{task}"]
LONGEST_SECONDS = (
    0.2  # a task of the page may take so long; of the processor's time, which a busy machine changes little
)
ROWS, RECORDS = 50, 100
TRACED = ("disabled-by-default-devtools.timeline", "devtools.timeline", "devtools", "toplevel")
GROWTH = 1 << 20  # bytes
QUICK_POLLS = """window.polls = 0;
const real = window.fetch;
window.fetch = async (...args) => {
    const answer = await real(...args);
    window.polls += 1;
    if (!String(args[1]?.body).includes("pollSeconds")) return answer;
    return new Response((await answer.text()).replace(/"pollSeconds": [\\d.]+/, '"pollSeconds": 0.02'), answer);
};"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubProcess, str]]:
    """A hub with many tasks, and the one of them with a long report, figures of an hour, a lag and a price."""
    hub = alone(tmp_path_factory.mktemp("many")).start()
    hub.stop()
    last = fill(hub)
    now = int(time.time()) // 60 * 60
    rows = [
        (last, name, width, t, value * (1 + t // width % 7), 1)
        for name, value in (("BYTES", 1e9), ("OBJECTS", 3000), ("WAITING", 200), ("LAG", 40), ("COST", 0.02))
        for width in (5, 60)
        for t in range(now - 3600, now, width)
    ]
    with contextlib.closing(sqlite3.connect(hub.state / "hub" / "hub.db")) as database, database:
        database.executemany("INSERT INTO series VALUES (?, ?, ?, ?, ?, ?)", rows)
    yield hub.start(), last
    hub.end()


@contextlib.contextmanager
def tab(browser: Browser, hub: HubProcess, *scripts: str) -> Iterator[tuple[Page, CDPSession]]:
    """A tab that runs these scripts first, and what its inside can be asked by."""
    with opened(browser, Site(hub, None, None, {})) as page:  # type: ignore[arg-type]
        for script in scripts:
            page.add_init_script(script)
        inside = page.context.new_cdp_session(page)
        yield page, inside


@contextlib.contextmanager
def begun(browser: Browser, hub: HubProcess, path: str = "/stores") -> Iterator[Page]:
    """A tab in which the console has begun: what that costs is the same however much there is to show."""
    with tab(browser, hub) as (page, _):
        page.goto(hub.base + path)
        settled(page)
        yield page


@contextlib.contextmanager
def no_long_task(browser: Browser, page: Page, what: str) -> Iterator[None]:
    """At full size, Chromium's own record of what happens within: no task of the page's thread takes the processor for too
    long. A busy machine makes tasks longer by the clock, which is only said. What the test itself asks the page for does not
    count."""
    if not FULL:
        yield
        return
    browser.start_tracing(page=page, categories=["-*", *TRACED])
    try:
        yield
    finally:
        events = json.loads(browser.stop_tracing())["traceEvents"]
    threads = {(one["pid"], one["tid"]) for one in events if one.get("args", {}).get("name") == "CrRendererMain"}
    here = [one for one in events if (one.get("pid"), one.get("tid")) in threads and "dur" in one]
    asked = [one["ts"] for one in here if one["name"].startswith("DevToolsSession")]
    tasks = [
        one
        for one in here
        if one["name"] == "RunTask" and not any(one["ts"] <= ts <= one["ts"] + one["dur"] for ts in asked)
    ]
    assert asked, "nothing was recorded"
    assert len(tasks) > RECORDS, "nothing was recorded"
    used, clock = (max(one.get(name, 0) for one in tasks) / 1e6 for name in ("tdur", "dur"))
    print(f"\n{what}: longest task {used * 1000:.0f} ms CPU, {clock * 1000:.0f} ms by the clock", end="")  # noqa: T201
    assert 0 < used < LONGEST_SECONDS


def few_nodes(page: Page, rows: int) -> None:
    """The page holds what it shows, and not the whole."""
    expect(page.locator("tbody tr")).to_have_count(rows)
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    assert page.locator("*").count() < 40 * rows + 1000


def test_many_tasks_page_without_a_long_task(browser: Browser, many: tuple[HubProcess, str]) -> None:
    hub, _ = many
    with begun(browser, hub) as page, no_long_task(browser, page, f"{TASKS} tasks"):
        page.get_by_role("link", name="Tasks", exact=True).click()
        expect(page.get_by_text(f"{ROWS} of {TASKS:,} tasks")).to_be_visible()
        first = page.locator("tbody tr a").first
        for _number in range(3):
            before = first.inner_text()
            page.get_by_role("button", name="Next").click()
            expect(first).not_to_have_text(before)
            few_nodes(page, ROWS)
        page.get_by_label("Order").select_option("FAILED_DESC")
        most = [number for number in range(TASKS) if number % 7 == 6]  # as many failures as any has
        expect(first).to_have_text(re.compile(f"^task ({most[0]}|{most[-1]})$"))
        name = f"task {TASKS - 1}"  # of no other is this the beginning
        page.get_by_role("searchbox").fill(name)
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()


def test_many_records_page_without_a_long_task(browser: Browser, many: tuple[HubProcess, str]) -> None:
    hub, last = many
    with begun(browser, hub, f"/tasks/{last}") as page, no_long_task(browser, page, f"{LINES} records"):
        page.get_by_role("link", name="Objects", exact=True).click()
        expect(page.get_by_text(f"{LINES:,} records in this run")).to_be_visible()
        for number in range(1, 4):
            page.get_by_role("button", name="Next").click()
            expect(page.get_by_role("button", name=f"k/{number * RECORDS:08}")).to_be_visible()
            few_nodes(page, RECORDS)
        page.get_by_role("button", name="Previous").click()
        expect(page.get_by_role("button", name=f"k/{2 * RECORDS:08}")).to_be_visible()
        page.get_by_role("button", name="Failed", exact=True).click()
        expect(page.get_by_role("button", name="k/00000999")).to_be_visible()


@pytest.mark.parametrize("where", POLLING)
def test_a_page_that_polls_for_hours_stays_as_large_as_it_was(
    browser: Browser, many: tuple[HubProcess, str], where: str
) -> None:
    hub, last = many
    with tab(browser, hub, QUICK_POLLS) as (page, inside):
        page.goto(hub.base + where.format(task=last))
        settled(page)
        sizes = [size_after(page, inside, POLLS // 4 * quarter) for quarter in range(1, 5)]
        print(f"\n{where}: KiB in use after each quarter of {POLLS} polls: {[size >> 10 for size in sizes]}")  # noqa: T201
        assert sizes[-1] - sizes[0] < GROWTH


def size_after(page: Page, inside: CDPSession, polls: int) -> int:
    """Bytes that the page's objects take once it has asked so often, without what is garbage."""
    page.wait_for_function("(polls) => window.polls >= polls", arg=polls, timeout=10 * WAIT_MILLISECONDS)
    for _ in range(2):
        inside.send("HeapProfiler.collectGarbage")
    return int(inside.send("Runtime.getHeapUsage")["usedSize"])


def test_a_lag_and_a_price_are_drawn_over_time(browser: Browser, many: tuple[HubProcess, str]) -> None:
    hub, last = many
    with tab(browser, hub) as (page, _):
        page.goto(f"{hub.base}/tasks/{last}")
        lag = page.get_by_role("img", name=re.compile("^Event lag: "))
        expect(lag).to_be_visible()
        expect(page.get_by_role("img", name=re.compile("^Cost: .*\\$0\\.\\d"))).to_be_visible()
        lag.hover()
        expect(page.locator(".chart .tip")).to_contain_text(re.compile(r"Behind the source: \d"))

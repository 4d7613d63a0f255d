"""What people do in the console, done by a real browser against a real hub and real stores.

What a browser has to be tried with, and where that is done (the files are this folder's, unless they say otherwise):

| what | tests |
|---|---|
| the link, and its second use | `test_a_link_signs_in_once_and_leaves_the_address` |
| make, plan, run until it reconciles | `test_a_task_is_checked_planned_saved_and_runs_until_it_reconciles` |
| a worker, the hub and the tab are killed | `test_robust.test_figures_go_on_when_a_worker_the_hub_and_the_tab_are_killed` |
| pause, another bandwidth, resume: nothing sent twice | `test_a_running_task_is_watched_paused_limited_and_resumed`, `test_robust.test_what_was_paused_and_limited_sends_nothing_twice` |
| a store refuses 7 keys; redrive | `test_refused_objects_are_one_cause_that_a_redrive_empties` |
| edit in two tabs | `test_two_tabs_edit_one_task_and_the_second_is_told` |
| a schedule across a change of clocks | `test_a_schedule_across_a_change_of_clocks_shows_when_it_will_run` |
| a task of a terminal | `test_robust.test_a_job_that_a_terminal_started_appears_and_says_so` |
| 10,000 tasks and 1,000,000 records | `test_many.test_many_tasks_page_without_a_long_task`, `test_many.test_many_records_page_without_a_long_task` |
| keys with markup, line breaks, turned letters, half a pair | `test_hostile.test_keys_that_lie_are_shown_and_do_nothing` |
| keyboard only | `test_keyboard.test_a_task_is_made_by_keyboard_as_the_command_line_would_make_it` |
| axe on every page, light and dark; 1,024 pixels | `test_pages.test_every_page_is_accessible_and_fits_light_and_dark` |
| 200% zoom | `test_pages.test_every_page_can_be_used_at_twice_the_size` |
| a provider's session begins, ends in a form, begins again | `test_robust.test_a_session_of_a_provider_that_ends_in_the_middle_of_a_form_loses_nothing` |
| other sites, other names, changes by GET | `test_hostile.test_another_site_in_the_same_browser_can_neither_change_nor_read`, `test_hostile.test_a_foreign_name_that_leads_here_and_a_change_by_get_are_refused`; by HTTP: `tests/hub/test_guards.py` |
| 30 seconds without network | `test_robust.test_a_tab_without_network_says_so_and_catches_up` |
| the original's operations | `test_hostile.test_the_console_of_the_original_is_answered_in_its_own_words`; all nine by HTTP: `tests/hub/test_original.py` |
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.hub.hubs import alone, until
from tests.hub.test_life import contents, new_bucket

from .site import WAIT_MILLISECONDS, Site, opened, settled

pytestmark = [pytest.mark.browser, pytest.mark.seaweed, pytest.mark.slow]

SUNDAY = 6


def new_link(site: Site) -> str:
    """A link that nobody has used: another `dth hub` of the same state prints one."""
    import json
    import subprocess

    from tests.e2e.harness import command

    done = subprocess.run(
        [*command(), "hub", "--no-browser", "--json", "--state", str(site.hub.state)],
        env=dict(site.hub.env), capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    links = [json.loads(line) for line in done.stdout.splitlines()]
    found: str = next(one["text"] for one in links if one.get("code") == "hub_link")
    return found


def test_a_link_signs_in_once_and_leaves_the_address(browser: Browser, site: Site) -> None:
    link = new_link(site)
    with opened(browser, site, signed_in=False) as page:
        page.goto(link)
        expect(page.locator("h1")).to_have_text("Tasks")
        assert "#" not in page.url
        page.reload()
        expect(page.locator("h1")).to_have_text("Tasks")
    with opened(browser, site, signed_in=False) as page:
        page.goto(link)
        expect(page.get_by_role("alert")).to_contain_text("used before")
        assert "#" not in page.url


def fill(page: Page, panel: str, **values: str) -> None:
    """Fields of one panel by their titles."""
    card = page.locator("section.card").filter(has=page.get_by_role("heading", name=panel, exact=True))
    for title, value in values.items():
        card.get_by_label(title.replace("_", " "), exact=True).fill(value)


def test_a_task_is_checked_planned_saved_and_runs_until_it_reconciles(page: Page, site: Site) -> None:
    source = site.bucket({f"in/{n}": 1000 for n in range(25)})
    destination = new_bucket(site.store)
    page.goto(site.hub.base)
    page.get_by_role("link", name="New task").click()
    page.get_by_role("button", name="Save and run").click()
    expect(page.get_by_text("This is needed").first).to_be_visible()
    expect(page.locator("[aria-invalid=true]").first).to_be_focused()

    place = {"Endpoint": site.store.endpoint, "Region": site.store.region}
    fill(page, "Source", Bucket=source, AWS_profile="src-a", **place)
    fill(page, "Destination", Bucket=destination, AWS_profile="dest-a", **place)
    page.get_by_role("button", name="Check", exact=True).first.click()
    expect(page.get_by_label("What the store can do")).to_contain_text("Can objects be listed?")

    page.get_by_role("button", name="Make a plan").click()
    plan = page.get_by_role("complementary", name="Plan")
    expect(plan.get_by_role("button", name="Run exactly this")).to_be_visible()
    expect(plan).to_contain_text("25")
    assert contents(site.store, destination) == {}

    page.get_by_label("Name (optional)").fill("From the form")
    page.get_by_role("button", name="Save and run").click()
    expect(page.locator("h1")).to_have_text("From the form")
    expect(page.get_by_text("Reconciles", exact=True)).to_be_visible()
    expect(page.get_by_text("25 of 25")).to_be_visible()
    assert contents(site.store, destination) == contents(site.store, source)

    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text("All 25 objects are equal on both sides")).to_be_visible()


def test_a_running_task_is_watched_paused_limited_and_resumed(page: Page, site: Site) -> None:
    page.goto(f"{site.hub.base}/tasks/{site.tasks['running']}")
    bar = page.locator(".progress.big")
    expect(bar).to_be_visible()
    before = bar.get_attribute("title")
    expect(bar).not_to_have_attribute("title", before or "")  # nobody reloads: it moves
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("header .badge").first).to_have_text("Paused")
    page.get_by_role("link", name="Workers").click()
    page.get_by_label("Bandwidth per second").fill("300KB")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Applied")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("header .badge").first).to_have_text(re.compile("Running|Starting"))
    settings = site.hub.task(site.tasks["running"], "settings { name value }")["settings"]
    assert {"name": "bandwidth", "value": "300000"} in settings


def test_a_schedule_across_a_change_of_clocks_shows_when_it_will_run(page: Page, site: Site) -> None:
    berlin, year = ZoneInfo("Europe/Berlin"), datetime.now(UTC).year + 1
    for month, shown, utc in (
        (3, "03:00", "01:00"),
        (10, "02:30", "00:30"),
    ):  # 02:30 is left out in spring, twice in autumn
        day = max(day for day in range(25, 32) if datetime(year, month, day, tzinfo=berlin).weekday() == SUNDAY)
        page.goto(f"{site.hub.base}/tasks/new")
        settled(page)
        fill(page, "Source", Bucket="from-here")
        fill(page, "Destination", Bucket="to-there")
        page.get_by_text("Cron", exact=True).click()
        page.get_by_label("Cron expression").fill(f"30 2 {day} {month} *")
        page.get_by_label("Time zone").select_option("Europe/Berlin")
        page.get_by_role("button", name="Save and schedule").click()
        expect(page.locator("header .badge").first).to_have_text("Scheduled")
        task_id = page.url.rpartition("/")[2]
        assert site.hub.task(task_id)["nextRunAt"] == f"{year}-{month:02}-{day}T{utc}:00.000Z"
        page.goto(f"{site.hub.base}/?q=to-there&sort=CREATED_DESC")
        expect(page.locator("tbody tr").first).to_contain_text(f"{day}, {year}, {shown}")


def test_two_tabs_edit_one_task_and_the_second_is_told(page: Page, site: Site) -> None:
    address = f"{site.hub.base}/tasks/{site.tasks['draft']}/edit"
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(address)
        settled(tab)
    for tab, text in ((page, "mine"), (other, "theirs")):
        tab.get_by_label("Description (optional)").fill(text)
        tab.get_by_role("button", name="Save without running").click()
    expect(other.get_by_text("Somebody else changed this task meanwhile")).to_be_visible()
    expect(other.get_by_label("Description (optional)")).to_have_value("theirs")
    assert site.hub.task(site.tasks["draft"], "description")["description"] == "mine"


def test_refused_objects_are_one_cause_that_a_redrive_empties(page: Page, site: Site) -> None:
    page.goto(f"{site.hub.base}/tasks/{site.tasks['failures']}")
    page.get_by_role("link", name="Failures (7)").click()
    expect(page.get_by_role("heading", name="Not allowed 7 access_denied")).to_be_visible()
    site.front.keys = set()
    page.get_by_role("button", name="Redrive", exact=True).click()
    expect(page.get_by_text("Nothing failed")).to_be_visible()


def test_a_hub_that_dies_in_the_middle_of_a_form_loses_nothing_that_was_typed(page: Page, site: Site) -> None:
    page.goto(f"{site.hub.base}/tasks/new")
    settled(page)
    page.get_by_label("Name (optional)").fill("kept")
    other = page.context.new_page()
    other.goto(site.hub.base)
    settled(other)
    site.hub.kill()
    expect(other.get_by_text("The hub does not answer. You see what was last known")).to_be_visible()
    expect(other.get_by_role("link", name="Video masters")).to_be_visible()
    site.hub.start()
    expect(other.get_by_text("The hub does not answer. You see what was last known")).to_be_hidden()
    expect(page.get_by_label("Name (optional)")).to_have_value("kept")
    until(lambda: site.hub.task(site.tasks["done"])["state"] == "DONE", site.hub.complaint)


def test_the_first_page_stays_light(page: Page, site: Site) -> None:
    sizes: dict[str, int] = {}
    page.on("response", lambda answer: sizes.update({answer.url: int(answer.header_value("content-length") or 0)}))
    page.goto(site.hub.base)
    settled(page)
    files = {url: size for url, size in sizes.items() if url.endswith((".js", ".css"))}
    assert len(files) >= 2
    assert sum(files.values()) < 250_000, files


def test_one_click_on_the_first_page_runs_and_proves_a_first_task(browser: Browser, tmp_path: Path) -> None:
    hub = alone(tmp_path, "--demo").start(sign_in=False)
    try:
        page = browser.new_page(locale="en-US")
        page.goto(hub.links[-1])
        page.get_by_role("button", name="Try it on demo stores").click()
        expect(page.locator("h1")).to_have_text("First task")
        page.get_by_role("link", name="Proof").click()
        expect(page.get_by_text("All 501 objects are equal on both sides")).to_be_visible(timeout=2 * WAIT_MILLISECONDS)
        page.close()
    finally:
        hub.end()

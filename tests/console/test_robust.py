"""What may happen to a browser, a hub and its workers while somebody looks on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from tests.e2e.harness import FULL, command
from tests.hub.hubs import alone, until
from tests.hub.test_life import contents, new_bucket, puts
from tests.hub.test_signing_in import CLIENT, provider, session_end, shorten

from .site import Site, opened, settled
from .words import LANGUAGES, Say, say, title

pytestmark = [pytest.mark.browser, pytest.mark.seaweed, pytest.mark.slow]

OFFLINE_MILLISECONDS = 30_000 if FULL else 3_000
ENGLISH, CHINESE = (LANGUAGES, LANGUAGES) if FULL else (LANGUAGES[:1], LANGUAGES[1:])  # each at full size in both
RUN = "latest { state done failed reconciles requests { side operation count } } workers { pid }"


def shown_as_ended(page: Page, words: Say, at_least: int, total: int) -> None:
    """Wait until the page says that so many objects, or more, have ended."""
    counts = "|".join(str(n) for n in range(at_least, total + 1))
    wanted = words("overview.of", done="({})", total=total)
    page.wait_for_function(
        "([text, counts]) => new RegExp(text.replace('{}', counts)).test(document.querySelector('main')?.innerText ?? '')",
        arg=[wanted, counts],
    )


@pytest.mark.parametrize("language", CHINESE)
def test_figures_go_on_when_a_worker_the_hub_and_the_tab_are_killed(
    browser: Browser, site: Site, language: str
) -> None:
    words, total = say(language), 60
    source = site.bucket({f"in/{n:03}": 20_000 for n in range(total)})
    task = site.task("To be killed", source, bandwidth="60000", pack_objects="2")
    with opened(browser, site, language=language) as page:
        page.goto(f"{site.hub.base}/tasks/{task}")
        shown_as_ended(page, words, 1, total)
        until(lambda: bool(site.hub.task(task, RUN)["workers"]), site.hub.complaint)
        for worker in site.hub.task(task, RUN)["workers"]:
            os.kill(worker["pid"], signal.SIGKILL)
        done = int(site.hub.task(task, RUN)["latest"]["done"])
        shown_as_ended(page, words, done + 3, total)  # what was in its hand at the end comes later; the rest goes on

        site.hub.kill()
        expect(page.get_by_text(words("offline.bar"))).to_be_visible()
        site.hub.start()
        expect(page.get_by_text(words("offline.bar"))).to_be_hidden()

        with pytest.raises(Error):
            page.goto("chrome://crash", timeout=10_000)
        again = page.context.new_page()
        again.goto(f"{site.hub.base}/tasks/{task}")
        expect(again.locator("h1")).to_have_text("To be killed")
        site.hub.ask("mutation($id: ID!) { limitTask(id: $id, bandwidth: 0) { id } }", id=task)
        expect(again.get_by_text(words("overview.reconciles"), exact=True)).to_be_visible()
        shown_as_ended(again, words, total, total)
    assert contents(site.store, site.buckets[task][1]) == contents(site.store, source)
    run = site.hub.task(task, RUN)["latest"]
    assert (run["done"], run["failed"]) == (total, 0)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_tab_without_network_says_so_and_catches_up(browser: Browser, site: Site, language: str) -> None:
    words, name = say(language), f"Made meanwhile ({language})"
    with opened(browser, site, language=language) as page:
        page.goto(site.hub.base)
        settled(page)
        page.context.set_offline(True)
        expect(page.get_by_text(words("offline.bar"))).to_be_visible()
        expect(page.get_by_role("link", name="Video masters")).to_be_visible()
        site.task(name, "nowhere-in-particular", run=False)
        page.wait_for_timeout(OFFLINE_MILLISECONDS)
        expect(page.get_by_role("link", name=name)).to_be_hidden()
        page.context.set_offline(False)
        expect(page.get_by_text(words("offline.bar"))).to_be_hidden()
        expect(page.get_by_role("link", name=name)).to_be_visible()


@pytest.mark.parametrize("language", ENGLISH)
def test_a_session_of_a_provider_that_ends_in_the_middle_of_a_form_loses_nothing(
    browser: Browser, tmp_path: Path, language: str
) -> None:
    words = say(language)
    with provider() as known:
        hub = alone(tmp_path, "--oidc-issuer", known.issuer, "--oidc-client-id", CLIENT).start()
        try:
            with opened(browser, Site(hub, None, None, {}), signed_in=False, language=language) as page:  # type: ignore[arg-type]
                page.goto(hub.base)
                page.get_by_role("link", name=words("signin.oidc")).click()
                expect(page.get_by_role("link", name=words("first.objects"))).to_be_visible()
                assert urlsplit(page.url).path == "/"

                shorten(hub, 60)
                page.goto(f"{hub.base}/tasks/new")
                settled(page)
                until(lambda: session_end(hub) > time.time() + 3600, hub.complaint)  # renewed, and nobody was asked
                bucket = page.get_by_label(title(language, "src_bucket"), exact=True).first
                bucket.fill("from-here")
                page.get_by_label(f"{words('edit.name')} {words('optional')}").fill("typed before")
                cookie = next(one for one in page.context.cookies() if one["name"].startswith("dth_hub_"))
                assert hub.post("/logout", {}, Cookie=f"{cookie['name']}={cookie['value']}")[0] == 200

                page.get_by_role("button", name=words("check.do"), exact=True).first.click()
                dialog = page.get_by_role("dialog", name=words("signin.again"))
                expect(dialog).to_be_visible()
                with page.context.expect_page() as another:
                    dialog.get_by_role("link", name=words("signin.oidc")).click()
                expect(another.value.get_by_role("link", name=words("first.objects"))).to_be_visible()
                another.value.close()
                expect(dialog).to_be_hidden()
                expect(bucket).to_have_value("from-here")
                page.get_by_label(title(language, "dest_bucket"), exact=True).last.fill("to-there")
                page.get_by_role("button", name=words("edit.save")).click()
                expect(page.locator("h1")).to_have_text("typed before")
            saved = hub.ask("{ tasks { items { name settings { name value } } } }")["tasks"]["items"]
            assert [(one["name"], len(one["settings"])) for one in saved] == [("typed before", 2)]
        finally:
            hub.end()


@pytest.mark.parametrize("language", CHINESE)
def test_a_job_that_a_terminal_started_appears_and_says_so(browser: Browser, site: Site, language: str) -> None:
    words = say(language)
    source, destination = site.bucket({f"t/{n}": 20_000 for n in range(30)}), new_bucket(site.store)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in site.base.items() if name != "server_side_copy"]
    argv = [
        *command(), "sync", f"s3://{source}", f"s3://{destination}", "--state", str(site.hub.state), "--bandwidth", "20000",
        "--no-server-side-copy", *flags,
    ]  # fmt: skip
    terminal = subprocess.Popen(argv, env=dict(site.hub.env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with opened(browser, site, language=language) as page:
            page.goto(site.hub.base)
            row = page.get_by_role("row").filter(has_text=destination)
            expect(row).to_contain_text(words("tasks.outside"))
            expect(row).to_contain_text(words("state.RUNNING"))
            terminal.terminate()
            terminal.wait(60)
            expect(row).not_to_contain_text(words("state.RUNNING"))
            expect(row).not_to_contain_text(words("tasks.outside"))
    finally:
        terminal.kill()
        terminal.wait(60)


def test_what_was_paused_and_limited_sends_nothing_twice(page: Page, site: Site) -> None:
    total = 200
    source = site.bucket({f"in/{n:03}": 20_000 for n in range(total)})
    task = site.task("To be paused", source, bandwidth="30000", pack_objects="5")
    page.goto(f"{site.hub.base}/tasks/{task}")
    shown_as_ended(page, say(LANGUAGES[0]), 1, total)
    page.get_by_role("link", name="Workers").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("header .badge").first).to_have_text("Paused")
    before = int(site.hub.task(task, RUN)["latest"]["done"])
    page.get_by_label("Bandwidth per second").fill("")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Applied")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_text("Reconciles", exact=True)).to_be_visible()
    run = site.hub.task(task, RUN)["latest"]
    assert 0 < before < total, "it was not paused in the middle"
    assert (run["done"], run["failed"], puts(run)) == (total, 0, total)
    assert contents(site.store, site.buckets[task][1]) == contents(site.store, source)

"""What a browser meets that means no good: keys, other sites, other names; and clients that are older than this console."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.hub.test_original import GET, LIST

from .site import HOSTILE, Site, opened, settled
from .words import LANGUAGES, say

pytestmark = [pytest.mark.browser, pytest.mark.seaweed, pytest.mark.slow]

HALF = "half \ud800 of a pair.txt"
CREATE = 'mutation { saveTask(input: {type: S3EC2, name: "foreign", settings: [{name: "src_bucket", value: "aaa"}, {name: "dest_bucket", value: "bbb"}]}, run: false) { id } }'
ATTACKS = """async ([hub, body]) => {
    const tried = {
        json: {method: "POST", headers: {"content-type": "application/json", "x-dth-hub": "1"}, body},
        plain: {method: "POST", headers: {"content-type": "text/plain"}, body, mode: "no-cors"},
        read: {method: "GET"},
        beacon: null,
    };
    const told = {};
    for (const [name, options] of Object.entries(tried)) {
        try {
            if (!options) { navigator.sendBeacon(hub + "/graphql", new Blob([body], {type: "text/plain"})); continue; }
            const answer = await fetch(hub + "/graphql?query=" + encodeURIComponent(JSON.parse(body).query), {credentials: "include", ...options});
            told[name] = answer.type + " " + await answer.text();
        } catch (error) { told[name] = "refused"; }
    }
    const form = document.createElement("form");
    Object.assign(form, {method: "POST", action: hub + "/graphql", enctype: "text/plain", target: "frame"});
    form.innerHTML = `<input name='{"query": "${JSON.parse(body).query.replaceAll('"', "&quot;")}", "x' value='": 1}'>`;
    document.body.append(form);
    form.submit();
    await new Promise((done) => setTimeout(done, 500));
    return told;
}"""


@pytest.fixture
def foreign() -> Iterator[str]:
    """Another site. On the same address its cookies are the hub's, too: browsers do not tell ports apart."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            body = b"<!doctype html><title>foreign</title><iframe name=frame></iframe>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def names(site: Site) -> list[str]:
    return sorted(one["name"] for one in site.hub.ask("{ tasks(limit: 100) { items { name } } }")["tasks"]["items"])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_another_site_in_the_same_browser_can_neither_change_nor_read(
    page: Page, site: Site, foreign: str, host: str
) -> None:
    before = names(site)
    page.goto(f"http://{foreign.replace('127.0.0.1', host)}/")
    told = page.evaluate(ATTACKS, [site.hub.base, json.dumps({"query": CREATE})])
    assert told == {"json": "refused", "plain": "refused", "read": "refused"}
    assert names(site) == before
    own = page.context.new_page()  # the same question from the console's own page is answered
    own.goto(site.hub.base)
    settled(own)
    answered = own.evaluate(
        "async (query) => (await fetch('/graphql', {method: 'POST', headers: {'content-type': 'application/json', 'x-dth-hub': '1'},"
        " body: JSON.stringify({query})})).json()",
        CREATE,
    )
    assert answered["data"]["saveTask"]["id"]
    site.hub.ask("mutation($id: ID!) { deleteTask(id: $id) }", id=answered["data"]["saveTask"]["id"])


def test_a_foreign_name_that_leads_here_and_a_change_by_get_are_refused(page: Page, site: Site) -> None:
    before = names(site)
    answer = page.goto(
        f"http://evil.localhost:{site.hub.port}/"
    )  # browsers take it to this machine without asking a name server
    assert answer
    assert answer.status == 421
    assert "another name" in answer.text()
    page.goto(site.hub.base)
    settled(page)
    told = page.evaluate("async (query) => (await fetch('/graphql?query=' + encodeURIComponent(query))).text()", CREATE)
    assert told.startswith("<!doctype html>"), "by GET it is an address of a page like any other"
    assert names(site) == before


@pytest.mark.parametrize("language", LANGUAGES)
def test_keys_that_lie_are_shown_and_do_nothing(browser: Browser, site: Site, language: str) -> None:
    words, task = say(language), site.tasks["failures"]
    run = site.hub.task(task, "latest { id }")["latest"]["id"]
    report = site.hub.state / "hub" / "tasks" / task / "runs" / run / "records.jsonl"
    lines = report.read_text().splitlines()
    if not any("ud800" in line for line in lines):  # as from a store whose keys are bytes
        half = {**json.loads(lines[-1]), "key": HALF, "dest_key": HALF}
        report.write_text("\n".join([*lines, json.dumps(half)]) + "\n")
    with opened(browser, site, language=language) as page:
        page.goto(f"{site.hub.base}/tasks/{task}/objects")
        settled(page)
        shown = page.inner_text("main")
        for key in (HOSTILE[0], "right-\\u{202e}to-left.txt", "line\\u{a}break.txt", "half \\u{d800} of a pair.txt"):
            assert key in shown
            page.get_by_role("button", name=key, exact=True).click()
            story = page.locator("section.card").filter(has_text=words("story.title"))
            expect(story).to_contain_text(key)
            expect(story.locator(".skeleton")).to_have_count(0)
            expect(story.get_by_role("heading", name=words("source"))).to_be_visible()
            assert not {"onerror", "%ED", "%0A", "\u202e"} & set(page.url.split("="))
            page.reload()
            expect(story).to_contain_text(key)
            page.get_by_role("button", name=words("close")).click()
            expect(story).to_be_hidden()
        assert page.title() != "broken"


def test_the_console_of_the_original_is_answered_in_its_own_words(page: Page, site: Site) -> None:
    page.goto(site.hub.base)
    settled(page)
    ask = """async ([query, variables]) => (await fetch('/graphql', {method: 'POST', body: JSON.stringify({query, variables}),
        headers: {'content-type': 'application/json; charset=UTF-8', 'x-dth-hub': '1'}})).json()"""
    listed = page.evaluate(ask, [LIST, {"page": 1, "count": 20}])["data"]["listTasksV2"]
    assert set(site.tasks.values()) <= {one["id"] for one in listed["items"]}
    task = page.evaluate(ask, [GET, {"id": site.tasks["failures"]}])["data"]["getTask"]
    assert task["progressInfo"] == {"total": 64, "replicated": 57}

"""Lists of tags, repositories and referrers that end early, lead astray or cannot be read: the kinds "an answer that could not be
understood is taken for the end of the data", "the absence of a field is read as the reassuring value" and "what proves that
the other side's listing was wrong is seen and not said"."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.servers.imaging import list_images, sync_images
from tests.servers.registry import OCI_INDEX, Registry, Reply, Request

Links = Callable[[str], tuple[tuple[str, str], ...]]
TAGS = [f"r{number}" for number in range(7)]


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def destination() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


def fill(*registries: Registry) -> None:
    for registry in registries:
        for tag in TAGS:
            registry.add_image("app", tag, layers=(tag.encode(),))


def pages(registry: Registry, field: str, links: Links, size: int = 3) -> None:
    """Answer lists in pages of `size`; `links` makes the headers that lead on from the last name of a page."""
    mark = "tags/list" if field == "tags" else "_catalog"

    def instead(request: Request) -> Reply | None:
        if not request.is_for("GET", mark):
            return None
        name = request.path.removeprefix("/v2/").partition("/")[0]
        every = sorted(registry.repositories[name].tags if field == "tags" else registry.repositories)
        last = parse_qs(urlsplit(request.path).query).get("last", [""])[0].partition(",")[0]
        rest = [name for name in every if name > last]
        body = json.dumps({"name": "app", field: rest[:size]}).encode()
        return Reply(200, links(rest[size - 1]) if len(rest) > size else (), body)

    registry.faults.instead = instead


READ: list[Links] = [
    lambda last: (("link", f'<?n=3&last={last},"x">; rel="next"'),),
    lambda last: (("Link", f'<list?last={last}>; rel="NEXT"'),),
    lambda last: (("link", '</v2/app/tags/list>; rel="first"'), ("link", f"</v2/app/tags/list?last={last}>;Rel=next")),
    lambda last: (("link", f'<a>; rel=help; title="<next>, no", </v2/app/tags/list?last={last}>; rel="last next"'),),
]


@pytest.mark.parametrize("links", READ)
async def test_a_next_page_is_found_however_the_registry_writes_it(
    source: Registry, destination: Registry, tmp_path: Path, links: Links
) -> None:
    fill(source, destination)
    pages(source, "tags", links)
    destination.repositories["app"].tags.pop("r6")
    ran = await sync_images(tmp_path, source.address, destination.address, prune="true")
    assert ran.summary.exit_code == 0
    assert destination.content() == source.content()


UNREAD: list[Links] = [
    lambda last: (("link", f'"/v2/app/tags/list?last={last}"; rel="next"'),),
    lambda last: (("link", f'<http://127.0.0.1:9/v2/app/tags/list?last={last}>; rel="next"'),),
    lambda last: (("link", f"<//other.example/v2/app/tags/list?last={last}>; rel=next"),),
    lambda last: (("link", f'</v2/app/tags/list?last={last}>; rel="next'),),
    lambda last: (("link", '<>; rel="next"'),),
    lambda last: (("link", '<?page=2>; rel="next"'), ("link", f'<?last={last}>; rel="next"')),
    lambda last: (("link", '<http://[>; rel="next"'),),
]


@pytest.mark.parametrize("links", UNREAD)
async def test_a_next_page_that_cannot_be_found_breaks_the_list_and_removes_nothing(
    source: Registry, destination: Registry, tmp_path: Path, links: Links
) -> None:
    fill(source, destination)
    pages(source, "tags", links)
    ran = await sync_images(tmp_path, source.address, destination.address, prune="true")
    assert (ran.summary.exit_code, set(ran.failures.values())) == (3, {"listing_broken"})
    assert set(destination.repositories["app"].tags) == set(TAGS)
    assert not destination.asked()["DELETE manifests"]


@pytest.mark.parametrize("size", [1, 3, 6])
@pytest.mark.parametrize("field", ["tags", "repositories"])
async def test_a_list_that_was_cut_without_a_word_is_read_to_its_end(
    source: Registry, destination: Registry, tmp_path: Path, field: str, size: int
) -> None:
    fill(source)
    for number in range(4):
        source.add_image(f"more{number}", "v1")
    pages(source, field, lambda _last: (), size)
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    assert destination.content() == source.content()


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"name":"app"}', b"[]", b"null", b"<html>", b'{"tags":{}}', b'{"tags":"r0"}', b'{"tags":["r0",null]}',
     b'{"tags":[7]}', b'{"tags":[""]}', b'{"Tags":["r0"]}'],
)  # fmt: skip
async def test_an_answer_without_a_list_of_names_is_no_empty_list(
    source: Registry, destination: Registry, tmp_path: Path, body: bytes
) -> None:
    fill(source, destination)
    source.faults.instead = lambda request: Reply(200, (), body) if request.is_for("GET", "tags/list") else None
    ran = await sync_images(tmp_path, source.address, destination.address, prune="true")
    assert (ran.summary.exit_code, ran.failures) == (3, {"app": "listing_broken"})
    assert set(destination.repositories["app"].tags) == set(TAGS)
    listed = await list_images(tmp_path, source.address)
    assert listed.summary.exit_code == 3, "--list says so as well"


async def test_null_is_an_empty_list_only_where_it_is_the_whole_of_it(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    fill(source, destination)

    def instead(request: Request) -> Reply | None:
        if request.is_for("GET", "tags/list") and "last" in request.path:
            return Reply(200, (), b'{"name":"app","tags":null}')
        if request.is_for("GET", "tags/list"):
            return Reply(200, (("link", '<list?last=r0>; rel="next"'),), b'{"name":"app","tags":["r0"]}')
        return None

    source.faults.instead = instead
    ran = await sync_images(tmp_path, source.address, destination.address, prune="true")
    assert ran.failures == {"app": "listing_broken"}
    source.faults.instead = lambda request: (
        Reply(200, (), b'{"name":"app","tags":null}') if request.is_for("GET", "tags/list") else None
    )
    ran = await sync_images(tmp_path, source.address, destination.address, prune="true")
    assert ran.summary.exit_code == 0
    assert "lists no tag" in ran.warnings[0]
    assert set(destination.repositories["app"].tags) == set(TAGS)


async def test_new_pages_with_old_names_are_a_circle(source: Registry, destination: Registry, tmp_path: Path) -> None:
    fill(source)
    turns = iter(range(1000))
    source.faults.instead = lambda request: (
        Reply(200, (("link", f'<list?turn={next(turns)}>; rel="next"'),), b'{"tags":["r0","r1"]}')
        if request.is_for("GET", "tags/list")
        else None
    )
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.failures == {"app": "listing_broken"}
    assert source.asked()["GET tags"] == 2


# What is removed


async def test_a_tag_that_the_source_holds_although_its_list_lacks_it_stays_and_the_list_is_called_broken(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    fill(source, destination)
    destination.add_image("app", "gone", layers=(b"gone",))

    def instead(request: Request) -> Reply | None:
        if request.is_for("GET", "tags/list"):
            return Reply(200, (), json.dumps({"tags": TAGS[:4]}).encode())  # and it knows no `last`
        return Reply(404) if request.method == "HEAD" and request.path.endswith("r5") else None

    source.faults.instead = instead
    ran = await sync_images(tmp_path, source.address, destination.address, prune="true")
    assert ran.summary.exit_code == 3
    assert list(ran.failures.values()) == ["listing_broken"]
    assert "r4, r5, r6" in ran.summary.failures[0].error
    assert set(destination.repositories["app"].tags) == {*TAGS, "gone"}


async def test_a_tag_of_which_the_source_will_not_speak_stays(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    fill(source, destination)
    destination.add_image("app", "gone", layers=(b"gone",))
    source.faults.instead = lambda request: Reply(403) if request.path.endswith("/manifests/gone") else None
    ran = await sync_images(tmp_path, source.address, destination.address, prune="true")
    assert (ran.summary.exit_code, list(ran.failures.values())) == (3, ["access_denied"])
    assert "gone" in destination.repositories["app"].tags


@pytest.mark.parametrize("untag", [True, False])
async def test_what_was_removed_is_counted_and_has_its_line_in_the_report(
    source: Registry, destination: Registry, tmp_path: Path, untag: bool
) -> None:
    fill(source, destination)
    for number in range(3):
        destination.add_image("app", f"old{number}", layers=(f"old{number // 2}".encode(),))
    destination.faults.untag = untag
    ran = await sync_images(tmp_path, source.address, destination.address, prune="true")
    summary = ran.summary
    assert (summary.exit_code, summary.deleted, summary.done, summary.skipped, summary.found) == (0, 3, 3, 7, 10)
    assert json.loads(summary.to_json())["deleted"] == 3
    removed = [line["destination"].rpartition(":")[2] for line in ran.report if line["removed"]]
    assert removed == ["old0", "old1", "old2"]
    assert destination.content() == source.content()


async def test_a_manifest_that_an_image_still_holds_is_not_removed_with_its_tag(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    for registry in (source, destination):
        child = registry.add_image("app", layers=(b"one platform",))
        inner = registry.add_index("app", "", [child])
        registry.add_index("app", "v1", [inner])
    destination.repositories["app"].tags["v1-amd64"] = child["digest"]
    destination.faults.untag = False
    ran = await sync_images(tmp_path, source.address, destination.address, prune="true")
    assert (ran.summary.exit_code, ran.summary.failed, ran.summary.deleted) == (3, 1, 0)
    assert child["digest"] in destination.repositories["app"].manifests


async def test_a_tag_that_the_registry_only_says_is_gone_is_looked_at_again(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    fill(source, destination)
    destination.add_image("app", "old", layers=(b"old",))
    destination.faults.instead = lambda request: Reply(404) if request.is_for("DELETE", "/manifests/") else None
    ran = await sync_images(tmp_path, source.address, destination.address, prune="true")
    assert "old" in destination.repositories["app"].tags
    assert (ran.summary.exit_code, ran.summary.deleted) == (3, 0)


# Names


@pytest.mark.parametrize("name", ["../prod/app", "Upper", "a//b", "a/../../v2", "x" * 300, "app\x1b[2J", "app:tag"])
async def test_a_repository_that_cannot_be_one_is_named_and_nothing_is_written_under_it(
    source: Registry, destination: Registry, tmp_path: Path, name: str
) -> None:
    source.add_image("good", "v1")
    body = json.dumps({"repositories": [name, "good"]}).encode()
    source.faults.instead = lambda request: Reply(200, (), body) if request.is_for("GET", "_catalog") else None
    ran = await sync_images(tmp_path, source.address, destination.address, dest_repository_prefix="mirror")
    assert (ran.summary.exit_code, list(ran.failures.values())) == (3, ["listing_broken"])
    assert set(destination.repositories) == {"mirror/good"}
    assert all("/v2/mirror/good/" in path or path == "/v2/" for _, path, _ in destination.log)
    assert "\x1b" not in ran.summary.failures[0].error


@pytest.mark.parametrize("tag", ["9" * 5000, "v1/../../../prod/manifests/x", "-x", "", "v1\n"])
async def test_a_tag_that_cannot_be_one_is_named_and_stops_no_other(
    source: Registry, destination: Registry, tmp_path: Path, tag: str
) -> None:
    source.add_image("app", "1.0.0")
    body = json.dumps({"tags": [tag, "1.0.0"]}).encode()
    source.faults.instead = lambda request: Reply(200, (), body) if request.is_for("GET", "tags/list") else None
    given: dict[str, Any] = {"tag_filter": "semver:>=1", "prune": "true"}
    destination.add_image("app", "old", layers=(b"old",))
    ran = await sync_images(tmp_path, source.address, destination.address, **given)
    assert (ran.summary.exit_code, list(ran.failures.values())) == (3, ["listing_broken"])
    assert set(destination.repositories["app"].tags) == {"1.0.0", "old"} if tag else {"old"}


# Referrers


@pytest.mark.parametrize("kind", [OCI_INDEX, "application/json", "text/plain; charset=utf-8", ""])
async def test_a_list_of_referrers_is_known_by_what_it_holds(
    source: Registry, destination: Registry, tmp_path: Path, kind: str
) -> None:
    image = source.add_image("app", "v1")
    signature = source.add_image("app", layers=(b"signed",), subject=image)
    body = json.dumps({"schemaVersion": 2, "manifests": [signature]}).encode()
    headers = (("content-type", kind),) if kind else ()
    path = f"referrers/{image['digest']}"
    source.faults.instead = lambda request: Reply(200, headers, body) if request.is_for("GET", path) else None
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    assert signature["digest"] in destination.repositories["app"].manifests


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, (("link", '?from=1; rel="next"'),), b'{"manifests":[]}'),
        Reply(200, (("link", '<?from=1>; rel="next"'),), b'{"manifests":[]}'),
        Reply(200, (), b'{"schemaVersion":2}'),
        Reply(200, (), b'{"manifests":[{"mediaType":"x"}]}'),
        Reply(200, (), b'{"manifests":{}}'),
    ],
)
async def test_a_list_of_referrers_that_cannot_be_read_is_said(
    source: Registry, destination: Registry, tmp_path: Path, reply: Reply
) -> None:
    source.add_image("app", "v1")
    source.faults.instead = lambda request: reply if request.is_for("GET", "/referrers/") else None
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 3
    assert list(ran.failures.values()) == ["listing_broken"]
    assert destination.content() == source.content()

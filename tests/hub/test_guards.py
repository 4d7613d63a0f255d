"""Every guard of the hub, by what it refuses."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_required_argument,
    is_required_input_field,
)

from dth.hub.serve import schema
from tests.e2e.harness import command

from .hubs import HubProcess, Told, alone

QUESTION = {"query": "{ hub { user canWrite } }"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    running = alone(tmp_path_factory.mktemp("guards")).start()
    yield running
    running.end()


def root_fields(root: str) -> list[str]:
    """All fields of the schema's queries or mutations."""
    kind = schema().get_type(root)
    assert isinstance(kind, GraphQLObjectType)
    return list(kind.fields)


def asked(root: str, name: str) -> str:
    """A valid question for one of them, with values for all that it needs."""
    kind = schema().get_type(root)
    assert isinstance(kind, GraphQLObjectType)
    one = kind.fields[name]
    given = [f"{arg}: {value_of(is_.type)}" for arg, is_ in one.args.items() if is_required_argument(is_)]
    below = get_named_type(one.type)
    fields = " { __typename }" if isinstance(below, GraphQLObjectType) else ""
    return name + (f"({', '.join(given)})" if given else "") + fields


def value_of(kind: Any) -> str:
    """A literal of the type."""
    if isinstance(kind, GraphQLNonNull):
        return value_of(kind.of_type)
    if isinstance(kind, GraphQLList):
        return f"[{value_of(kind.of_type)}]"
    if isinstance(kind, GraphQLEnumType):
        return str(next(iter(kind.values)))
    if isinstance(kind, GraphQLInputObjectType):
        needed = [f"{name}: {value_of(one.type)}" for name, one in kind.fields.items() if is_required_input_field(one)]
        return "{" + ", ".join(needed) + "}"
    return {"Int": "1", "Float": "1", "Boolean": "true"}.get(str(kind.name), '"x"')


def code_of(body: bytes) -> str:
    return str(json.loads(body)["errors"][0]["extensions"]["code"])


def test_a_good_request_is_answered(hub: HubProcess) -> None:
    assert hub.ask(QUESTION["query"]) == {"hub": {"user": "local", "canWrite": True}}


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1", "localhost:1", "127.0.0.1:80"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_host_is_refused(hub: HubProcess, host: str, method: str) -> None:
    status, _, body = hub.request(method, "/graphql", json.dumps(QUESTION).encode(), hub.headers(Host=host))
    assert (status, code_of(body)) == (421, "host")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "file://"]
)
def test_a_foreign_origin_is_refused(hub: HubProcess, origin: str) -> None:
    status, _, body = hub.post("/graphql", QUESTION, Origin=origin.format(port=hub.port))
    assert (status, code_of(body)) == (403, "origin")


def test_a_request_that_a_browser_marks_as_of_another_site_is_refused(hub: HubProcess) -> None:
    status, _, body = hub.post("/graphql", QUESTION, Origin="", Sec_Fetch_Site="cross-site")
    assert (status, code_of(body)) == (403, "origin")


def test_no_question_is_answered_by_get(hub: HubProcess) -> None:
    status, _, body = hub.request("GET", "/graphql?query=mutation{deleteTask(id:1)}", None, hub.headers())
    assert status in {200, 405}
    assert b'"data"' not in body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused_and_no_origin_is_allowed(hub: HubProcess, method: str) -> None:
    status, headers, _ = hub.request(method, "/graphql", b"{}", hub.headers())
    assert status == 405
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_other_bodies_than_json_are_refused(hub: HubProcess, kind: str) -> None:
    status, _, body = hub.post("/graphql", QUESTION, Content_Type=kind)
    assert (status, code_of(body)) == (415, "content_type")


def test_the_own_header_is_needed(hub: HubProcess) -> None:
    status, _, body = hub.post("/graphql", QUESTION, X_Dth_Hub="")
    assert (status, code_of(body)) == (403, "header")


@pytest.mark.parametrize("cookie", ["", "dth_hub=1", "dth_hub_{port}=guess", "dth_hub_{port}="])
def test_nothing_is_told_without_a_session(hub: HubProcess, cookie: str) -> None:
    status, _, body = hub.post("/graphql", QUESTION, Cookie=cookie.format(port=hub.port))
    assert (status, code_of(body)) == (401, "not_signed_in")


ROOTS = [(root, name) for root in ("Query", "Mutation") for name in root_fields(root)]


@pytest.mark.parametrize(("root", "name"), [*ROOTS, ("Query", "__schema")])
def test_no_operation_at_all_is_answered_without_a_session(hub: HubProcess, root: str, name: str) -> None:
    """A peer's control API had operations that needed no login, one of which switched off the login (CVE-2026-41176), another
    of which started programs (CVE-2026-41179). Here the list is the schema's own, so it cannot be incomplete."""
    question = {
        "query": f"{root.lower()} {{ {asked(root, name) if name != '__schema' else '__schema { types { name } }'} }}"
    }
    for cookie in ("", f"dth_hub_{hub.port}=guess"):
        status, _, body = hub.post("/graphql", question, Cookie=cookie, Authorization="Bearer e30.e30.")
        assert (status, code_of(body)) == (401, "not_signed_in")


def test_a_link_signs_in_once_and_its_cookie_is_for_this_site_alone(hub: HubProcess) -> None:
    token = hub.links[-1].partition("#t=")[2]
    assert "#t=" in hub.links[-1]  # a fragment: never sent anywhere
    status, _, body = hub.post("/login/token", {"token": token}, Cookie="")
    assert (status, code_of(body)) == (401, "used_link")
    another = hub.folder / "another"
    another.mkdir()
    fresh = alone(another).start(sign_in=False)
    try:
        _, headers, _ = fresh.post("/login/token", {"token": fresh.links[-1].partition("#t=")[2]})
        cookie = headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert f"dth_hub_{fresh.port}=" in cookie
    finally:
        fresh.end()


def test_a_guessed_token_is_refused(hub: HubProcess) -> None:
    for token in ("", "x", "0" * 43):
        status, _, _ = hub.post("/login/token", {"token": token}, Cookie="")
        assert status == 401


def test_too_large_a_body_is_refused(hub: HubProcess) -> None:
    status, _, _ = hub.post("/graphql", {"query": "x" * (2 << 20)})
    assert status == 413


@pytest.mark.parametrize(
    "query",
    [
        "{ " + " ".join(f"a{n}: hub {{ user }}" for n in range(200)) + " }",
        "{ tasks { items { " + "runs { items { id } } " * 3000 + " } } }",
        "query { ...A } fragment A on Query { ...A }",
        "{ " * 5000,
        "query { ...F0 } "
        + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(60))
        + " fragment F60 on Query { hub { user } }",
    ],
    ids=["aliases", "long", "circle", "deep", "doubling"],
)
def test_a_question_that_asks_for_too_much_is_refused_at_once(hub: HubProcess, query: str) -> None:
    with pytest.raises(Told) as told:
        hub.ask(query)
    assert told.value.code in {"bad_request", "too_much"}


def test_answers_say_how_a_browser_must_treat_them(hub: HubProcess) -> None:
    _, headers, _ = hub.request("GET", "/", None, {})
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


@pytest.mark.parametrize(
    "path", ["/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/assets/../../hub.db", "//etc/passwd"]
)
def test_no_path_leads_out_of_the_console(hub: HubProcess, path: str) -> None:
    _, _, body = hub.request("GET", path, None, {})
    assert b"root:" not in body
    assert b"SQLite" not in body


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("state", "/tmp/elsewhere", "cannot be set here"),
        ("report", "/etc/cron.d/x", "cannot be set here"),
        ("queue", "https://sqs.example/q", "cannot be set here"),
        ("shell", "rm -rf /", "is no setting"),
        ("src_endpoint", "file:///etc/passwd", "src_endpoint"),
        ("bandwidth", "$(reboot)", "bandwidth"),
        ("src_bucket", "; reboot", "src_bucket"),
        ("src_bucket", "--help", "src_bucket"),
    ],
)
def test_settings_go_through_the_models(hub: HubProcess, name: str, value: str, words: str) -> None:
    settings = {"src_bucket": "source", "dest_bucket": "destination", name: value}
    with pytest.raises(Told) as told:
        hub.save(settings, run=False)
    assert told.value.code == "settings"
    assert words in told.value.message


def test_a_value_that_a_shell_would_run_is_a_value(hub: HubProcess) -> None:
    canary = hub.folder / "canary"
    prefix = f"$(touch {canary}); `touch {canary}` && touch {canary} | touch {canary}"
    settings = {
        "src_bucket": "source",
        "dest_bucket": "destination",
        "src_prefix": prefix,
        "src_endpoint": "http://127.0.0.1:9",
    }
    task = hub.save({**settings, "dest_endpoint": "http://127.0.0.1:9", "connect_seconds": "1"}, name="$(touch x)")
    ended = hub.wait(task["id"], "FAILED")
    assert ended["latest"]["exitCode"] == 4
    assert not canary.exists()
    hub.change("stopTask", task["id"])


def test_what_tasks_are_made_of_is_read_by_its_owner_only(hub: HubProcess) -> None:
    task = hub.save({"src_bucket": "source", "dest_bucket": "destination"}, run=False)
    folder = hub.state / "hub"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "tasks" / task["id"] / "job.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "hub.db").stat().st_mode) == 0o600


def test_read_only_changes_nothing(tmp_path: Path) -> None:
    hub = alone(tmp_path, "--read-only").start()
    try:
        assert hub.ask(QUESTION["query"])["hub"]["canWrite"] is False
        for mutation in ('stopTask(id: "1") { id }', "deleteTask(id: 1)", "runTask(id: 1) { id }"):
            with pytest.raises(Told) as told:
                hub.ask(f"mutation {{ {mutation} }}")
            assert told.value.code == "read_only"
        with pytest.raises(Told) as told:
            hub.ask('query Q { hub { user } } mutation M { stopTask(id: "1") { id } }')
        assert told.value.code == "bad_request"
    finally:
        hub.end()


def test_read_only_refuses_every_mutation_of_the_schema(tmp_path: Path) -> None:
    hub = alone(tmp_path, "--read-only").start()
    try:
        for name in root_fields("Mutation"):
            with pytest.raises(Told) as told:
                hub.ask(f"mutation {{ {asked('Mutation', name)} }}")
            assert told.value.code == "read_only", name
        assert hub.ask("{ tasks { total } }") == {"tasks": {"total": 0}}
    finally:
        hub.end()


def test_other_machines_need_tls_and_a_way_to_sign_in(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    hub = alone(tmp_path, "--host", "0.0.0.0", "--port", port)
    with pytest.raises(AssertionError, match="needs TLS"):
        hub.start()


def test_a_second_hub_of_one_state_gives_a_link_to_the_first(tmp_path: Path) -> None:
    first = alone(tmp_path).start()
    try:
        argv = [*command(), "hub", "--no-browser", "--state", str(first.state)]
        done = subprocess.run(argv, env=dict(first.env), capture_output=True, text=True, timeout=60, check=True)
        link = done.stderr.splitlines()[-1]  # for people; a program asks for --json
        assert link.startswith(first.base)
        status, _, _ = first.post("/login/token", {"token": link.partition("#t=")[2]}, Cookie="")
        assert status == 200
    finally:
        first.end()

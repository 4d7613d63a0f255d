"""Who we are to a registry: challenges, tokens that end, docker's configuration, AWS's logins."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from dth.ecr.auth import Authorizer, Scope
from dth.ecr.challenge import Challenge, parse_challenge
from dth.ecr.credentials import DockerLogin, ExpiringLogin, FixedLogin, Login
from dth.ecr.web import Url, parse_origin, resolve
from dth.errors import BadCredentials, ProtocolViolation, SettingsError

BASE = Url(parse_origin("https://registry.example"), "/v2/")
ME = Login("me", "secret-word")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="ecr"', Challenge(bearer=False)),
        (
            'Bearer realm="https://auth.example/token",service="reg"',
            Challenge(bearer=True, realm="https://auth.example/token", service="reg"),
        ),
        ('Basic realm="x", Bearer realm="https://a/t" , scope="a,b"', Challenge(bearer=True, realm="https://a/t")),
        ("Negotiate", None),
        ("", None),
    ],
)
def test_a_challenge_is_read(header: str, expected: Challenge | None) -> None:
    assert parse_challenge(header) == expected


class Service:
    """A token service; tokens are numbered and last `seconds`."""

    def __init__(self, seconds: float, status: int = 200) -> None:
        self.seconds, self.status = seconds, status
        self.asked: list[tuple[str, dict[str, list[str]], str]] = []

    async def __call__(
        self, method: str, url: Url, headers: Sequence[tuple[str, str]], body: bytes
    ) -> tuple[int, bytes]:
        query = body.decode() or urlsplit(url.target).query
        self.asked.append((method, parse_qs(query), dict(headers).get("authorization", "")))
        return self.status, json.dumps({"token": f"t{len(self.asked)}", "expires_in": self.seconds}).encode()


def authorizer(service: Service, login: Login | None = ME, clock: list[float] | None = None) -> Authorizer:
    now = clock if clock is not None else [0.0]
    return Authorizer(BASE, FixedLogin(login), service, clock=lambda: now[0])


BEARER = {"www-authenticate": 'Bearer realm="https://auth.example/token",service="reg"'}


async def test_a_token_is_fetched_once_for_a_scope_and_replaced_before_it_ends() -> None:
    clock = [0.0]
    service = Service(2.0)
    auth = authorizer(service, clock=clock)
    scope = Scope("team/app")
    assert await auth.header(scope) is None
    assert await auth.refused(scope, None, BEARER)
    assert await auth.header(scope) == await auth.header(scope) == "Bearer t1"
    clock[0] = 1.7
    assert await auth.header(scope) == "Bearer t2"
    method, query, sent = service.asked[0]
    assert (method, query["scope"], sent) == ("GET", ["repository:team/app:pull"], ME.basic())
    assert await auth.header(Scope("team/app", push=True, mount_from="x")) == "Bearer t3"
    assert service.asked[2][1]["scope"] == ["repository:team/app:pull,push", "repository:x:pull"]


async def test_a_refused_token_is_replaced_at_once_and_one_that_others_replaced_is_taken() -> None:
    auth = authorizer(Service(60.0))
    scope = Scope("app")
    await auth.refused(scope, None, BEARER)
    assert await auth.refused(scope, "Bearer t1", BEARER)
    assert await auth.refused(scope, "Bearer t1", BEARER), "somebody else's answer to the same refusal"
    assert await auth.header(scope) == "Bearer t2"


async def test_a_basic_login_that_is_refused_is_not_sent_again() -> None:
    auth = authorizer(Service(60.0))
    basic = {"www-authenticate": 'Basic realm="x"'}
    assert await auth.refused(Scope("app"), None, basic)
    assert not await auth.refused(Scope("app"), ME.basic(), basic)


async def test_a_refusing_token_service_is_named_and_no_secret_is() -> None:
    with pytest.raises(BadCredentials, match=r"auth\.example") as error:
        await authorizer(Service(60.0, status=401)).refused(Scope("app"), None, BEARER)
    assert "secret-word" not in str(error.value)
    assert "secret-word" not in repr(ME)


async def test_a_token_service_without_tls_is_refused_where_the_registry_has_it() -> None:
    with pytest.raises(BadCredentials, match="without TLS"):
        await authorizer(Service(60.0)).refused(
            Scope("app"), None, {"www-authenticate": 'Bearer realm="http://auth.example/token"'}
        )


async def test_an_identity_token_is_exchanged_by_post() -> None:
    service = Service(60.0)
    auth = authorizer(service, Login("<token>", "refresh", identity=True))
    await auth.refused(Scope("app"), None, BEARER)
    method, form, sent = service.asked[0]
    assert (method, form["refresh_token"], form["grant_type"], sent) == ("POST", ["refresh"], ["refresh_token"], "")


async def test_an_aws_login_is_replaced_ten_minutes_ahead_and_on_refusal() -> None:
    now, fetched = [0.0], [0]

    async def fetch() -> tuple[Login, float]:
        fetched[0] += 1
        return Login("AWS", f"token {fetched[0]}"), now[0] + 43_200

    kept = ExpiringLogin(fetch, clock=lambda: now[0])
    first = await kept.get()
    now[0] = 42_000
    assert await kept.get() == first
    now[0] = 42_700
    second = await kept.get()
    assert (second != first, fetched[0]) == (True, 2)
    assert await kept.renew(first) == second
    assert await kept.renew(second) != second


async def test_docker_logins_come_from_its_file_or_from_the_helper_that_it_names(tmp_path: Path) -> None:
    auth = base64.b64encode(b"me:pass:word").decode()
    config = {
        "auths": {"a.example": {"auth": auth}, "https://index.docker.io/v1/": {"identitytoken": "idt"}},
        "credHelpers": {"b.example": "ours", "c.example": "missing"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    helper = tmp_path / "docker-credential-ours"
    helper.write_text('#!/bin/sh\nread name; echo "{\\"Username\\": \\"u-$name\\", \\"Secret\\": \\"s\\"}"\n')
    helper.chmod(0o755)
    env = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert await DockerLogin("a.example", env).get() == Login("me", "pass:word")
    assert await DockerLogin("docker.io", env).get() == Login("<token>", "idt", identity=True)
    assert await DockerLogin("b.example", env).get() == Login("u-b.example", "s")
    assert await DockerLogin("other.example", env).get() is None
    with pytest.raises(BadCredentials, match="docker-credential-missing"):
        await DockerLogin("c.example", env).get()


@pytest.mark.parametrize("text", ["", "http://", "ftp://x", "host:port", "https://me@host", "host/path"])
def test_what_is_no_registry_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is no registry"):
        parse_origin(text)


def test_a_location_is_resolved_and_never_leaves_tls_on_the_same_host() -> None:
    assert str(resolve(BASE, "/v2/x")) == "https://registry.example/v2/x"
    assert resolve(BASE, "uploads/1?a=b%2B").target == "/v2/uploads/1?a=b%2B"
    assert resolve(BASE, "http://registry.example/v2/x").origin == BASE.origin
    assert resolve(BASE, "https://cdn.example/x").origin.host == "cdn.example"
    for nonsense in ("ftp://x/y", "http://h:port/"):
        with pytest.raises(ProtocolViolation):
            resolve(BASE, nonsense)

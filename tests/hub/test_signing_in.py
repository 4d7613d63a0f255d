"""Signing in by password and by an identity provider of our own; what is wrong with a token is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from dth.errors import SettingsError
from dth.hub.base import Refused
from dth.hub.login import TRIES, Tries
from dth.hub.oidc import Oidc, OidcSettings, Signed
from dth.hub.password import hashed, matches
from tests.e2e.harness import command

from .hubs import HubProcess, alone

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CLIENT = "dth-hub"


class Provider:
    """A small OpenID provider: it lets everybody in, and says what `claims` says."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.issuer = f"http://127.0.0.1:{server.server_address[1]}"
        self.claims: dict[str, Any] = {}
        self.challenges: dict[str, str] = {}
        self.nonces: dict[str, str] = {}
        self.renewals: list[str] = []
        self.renews = True
        self.status = 200

    def renewed(self, token: str) -> tuple[dict[str, str], int]:
        """The answer to a refresh token: each may be used once, and brings the next."""
        if self.status != 200:
            return {"error": "temporarily_unavailable"}, self.status
        self.renewals.append(token)
        if not self.renews or token != f"refresh-{len(self.renewals)}":
            return {"error": "invalid_grant"}, 400
        return {"id_token": self.token(), "refresh_token": f"refresh-{len(self.renewals) + 1}"}, 200

    def token(self, key: Any = KEY, algorithm: str = "RS256", kid: str = "one", **others: Any) -> str:
        now = time.time()
        claims = {
            "iss": self.issuer, "aud": CLIENT, "sub": "u1", "email": "me@example.org", "email_verified": True,
            "iat": now, "exp": now + 300, **self.claims, **others,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key, algorithm, headers={"kid": kid})


@contextlib.contextmanager
def provider() -> Iterator[Provider]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def send(self, body: Any, status: int = 200) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == "/.well-known/openid-configuration":
                names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
                self.send({"issuer": made.issuer, **{name: f"{made.issuer}/{name}" for name in names}})
            elif path == "/authorization_endpoint":  # everybody is signed in there already
                asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                code = f"code-{len(made.nonces)}"
                made.challenges[code], made.nonces[code] = asked["code_challenge"], asked["nonce"]
                back = f"{asked['redirect_uri']}?{urlencode({'state': asked['state'], 'code': code})}"
                self.send_response(303)
                self.send_header("Location", back)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif path == "/jwks_uri":
                public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
                self.send({"keys": [{**public, "kid": "one", "alg": "RS256", "use": "sig"}]})

        def do_POST(self) -> None:
            sent = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            import base64
            import hashlib

            if "refresh_token" in sent:
                self.send(*made.renewed(sent["refresh_token"][0]))
                return
            code = sent["code"][0]
            verifier = hashlib.sha256(sent["code_verifier"][0].encode()).digest()
            if base64.urlsafe_b64encode(verifier).rstrip(b"=").decode() != made.challenges.get(code):
                self.send({"error": "invalid_grant"}, 400)
                return
            token = made.token(nonce=made.nonces[code])
            self.send({"id_token": token, "token_type": "Bearer", "refresh_token": "refresh-1"})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Provider(server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_password_is_kept_so_that_it_cannot_be_read_and_is_checked() -> None:
    kept = hashed("correct horse battery")
    assert "correct" not in kept
    assert kept != hashed("correct horse battery")
    assert asyncio.run(matches("correct horse battery", kept))
    assert not asyncio.run(matches("correct horse batterx", kept))
    assert not asyncio.run(matches("x", "nonsense"))
    with pytest.raises(Refused, match="at least 12"):
        hashed("short")


def test_wrong_passwords_are_limited_by_address_and_altogether() -> None:
    tries = Tries()
    for _ in range(TRIES):
        assert tries.may_try("a", 0.0)
        tries.wrong("a", 0.0)
    assert not tries.may_try("a", 1.0)
    assert tries.may_try("b", 1.0)
    assert tries.may_try("a", 61.0)
    for number in range(10 * TRIES):
        tries.wrong(str(number), 100.0)
    assert not tries.may_try("somebody else", 101.0)


def set_password(hub: HubProcess, password: str) -> None:
    argv = [*command(), "hub", "password", "--state", str(hub.state)]
    subprocess.run(
        argv, env=dict(hub.env), input=password + "\n", text=True, check=True, capture_output=True, timeout=60
    )


def test_a_password_signs_in_and_wrong_ones_are_refused_and_then_not_even_looked_at(tmp_path: Path) -> None:
    hub = alone(tmp_path)
    set_password(hub, "correct horse battery")
    hub.start()
    try:
        status, headers, _ = hub.post("/login/password", {"password": "correct horse battery"}, Cookie="")
        assert status == 200
        hub.cookie = headers["set-cookie"].partition(";")[0]
        assert hub.ask("{ hub { user } }")["hub"]["user"] == "password"
        assert b"correct" not in (hub.state / "hub" / "hub.db").read_bytes()
        codes = [
            hub.post("/login/password", {"password": f"wrong {n} wrong wrong"}, Cookie="")[0] for n in range(TRIES + 1)
        ]
        assert codes == [401] * TRIES + [429]
        assert hub.post("/login/password", {"password": "correct horse battery"}, Cookie="")[0] == 429
        status, _, _ = hub.post("/logout", {})
        assert status == 200
        assert hub.post("/graphql", {"query": "{ hub { user } }"})[0] == 401
    finally:
        hub.end()


def test_the_code_flow_signs_in_and_an_answer_to_another_question_does_not(tmp_path: Path) -> None:
    with provider() as known:
        hub = alone(
            tmp_path, "--oidc-issuer", known.issuer, "--oidc-client-id", CLIENT, "--oidc-user", "me@example.org"
        ).start()
        try:
            status, headers, _ = hub.request("GET", "/login/oidc", None, {})
            assert status == 303
            asked = {name: values[0] for name, values in parse_qs(urlsplit(headers["location"]).query).items()}
            assert asked["redirect_uri"] == f"{hub.base}/login/oidc/back"
            known.challenges["c1"], known.nonces["c1"] = asked["code_challenge"], asked["nonce"]
            flow = headers["set-cookie"].partition(";")[0]
            back = "/login/oidc/back?" + urlencode({"state": asked["state"], "code": "c1"})
            for wrong, cookie in (
                (back.replace(asked["state"][:8], "x" * 8), flow),
                (back, ""),
                (back, flow[:-4] + "AAAA"),
                (back.replace("c1", "c2"), flow),
            ):
                status, headers, _ = hub.request("GET", wrong, None, {"Cookie": cookie})
                assert status == 403, wrong
                assert f"dth_hub_{hub.port}=" not in headers.get("set-cookie", "")
            known.claims = {"email": "somebody@else.example", "sub": "u2"}
            assert hub.request("GET", back, None, {"Cookie": flow})[0] == 403
            known.claims = {}
            status, _, body = _with_all_cookies(hub, back, flow)
            assert status == 200, body
            assert hub.ask("{ hub { user } }")["hub"]["user"] == "me@example.org"
        finally:
            hub.end()


def _with_all_cookies(hub: HubProcess, path: str, cookie: str) -> tuple[int, dict[str, str], bytes]:
    """As `request`, and the session that the answer sets becomes the hub's."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=60)
    try:
        connection.request("GET", path, None, {"Cookie": cookie})
        answer = connection.getresponse()
        body = answer.read()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie" and value.startswith(f"dth_hub_{hub.port}="):
                assert "samesite=strict" in value.lower()
                hub.cookie = value.partition(";")[0]
        return answer.status, {}, body
    finally:
        connection.close()


async def test_only_tokens_that_are_right_in_everything_are_believed() -> None:
    with provider() as known:
        oidc = Oidc(OidcSettings(known.issuer, CLIENT), "http://127.0.0.1:1")
        now = time.time()
        assert await oidc.user_of(known.token()) == "me@example.org"
        assert await oidc.user_of(known.token(email=None)) == "u1"
        assert await oidc.user_of(known.token(nonce="n"), nonce="n") == "me@example.org"
        for wrong in (
            known.token(OTHER),
            known.token(aud="another client"),
            known.token(aud=[CLIENT, "another client"]),
            known.token(iss="https://evil.example"),
            known.token(exp=now - 3600),
            known.token(exp=None),
            known.token(iat=now + 3600),
            known.token(kid="two"),
            jwt.encode({"iss": known.issuer, "aud": CLIENT, "sub": "u1", "iat": now, "exp": now + 300}, "", "none"),
            jwt.encode(
                {"iss": known.issuer, "aud": CLIENT, "sub": "u1", "iat": now, "exp": now + 300},
                "x" * 32,
                "HS256",
                {"kid": "one"},
            ),
            "",
            "a.b.c",
        ):
            assert await oidc.user_of(wrong) is None
        assert await oidc.user_of(known.token(nonce="other"), nonce="n") is None
        only = Oidc(OidcSettings(known.issuer, CLIENT, ("boss@example.org",)), "http://127.0.0.1:1")
        assert await only.user_of(known.token()) is None
        assert await only.user_of(known.token(email="boss@example.org")) == "boss@example.org"
        assert await only.user_of(known.token(email="boss@example.org", email_verified=False)) is None


async def test_a_session_is_renewed_while_the_provider_vouches_for_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dth.hub.oidc.AGAIN_SECONDS", 0.0)
    with provider() as known:
        oidc = Oidc(OidcSettings(known.issuer, CLIENT), "http://127.0.0.1:1")
        oidc.remember("session", Signed("me@example.org", "refresh-1"))
        assert await oidc.renewed("session", "me@example.org")
        assert await oidc.renewed("session", "me@example.org"), "the provider gave another token for the next time"
        assert known.renewals == ["refresh-1", "refresh-2"]
        assert not await oidc.renewed("another session", "me@example.org")
        known.status = 503
        assert not await oidc.renewed("session", "me@example.org")
        known.status = 200
        assert await oidc.renewed("session", "me@example.org"), "a provider that was away is asked again"
        known.renews = False
        assert not await oidc.renewed("session", "me@example.org")
        known.renews = True
        assert not await oidc.renewed("session", "me@example.org"), "who was refused is not asked about again"

        oidc.remember("session", Signed("me@example.org", f"refresh-{len(known.renewals) + 1}"))
        known.claims = {"email": "somebody@else.example"}
        assert not await oidc.renewed("session", "me@example.org"), "the token is another user's"


def test_a_session_of_a_provider_is_renewed_on_the_way(tmp_path: Path) -> None:
    with provider() as known:
        hub = alone(tmp_path, "--oidc-issuer", known.issuer, "--oidc-client-id", CLIENT).start()
        try:
            _, headers, _ = hub.request("GET", "/login/oidc", None, {})
            flow = headers["set-cookie"].partition(";")[0]
            _, to_hub, _ = _located(known, headers["location"])
            assert _with_all_cookies(hub, to_hub.removeprefix(hub.base), flow)[0] == 200
            shorten(hub, 60)
            assert hub.ask("{ hub { user } }")["hub"]["user"] == "me@example.org"
            assert session_end(hub) > time.time() + 3600
            assert known.renewals == ["refresh-1"]
        finally:
            hub.end()


def _located(known: Provider, url: str) -> tuple[int, str, bytes]:
    """Where the provider sends a browser that asks for this."""
    import http.client

    connection = http.client.HTTPConnection(urlsplit(known.issuer).netloc, timeout=60)
    try:
        connection.request("GET", url.removeprefix(known.issuer))
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location", ""), answer.read()
    finally:
        connection.close()


def shorten(hub: HubProcess, seconds: float) -> None:
    """Let the sessions of a provider's users end in so many seconds."""
    with contextlib.closing(sqlite3.connect(hub.state / "hub" / "hub.db")) as database, database:
        database.execute("UPDATE sessions SET until = ? WHERE who != 'local'", (time.time() + seconds,))


def session_end(hub: HubProcess) -> float:
    """When the session of a provider's user ends."""
    with contextlib.closing(sqlite3.connect(hub.state / "hub" / "hub.db")) as database:
        return float(database.execute("SELECT max(until) FROM sessions WHERE who != 'local'").fetchone()[0])


def test_an_issuer_without_tls_is_refused() -> None:
    with pytest.raises(SettingsError, match="https"):
        OidcSettings("http://login.example.org", CLIENT)
    with pytest.raises(SettingsError, match="client"):
        OidcSettings("https://login.example.org", "")

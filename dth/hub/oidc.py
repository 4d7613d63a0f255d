"""Signing in by an identity provider: OpenID Connect's code flow with PKCE, for a client without a secret.

Tokens are believed where signature, issuer, audience, time and, for the hub's own flow, nonce are right. The console may send
an id token itself as `Authorization: Bearer`; it is judged the same.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dth.errors import SettingsError

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA")
FLOW_SECONDS = 600.0
KEYS_SECONDS = 3600.0
LEEWAY_SECONDS = 60.0
SECONDS = 10.0
MAX_ANSWER = 1 << 20
AGAIN_SECONDS = 60.0  # after a provider that did not answer
MOST_RENEWALS = 10_000
_LATER = frozenset({408, 429, 500, 502, 503, 504})  # says nothing about who asks
_COOKIE = "dth_hub_oidc"
_log = logging.getLogger("dth.hub")


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The provider and this client's id there. `users`: only these (by `email` or `sub`); empty: everybody whom the provider
    lets in."""

    issuer: str
    client_id: str
    users: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = urllib.parse.urlsplit(self.issuer)
        loopback = where.hostname in {"127.0.0.1", "localhost", "::1"}
        if not self.client_id or not (where.scheme == "https" or (where.scheme == "http" and loopback)):
            raise SettingsError("--oidc-issuer is an https:// URL, and needs --oidc-client-id")


@dataclass(slots=True)
class Signed:
    """A user who signed in, and what renews the session; "" where the provider gave nothing that does."""

    name: str
    refresh: str = ""
    asked_at: float = 0.0
    renewal: asyncio.Task[bool] | None = None


class Oidc:
    """One provider. `base` is the hub's own address as browsers know it."""

    def __init__(self, settings: OidcSettings, base: str) -> None:
        self._settings = settings
        self._back = f"{base}/login/oidc/back"
        self._configuration: Mapping[str, Any] = {}
        self._keys: jwt.PyJWKSet | None = None
        self._keys_at = 0.0
        self._signed: dict[str, Signed] = {}  # by session; on no disk, so a session outlives the hub without renewal
        self._secret = secrets.token_bytes(32)  # of flows under way: they end with this process

    async def begin(self, _request: Request, *, secure: bool) -> Response:
        """To the provider, with what will prove that the answer is to this question."""
        try:
            configuration = await self._discover()
        except (OSError, ValueError, KeyError) as error:
            _log.warning("the identity provider does not answer as it should: %s", error)
            return HTMLResponse(_page("The identity provider does not answer. Try again later."), 502)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._back,
            "scope": " ".join(["openid", "email", "profile", *_offline(configuration)]),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        where = f"{configuration['authorization_endpoint']}?{urllib.parse.urlencode(query)}"
        response = RedirectResponse(where, 303, headers={"cache-control": "no-store"})
        flow = self._sealed({"state": state, "nonce": nonce, "verifier": verifier, "until": time.time() + FLOW_SECONDS})
        response.set_cookie(  # Lax: the provider's redirect brings it back
            _COOKIE, flow, max_age=int(FLOW_SECONDS), path="/login/oidc", httponly=True, samesite="lax", secure=secure
        )
        return response

    async def end(self, request: Request) -> Signed | None:
        """Back from it: the user, None where anything is not as it should be."""
        flow = self._opened(request.cookies.get(_COOKIE, ""))
        state, code = request.query_params.get("state", ""), request.query_params.get("code", "")
        if not flow or not code or not hmac.compare_digest(str(flow["state"]), state):
            return None
        try:
            configuration = await self._discover()
            told = await _post(
                str(configuration["token_endpoint"]),
                {
                    "grant_type": "authorization_code",
                    "code": code,
                    "redirect_uri": self._back,
                    "client_id": self._settings.client_id,
                    "code_verifier": str(flow["verifier"]),
                },
            )
            name = await self.user_of(str(told["id_token"]), nonce=str(flow["nonce"]))
        except (OSError, ValueError, KeyError) as error:
            _log.warning("signing in by the identity provider failed: %s", error)
            return None
        return Signed(name, str(told.get("refresh_token") or "")) if name else None

    def remember(self, session: str, signed: Signed) -> None:
        """Keep what renews a session, the newest ones'."""
        if not signed.refresh:
            return
        if len(self._signed) >= MOST_RENEWALS:
            del self._signed[next(iter(self._signed))]
        self._signed[session] = signed

    def forget(self, session: str) -> None:
        """It is over."""
        self._signed.pop(session, None)

    async def renewed(self, session: str, name: str) -> bool:
        """Whether the provider still vouches for the session's user. It is asked once a minute at most; one that refuses is not
        asked again."""
        signed = self._signed.get(session)
        if signed is None:
            return False
        if signed.renewal is None or time.time() - signed.asked_at >= AGAIN_SECONDS:
            signed.asked_at = time.time()
            signed.renewal = asyncio.create_task(self._renew(session, name, signed))
        return await asyncio.shield(signed.renewal)  # requests that come together share one answer

    async def _renew(self, session: str, name: str, signed: Signed) -> bool:
        fields = {"grant_type": "refresh_token", "refresh_token": signed.refresh, "client_id": self._settings.client_id}
        try:
            told = await _post(str((await self._discover())["token_endpoint"]), fields)
            user = await self.user_of(str(told["id_token"]))
        except OSError as error:
            _log.warning("the identity provider does not answer: %s", error)
            return False
        except (ValueError, KeyError) as error:
            _log.info("a session was not renewed: %s", error)
            user = None
        if user != name:
            self.forget(session)
            return False
        signed.refresh = str(told.get("refresh_token") or signed.refresh)
        return True

    async def user_of(self, token: str, *, nonce: str | None = None) -> str | None:
        """Whose id token it is; None for one that is not to be believed."""
        try:
            key = await self._key(str(jwt.get_unverified_header(token).get("kid", "")))
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[one for one in ALGORITHMS if one == key.algorithm_name],
                audience=self._settings.client_id,
                issuer=self._settings.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, OSError, ValueError, KeyError) as error:
            _log.info("a token was refused: %s", type(error).__name__)
            return None
        if nonce is not None and claims.get("nonce") != nonce:
            return None
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if len(audiences) > 1 and claims.get("azp") != self._settings.client_id:
            return None
        verified = claims.get("email_verified", True) is not False
        names = {str(claims["sub"]), *([str(claims["email"])] if claims.get("email") and verified else [])}
        if self._settings.users and not names & set(self._settings.users):
            return None
        return str(claims.get("email") or claims["sub"])

    async def _key(self, key_id: str) -> jwt.PyJWK:
        if self._keys is None or time.time() - self._keys_at > KEYS_SECONDS or not self._has(key_id):
            if (
                self._keys is not None and time.time() - self._keys_at < SECONDS
            ):  # unknown ids must not make us ask and ask
                raise KeyError(key_id)
            configuration = await self._discover()
            self._keys = jwt.PyJWKSet.from_dict(dict(await _get(str(configuration["jwks_uri"]))))
            self._keys_at = time.time()
        return next(
            key for key in self._keys.keys if key.key_id == key_id or (not key_id and len(self._keys.keys) == 1)
        )

    def _has(self, key_id: str) -> bool:
        return self._keys is not None and any(key.key_id == key_id or not key_id for key in self._keys.keys)

    async def _discover(self) -> Mapping[str, Any]:
        if not self._configuration:
            found = await _get(self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
            if found.get("issuer") != self._settings.issuer:
                raise ValueError("its configuration names another issuer")
            self._configuration = found
        return self._configuration

    def landing(self, *, failed: bool) -> Response:
        """The page after the flow, which goes on to the console by itself."""
        text = "You could not be signed in." if failed else "You are signed in."
        response = HTMLResponse(_page(text, onward=not failed), 403 if failed else 200, {"cache-control": "no-store"})
        response.delete_cookie(_COOKIE, path="/login/oidc")
        return response

    def _sealed(self, flow: Mapping[str, Any]) -> str:
        return jwt.encode(dict(flow), self._secret, "HS256")

    def _opened(self, text: str) -> Mapping[str, Any] | None:
        try:
            flow: dict[str, Any] = jwt.decode(text, self._secret, algorithms=["HS256"])
        except jwt.PyJWTError:
            return None
        return flow if flow.get("until", 0) > time.time() else None


def _offline(configuration: Mapping[str, Any]) -> list[str]:
    """The scope by which a provider gives what renews a session, where it says that it knows it."""
    known = configuration.get("scopes_supported")
    return ["offline_access"] if isinstance(known, list) and "offline_access" in known else []


def _page(text: str, *, onward: bool = False) -> str:
    go = '<meta http-equiv="refresh" content="0; url=/">' if onward else ""
    return f'<!doctype html><html lang="en"><meta charset="utf-8">{go}<title>dth hub</title><p>{text} <a href="/">Go on</a></p>'


async def _get(url: str) -> Mapping[str, Any]:
    return await asyncio.to_thread(_ask, urllib.request.Request(url))  # noqa: S310 - the provider that was named at the start


async def _post(url: str, fields: Mapping[str, str]) -> Mapping[str, Any]:
    return await asyncio.to_thread(_ask, urllib.request.Request(url, urllib.parse.urlencode(fields).encode()))  # noqa: S310


def _ask(request: urllib.request.Request) -> Mapping[str, Any]:
    if urllib.parse.urlsplit(request.full_url).scheme not in {"http", "https"}:
        raise ValueError("its address is no http one")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - see above
            found = json.loads(answer.read(MAX_ANSWER))
    except urllib.error.HTTPError as error:
        error.close()
        kind = OSError if error.code in _LATER else ValueError
        raise kind(f"it answered with status {error.code}") from None
    if not isinstance(found, dict):
        raise ValueError("it answered with no JSON object")  # noqa: TRY004 - a foreign answer
    return found

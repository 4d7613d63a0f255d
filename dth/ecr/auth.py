"""What the Authorization header says: Basic, or bearer tokens of the registry's own token service, kept fresh.

A token covers one repository; mounting takes one that covers two. Lists of scopes never grow: services refuse URLs that
do. Source: the distribution project's "Token Authentication Specification"; OCI distribution 1.1 leaves this open.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from dth.ecr.challenge import Challenge, parse_challenge
from dth.ecr.credentials import Login, LoginSource
from dth.ecr.web import Url, follow
from dth.errors import BadCredentials, ProtocolViolation, RequestRefused

_DEFAULT_SECONDS = 60.0  # where the service does not say how long its token lives
_MARGIN = 0.2  # of a token's life is left when it is replaced
_MARGIN_MOST = 30.0
_LONGEST_SECONDS = 86_400.0  # of a token's life that are believed
_TOKEN_LIMIT = 65_536


@dataclass(frozen=True, slots=True)
class Scope:
    """What a request needs: pull or push of a repository, and, for a mount, pull of another; or the registry's catalog; or,
    with neither, nothing but that the login holds."""

    repository: str
    push: bool = False
    mount_from: str = ""
    delete: bool = False
    catalog: bool = False

    def texts(self) -> list[str]:
        """As the token service wants them."""
        if not self.repository:
            return ["registry:catalog:*"] if self.catalog else []
        actions = "pull,push" if self.push else "pull"
        own = f"repository:{self.repository}:{actions}{',delete' if self.delete else ''}"
        return [own, f"repository:{self.mount_from}:pull"] if self.mount_from else [own]


@dataclass(slots=True)
class _Token:
    value: str
    until: float


Ask = Callable[[str, Url, Sequence[tuple[str, str]], bytes], Awaitable[tuple[int, bytes]]]
"""Sends one request without credentials of its own; gives status and body."""


class Authorizer:
    """The Authorization headers of one registry. Each token is fetched once, whoever waits for it."""

    def __init__(
        self, base: Url, source: LoginSource, ask: Ask, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._base = base
        self._source = source
        self._ask = ask
        self._clock = clock
        self._challenge: Challenge | None = None
        self._tokens: dict[Scope, _Token] = {}
        self._locks: dict[Scope, asyncio.Lock] = {}

    async def header(self, scope: Scope) -> str | None:
        """The header's value as far as it is known what the registry wants; None sends the request without."""
        challenge = self._challenge
        if challenge is None:
            login = await self._source.get() if self._source.eager else None
            return login.basic() if login else None
        if not challenge.bearer:
            login = await self._source.get()
            return login.basic() if login else None
        return "Bearer " + await self._token(challenge, scope, refused="")

    async def refused(self, scope: Scope, sent: str | None, headers: Mapping[str, str]) -> bool:
        """Take the challenge of a 401 that the registry itself has sent; True where there is now another answer to it than the
        one that was sent."""
        challenge = parse_challenge(headers.get("www-authenticate", ""))
        if challenge is None:
            return False
        self._challenge = challenge
        if challenge.bearer:
            token = (sent or "").removeprefix("Bearer ")
            return await self._token(challenge, scope, refused=token) != token
        login = await self._source.get()
        if login is not None and sent == login.basic():
            login = await self._source.renew(login)
        return login is not None and sent != login.basic()

    async def _token(self, challenge: Challenge, scope: Scope, *, refused: str) -> str:
        kept = self._fresh(scope, refused)
        if kept is None:
            async with self._locks.setdefault(scope, asyncio.Lock()):
                kept = self._fresh(scope, refused)
                if kept is None:
                    began = self._clock()
                    value, seconds = await self._fetch(challenge, scope)
                    margin = min(_MARGIN_MOST, seconds * _MARGIN)
                    kept = self._tokens[scope] = _Token(value, began + seconds - margin)
        return kept.value

    def _fresh(self, scope: Scope, refused: str) -> _Token | None:
        kept = self._tokens.get(scope)
        return kept if kept and kept.value != refused and self._clock() < kept.until else None

    async def _fetch(self, challenge: Challenge, scope: Scope) -> tuple[str, float]:
        try:
            url = follow(self._base, challenge.realm)
        except RequestRefused as exc:
            raise BadCredentials(f"{self._base.host} sends its token requests elsewhere without TLS: refused") from exc
        login = await self._source.get()
        status, body = await self._request(url, challenge, scope, login)
        if status in {401, 403} and login is not None:
            renewed = await self._source.renew(login)
            if renewed != login:
                status, body = await self._request(url, challenge, scope, renewed)
        if status != 200:  # noqa: PLR2004 - HTTP's OK
            who = (
                f"the user {login.user!r}" if login and not login.identity else "no user" if not login else "the login"
            )
            raise BadCredentials(
                f"the token service {url.host} of {self._base.host} refused {who} with status {status} for "
                f"{' '.join(scope.texts())}",
                status=status,
            )
        return _token_of(body, url)

    async def _request(self, url: Url, challenge: Challenge, scope: Scope, login: Login | None) -> tuple[int, bytes]:
        if login is not None and login.identity:
            form = {"grant_type": "refresh_token", "service": challenge.service, "client_id": "dth",
                    "scope": " ".join(scope.texts()), "refresh_token": login.password}  # fmt: skip
            kind = ("content-type", "application/x-www-form-urlencoded")
            return await self._ask("POST", url, [kind], urlencode(form).encode())
        query = urlencode([("service", challenge.service), *(("scope", text) for text in scope.texts())])
        target = f"{url.target}{'&' if '?' in url.target else '?'}{query}"
        headers = [("authorization", login.basic())] if login else []
        return await self._ask("GET", Url(url.origin, target), headers, b"")


def _token_of(body: bytes, url: Url) -> tuple[str, float]:
    try:
        fields = json.loads(body)
        token = fields.get("token") or fields["access_token"]
        said = fields.get("expires_in")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ProtocolViolation(f"{url}: the token service's answer holds no token") from exc
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise ProtocolViolation(f"{url}: the token service's answer holds no token")
    known = isinstance(said, int | float) and not isinstance(said, bool) and 0 < said < float("inf")
    return token, float(min(said, _LONGEST_SECONDS)) if known else _DEFAULT_SECONDS

"""Who is signed in: by a one-time link, a password, or an identity provider; then by a cookie.

Sessions and links are kept as hashes, so that reading the database opens nothing, and outlive the hub.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dth.hub.base import Refused, Who
from dth.hub.password import matches

if TYPE_CHECKING:
    from dth.hub.oidc import Oidc

SESSION_SECONDS = 12 * 3600
COOKIE_SECONDS = 30 * 24 * 3600  # the session ends at the hub; a cookie may outlive it, and is worth nothing then
LINK_SECONDS = 3600
TRIES = 5  # wrong passwords from one address in a window, and ten times as many from all
WINDOW_SECONDS = 60.0


class Keep(Protocol):
    """Where sessions, links and the password's hash are kept."""

    async def add_token(self, hashed: str, until: float) -> None:
        """A link that may be used once."""
        ...

    async def use_token(self, hashed: str, now: float) -> bool:
        """Whether it was there; it is not any more."""
        ...

    async def add_session(self, hashed: str, who: str, until: float) -> None:
        """A cookie's session."""
        ...

    async def session(self, hashed: str) -> tuple[str, float] | None:
        """Whose it is, and until when it holds; one that has ended may be told, too."""
        ...

    async def extend_session(self, hashed: str, until: float) -> None:
        """Let it hold for longer. One that was forgotten stays so."""
        ...

    async def end_session(self, hashed: str) -> None:
        """Forget it."""
        ...

    async def note(self, name: str) -> str:
        """A kept text; "" where there is none."""
        ...


@dataclass(slots=True)
class Tries:
    """Wrong passwords of late, by address."""

    at: dict[str, list[float]] = field(default_factory=dict)

    def may_try(self, address: str, now: float) -> bool:
        """Whether another one may be tried."""
        for name in list(self.at):
            self.at[name] = [one for one in self.at[name] if now - one < WINDOW_SECONDS]
            if not self.at[name]:
                del self.at[name]
        return len(self.at.get(address, ())) < TRIES and sum(map(len, self.at.values())) < 10 * TRIES

    def wrong(self, address: str, now: float) -> None:
        """One more."""
        self.at.setdefault(address, []).append(now)


class Login:
    """`trusted`: who signs in by link is on this machine, and may name its files. `secure`: cookies go over TLS only."""

    def __init__(
        self, keep: Keep, *, cookie: str, secure: bool, trusted: bool, can_write: bool, password: str, oidc: Oidc | None
    ) -> None:
        self._keep = keep
        self._cookie = cookie
        self._secure = secure
        self._trusted = trusted
        self._can_write = can_write
        self._password = password
        self._oidc = oidc
        self._tries = Tries()

    def ways(self) -> list[str]:
        """How one can sign in."""
        return [
            *(["link"] if self._trusted else []),
            *(["password"] if self._password else []),
            *(["oidc"] if self._oidc else []),
        ]

    async def new_link(self, base: str) -> str:
        """A link that signs in once. Its secret is in the fragment: browsers send that nowhere."""
        token = secrets.token_urlsafe(32)
        await self._keep.add_token(_hash(token), time.time() + LINK_SECONDS)
        return f"{base}/#t={token}"

    async def by_token(self, token: str) -> str:
        """A session for a link's secret. Refused where it was used, is too old, or never was."""
        if not await self._keep.use_token(_hash(token), time.time()):
            raise Refused(
                "used_link",
                "this link was used before, or is too old",
                "run `dth hub` again on the same machine: it prints a new one",
            )
        return await self._session("local")

    async def by_password(self, password: str, address: str) -> str:
        """A session for the password."""
        now = time.time()
        if not self._password:
            raise Refused("no_password", "no password is set", "set one with `dth hub password`")
        if not self._tries.may_try(address, now):
            raise Refused("too_often", "too many wrong passwords; wait a minute")
        self._tries.wrong(address, now)  # before it is known: many at once must not slip through
        if not await matches(password, self._password):
            raise Refused("wrong_password", "this is not the password")
        self._tries.at.pop(address, None)
        return await self._session("password")

    async def _session(self, who: str) -> str:
        session = secrets.token_urlsafe(32)
        await self._keep.add_session(_hash(session), who, time.time() + SESSION_SECONDS)
        return session

    async def who(self, cookies: Mapping[str, str], headers: Mapping[str, str]) -> Who | None:
        """Who a request is of; None where nobody is signed in."""
        if (session := cookies.get(self._cookie, "")) and (name := await self._user_of(_hash(session))):
            return Who(name, trusted=self._trusted, can_write=self._can_write)
        bearer = headers.get("authorization", "")
        if self._oidc and bearer.lower().startswith("bearer "):
            name = await self._oidc.user_of(bearer[7:].strip())
            return Who(name, trusted=False, can_write=self._can_write) if name else None
        return None

    async def _user_of(self, hashed: str) -> str | None:
        """Whose session it is. One of a provider's users is renewed in its second half, while the provider still knows them."""
        found = await self._keep.session(hashed)
        if found is None:
            return None
        name, until = found
        if until - time.time() < SESSION_SECONDS / 2 and self._oidc and await self._oidc.renewed(hashed, name):
            until = time.time() + SESSION_SECONDS
            await self._keep.extend_session(hashed, until)
        return name if until > time.time() else None

    async def forget(self, cookies: Mapping[str, str]) -> None:
        """Sign out."""
        if session := cookies.get(self._cookie, ""):
            await self._keep.end_session(_hash(session))
            if self._oidc:
                self._oidc.forget(_hash(session))

    def set_cookie(self, response: Response, session: str) -> None:
        """The cookie of a session. Strict: no other site's link carries it; no script reads it."""
        response.set_cookie(
            self._cookie,
            session,
            max_age=COOKIE_SECONDS,
            path="/",
            httponly=True,
            samesite="strict",
            secure=self._secure,
        )

    def clear_cookie(self, response: Response) -> None:
        """Take it back."""
        response.delete_cookie(self._cookie, path="/", httponly=True, samesite="strict", secure=self._secure)

    async def to_oidc(self, request: Request) -> Response:
        """Off to the identity provider."""
        if not self._oidc:
            return RedirectResponse("/", 303)
        return await self._oidc.begin(request, secure=self._secure)

    async def from_oidc(self, request: Request) -> Response:
        """Back from it: its word becomes a session."""
        if not self._oidc:
            return RedirectResponse("/", 303)
        signed = await self._oidc.end(request)
        # A page of ours, not a redirect: cookies that are Strict do not travel on a way that another site began.
        response: Any = self._oidc.landing(failed=signed is None)
        if signed is not None:
            session = await self._session(signed.name)
            self._oidc.remember(_hash(session), signed)
            self.set_cookie(response, session)
        return response  # type: ignore[no-any-return]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

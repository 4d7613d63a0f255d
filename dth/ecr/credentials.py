"""Who we are to a registry: nobody, a user with a password, or AWS's own tokens that end after hours."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dth.ecr.reference import DOCKER_HUB
from dth.errors import BadCredentials, SettingsError

REFRESH_AHEAD = 600.0
"""Seconds before their end at which AWS's tokens (12 hours) are replaced."""
_HELPER_SECONDS = 30.0
_HUB_KEY = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password; with `identity` the password is an OAuth2 refresh token. `repr` shows no secret."""

    user: str
    password: str = field(repr=False)
    identity: bool = False

    def basic(self) -> str:
        """The Authorization header's value."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


class LoginSource(Protocol):
    """Gives the login to use; None means none."""

    @property
    def eager(self) -> bool:
        """Whether it is sent before the registry asks: where every request needs it, that saves one each."""
        ...

    async def get(self) -> Login | None:
        """The current one."""
        ...

    async def renew(self, refused: Login | None) -> Login | None:
        """The registry refused this one: another, or the very same where there is no other."""
        ...


@dataclass(frozen=True, slots=True)
class FixedLogin:
    """Always the same."""

    login: Login | None
    eager: bool = False

    async def get(self) -> Login | None:
        """It."""
        return self.login

    async def renew(self, refused: Login | None) -> Login | None:  # noqa: ARG002 - the protocol's
        """It: there is no other."""
        return self.login


class SecretLogin:
    """A login that a secret holds: read once, and again when it is refused, because it may have been rotated."""

    eager = False

    def __init__(self, login: Login, read: Callable[[], Awaitable[Login]]) -> None:
        self._kept = login
        self._read = read
        self._lock = asyncio.Lock()

    async def get(self) -> Login | None:
        """The one that was read last."""
        return self._kept

    async def renew(self, refused: Login | None) -> Login | None:
        """What the secret holds now, unless somebody else has read it since."""
        async with self._lock:
            if self._kept == refused:
                self._kept = await self._read()
            return self._kept


class ExpiringLogin:
    """A login with an end, replaced ahead of it and when it is refused; asked for once, whoever waits for it."""

    eager = True

    def __init__(
        self,
        fetch: Callable[[], Awaitable[tuple[Login, float]]],
        *,
        first: tuple[Login, float] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._kept: Login | None
        self._kept, self._until = first or (None, 0.0)
        self._lock = asyncio.Lock()

    async def get(self) -> Login | None:
        """The current one, new where the kept one ends within ten minutes."""
        if self._kept is None or self._clock() > self._until - REFRESH_AHEAD:
            async with self._lock:
                if self._kept is None or self._clock() > self._until - REFRESH_AHEAD:
                    self._kept, self._until = await self._fetch()
        return self._kept

    async def renew(self, refused: Login | None) -> Login | None:
        """A new one, unless somebody else has fetched one since."""
        async with self._lock:
            if self._kept is None or self._kept == refused:
                self._kept, self._until = await self._fetch()
            return self._kept


class DockerLogin:
    """What `docker login` left for a registry: the configuration file, or the credential helper that it names.

    Read when first asked for, and again when refused: helpers hand out tokens that end.
    """

    eager = False

    def __init__(self, registry: str, environ: Mapping[str, str]) -> None:
        self._registry = registry
        self._environ = environ
        self._kept: Login | None = None
        self._read = False
        self._lock = asyncio.Lock()

    async def get(self) -> Login | None:
        """The login, None where there is none."""
        async with self._lock:
            if not self._read:
                self._kept = await _from_docker(self._registry, self._environ)
                self._read = True
            return self._kept

    async def renew(self, refused: Login | None) -> Login | None:
        """Read it anew."""
        async with self._lock:
            if self._kept == refused:
                self._kept = await _from_docker(self._registry, self._environ)
            return self._kept


async def _from_docker(registry: str, environ: Mapping[str, str]) -> Login | None:
    folder = environ.get("DOCKER_CONFIG") or f"{environ.get('HOME', '')}/.docker"
    path = Path(folder) / "config.json"
    try:
        config = json.loads(await asyncio.to_thread(path.read_text, "utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise SettingsError(f"cannot read {path}: {exc.__class__.__name__}") from exc
    key = _HUB_KEY if registry == DOCKER_HUB else registry
    helpers = config.get("credHelpers") or {}
    helper = helpers.get(registry) or config.get("credsStore")
    if helper:
        found = await _from_helper(str(helper), key, environ)
        if found is not None:
            return found
    auths = config.get("auths") or {}
    return _entry(next((auths[name] for name in (key, f"https://{key}", f"https://{key}/v2/") if name in auths), None))


def _entry(entry: Any) -> Login | None:
    if not isinstance(entry, dict):
        return None
    if token := entry.get("identitytoken"):
        return Login("<token>", str(token), identity=True)
    try:
        user, _, password = base64.b64decode(entry.get("auth") or "").decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Login(user, password.rstrip("\0")) if user else None


async def _from_helper(name: str, key: str, environ: Mapping[str, str]) -> Login | None:
    """What `docker-credential-<name> get` says. The registry's name goes through stdin, the secret comes by stdout."""
    if os.sep in name:
        raise SettingsError(f"the credential helper {name!r} of the docker configuration is no plain name")
    program = f"docker-credential-{name}"
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "get",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=dict(environ),
        )
    except OSError as exc:
        raise BadCredentials(f"the credential helper {program} does not start: {exc.strerror}") from exc
    try:
        async with asyncio.timeout(_HELPER_SECONDS):
            out, _ = await process.communicate(key.encode())
    except TimeoutError as exc:
        process.kill()
        await process.wait()
        raise BadCredentials(f"the credential helper {program} kept silent for {_HELPER_SECONDS:.0f} s") from exc
    if process.returncode:
        return None  # it has nothing for this registry
    try:
        said = json.loads(out)
        user, secret = str(said["Username"]), str(said["Secret"])
    except (ValueError, KeyError, TypeError) as exc:
        raise BadCredentials(f"the credential helper {program} did not answer with a user and a secret") from exc
    return Login(user, secret, identity=user == "<token>")

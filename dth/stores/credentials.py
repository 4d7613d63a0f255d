"""Where credentials come from, and how they stay fresh. The store asks before every request; the answer is kept."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from dth.errors import BadCredentials, SettingsError
from dth.model import Location
from dth.stores.secrets import read_secret
from dth.stores.sign import Credentials

_REFRESH_AHEAD = 600.0  # seconds before expiry; AWS's own SDKs begin 10 to 15 minutes ahead
_REFRESH_SHARE = 0.25  # of their life is left at most when they are refreshed: some live for less than ten minutes
_JITTER = 0.2  # processes that began together do not ask together
_REFUSED_PAUSE = 5.0  # seconds in which refused credentials that read the same again are not read once more
_FAILED_PAUSE = 30.0  # seconds after a read ahead of time that brought nothing new; less where the end is near

Source = Callable[[], Credentials | None]
"""Reads credentials, may block, is called in a thread. None means that there are none. Each call reads anew."""


class CredentialsProvider(Protocol):
    """Gives the credentials to sign with; None means that requests go unsigned."""

    async def get(self) -> Credentials | None:
        """Current credentials. Costs nothing while they are fresh."""
        ...

    async def renew(self, refused: Credentials | None) -> Credentials | None:
        """A store refused these: others, read anew; the very same where there are no others."""
        ...


class Anonymous:
    """Requests go unsigned."""

    async def get(self) -> Credentials | None:
        """None, always."""
        return None

    async def renew(self, refused: Credentials | None) -> Credentials | None:  # noqa: ARG002 - the protocol's
        """None: there is nothing to renew."""
        return None


class Kept:
    """Credentials of a source, read once, refreshed ahead of expiry, read again when a store refuses them.

    A refresh ahead of time that fails leaves the old ones in use until they expire; then the failure is raised.
    """

    def __init__(
        self,
        source: Source,
        *,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._source = source
        self._clock = clock
        self._jitter = jitter
        self._refresh_at = 0.0  # of the clock, where they expire
        self._kept: Credentials | None = None
        self._lock = asyncio.Lock()
        self._next_look = 0.0  # of the clock; before it nothing is read ahead or again
        self._ahead = False  # that look was for a read ahead of time, which a refusal does not wait for

    async def get(self) -> Credentials | None:
        """Current credentials. Raises BadCredentials where there are none."""
        kept = self._kept
        if kept is not None and (kept.expires_at is None or self._clock() < self._refresh_at):
            return kept
        async with self._lock:
            return await self._refreshed()

    async def renew(self, refused: Credentials | None) -> Credentials | None:
        """Others than the refused ones, unless the source has no others."""
        async with self._lock:
            if self._kept is not None and self._kept != refused:
                return self._kept
            if self._clock() >= self._next_look or self._ahead:
                self._next_look = self._clock() + _REFUSED_PAUSE * (1 + _JITTER * self._jitter())
                self._ahead = False
                self._keep(await self._read())
            return self._kept

    async def _refreshed(self) -> Credentials:
        now = self._clock()
        kept = self._kept
        valid = kept is not None and (kept.expires_at is None or now < kept.expires_at)
        if kept is not None and valid and (kept.expires_at is None or now < self._refresh_at):
            return kept  # somebody else was faster
        if kept is not None and valid and now < self._next_look:
            return kept
        if kept is not None and kept.expires_at is not None and valid:
            self._next_look = now + min(_FAILED_PAUSE, (kept.expires_at - now) / 4)
            self._ahead = True
        try:
            found = await self._read()
        except BadCredentials:
            if kept is None or not valid:
                raise
            return kept
        self._keep(found)
        return found

    def _keep(self, found: Credentials) -> None:
        """Use these from now on, until their end comes near."""
        if found.expires_at is not None and (self._kept is None or found != self._kept):
            now = self._clock()
            ahead = min(_REFRESH_AHEAD, max(0.0, found.expires_at - now) * _REFRESH_SHARE)
            self._refresh_at = found.expires_at - ahead * (1 + _JITTER * self._jitter())
        self._kept = found

    async def _read(self) -> Credentials:
        found = await asyncio.to_thread(self._source)
        if found is None:
            raise BadCredentials(
                "no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, or say "
                "`anonymous` for a public bucket"
            )
        return found


def fixed(credentials: Credentials) -> Kept:
    """A provider of these credentials and no others."""
    return Kept(lambda: credentials)


def credentials_for(location: Location) -> CredentialsProvider:
    """The provider that a location's settings mean: `anonymous`, the named secret, the named profile, or the ambient chain."""
    if location.credentials == "anonymous":
        return Anonymous()
    if location.credentials:
        return Kept(partial(read_secret, location.credentials))
    return Kept(ambient(location.profile))


def ambient(profile: str) -> Source:
    """The named profile, else the environment, else whatever botocore's chain finds (SSO, roles, instance metadata).

    The environment alone is read without botocore, whose import costs 0.4 s of CPU.
    """

    def read() -> Credentials | None:
        found = None if profile or os.environ.get("AWS_PROFILE") else from_environment(os.environ)
        if found is not None:
            return found
        return _from_chain(profile)

    return read


def from_environment(environment: Mapping[str, str]) -> Credentials | None:
    """`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`; None unless the first two are set."""
    access_key = environment.get("AWS_ACCESS_KEY_ID", "")
    secret_key = environment.get("AWS_SECRET_ACCESS_KEY", "")
    if not (access_key and secret_key):
        return None
    return Credentials(access_key, secret_key, environment.get("AWS_SESSION_TOKEN") or None)


def _from_chain(profile: str) -> Credentials | None:
    """What botocore finds. A new session each time: it is what makes botocore read files and metadata again."""
    import botocore.exceptions  # noqa: PLC0415 - costly, and needed only here
    import botocore.session  # noqa: PLC0415

    try:
        found = botocore.session.Session(profile=profile or None).get_credentials()
        if found is None:
            return None
        # What was read just now; asking botocore once more would make it read short-lived ones again.
        frozen = getattr(found, "_frozen_credentials", None) or found.get_frozen_credentials()
    except botocore.exceptions.ProfileNotFound as exc:
        raise SettingsError(f"the profile {profile!r} is not in the AWS configuration files") from exc
    except botocore.exceptions.BotoCoreError as exc:
        raise BadCredentials(f"credentials could not be read: {exc}") from exc
    if not (frozen.access_key and frozen.secret_key):
        return None
    expiry = getattr(found, "_expiry_time", None)
    return Credentials(
        frozen.access_key, frozen.secret_key, frozen.token or None, expiry.timestamp() if expiry is not None else None
    )

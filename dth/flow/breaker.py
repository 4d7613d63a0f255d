"""Stops a worker that cannot succeed, before it fails every entry of the queue one by one."""

from __future__ import annotations

import time
from collections.abc import Callable

from dth.errors import (
    AccessDenied,
    BadCredentials,
    ConnectFailed,
    NoSuchBucket,
    RefusesAll,
    RequestRefused,
    StoreError,
    TlsFailed,
    WrongRegion,
)

SYSTEMIC = (BadCredentials, NoSuchBucket, WrongRegion, TlsFailed, ConnectFailed)
"""Errors that say something of the endpoint or the credentials. Stores also answer so to a single request: AWS calls the
signature wrong where a header holds bytes that it does not expect."""

IN_A_ROW = 10
"""So many refusals with nothing in between that worked may be about everything."""

KEYS = 4
"""So many keys must be among them: what keeps to fewer is about these keys."""

OUTAGE_SECONDS = 300.0
"""An endpoint that did answer before may be away for this long before the worker gives up."""


def is_refusal(error: Exception) -> bool:
    """Whether a store refused a request in a way that may be about this one object, or about all of them."""
    return isinstance(error, AccessDenied) or (isinstance(error, RequestRefused) and error.status > 0)


class Breaker:
    """Watches how copies end.

    `failed` raises, for the process to end with exit code 4, once `IN_A_ROW` failures of at least `KEYS` different keys
    came without a success in between, and they are

    - refusals, and nothing ever succeeded in this process (later ones are about single keys); or
    - errors of endpoint or credentials: at once, except that an endpoint which has worked before may stay unreachable
      for `OUTAGE_SECONDS`. No connection at all is never about a key, so the number of keys does not matter there.

    Messages in hand are given back, so nothing is lost by stopping.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_success = clock()
        self._refused = _Row()
        self._systemic = _Row()
        self.successes = 0
        """Copies in this process that have ended well."""

    @property
    def ever_succeeded(self) -> bool:
        """True once one copy in this process has ended well."""
        return self.successes > 0

    def succeeded(self) -> None:
        """A copy ended well."""
        self.successes += 1
        self._last_success = self._clock()
        if self._refused.count or self._systemic.count:
            self._refused, self._systemic = _Row(), _Row()

    def failed(self, error: Exception, key: str = "") -> None:
        """A copy raised `error`, that of `key` ("": of something that is no single key's)."""
        if is_refusal(error):
            if self._refused.is_long(key) and not self.successes:
                raise _of_all(error)
        elif isinstance(error, SYSTEMIC):
            unreachable = isinstance(error, ConnectFailed | TlsFailed)
            if not self._systemic.is_long("" if unreachable else key):
                return
            away = self._clock() - self._last_success
            if not (self.successes and isinstance(error, ConnectFailed) and away < OUTAGE_SECONDS):
                raise error


class _Row:
    """Failures with nothing in between that worked."""

    def __init__(self) -> None:
        self.count = 0
        self._keyless = False
        self._keys: set[str] = set()

    def is_long(self, key: str) -> bool:
        """Count one more; whether there are so many, of so many keys, that they are about all."""
        self.count += 1
        self._keyless = self._keyless or not key
        if len(self._keys) < KEYS:
            self._keys.add(key)
        return self.count >= IN_A_ROW and (self._keyless or len(self._keys) >= KEYS)


def _of_all(error: Exception) -> Exception:
    """A denial names what is missing and ends with 4 by itself; other refusals are said to be everyone's."""
    if isinstance(error, AccessDenied) or not isinstance(error, StoreError):
        return error
    text = f"{error}; so were all objects before it, and none has been accepted"
    all_of_them = RefusesAll(text, operation=error.operation, status=error.status, side=error.side)
    all_of_them.__cause__ = error
    return all_of_them

"""Stops a worker that cannot succeed, before it fails every entry of the queue one by one."""

from __future__ import annotations

import time
from collections.abc import Callable

from dth.errors import AccessDenied, BadCredentials, ConnectFailed, NoSuchBucket, TlsFailed, WrongRegion

SYSTEMIC = (BadCredentials, NoSuchBucket, WrongRegion, TlsFailed, ConnectFailed)
"""Errors that say something of the endpoint or the credentials, never of one key."""

IN_A_ROW = 10
"""So many refusals with nothing in between that worked are not about one key."""

OUTAGE_SECONDS = 300.0
"""An endpoint that did answer before may be away for this long before the worker gives up."""


class Breaker:
    """Watches how copies end.

    `failed` raises the error that was reported to it, for the process to end with its exit code (4), once

    - `IN_A_ROW` denials came and nothing ever succeeded in this process (later ones may be about single keys);
    - `IN_A_ROW` errors of endpoint or credentials came without a success in between: at once, except that an endpoint
      which has worked before may stay unreachable for `OUTAGE_SECONDS`.

    Messages in hand are given back, so nothing is lost by stopping.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ever = False
        self._last_success = clock()
        self._denied = 0
        self._systemic = 0

    @property
    def ever_succeeded(self) -> bool:
        """True once one copy in this process has ended well."""
        return self._ever

    def succeeded(self) -> None:
        """A copy ended well."""
        self._ever = True
        self._last_success = self._clock()
        self._denied = self._systemic = 0

    def failed(self, error: Exception) -> None:
        """A copy raised `error`."""
        if isinstance(error, AccessDenied):
            self._denied += 1
            if self._denied >= IN_A_ROW and not self._ever:
                raise error
        elif isinstance(error, SYSTEMIC):
            self._systemic += 1
            away = self._clock() - self._last_success
            patient = self._ever and isinstance(error, ConnectFailed) and away < OUTAGE_SECONDS
            if self._systemic >= IN_A_ROW and not patient:
                raise error

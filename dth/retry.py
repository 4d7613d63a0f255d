"""One way to try again: exponential back-off with full jitter, a cap, and the peer's own wish where it gave one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dth.errors import DthError, StoreError
from dth.values import value

T = TypeVar("T")

_DOUBLINGS = 30


@value
class RetryPolicy:
    """At most `attempts` tries in all; the wait before try n is random up to `min(cap, base * 2**(n-1))` seconds.

    Full jitter, because equal waits keep clients that failed together together
    (AWS Architecture Blog, "Exponential Backoff And Jitter").
    """

    attempts: int
    base_seconds: float
    cap_seconds: float

    def wait_seconds(self, tried: int, wished: float | None) -> float:
        """Before the next try, after `tried` failures. `wished` is a Retry-After, honoured up to the cap."""
        doublings = min(tried - 1, _DOUBLINGS)  # a power of some thousand is no float any more
        jittered = random.uniform(0, min(self.cap_seconds, self.base_seconds * 2**doublings))  # noqa: S311
        return jittered if wished is None else min(max(jittered, wished), self.cap_seconds)


async def retrying(
    operation: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    *,
    on_retry: Callable[[DthError, int], None] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """The operation's result; its last error once it is not `retryable` or the attempts are used up."""
    tried = 0
    while True:
        try:
            return await operation()
        except DthError as error:
            tried += 1
            if not error.retryable or tried >= policy.attempts:
                raise
            if on_retry:
                on_retry(error, tried)
            wished = error.retry_after if isinstance(error, StoreError) else None
            await sleep(policy.wait_seconds(tried, wished))

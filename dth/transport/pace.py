"""A bound on the bytes a second that arrive: every body of a client's answers goes through one `Pace`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Self

from dth.transport.base import Body, HttpClient, Response

BURST_SECONDS: Final = 0.25
"""After a pause, so much of the rate may pass at once; a wait shorter than a timer's tick would only cost CPU."""

LONGEST_SLEEP_SECONDS: Final = 1.0
"""Who waits longer looks up in between: the rate may have changed."""

ROUNDING_SECONDS: Final = 1e-6
"""No wait, but what sums of fractions leave over."""


class Pace:
    """At most `rate` bytes a second (0: no limit), in the order in which they came, whoever asks: one for all clients of a
    process. The rate may change at any time; who waits then waits by the new one.

    Bytes are paid for when they are here, and whoever took them waits until they were due. So a chunk may be larger than the
    rate, and nobody is kept from asking; a connection that nobody reads meanwhile makes its peer wait.
    """

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if rate < 0:
            raise ValueError("a rate below nothing")
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._taken = 0.0  # bytes, since the beginning
        self._due = rate * BURST_SECONDS  # of them, at `_at`
        self._at = clock()

    @property
    def rate(self) -> float:
        """Bytes a second; 0: no limit."""
        return self._rate

    def change(self, rate: float) -> None:
        """Another rate, from now on."""
        if rate == self._rate:
            return
        self._go_on(self._clock())
        self._rate = rate
        self._due = min(self._due, self._taken + rate * BURST_SECONDS)

    async def passed(self, count: int) -> None:
        """Return when `count` more bytes were due. Cancelled, they stay paid for: they have arrived."""
        if not self._rate:
            return
        self._go_on(self._clock())
        self._taken += count
        mine = self._taken
        while self._rate and (wait := (mine - self._due) / self._rate) > ROUNDING_SECONDS:
            await self._sleep(min(wait, LONGEST_SLEEP_SECONDS))
            self._go_on(self._clock())

    def _go_on(self, now: float) -> None:
        """Time went by: more is due. What nobody took meanwhile is not saved up, but for a burst."""
        self._due = min(self._due + (now - self._at) * self._rate, self._taken + self._rate * BURST_SECONDS)
        self._at = now


class PacedClient:
    """`HttpClient` whose answers' bodies keep a pace. What it sends does not count."""

    def __init__(self, client: HttpClient, pace: Pace) -> None:
        self._client = client
        self._pace = pace

    def send(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: Body = b"",
        length: int | None = None,
    ) -> Coroutine[Any, Any, Response]:
        """See `HttpClient.send`. While there is no limit, nothing stands in between."""
        sending = self._client.send(method, target, headers, body, length)
        return self._paced(sending) if self._pace.rate else sending

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit now."""
        return self._pace.rate > 0

    @property
    def client(self) -> HttpClient:
        """The client behind."""
        return self._client

    async def _paced(self, sending: Awaitable[Response]) -> Response:
        return PacedResponse(await sending, self._pace)

    async def close(self) -> None:
        """See `HttpClient.close`."""
        await self._client.close()


class PacedResponse:
    """`Response` that hands out no byte before it was due."""

    __slots__ = ("_chunks", "_pace", "_response", "headers", "length", "status")

    def __init__(self, response: Response, pace: Pace) -> None:
        self._response = response
        self._pace = pace
        self._chunks: AsyncIterator[bytes]
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers
        self.length: int | None = response.length

    async def read(self, limit: int) -> bytes:
        """See `Response.read`."""
        data = await self._response.read(limit)
        await self._pace.passed(len(data))
        return data

    def __aiter__(self) -> Self:
        """See `Response.__aiter__`."""
        self._chunks = aiter(self._response)
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks)
        await self._pace.passed(len(chunk))
        return chunk

    def close(self) -> None:
        """See `Response.close`."""
        self._response.close()

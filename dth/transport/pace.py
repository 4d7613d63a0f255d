"""A bound on the bytes a second that arrive: every body of a client's answers goes through one `Pace`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, Self

from dth.transport.base import Body, HttpClient, Response

BURST_SECONDS: Final = 0.25
"""After a pause, so much of the rate may pass at once; a wait shorter than a timer's tick would only cost CPU."""


class Pace:
    """At most `rate` bytes a second, in the order in which they came, whoever asks: one for all clients of a process.

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
        if rate <= 0:
            raise ValueError("a pace of nothing would wait for ever")
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._paid_until = clock() - BURST_SECONDS

    async def passed(self, count: int) -> None:
        """Return when `count` more bytes were due. Cancelled, they stay paid for: they have arrived."""
        now = self._clock()
        self._paid_until = max(self._paid_until, now - BURST_SECONDS) + count / self._rate
        if self._paid_until > now:
            await self._sleep(self._paid_until - now)


class PacedClient:
    """`HttpClient` whose answers' bodies keep a pace. What it sends does not count."""

    def __init__(self, client: HttpClient, pace: Pace) -> None:
        self._client = client
        self._pace = pace

    async def send(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: Body = b"",
        length: int | None = None,
    ) -> Response:
        """See `HttpClient.send`."""
        return PacedResponse(await self._client.send(method, target, headers, body, length), self._pace)

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

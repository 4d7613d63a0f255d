"""`transport.base.HttpClient` over a pool of connections."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Final

from dth.errors import ConnectionLost, ProtocolViolation
from dth.transport.base import Body, Origin, Timeouts
from dth.transport.connection import Connection
from dth.transport.framing import Malformed, request_head
from dth.transport.pool import Pool
from dth.transport.proxy import Proxy, host_port
from dth.transport.response import Answer

WINDOW: Final = 1024 * 1024
"""Bytes of an answer's body that wait for a slow reader."""
KEEP_ALIVE_SECONDS: Final = 20.0
"""How long an idle connection is kept. Stores drop theirs after 5 to 60 seconds without a word."""


class PooledClient:
    """HTTP/1.1 to one origin over at most `max_connections`, opened when needed. TLS where `origin.scheme` is https, which
    takes an `ssl_context` (see `tls.make_ssl_context`). Everything goes through `proxy` where there is one."""

    def __init__(
        self,
        origin: Origin,
        *,
        timeouts: Timeouts,
        max_connections: int,
        ssl_context: ssl.SSLContext | None = None,
        window: int = WINDOW,
        keep_alive: float = KEEP_ALIVE_SECONDS,
        proxy: Proxy | None = None,
    ) -> None:
        if origin.scheme not in {"http", "https"}:
            raise ValueError(f"{origin.scheme} is no scheme that this client speaks")
        if (origin.scheme == "https") != (ssl_context is not None):
            raise ValueError("https takes an ssl_context, and http takes none")
        if max_connections < 1:
            raise ValueError("a client without connections would wait for ever")
        self._pool = Pool(
            origin,
            timeouts=timeouts,
            limit=max_connections,
            window=window,
            keep_alive=keep_alive,
            ssl_context=ssl_context,
            proxy=proxy,
        )
        self._asked = proxy if ssl_context is None else None  # who reads the requests themselves, where it is a proxy

    async def send(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: Body = b"",
        length: int | None = None,
    ) -> Answer:
        """See `HttpClient.send`."""
        if isinstance(body, bytes):
            length = len(body)
            declared = length if length or method in {"PUT", "POST"} else None
        elif length is None:
            raise ValueError("a streamed body needs its length")
        else:
            declared = length
        pool = self._pool
        if self._asked is not None:
            target = f"http://{host_port(pool.origin).removesuffix(':80')}{target}"  # as the signed Host has it
            headers = [*headers, *self._asked.headers]
        names, values = zip(*headers, strict=True) if headers else ((), ())
        head = self.head(method, target, names, values, declared)
        answer = await self._exchange(method, head, body, length)
        if self._asked is not None and self._asked.asks_who(answer.status, answer.headers):
            answer.close()
            raise self._asked.refused(pool.origin, answer.status)
        return answer

    def head(
        self, method: str, target: str, names: tuple[str, ...], values: Sequence[str], declared: int | None
    ) -> bytes:
        """The request's head, with Content-Length where a length is `declared`. Raises ProtocolViolation for what must not be
        sent."""
        try:
            return request_head(method, target, names, values, declared)
        except Malformed as exc:
            error = ProtocolViolation(f"{self._pool.origin_text}: {exc}", sent=False)
            error.retryable = False
            raise error from exc

    @property
    def is_direct(self) -> bool:
        """Whether no proxy reads the requests."""
        return self._asked is None

    def take(self) -> Connection | None:
        """An idle connection for one exchange by callbacks (`Connection.begin`); None where there is none. Who takes it begins
        an exchange, or calls `Connection.give_back`."""
        return self._pool.take_idle()

    async def acquire(self) -> Connection:
        """As `take`, but it opens a connection, or waits for one, where none is idle."""
        return await self._pool.acquire()

    async def _exchange(self, method: str, head: bytes, body: Body, length: int) -> Answer:
        """The answer's head, on whichever connection is fit for the request."""
        pool, whole = self._pool, isinstance(body, bytes)
        connection = await pool.acquire()
        if not whole and connection.served and not connection.is_quiet():
            connection = await pool.replace(connection)  # a stream can't be sent twice, so look first
        try:
            return await connection.exchange(method, head, body, length)
        except ConnectionLost:
            if not (connection.was_stale and whole and method != "POST"):
                raise
        connection = await pool.acquire()
        if connection.served:
            connection = await pool.replace(connection)
        return await connection.exchange(method, head, body, length)

    async def close(self) -> None:
        """See `HttpClient.close`."""
        await self._pool.close()

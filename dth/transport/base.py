"""The narrow interface between stores and the network.

One client per origin. Everything it raises is a `TransportError`. It does not retry (its caller knows what is safe to
repeat), does not follow redirects, does not decompress, and knows nothing of S3.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from dth.errors import TransportError
from dth.values import value

Body = bytes | AsyncIterable[bytes | bytearray | memoryview]
"""A request's body: whole, or streamed once. A stream's buffers are only borrowed until the next one is asked for."""


Passing = Callable[[bytes | memoryview], None]
"""Hears of each piece of a body before it is handed on, in order. What it raises ends the request."""


class Fate(Enum):
    """How a lent body comes back, and its connection with it."""

    SOUND = auto()
    SURPLUS = auto()  # more came than the body has
    SILENT = auto()  # nothing came for too long
    SPOILT = auto()  # nobody can go on with it


@dataclass(slots=True)
class Loan:
    """An answer's body, lent to a thread. It reads from `socket`, which is its own: a duplicate.

    The pieces that `came` already go first; `left` bytes are still in the socket. The thread calls `passing` with everything.
    Once it has ended, the loop calls `give_back` with the number of bytes that were taken from the socket. Where the answer is
    given up meanwhile, `interrupt` is called, if somebody has set it.
    """

    socket: socket.socket
    came: list[bytes]
    left: int
    passing: Passing
    give_back: Callable[[int, Fate], None]
    interrupt: Callable[[], None] | None = None


class Lender(Protocol):
    """A streamed body that is the body of an answer. What sends a request asks for this by the method's name."""

    def lend(self, length: int, passing: Passing) -> Loan | None:
        """The body's remaining bytes, if they are `length` and wait in a plain socket; None where they must be iterated over.
        Nobody iterates before the loan is given back, and then over what was not taken."""
        ...


@value
class Origin:
    """Where connections go. `host` is a name or an address without brackets."""

    scheme: str  # http or https
    host: str
    port: int


@value
class Timeouts:
    """Seconds. `first_byte` runs from the end of the request to the answer's head; `idle` bounds every silence in a
    body, sent or received."""

    connect: float
    first_byte: float
    idle: float


class AnswerHead(Protocol):
    """What an answer's head says."""

    @property
    def status(self) -> int:
        """Three digits; never 1xx."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name. Repeated headers are joined with `, `, except conflicting framing, which is refused."""
        ...

    @property
    def length(self) -> int | None:
        """Bytes of the body as declared; None when chunked or delimited by close."""
        ...


class Receiver(Protocol):
    """Takes one answer by callbacks. The connection sets what the head says (see `AnswerHead`), then hands over the body by
    `feed`, and ends with `finish` or `break_off`, once."""

    status: int
    headers: Mapping[str, str]
    length: int | None

    def feed(self, data: bytes) -> None:
        """Bytes of the body came."""
        ...

    def finish(self) -> None:
        """The body was whole."""
        ...

    def break_off(self, error: TransportError) -> None:
        """The answer will not be whole."""
        ...


class Response(AnswerHead, Protocol):
    """An answer whose head has been read and whose body is still on the wire.

    Whoever holds it ends it in one of three ways: `read`, iterating to the end (both return the connection to the
    pool), or `close` (idempotent; drops the connection unless the body is already through).
    """

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises ProtocolViolation past `limit` bytes, ConnectionLost where it ends early."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks as they arrive, with back-pressure: at most about a megabyte waits. Raises ConnectionLost where the
        body ends before its declared end, so a loop that ends normally saw every byte."""
        ...

    def close(self) -> None:
        """Give up what is left of the body."""
        ...


class HttpClient(Protocol):
    """A bounded pool of persistent connections to one origin."""

    async def send(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: Body = b"",
        length: int | None = None,
    ) -> Response:
        """Send one request, return once the answer's head is here.

        `target` is the encoded path and query, written as given; `headers` are written in order, `host` among them;
        `content-length` is added for every body and for PUT and POST. A streamed body needs its `length` in bytes: one
        that yields more or fewer raises and drops the connection. A request that died on a stale pooled connection
        before a byte of the answer came is sent once more on a new one if its body is `bytes` (GET, HEAD, PUT, DELETE:
        S3's are idempotent; never POST) - a streamed one raises ConnectionLost. An early final answer ends the sending
        of the body. Waits for a free connection as long as it takes; cancellation frees everything.
        """
        ...

    async def close(self) -> None:
        """Close all connections. Requests in flight fail with ConnectionLost."""
        ...

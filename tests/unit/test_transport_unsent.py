"""What must hold while the request's own bytes are still under way."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from dth.transport.connection import Connection
from tests.unit.test_transport_reuse import ANSWER, Wire


class Ends:
    """Stands for the pool: notes how exchanges ended."""

    origin_text = "http://peer"
    window = 1 << 20
    clock = 0.0
    pumps = None

    def __init__(self) -> None:
        self.ended: list[str] = []

    def release(self, connection: Connection) -> None:
        self.ended.append("release")

    def discard(self, connection: Connection) -> None:
        self.ended.append("discard")


class Backlog(Wire):
    """Holds `unsent` bytes back and remembers what it was given, unread."""

    def __init__(self, unsent: int = 0) -> None:
        self.unsent = unsent
        self.given: list[bytes | memoryview] = []

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes) -> None:
        self.given.append(data)


def connected(wire: Wire) -> tuple[Connection, Ends]:
    ends = Ends()
    connection = Connection(cast("Any", ends), asyncio.get_running_loop())
    connection.connection_made(cast("Any", wire))
    return connection, ends


@pytest.mark.parametrize(("unsent", "end"), [(0, "release"), (7, "discard")])
async def test_an_answer_before_the_request_has_left_costs_the_connection(unsent: int, end: str) -> None:
    connection, ends = connected(Backlog(unsent))
    sending = asyncio.create_task(connection.exchange("PUT", b"head", b"body", 4))
    await asyncio.sleep(0)
    connection.data_received(ANSWER)
    assert (await sending).status == 200
    assert ends.ended == [end]


async def test_a_borrowed_buffer_is_not_what_the_transport_keeps() -> None:
    async def borrowed() -> AsyncIterator[bytearray]:
        shared = bytearray(3)
        for text in (b"abc", b"def"):
            shared[:] = text
            yield shared

    wire = Backlog()
    connection, _ = connected(wire)
    sending = asyncio.create_task(connection.exchange("PUT", b"head", borrowed(), 6))
    for _ in range(5):
        await asyncio.sleep(0)
    connection.data_received(ANSWER)
    await sending
    assert [bytes(data) for data in wire.given] == [b"head", b"abc", b"def"]


async def test_a_cancellation_beside_an_early_answer_is_not_swallowed() -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    connection, _ = connected(Backlog())
    sending = asyncio.create_task(connection.exchange("PUT", b"head", stuck(), 5))
    for _ in range(5):
        await asyncio.sleep(0)
    connection.data_received(b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\n")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_a_sender_that_ends_late_leaves_the_next_exchanges_sender_alone() -> None:
    at_end, go_on = asyncio.Event(), asyncio.Event()

    async def ending_late() -> AsyncIterator[bytes]:
        yield b"x"
        at_end.set()
        await go_on.wait()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"y"
        await asyncio.Event().wait()

    connection, ends = connected(Backlog())
    first = asyncio.create_task(connection.exchange("PUT", b"head", ending_late(), 1))
    await at_end.wait()
    connection.data_received(ANSWER)
    assert ends.ended == ["release"]
    second = asyncio.create_task(connection.exchange("PUT", b"head", stuck(), 5))
    await asyncio.sleep(0)
    go_on.set()
    assert (await first).status == 200
    connection.data_received(ANSWER)  # early: it must reach the second's sender
    async with asyncio.timeout(5):
        assert (await second).status == 200
    assert ends.ended == ["release", "discard"]

"""A connection that serves one exchange after another without losing an answer."""

import asyncio
from typing import Any, cast

from dth.transport.connection import Connection

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Wire:
    """Stands for the socket: takes everything at once."""

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def write(self, data: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        pass


class Owner:
    """Stands for the pool."""

    origin_text = "http://peer"
    window = 1 << 20
    clock = 0.0

    def __getattr__(self, name: str) -> Any:
        return lambda connection: None


async def test_an_exchange_begun_before_the_last_one_woke_hears_its_answer() -> None:
    loop = asyncio.get_running_loop()
    connection = Connection(cast("Any", Owner()), loop)
    connection.connection_made(cast("Any", Wire()))
    first = asyncio.create_task(connection.exchange("PUT", b"head", b"body", 4))
    await asyncio.sleep(0)
    loop.call_soon(loop.call_soon, connection.data_received, ANSWER)  # the second's, when the first has woken
    connection.data_received(ANSWER)  # whole at once: the connection is free before `first` runs again
    async with asyncio.timeout(5):
        second = await connection.exchange("PUT", b"head", b"body", 4)
    assert (second.status, (await first).status) == (200, 200)

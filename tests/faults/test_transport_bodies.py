"""Large bodies in both directions: back-pressure, early answers, silence, and bodies that are not what they promised."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from dth.errors import ConnectionLost, TimedOut, TransportError
from dth.transport.base import Timeouts
from dth.transport.client import PooledClient
from tests.servers.rawhttp import Peer, RawServer, echo_forever, raw_server

HOST = [("host", "test")]
MIB = 1 << 20
OK = b"HTTP/1.1 200 OK\r\n"
DENIED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\ndenied"


@contextlib.asynccontextmanager
async def client_of(
    server: RawServer, *, connections: int = 4, first_byte: float = 10.0, idle: float = 10.0
) -> AsyncIterator[PooledClient]:
    timeouts = Timeouts(connect=10.0, first_byte=first_byte, idle=idle)
    client = PooledClient(server.origin, timeouts=timeouts, max_connections=connections)
    try:
        yield client
    finally:
        await client.close()


class Source:
    """A stream of pieces that says how far it was read and whether it was closed; it can wait for ever at the end."""

    def __init__(self, *pieces: bytes | bytearray | memoryview, stuck: bool = False) -> None:
        self.pieces, self.stuck = pieces, stuck
        self.asked = 0
        self.closed = False
        self.waiting = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes | bytearray | memoryview]:
        try:
            for piece in self.pieces:
                self.asked += 1
                yield piece
            if self.stuck:
                self.waiting.set()
                await asyncio.Event().wait()
        finally:
            self.closed = True


async def test_bodies_of_every_kind_arrive_as_they_were() -> None:
    async with raw_server(echo_forever()) as server, client_of(server, connections=1) as client:
        content = bytes(range(256)) * 4096 * 2
        shared = bytearray(MIB)

        async def borrowed() -> AsyncIterator[memoryview]:
            for at in range(0, len(content), MIB):
                shared[:] = content[at : at + MIB]  # overwrites what was yielded before
                yield memoryview(shared)

        for body in (content, Source(content), Source(*(content[at : at + 7000] for at in range(0, len(content), 7000))), borrowed()):  # fmt: skip
            answer = await client.send("PUT", "/", HOST, body, None if body is content else len(content))
            assert await answer.read(len(content)) == content
        empty = await client.send("PUT", "/", HOST, Source(), 0)
        assert await empty.read(0) == b""
        assert server.connections == 1


async def test_an_answer_streams_into_a_request() -> None:
    async with raw_server(echo_forever()) as server, client_of(server, connections=2) as client:
        content = bytes(range(256)) * 4096 * 4
        answer = await client.send("PUT", "/", HOST, content)
        assert answer.length is not None
        again = await client.send("PUT", "/", HOST, answer, answer.length)
        assert await again.read(len(content)) == content


async def test_a_reader_that_stops_stops_the_peer() -> None:
    sent = 0
    stuck = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal sent
        peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        await peer.request()
        peer.writer.write(OK + b"Content-Length: %d\r\n\r\n" % (64 * MIB))
        while sent < 64 * MIB:
            peer.writer.write(bytes(MIB))
            try:
                async with asyncio.timeout(0.5):
                    await peer.writer.drain()
            except TimeoutError:
                stuck.set()
                await peer.writer.drain()
            sent += MIB

    async with raw_server(script) as server, client_of(server, idle=0.2) as client:
        answer = await client.send("GET", "/", HOST)
        first = await anext(aiter(answer))
        await stuck.wait()  # longer than `idle`: our own pause is not the peer's silence
        assert sent < 32 * MIB  # the kernel's buffers hold what we don't
        assert answer._held <= 2 * MIB
        assert len(first) + sum([len(piece) async for piece in answer]) == 64 * MIB


async def test_a_peer_that_stops_reading_stops_the_source() -> None:
    go_on = asyncio.Event()
    source = Source(*[bytes(MIB)] * 64)

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await go_on.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await peer.reader.readexactly(64 * MIB)
        await peer.say(OK + b"Content-Length: 0\r\n\r\n")
        await peer.reader.read()

    async with raw_server(script) as server, client_of(server) as client:
        sending = asyncio.create_task(client.send("PUT", "/", HOST, source, 64 * MIB))
        asked = -1
        while asked != source.asked or asked == 0:
            asked = source.asked
            await asyncio.sleep(0.1)
        assert source.asked < 32
        go_on.set()
        assert (await sending).status == 200


@pytest.mark.parametrize("stuck", [False, True], ids=["source flows", "source hangs"])
async def test_an_early_answer_ends_the_sending_and_costs_the_connection(stuck: bool) -> None:
    source = Source(*[bytes(MIB)] * (2 if stuck else 200), stuck=stuck)

    async def script(peer: Peer) -> None:
        await peer.head()
        if stuck:
            await peer.reader.readexactly(2 * MIB)
            await source.waiting.wait()
        await peer.say(DENIED)
        await peer.reader.read()

    async with raw_server(script) as server, client_of(server, connections=1) as client:
        answer = await client.send("PUT", "/", HOST, source, 200 * MIB)
        assert (answer.status, await answer.read(100)) == (403, b"denied")
        assert source.closed
        assert source.asked < 200
        await server.all_closed()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        again = await client.send("PUT", "/", HOST, bytes(64 * MIB))
        assert again.status == 403
        again.close()
        assert server.connections == 2


async def test_an_answer_that_comes_while_the_body_is_ending_is_not_early() -> None:
    checked = False

    async def verified() -> AsyncIterator[bytes]:
        nonlocal checked
        yield b"hello"
        await answered.wait()
        await asyncio.sleep(0.05)
        checked = True

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(OK + b"Content-Length: 2\r\n\r\nok")
            answered.set()

    answered = asyncio.Event()
    async with raw_server(script) as server, client_of(server) as client:
        answer = await client.send("PUT", "/", HOST, verified(), 5)
        assert checked
        assert await answer.read(10) == b"ok"
        assert await (await client.send("PUT", "/", HOST, b"x")).read(10) == b"ok"
        assert server.connections == 1


async def test_a_peer_that_dies_interrupts_a_source_that_hangs() -> None:
    source = Source(b"hello", stuck=True)

    async def script(peer: Peer) -> None:
        await source.waiting.wait()

    async with raw_server(script) as server, client_of(server) as client:
        with pytest.raises(ConnectionLost):
            await client.send("PUT", "/", HOST, source, 100)
        assert source.closed


async def test_cancelling_a_request_whose_source_hangs_is_a_cancellation() -> None:
    source = Source(b"hello", stuck=True)
    async with raw_server(echo_forever()) as server, client_of(server, connections=1) as client:
        sending = asyncio.create_task(client.send("PUT", "/", HOST, source, 100))
        await source.waiting.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert source.closed
        await server.all_closed()
        assert (await client.send("GET", "/", HOST)).status == 200


@pytest.mark.parametrize(
    ("pieces", "what"), [((b"abc",), "2 bytes short of the 5"), ((b"abc", b"def"), "longer than the 5")]
)
async def test_a_body_that_is_not_its_length_never_becomes_a_whole_request(
    pieces: tuple[bytes, ...], what: str
) -> None:
    bodies = []

    async def script(peer: Peer) -> None:
        bodies.append(await peer.request())

    async with raw_server(script) as server, client_of(server, connections=1) as client:
        with pytest.raises(TransportError, match=what):
            await client.send("PUT", "/", HOST, Source(*pieces), 5)
        await server.all_closed()
        assert bodies == []


async def test_an_error_of_the_body_reaches_the_caller_unchanged() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x"
        raise KeyError("mine")

    async with raw_server(echo_forever()) as server, client_of(server, connections=1) as client:
        with pytest.raises(KeyError, match="mine"):
            await client.send("PUT", "/", HOST, failing(), 5)
        await server.all_closed()
        assert (await client.send("GET", "/", HOST)).status == 200


async def silent(peer: Peer) -> None:
    await peer.reader.read()


async def silent_in_the_head(peer: Peer) -> None:
    await peer.request()
    while True:  # a byte now and then is no answer
        await peer.say(b"HTTP/1.1 200 OK\r\nA:" if peer.number else b"")
        peer.number = 0
        await asyncio.sleep(0.02)
        await peer.say(b"x")


async def silent_in_the_body(peer: Peer) -> None:
    await peer.request()
    await peer.say(OK + b"Content-Length: 10\r\n\r\nhello")
    await peer.reader.read()


async def test_a_peer_that_never_answers_times_out() -> None:
    for script in (silent, silent_in_the_head):
        async with raw_server(script) as server, client_of(server, connections=1, first_byte=0.2) as client:
            with pytest.raises(TimedOut, match=r"did not answer for 0\.2 s"):
                await client.send("GET", "/", HOST)


async def test_a_peer_that_falls_silent_in_a_body_times_out() -> None:
    async with raw_server(silent_in_the_body) as server, client_of(server, connections=1, idle=0.2) as client:
        answer = await client.send("GET", "/", HOST)
        with pytest.raises(TimedOut, match=r"sent nothing more of the body for 0\.2 s"):
            await answer.read(100)
        await server.all_closed()


async def test_a_peer_that_takes_no_more_of_the_request_times_out() -> None:
    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    for body in (bytes(64 * MIB), Source(*[bytes(MIB)] * 64)):
        async with raw_server(script) as server, client_of(server, connections=1, idle=0.3) as client:
            with pytest.raises(TimedOut, match=r"took no byte of the request for 0\.3 s"):
                await client.send("PUT", "/", HOST, body, 64 * MIB)

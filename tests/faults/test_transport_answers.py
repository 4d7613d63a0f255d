"""Every way in which an answer can be odd: what is right is read, what is wrong is named, and neither leaks a socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from dth.errors import ConnectionLost, ProtocolViolation, TransportError
from dth.transport.base import Timeouts
from dth.transport.client import PooledClient
from dth.transport.response import Answer
from tests.servers.rawhttp import Peer, RawServer, Script, answering, echo_forever, raw_server

HOST = [("host", "test")]
OK = b"HTTP/1.1 200 OK\r\n"


@contextlib.asynccontextmanager
async def client_of(server: RawServer, connections: int = 4, idle: float = 10.0) -> AsyncIterator[PooledClient]:
    client = PooledClient(
        server.origin, timeouts=Timeouts(connect=10.0, first_byte=10.0, idle=idle), max_connections=connections
    )
    try:
        yield client
    finally:
        await client.close()


async def whole(answer: Answer, *, iterate: bool) -> bytes:
    return b"".join([piece async for piece in answer]) if iterate else await answer.read(100)


async def one(script: Script, method: str = "GET", limit: int = 1 << 20) -> tuple[int, bytes, int | None]:
    async with raw_server(script) as server, client_of(server) as client:
        answer = await client.send(method, "/", HOST)
        return answer.status, await answer.read(limit), answer.length


GOOD = {
    "fixed": (b"%sContent-Length: 5\r\n\r\nhello" % OK, b"hello", 5),
    "empty": (b"%sContent-Length: 0\r\n\r\n" % OK, b"", 0),
    "chunked": (b"%sTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nt: x\r\n\r\n" % OK, b"hello!", None),
    "continue first": (b"HTTP/1.1 100 Continue\r\n\r\n%sContent-Length: 2\r\n\r\nhi" % OK, b"hi", 2),
    "early hints": (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * 3 + b"%sContent-Length: 2\r\n\r\nhi" % OK, b"hi", 2),
    "content-encoding is left alone": (b"%sContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\0" % OK, b"\x1f\x8b\0", 3),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "body", "length"), GOOD.values(), ids=GOOD.keys())
@pytest.mark.parametrize("step", [1, 3, 1 << 20])
async def test_a_valid_answer_reads_the_same_in_one_segment_or_many(
    raw: bytes, body: bytes, length: int | None, step: int
) -> None:
    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            for at in range(0, len(raw), step):
                await peer.say(raw[at : at + step])
                await asyncio.sleep(0)
        await peer.reader.read()

    async with raw_server(script) as server, client_of(server) as client:
        first = await client.send("GET", "/", HOST)
        assert (first.status, await first.read(100), first.length) == (200, body, length)
        again = await client.send("GET", "/", HOST)
        assert b"".join([piece async for piece in again]) == body
        assert server.connections == 1


@pytest.mark.parametrize(
    ("method", "status"),
    [(m, s) for m in ("HEAD", "GET") for s in (b"204 No Content", b"304 Not Modified")] + [("HEAD", b"200 OK")],
)
async def test_answers_without_a_body_leave_the_connection_usable(method: str, status: bytes) -> None:
    length = b"" if status.startswith(b"204") else b"Content-Length: 99\r\n"
    raw = b"HTTP/1.1 %s\r\n%s\r\n" % (status, length)
    async with raw_server(answering(raw, raw)) as server, client_of(server) as client:
        for _ in range(2):
            answer = await client.send(method, "/", HOST)
            assert await answer.read(0) == b""
        assert server.connections == 1


async def test_a_body_may_end_with_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK + b"\r\nhello ")
        await peer.say(b"world")

    assert await one(script) == (200, b"hello world", None)


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nConnection: close\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n"]
)  # fmt: skip
async def test_a_connection_that_the_peer_will_close_is_not_used_again(head: bytes) -> None:
    raw = head + b"Content-Length: 2\r\n\r\nok"
    async with raw_server(answering(raw)) as server, client_of(server, connections=1) as client:
        for _ in range(2):
            assert await (await client.send("GET", "/", HOST)).read(10) == b"ok"
        assert server.connections == 2


BROKEN = {
    "not HTTP": b"220 ftp ready\r\n\r\n",
    "HTTP/2 preface": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n\r\n",
    "endless head": OK + b"A: " + b"b" * 70_000,
    "endless headers": OK + b"A: b\r\n" * 20_000,
    "201 headers": OK + b"A: b\r\n" * 201 + b"\r\n",
    "folded header": OK + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "bare LF": OK + b"A: b\nContent-Length: 0\r\n\r\n",
    "NUL": OK + b"A: \0\r\nContent-Length: 0\r\n\r\n",
    "conflicting lengths": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and coding": OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "signed length": OK + b"Content-Length: +5\r\n\r\nhello",
    "negative length": OK + b"Content-Length: -1\r\n\r\n",
    "huge length": OK + b"Content-Length: 99999999999999999999\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    "endless interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_an_answer_that_is_not_valid_names_the_origin_and_drops_the_connection(raw: bytes, method: str) -> None:
    async with raw_server(answering(raw)) as server, client_of(server) as client:
        with pytest.raises(
            ProtocolViolation, match=rf"^http://127\.0\.0\.1:{server.origin.port} sent an answer that"
        ) as info:
            await client.send(method, "/", HOST, b"x" if method == "PUT" else b"")
        assert info.value.sent
        await server.all_closed()
        assert server.connections == 1


BROKEN_BODIES = {
    "chunk size": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n-1\r\n",
    "chunk overflow": b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\nffffffffffffffffff\r\n",
    "chunk end": b"Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("raw", BROKEN_BODIES.values(), ids=BROKEN_BODIES.keys())
@pytest.mark.parametrize("iterate", [False, True])
async def test_a_body_that_does_not_add_up_is_a_violation(raw: bytes, iterate: bool) -> None:
    async with raw_server(answering(OK + raw)) as server, client_of(server) as client:
        answer = await client.send("GET", "/", HOST)
        with pytest.raises(ProtocolViolation, match=r"127\.0\.0\.1"):
            await whole(answer, iterate=iterate)
        await server.all_closed()


CUT = {
    "nothing": (b"", "before it answered"),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-", "in the middle of an answer's head"),
    "interim only": (b"HTTP/1.1 100 Continue\r\n\r\n", "in the middle of an answer's head"),
    "half a body": (OK + b"Content-Length: 10\r\n\r\nhello", "5 bytes before the end of the body"),
    "no body": (OK + b"Content-Length: 10\r\n\r\n", "10 bytes before the end of the body"),
    "half a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\na\r\nhello", "before the end of the body"),
    "no last chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "before the end of the body"),
    "no end of trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "before the end of the body"),
}


@pytest.mark.parametrize(("raw", "where"), CUT.values(), ids=CUT.keys())
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("iterate", [False, True], ids=["read", "iterate"])
async def test_an_answer_that_is_cut_short_is_never_whole(raw: bytes, where: str, reset: bool, iterate: bool) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(raw)
        if reset:
            if b"\r\n\r\n" in raw and b" 200 " in raw:
                await go_on.wait()
            peer.reset()

    async with raw_server(script) as server, client_of(server) as client:

        async def attempt() -> None:
            answer = await client.send("GET", "/", HOST)
            go_on.set()
            await whole(answer, iterate=iterate)

        with pytest.raises(ConnectionLost) as info:
            await attempt()
        assert str(info.value).startswith(f"http://127.0.0.1:{server.origin.port} ")
        if not reset:
            assert where in str(info.value)
        await server.all_closed()


async def test_bytes_after_the_body_cost_the_connection_and_not_the_answer() -> None:
    for extra in (b"X", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"):
        for raw in (b"Content-Length: 2\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"):
            async with raw_server(answering(OK + raw + extra)) as server, client_of(server, connections=1) as client:
                for _ in range(2):
                    assert await (await client.send("GET", "/", HOST)).read(10) == b"ok"
                assert server.connections == 2


async def test_an_answer_that_nobody_asked_for_costs_the_idle_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK + b"Content-Length: 2\r\n\r\nok")
        if peer.number == 1:
            await said.wait()
            await peer.say(OK + b"Content-Length: 4\r\n\r\nevil")
        await peer.reader.read()
        gone.set()

    said, gone = asyncio.Event(), asyncio.Event()
    async with raw_server(script) as server, client_of(server, connections=1) as client:
        assert await (await client.send("GET", "/", HOST)).read(10) == b"ok"
        said.set()
        await gone.wait()
        assert await (await client.send("GET", "/", HOST)).read(10) == b"ok"
        assert server.connections == 2


async def test_a_body_past_its_limit_is_a_violation_whether_declared_or_not() -> None:
    for raw in (b"Content-Length: 11\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nb\r\n", b"\r\n"):
        for held_back in (b"", b"hello"):
            now = asyncio.Event()

            async def script(
                peer: Peer, raw: bytes = raw, held_back: bytes = held_back, now: asyncio.Event = now
            ) -> None:
                await peer.request()
                await peer.say(OK + raw + b"hello world"[: 11 - len(held_back)])
                await now.wait()
                await peer.say(held_back + (b"\r\n0\r\n\r\n" if b"chunked" in raw else b""))
                if raw != b"\r\n":
                    await peer.reader.read()

            async with raw_server(script) as server, client_of(server) as client:
                answer = await client.send("GET", "/", HOST)
                now.set()
                with pytest.raises(ProtocolViolation, match="longer than the 10 bytes"):
                    await answer.read(10)
                await client.close()
                await server.all_closed()


async def test_a_response_that_is_closed_early_drops_its_connection_and_frees_its_place() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK + b"Content-Length: 10\r\n\r\nhello")
        await peer.reader.read()

    async with raw_server(script) as server, client_of(server, connections=1) as client:
        for _ in range(3):
            answer = await client.send("GET", "/", HOST)
            answer.close()
            answer.close()
            with pytest.raises(TransportError):
                await answer.read(10)
        await server.all_closed()
        assert server.connections == 3


async def test_closing_a_response_whose_body_is_through_keeps_the_connection() -> None:
    async with raw_server(echo_forever()) as server, client_of(server) as client:
        for _ in range(3):
            (await client.send("PUT", "/", HOST, b"abc")).close()
        assert server.connections == 1


async def test_a_header_that_holds_another_request_is_refused_before_anything_is_sent() -> None:
    async with raw_server(echo_forever()) as server, client_of(server) as client:
        for target, value in (("/", "a\r\nEvil: yes"), ("/\r\n\r\nGET /evil", "a")):
            with pytest.raises(ProtocolViolation, match="refused to send") as info:
                await client.send("GET", target, [*HOST, ("x", value)])
            assert not info.value.sent
            assert not info.value.retryable
        assert server.connections == 0

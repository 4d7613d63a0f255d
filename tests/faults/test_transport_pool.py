"""The pool under pressure: bounds, fairness, staleness, cancellation, TLS, and addresses that don't answer."""

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from dth.errors import ConnectFailed, ConnectionLost, TlsFailed
from dth.transport import connect as connecting
from dth.transport.base import Origin, Timeouts
from dth.transport.client import PooledClient
from dth.transport.tls import make_ssl_context
from tests.servers.rawhttp import Peer, RawServer, echo_forever, raw_server

HOST = [("host", "test")]
OK = b"HTTP/1.1 200 OK\r\n"
MIB = 1 << 20
PATIENT = Timeouts(connect=10.0, first_byte=10.0, idle=10.0)


@contextlib.asynccontextmanager
async def client_of(
    server: RawServer, *, connections: int = 4, keep_alive: float = 20.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[PooledClient]:
    client = PooledClient(
        server.origin, timeouts=PATIENT, max_connections=connections, keep_alive=keep_alive, ssl_context=tls
    )
    try:
        yield client
    finally:
        await client.close()


def open_sockets() -> int:
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            count += str(entry.readlink()).startswith("socket:")
    return count


async def test_one_connection_serves_many_tasks_in_the_order_they_came() -> None:
    order: list[int] = []

    async def one(client: PooledClient, number: int) -> None:
        answer = await client.send("PUT", "/", HOST, b"%d" % number)
        order.append(number)
        assert await answer.read(10) == b"%d" % number

    async with raw_server(echo_forever()) as server, client_of(server, connections=1) as client:
        await asyncio.gather(*(one(client, number) for number in range(300)))
        assert order == list(range(300))
        assert server.connections == 1


async def test_never_more_connections_than_allowed_and_the_last_used_first() -> None:
    most = 0

    async def script(peer: Peer) -> None:
        nonlocal most
        while True:
            await peer.request()
            most = max(most, server.open)
            await peer.say(OK + b"Content-Length: 1\r\n\r\n%d" % peer.number)

    async with raw_server(script) as server, client_of(server, connections=5) as client:

        async def one() -> None:
            await (await client.send("GET", "/", HOST)).read(1)

        await asyncio.gather(*(one() for _ in range(100)))
        assert most <= server.connections <= 5
        used = {await (await client.send("GET", "/", HOST)).read(1) for _ in range(20)}
        assert len(used) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_request_that_met_a_stale_connection_is_sent_once_more_on_a_new_one(method: str, reset: bool) -> None:
    requests = []

    async def script(peer: Peer) -> None:
        while True:
            line, _ = await peer.request()
            requests.append(line)
            if peer.number <= 3 and len(requests) > 3:
                if reset:
                    peer.reset()
                return
            all_here.set() if len(requests) == 3 else None
            await all_here.wait()
            await peer.say(OK + b"Content-Length: 0\r\n\r\n")

    all_here = asyncio.Event()
    async with raw_server(script) as server, client_of(server, connections=3) as client:
        await asyncio.gather(*(client.send("GET", "/", HOST) for _ in range(3)))
        assert server.connections == 3  # all of them will turn out to be stale
        answer = await client.send(method, "/", HOST)
        assert answer.status == 200
        assert len(requests) == 5
        assert server.connections == 4


@pytest.mark.parametrize("kind", ["POST", "stream", "fresh", "twice", "half"])
async def test_what_is_not_safe_to_repeat_is_not_repeated(kind: str) -> None:
    requests = []

    async def script(peer: Peer) -> None:
        if kind != "fresh" and peer.number == 1:
            await peer.request()
            await peer.say(OK + b"Content-Length: 0\r\n\r\n")
        requests.append(await peer.request())
        await peer.say(b"HTTP/1.1 2" if kind == "half" else b"")

    async def stream() -> AsyncIterator[bytes]:
        yield b"hello"

    async with raw_server(script) as server, client_of(server, connections=3) as client:
        if kind != "fresh":
            await client.send("GET", "/", HOST)
        with pytest.raises(ConnectionLost):
            await client.send(
                "POST" if kind == "POST" else "PUT", "/", HOST, stream() if kind == "stream" else b"hello", 5
            )
        assert len(requests) == (2 if kind == "twice" else 1)


async def test_a_stream_is_never_begun_on_a_connection_that_is_already_closed() -> None:
    async def script(peer: Peer) -> None:
        _, body = await peer.request()
        await peer.say(OK + b"Content-Length: 0\r\n\r\n")
        if body != b"hello":
            return
        await peer.reader.read()

    async def stream() -> AsyncIterator[bytes]:
        yield b"hello"

    async with raw_server(script) as server:
        for _ in range(20):
            async with client_of(server, connections=1) as client:
                await client.send("GET", "/", HOST)
                await server.all_closed()  # the client may not have noticed yet
                assert (await client.send("PUT", "/", HOST, stream(), 5)).status == 200


@pytest.mark.parametrize("headers", [b"", b"Keep-Alive: timeout=0\r\n"])
async def test_idle_connections_are_closed_after_a_while(headers: bytes) -> None:
    keep_alive = 20.0 if headers else 0.1
    async with raw_server(echo_forever(headers)) as server, client_of(server, keep_alive=keep_alive) as client:
        client._pool._tick_seconds = 0.02
        await client.send("GET", "/", HOST)
        await server.all_closed()
        assert (await client.send("GET", "/", HOST)).status == 200
        assert server.connections == 2


async def test_a_storm_of_cancellations_leaves_no_socket_and_no_place_taken() -> None:
    async def script(peer: Peer) -> None:
        while True:
            _, body = await peer.request()
            await asyncio.sleep(chance.random() * 0.003)
            half = len(body) // 2
            await peer.say(OK + b"Content-Length: %d\r\n\r\n%s" % (len(body), body[:half]))
            await asyncio.sleep(chance.random() * 0.003)
            await peer.say(body[half:])

    async def one(client: PooledClient) -> None:
        answer = await client.send("PUT", "/", HOST, bytes(chance.choice([10, 5000, 200_000])))
        if chance.random() < 0.5:
            await answer.read(MIB)
        else:
            _ = [piece async for piece in answer]

    chance = random.Random(7)
    async with raw_server(script) as server, client_of(server, connections=8) as client:
        for _ in range(20):
            tasks = [asyncio.create_task(one(client)) for _ in range(30)]
            for task in tasks:
                asyncio.get_running_loop().call_later(chance.random() * 0.03, task.cancel)
            await asyncio.gather(*tasks, return_exceptions=True)
        assert client._pool._slots == len(client._pool._idle) <= 8
        await asyncio.gather(*(one(client) for _ in range(30)))
        await client.close()
        await server.all_closed()
        assert client._pool._slots == 0


@pytest.mark.slow
async def test_ten_thousand_mixed_requests_leave_sockets_flat() -> None:
    async def script(peer: Peer) -> None:
        while True:
            line, body = await peer.request()
            if "cut" in line:
                await peer.say(OK + b"Content-Length: 9\r\n\r\ncut")
                return
            await peer.say(OK + b"Content-Length: %d\r\n\r\n" % (0 if "HEAD" in line else len(body)) + body)

    async def one(client: PooledClient, number: int) -> None:
        with contextlib.suppress(ConnectionLost, TimeoutError):
            async with asyncio.timeout(0.0005 if number % 7 == 0 else 10):
                method = ("GET", "HEAD", "PUT")[number % 3]
                answer = await client.send(method, "/cut" if number % 11 == 0 else "/", HOST, b"x" * 50 * (number % 3))
                if number % 5:
                    await answer.read(MIB)
                else:
                    answer.close()

    async with raw_server(script) as server, client_of(server, connections=16) as client:
        before = open_sockets()
        for _ in range(100):
            await asyncio.gather(*(one(client, number) for number in range(100)))
            assert open_sockets() - before <= 2 * 16 + 40  # both ends, and the server's last few
        assert client._pool._slots == len(client._pool._idle) <= 16


async def test_closing_the_client_fails_whoever_waits_and_closes_every_socket() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read()

    async with raw_server(script) as server, client_of(server, connections=2) as client:
        tasks = [asyncio.create_task(client.send("GET", "/", HOST)) for _ in range(5)]
        while server.open < 2:
            await asyncio.sleep(0)
        await client.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, ConnectionLost) and "was closed" in str(result) for result in results)
        await server.all_closed()
        with pytest.raises(ConnectionLost, match="was closed"):
            await client.send("GET", "/", HOST)
        await client.close()


async def test_a_refused_connection_names_host_port_and_reason_and_frees_its_place() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        client = PooledClient(Origin("http", "127.0.0.1", port), timeouts=PATIENT, max_connections=1)
        results = await asyncio.gather(*(client.send("GET", "/", HOST) for _ in range(5)), return_exceptions=True)
        for result in results:
            assert isinstance(result, ConnectFailed)
            assert not result.sent
            assert f"127.0.0.1:{port}" in str(result)
        await client.close()


async def test_a_name_without_an_address_says_so() -> None:
    client = PooledClient(Origin("http", "no-such-host.invalid", 80), timeouts=PATIENT, max_connections=1)
    with pytest.raises(ConnectFailed, match=r"no-such-host\.invalid"):
        await client.send("GET", "/", HOST)
    await client.close()


async def test_an_address_that_refuses_or_keeps_silent_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(0)
    filler = [socket.socket() for _ in range(4)]  # a full backlog: further connections get no answer at all
    for sock in filler:
        sock.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            sock.connect(silent.getsockname())
    async with raw_server(echo_forever()) as server:
        tcp = (socket.AF_INET, socket.SOCK_STREAM, 0)
        refusing = ("127.0.0.1", 1)

        async def resolve(origin: Origin) -> list[connecting.Address]:
            return [(*tcp, refusing), (*tcp, silent.getsockname()), (*tcp, ("127.0.0.1", server.origin.port))]

        monkeypatch.setattr(connecting, "_resolve", resolve)
        async with client_of(server) as client:
            assert (await client.send("GET", "/", HOST)).status == 200
    for sock in (silent, *filler):
        sock.close()


async def test_a_server_that_accepts_nothing_is_a_connect_timeout() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read()  # never speaks TLS

    async with raw_server(script) as server:
        origin = Origin("https", "127.0.0.1", server.origin.port)
        timeouts = Timeouts(connect=0.2, first_byte=10.0, idle=10.0)
        client = PooledClient(origin, timeouts=timeouts, max_connections=1, ssl_context=make_ssl_context(None))
        with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1:\d+ within 0\.2 s"):
            await client.send("GET", "/", HOST)
        await client.close()
        await server.all_closed()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_side(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_tls_moves_large_bodies_both_ways(authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    content = bytes(range(256)) * 4096 * 8

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(content), 300_000):
            yield content[at : at + 300_000]

    context = make_ssl_context(str(tmp_path / "ca.pem"))
    async with (
        raw_server(echo_forever(), tls=server_side(authority, "127.0.0.1")) as server,
        client_of(server, connections=2, tls=context) as client,
    ):
        for body in (b"small", content, pieces()):
            answer = await client.send("PUT", "/", HOST, body, len(content))
            assert await answer.read(len(content)) == (b"small" if body == b"small" else content)
        again = await client.send("PUT", "/", HOST, await client.send("PUT", "/", HOST, content), len(content))
        assert await again.read(len(content)) == content
        assert server.connections == 2


@pytest.mark.parametrize("kind", ["wrong host", "unknown authority", "no TLS at all"])
async def test_a_peer_that_cannot_prove_its_name_is_refused(authority: trustme.CA, tmp_path: Path, kind: str) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = make_ssl_context(None if kind == "unknown authority" else str(tmp_path / "ca.pem"))
    name = "other.example" if kind == "wrong host" else "127.0.0.1"

    async def plain(peer: Peer) -> None:
        await peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(
        plain if kind == "no TLS at all" else echo_forever(),
        tls=None if kind == "no TLS at all" else server_side(authority, name),
    ) as server:
        origin = Origin("https", "127.0.0.1", server.origin.port)
        client = PooledClient(origin, timeouts=PATIENT, max_connections=1, ssl_context=context)
        with pytest.raises(TlsFailed, match=rf"TLS with 127\.0\.0\.1:{origin.port} failed") as info:
            await client.send("GET", "/", HOST)
        assert not info.value.retryable
        assert not info.value.sent
        await client.close()
        await server.all_closed()

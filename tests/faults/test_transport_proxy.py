"""Proxies, real and misbehaving: what reaches them, what reaches the origin, and what a refusal says."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme

from dth.errors import ConnectFailed, DthError, ProtocolViolation, ProxyRefused
from dth.transport.base import Origin, Timeouts
from dth.transport.client import PooledClient
from dth.transport.proxy import Proxy
from dth.transport.tls import make_ssl_context
from tests.servers import tinyproxy as servers
from tests.servers.rawhttp import Peer, RawServer, answering, echo_forever, raw_server
from tests.servers.tinyproxy import Tinyproxy

HOST = [("host", "test")]
MIB = 1 << 20
PATIENT = Timeouts(connect=10.0, first_byte=10.0, idle=10.0)
BODY = bytes(range(256)) * 4096 * 3


@pytest.fixture(scope="module")
def tinyproxy() -> Iterator[Tinyproxy]:
    running = servers.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Tinyproxy]:
    """Wants a password, and opens tunnels to port 443 alone."""
    running = servers.start(login=True, connect_ports=[443])
    yield running
    running.stop()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> ssl.SSLContext:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return make_ssl_context(str(tmp_path / "ca.pem"))


@pytest.fixture
async def secure(authority: trustme.CA) -> AsyncIterator[RawServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with raw_server(echo_forever(), tls=context) as server:
        yield server


@contextlib.asynccontextmanager
async def client_of(origin: Origin, proxy: str, context: ssl.SSLContext | None = None) -> AsyncIterator[PooledClient]:
    client = PooledClient(origin, timeouts=PATIENT, max_connections=4, ssl_context=context, proxy=Proxy.of(proxy))
    try:
        yield client
    finally:
        await client.close()


async def pieces() -> AsyncIterator[bytes]:
    for at in range(0, len(BODY), 300_000):
        yield BODY[at : at + 300_000]


async def echoed(client: PooledClient) -> None:
    for body in (b"small", BODY, pieces()):
        answer = await client.send("PUT", "/a%20b?x=1", HOST, body, len(BODY))
        assert await answer.read(len(BODY)) == (b"small" if body == b"small" else BODY)


async def test_an_https_origin_is_reached_through_a_tunnel(
    tinyproxy: Tinyproxy, secure: RawServer, trusted: ssl.SSLContext
) -> None:
    async with client_of(secure.origin, tinyproxy.address, trusted) as client:
        await echoed(client)
    assert f"CONNECT 127.0.0.1:{secure.origin.port} HTTP/1.1" in tinyproxy.asked()


async def test_a_plain_origin_is_asked_for_by_its_whole_url(tinyproxy: Tinyproxy) -> None:
    async with raw_server(echo_forever()) as server, client_of(server.origin, tinyproxy.address) as client:
        await echoed(client)
    assert f"PUT http://127.0.0.1:{server.origin.port}/a%20b?x=1 HTTP/1.1" in tinyproxy.asked()


async def test_a_password_goes_to_the_proxy_and_no_further(guarded: Tinyproxy) -> None:
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.head())
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(script) as server, client_of(server.origin, guarded.with_login) as client:
        await (await client.send("GET", "/", HOST)).read(0)
    assert "proxy-authorization" not in seen[0].lower()
    assert seen[0].startswith("GET / HTTP/1.1")


@pytest.mark.parametrize("login", ["", "some%2Duser:wrong@"])
async def test_a_proxy_that_wants_a_password_says_so_for_both_kinds_of_origins(
    guarded: Tinyproxy, trusted: ssl.SSLContext, login: str
) -> None:
    for origin, context in ((Origin("https", "127.0.0.1", 443), trusted), (Origin("http", "127.0.0.1", 1), None)):
        async with client_of(origin, f"http://{login}{guarded.host}", context) as client:
            with pytest.raises(
                ProxyRefused, match=f"the proxy {guarded.host} does not connect to .*: 40[17]"
            ) as caught:
                await client.send("GET", "/", HOST)
        assert ("is wrong" if login else "wants a user and a password") in str(caught.value)
        assert "wrong@" not in str(caught.value)
        assert not caught.value.retryable


async def test_a_tunnel_that_is_forbidden_names_proxy_and_origin(
    guarded: Tinyproxy, secure: RawServer, trusted: ssl.SSLContext
) -> None:
    async with client_of(secure.origin, guarded.with_login, trusted) as client:
        with pytest.raises(ProxyRefused) as caught:
            await client.send("GET", "/", HOST)
    said = str(caught.value)
    assert f"the proxy {guarded.host} does not connect to 127.0.0.1:{secure.origin.port}: 403" in said
    assert "allowed there" in said
    assert "pass" not in said + repr(client._pool._proxy)


async def test_an_origin_that_the_proxy_cannot_reach_is_tried_again(
    tinyproxy: Tinyproxy, trusted: ssl.SSLContext
) -> None:
    async with client_of(Origin("https", "127.0.0.1", 1), tinyproxy.address, trusted) as client:
        with pytest.raises(
            ConnectFailed, match=f"the proxy {tinyproxy.host} does not connect to 127.0.0.1:1: 500"
        ) as caught:
            await client.send("GET", "/", HOST)
    assert caught.value.retryable


async def test_a_proxy_that_is_not_there_is_named(trusted: ssl.SSLContext) -> None:
    async with client_of(Origin("https", "127.0.0.1", 443), "http://127.0.0.1:1", trusted) as client:
        with pytest.raises(ConnectFailed, match=r"the proxy 127\.0\.0\.1:1 cannot be reached"):
            await client.send("GET", "/", HOST)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (b"", ConnectFailed, "closed before it had answered"),
        (b"HTTP/1.1 200 OK\r\n", ConnectFailed, "closed before it had answered"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ProtocolViolation, "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", ProtocolViolation, "spoke before"),
        (b"HTTP/1.1 503 \x1b[31mBusy\r\n\r\n", ProtocolViolation, "not valid HTTP"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", ConnectFailed, "503 Busy"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n", ProxyRefused, "302 Found"),
        (b"HTTP/1.1 200 " + b"x" * 70_000, ConnectFailed, "closed before it had answered"),
    ],
)
async def test_nonsense_of_a_proxy_is_an_error_and_no_socket_stays(
    trusted: ssl.SSLContext, answer: bytes, error: type[DthError], said: str
) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.say(answer)

    async with raw_server(script) as server:
        address = f"http://127.0.0.1:{server.origin.port}"
        async with client_of(Origin("https", "127.0.0.1", 443), address, trusted) as client:
            with pytest.raises(error, match=said):
                await client.send("GET", "/", HOST)
        await server.all_closed()


async def test_the_tunnel_s_tls_is_with_the_origin_not_with_the_proxy(trusted: ssl.SSLContext) -> None:
    async with raw_server(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as server:  # takes the tunnel and never hands it on
        address = f"http://127.0.0.1:{server.origin.port}"
        client = PooledClient(
            Origin("https", "127.0.0.1", 443),
            timeouts=Timeouts(connect=0.5, first_byte=10.0, idle=10.0),
            max_connections=1,
            ssl_context=trusted,
            proxy=Proxy.of(address),
        )
        with pytest.raises(ConnectFailed, match=r"no connection to 127\.0\.0\.1:443 through the proxy 127"):
            await client.send("GET", "/", HOST)
        await client.close()
        await server.all_closed()

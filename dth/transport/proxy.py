"""HTTP proxies: a tunnel (CONNECT) to https origins, requests in absolute form to http ones (RFC 9110, 9.3.6; RFC 9112, 3.2.2)."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import field
from typing import Final
from urllib.parse import unquote, urlsplit

from dth.errors import ConnectFailed, ProtocolViolation, ProxyRefused, TransportError
from dth.text import printable
from dth.transport.base import Origin
from dth.transport.framing import HEAD_LIMIT, Malformed, parse_head
from dth.values import value

_UNAUTHORIZED: Final = (401, 407)  # tinyproxy 1.11 says 401 where the password is wrong


@value
class Proxy:
    """Where to connect instead, and what to say there. Its text never shows the password."""

    origin: Origin
    authorization: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: str) -> Proxy:
        """From `http://[user:password@]host:port`, as the settings have checked it; user and password are percent-decoded."""
        parts = urlsplit(url)
        origin = Origin("http", parts.hostname or "", parts.port or 0)
        if parts.username is None:
            return cls(origin)
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return cls(origin, "Basic " + b64encode(pair.encode()).decode("ascii"))

    @property
    def name(self) -> str:
        """For messages."""
        return host_port(self.origin)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What every request to the proxy itself carries. Nothing of it reaches the origin."""
        return [("proxy-authorization", self.authorization)] if self.authorization else []

    def asks_who(self, status: int, headers: Mapping[str, str]) -> bool:
        """Whether this answer to a request for an http origin is the proxy's own, about user and password: no object store
        asks for Basic authentication."""
        basic = headers.get("www-authenticate", "").lower().startswith("basic")
        return status == _UNAUTHORIZED[1] or (status == _UNAUTHORIZED[0] and basic)

    def refused(self, origin: Origin, status: int, reason: str = "") -> TransportError:
        """The error that the proxy's answer stands for, by its status."""
        what = f"the proxy {self.name} does not connect to {host_port(origin)}: {status} {reason}".rstrip()
        if status in _UNAUTHORIZED:
            advice = "its user or password is wrong" if self.authorization else "it wants a user and a password"
            return ProxyRefused(f"{what}; {advice}: http://USER:PASSWORD@{self.name}", sent=False)
        if status >= 500:  # noqa: PLR2004 - the proxy's own troubles, or the origin's
            return ConnectFailed(what, sent=False)
        return ProxyRefused(f"{what}; have {host_port(origin)} allowed there, or use another proxy", sent=False)


async def open_tunnel(sock: socket.socket, origin: Origin, proxy: Proxy) -> None:
    """Make the connection to the proxy one to the origin. Raises ProxyRefused, ConnectFailed or ProtocolViolation."""
    loop = asyncio.get_running_loop()
    target = host_port(origin)
    lines = [f"CONNECT {target} HTTP/1.1", f"host: {target}", *(f"{name}: {text}" for name, text in proxy.headers)]
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("ascii"))
    raw = b""
    while b"\r\n\r\n" not in raw:
        piece = await loop.sock_recv(sock, 4096)
        raw += piece
        if not piece or len(raw) > HEAD_LIMIT:
            raise ConnectFailed(f"the proxy {proxy.name} closed before it had answered", sent=False)
    head, _, behind = raw.partition(b"\r\n\r\n")
    try:
        answer = parse_head(head + b"\r\n\r\n")
    except Malformed as exc:
        raise ProtocolViolation(f"the proxy {proxy.name} sent an answer that is not valid HTTP: {exc}") from exc
    if not 200 <= answer.status < 300:  # noqa: PLR2004 - success, whatever framing its head declares
        raise proxy.refused(origin, answer.status, _reason(head))
    if behind:
        raise ProtocolViolation(f"the proxy {proxy.name} spoke before {target} was asked anything")


def host_port(origin: Origin) -> str:
    """As in a URL."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return f"{host}:{origin.port}"


def _reason(head: bytes) -> str:
    """The status line's words, fit for a terminal."""
    return printable(head.split(b"\r\n", 1)[0][13:73].decode("ascii", "replace").strip())

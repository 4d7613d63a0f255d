"""Addresses of registries, and one pooled client for each origin that they send us to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from dth.errors import ProtocolViolation, RequestRefused, SettingsError
from dth.transport.base import HttpClient, Origin, Timeouts
from dth.transport.client import PooledClient
from dth.transport.pace import Pace, PacedClient
from dth.transport.tls import make_ssl_context

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Url:
    """Where one request goes. `host` is what it says of itself in the `host` header."""

    origin: Origin
    target: str

    @property
    def host(self) -> str:
        """Name and port as a header says them."""
        return host_text(self.origin)

    def __str__(self) -> str:
        return f"{self.origin.scheme}://{self.host}{self.target.partition('?')[0]}"


def host_text(origin: Origin) -> str:
    """`name[:port]`, the port only where it is not the scheme's own."""
    name = f"[{origin.host}]" if ":" in origin.host else origin.host
    return name if origin.port == _PORTS[origin.scheme] else f"{name}:{origin.port}"


def parse_origin(text: str) -> Origin:
    """The origin of a registry's address: `host`, `host:port`, or with a scheme. Raises SettingsError."""
    parts = urlsplit(text if "://" in text else f"https://{text}")
    try:
        port = parts.port
    except ValueError as exc:
        raise SettingsError(f"{_shown(text)!r} is no registry: its port is none") from exc
    if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query or "@" in parts.netloc:
        raise SettingsError(f"{_shown(text)!r} is no registry: it looks like registry.example or http://127.0.0.1:5000")
    return Origin(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])


def _shown(text: str) -> str:
    """An address without the user and password that do not belong into it."""
    return f"...@{text.rpartition('@')[2]}" if "@" in text else text


def resolve(base: Url, location: str) -> Url:
    """Where a Location header points to, seen from the request that it answers. Raises ProtocolViolation for nonsense.

    A registry behind a proxy that ends TLS names itself with `http`: where the port is the same, or either scheme's own, the
    connection stays what it was.
    """
    try:
        parts = urlsplit(urljoin(f"{base.origin.scheme}://{base.host}{base.target}", location))
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError) as exc:
        raise ProtocolViolation(f"{base}: the answer's Location leads nowhere") from exc
    if not parts.hostname:
        raise ProtocolViolation(f"{base}: the answer's Location leads nowhere")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    origin = Origin(parts.scheme, parts.hostname, port)
    if origin.host == base.origin.host and parts.scheme == "http" and base.origin.scheme == "https":
        both_usual = port == _PORTS["http"] and base.origin.port == _PORTS["https"]
        origin = base.origin if both_usual or port == base.origin.port else origin
    return Url(origin, target)


def follow(base: Url, location: str) -> Url:
    """As `resolve`, for an address that the next request goes to. Raises RequestRefused where TLS would be left for a
    connection without: nothing that was under way with TLS goes on in the clear."""
    target = resolve(base, location)
    if target.origin.scheme != "https" and base.origin.scheme == "https":
        raise RequestRefused(f"{base.host} sends us on to {target.host} without TLS: refused")
    return target


class Web:
    """Clients by origin, made when first needed."""

    def __init__(
        self,
        *,
        timeouts: Timeouts,
        ca_bundle: str,
        unverified: frozenset[str],
        max_connections: int,
        pace: Pace | None = None,
    ) -> None:
        self._timeouts = timeouts
        self._bundle = ca_bundle or os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
        self._unverified = unverified
        self._most = max_connections
        self._pace = pace
        self._clients: dict[Origin, HttpClient] = {}

    def client(self, origin: Origin) -> HttpClient:
        """The client of an origin; the certificate is verified unless the origin's host was excused by name."""
        found = self._clients.get(origin)
        if found is None:
            context = None
            if origin.scheme == "https":
                context = make_ssl_context(self._bundle, verify=host_text(origin) not in self._unverified)
            pooled = PooledClient(origin, timeouts=self._timeouts, max_connections=self._most, ssl_context=context)
            found = PacedClient(pooled, self._pace) if self._pace else pooled
            self._clients[origin] = found
        return found

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.close()

"""From an origin to a connected transport: every address gets its chance, within one time limit."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from dth.errors import ConnectFailed, TlsFailed, TransportError
from dth.transport.base import Origin
from dth.transport.proxy import Proxy, open_tunnel

STAGGER_SECONDS: Final = 0.25
"""How long an address may keep silent before the next one is tried beside it (RFC 8305, 5)."""

Address = tuple[int, int, int, Any]
"""Family, kind, protocol, socket address."""

P = TypeVar("P", bound=asyncio.BaseProtocol)


async def connect(
    origin: Origin, make: Callable[[], P], context: ssl.SSLContext | None, seconds: float, proxy: Proxy | None = None
) -> P:
    """The protocol of a new connection, TLS included where `context` is given, within `seconds`. Through a `proxy` it is
    a tunnel to an https origin, and a connection to the proxy itself for an http one.

    Raises ConnectFailed, TlsFailed or ProxyRefused, which name the origin and the reason; cancelled, it leaves no socket
    behind.
    """
    where = f"{origin.host}:{origin.port}" + (f" through the proxy {proxy.name}" if proxy else "")
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            sock = await (_open_socket(origin) if proxy is None else _open_to_proxy(proxy))
            try:
                if proxy is not None and context is not None:
                    await open_tunnel(sock, origin, proxy)
                name = origin.host if context is not None else None
                _, protocol = await loop.create_connection(make, sock=sock, ssl=context, server_hostname=name)
            except BaseException:
                sock.close()
                raise
            return protocol
    except TransportError:
        raise
    except ssl.SSLError as exc:
        raise TlsFailed(f"TLS with {where} failed: {_tls_reason(exc)}", sent=False) from exc
    except TimeoutError as exc:
        raise ConnectFailed(f"no connection to {where} within {seconds:g} s", sent=False) from exc
    except OSError as exc:
        raise ConnectFailed(f"no connection to {where}: {exc.strerror or exc}", sent=False) from exc


def _tls_reason(exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {exc.verify_message}"
    return exc.reason or str(exc)


async def _resolve(origin: Origin) -> list[Address]:
    """The host's addresses, families in turn, shuffled within each: the load spreads over all that a store publishes."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(_as_bytes(origin.host), origin.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as exc:
        reason = exc.strerror if isinstance(exc, socket.gaierror) else exc
        raise ConnectFailed(f"{origin.host} has no address: {reason}", sent=False) from exc
    families: dict[int, list[Address]] = {}
    for family, kind, proto, _, address in found:
        families.setdefault(family, []).append((family, kind, proto, address))
    for addresses in families.values():
        random.shuffle(addresses)
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*families.values()))
    return [address for address in in_turn if address is not None]


def _as_bytes(host: str) -> str | bytes:
    """The loop passes text through the tables of IDNA, which each process would load for it."""
    return host.encode("ascii") if host.isascii() else host


async def _open_socket(origin: Origin) -> socket.socket:
    """The first connection that any address accepts; the next address starts when the last failed or kept silent."""
    waiting = deque(await _resolve(origin))
    if len(waiting) == 1:
        return await _connected(waiting[0])
    attempts: set[asyncio.Task[socket.socket]] = set()
    failures: list[str] = []
    try:
        while waiting or attempts:
            if waiting:
                attempts.add(asyncio.create_task(_connected(waiting.popleft())))
            patience = STAGGER_SECONDS if waiting else None
            done, _ = await asyncio.wait(attempts, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                attempts.discard(attempt)
                failure = attempt.exception()
                if failure is None:
                    return attempt.result()
                failures.append(str(failure))
    finally:
        await _abandon(attempts)
    raise ConnectFailed(f"no connection to {origin.host}:{origin.port}: {'; '.join(failures)}", sent=False)


async def _open_to_proxy(proxy: Proxy) -> socket.socket:
    try:
        return await _open_socket(proxy.origin)
    except (ConnectFailed, OSError) as exc:
        raise ConnectFailed(f"the proxy {proxy.name} cannot be reached: {exc}", sent=False) from exc


async def _abandon(attempts: Sequence[asyncio.Task[socket.socket]] | set[asyncio.Task[socket.socket]]) -> None:
    """Cancel what lost the race, and close what won it too late."""
    for attempt in attempts:
        attempt.cancel()
    for result in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(result, socket.socket):
            result.close()


async def _connected(address: Address) -> socket.socket:
    family, kind, proto, target = address
    sock = socket.socket(family, kind, proto)
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(sock, (_as_bytes(target[0]), *target[1:]))
    except BaseException:
        sock.close()
        raise
    return sock

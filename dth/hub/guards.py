"""Who may speak to the hub at all: an API that starts processes is a remote shell if guarded badly.

| guard | against |
|---|---|
| the `Host` header names this hub | a foreign name that was made to resolve to this machine (DNS rebinding) |
| `Origin`, where one is sent, is this hub's | another site's page in the same browser |
| changes and questions are POSTs of `application/json` with the header `X-Dth-Hub` | forms and scripts of other sites: a browser asks first, and is told nothing |
| no answer allows another origin | the same |
| a body has a megabyte at most | memory |
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OWN_HEADER = "x-dth-hub"
MAX_BODY = 1 << 20
_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
        "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guards:
    """Stands before the whole application. `hosts` are the names, with port, by which the hub may be addressed."""

    def __init__(self, app: App, *, hosts: Collection[str], scheme: str) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}
        self._origins = {f"{scheme}://{host}" for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        status, code, message = self._judge(scope["method"], headers)
        if status:
            await _refuse(send, status, code, message)
            return
        await self._app(scope, receive, _with_headers(send))

    def _judge(self, method: str, headers: Mapping[str, str]) -> tuple[int, str, str]:
        """Status, code and message of a refusal; 0 for what may pass."""
        reads = method in {"GET", "HEAD"}
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        length = headers.get("content-length", "0")
        foreign = headers.get("origin", "").lower() not in {"", *self._origins}
        if not reads:
            foreign = foreign or headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}
        rules = (
            (headers.get("host", "").lower() in self._hosts, 421, "host", "this hub has another name; see --name"),
            (not foreign, 403, "origin", "requests of other sites are refused"),
            (reads or method == "POST", 405, "method", "only GET and POST are known here"),
            (reads or kind == "application/json", 415, "content_type", "the body must be application/json"),
            (reads or OWN_HEADER in headers, 403, "header", "the header X-Dth-Hub is missing"),
            (reads or (length.isdigit() and int(length[:12]) <= MAX_BODY), 413, "too_large", "the body is too large"),
        )
        return next((rule[1:] for rule in rules if not rule[0]), (0, "", ""))


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            message["headers"] = [*message.get("headers", []), *own]
        await send(message)

    return sending


async def _refuse(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps({"errors": [{"message": message, "extensions": {"code": code}}]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    start = {"type": "http.response.start", "status": status, "headers": headers}
    await _with_headers(send)(start)
    await send({"type": "http.response.body", "body": body})

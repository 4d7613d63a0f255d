"""The hub over HTTP: one door for questions, a few for signing in, and the console's files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dth.hub import serve
from dth.hub.base import Refused
from dth.hub.guards import MAX_BODY
from dth.hub.login import Login
from dth.hub.pages import Console
from dth.hub.serve import Table


class Site:
    """The application's parts."""

    def __init__(self, table: Table, login: Login) -> None:
        self._table = table
        self._login = login
        self._console = Console.of_package()

    def app(self) -> Starlette:
        """All routes."""
        routes = [
            Route("/graphql", self.graphql, methods=["POST"]),
            Route("/login", self.ways, methods=["GET"]),
            Route("/login/token", self.by_token, methods=["POST"]),
            Route("/login/password", self.by_password, methods=["POST"]),
            Route("/login/oidc", self.to_oidc, methods=["GET"]),
            Route("/login/oidc/back", self.from_oidc, methods=["GET"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/{path:path}", self.file, methods=["GET"]),
        ]
        return Starlette(routes=routes)

    async def graphql(self, request: Request) -> Response:
        """A question."""
        who = await self._login.who(request.cookies, request.headers)
        if who is None:
            return _error(401, "not_signed_in", "sign in first", "open the link that `dth hub` prints")
        body = await _body(request)
        if body is None:
            return _error(400, "bad_request", "the body is no JSON object")
        return _json(await serve.answer(self._table, body, who))

    async def ways(self, request: Request) -> Response:
        """How one can sign in here, and whether one is."""
        who = await self._login.who(request.cookies, request.headers)
        return _json({"signedIn": who is not None, "user": who.name if who else None, "ways": self._login.ways()})

    async def by_token(self, request: Request) -> Response:
        """A one-time link becomes a cookie."""
        body = await _body(request) or {}
        return await self._sign_in(self._login.by_token(str(body.get("token", ""))))

    async def by_password(self, request: Request) -> Response:
        """A password becomes a cookie."""
        body = await _body(request) or {}
        address = request.client.host if request.client else ""
        return await self._sign_in(self._login.by_password(str(body.get("password", "")), address))

    async def _sign_in(self, attempt: Any) -> Response:
        try:
            session = await attempt
        except Refused as error:
            status = 429 if error.kind == "too_often" else 401
            return _error(status, error.kind, str(error), error.hint)
        response = _json({"signedIn": True})
        self._login.set_cookie(response, session)
        return response

    async def to_oidc(self, request: Request) -> Response:
        """Off to the identity provider."""
        return await self._login.to_oidc(request)

    async def from_oidc(self, request: Request) -> Response:
        """Back from it."""
        return await self._login.from_oidc(request)

    async def logout(self, request: Request) -> Response:
        """The cookie is worth nothing any more."""
        await self._login.forget(request.cookies)
        response = _json({"signedIn": False})
        self._login.clear_cookie(response)
        return response

    async def file(self, request: Request) -> Response:
        """A file of the console, or one of its pages, which are made in the browser."""
        found = self._console.answer(request.path_params["path"], request.headers)
        return found or _error(404, "not_found", "there is no such file")


async def _body(request: Request) -> dict[str, Any] | None:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _json(body: Mapping[str, Any], status: int = 200) -> Response:
    """In ASCII: a key may hold half a surrogate pair, which UTF-8 has no bytes for."""
    headers = {"cache-control": "no-store"}
    return Response(json.dumps(body), status, headers, media_type="application/json")


def _error(status: int, code: str, message: str, hint: str = "") -> Response:
    extensions = {"code": code, **({"hint": hint} if hint else {})}
    return _json({"errors": [{"message": message, "extensions": extensions}]}, status)

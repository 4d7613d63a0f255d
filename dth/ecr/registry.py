"""One registry: authenticated requests with retries and a pace, and of the OCI distribution API (v1.1) all but blobs.

Every answer is checked: manifests are named by their digest and hashed here, lists are bounded. Requests without a body
stream are repeated after throttling, faults and cuts; a refused token is replaced and the request sent again, once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from dth.ecr import pages
from dth.ecr.answers import ERROR_LIMIT, Answer, refusal, unpacked
from dth.ecr.auth import Authorizer, Scope
from dth.ecr.credentials import LoginSource
from dth.ecr.manifest import ACCEPT, MANIFEST_LIMIT, OCI_INDEX, Manifest, digest_of, parse_manifest
from dth.ecr.reference import is_digest
from dth.ecr.web import Url, Web, follow
from dth.errors import (
    AnswerInvalid,
    BodyMismatch,
    DthError,
    ProtocolViolation,
    RequestRefused,
    StoreError,
    Throttled,
)
from dth.flow.limiter import Limiter
from dth.retry import RetryPolicy
from dth.states import Side
from dth.transport.base import Body, Origin, Response

MOST_REQUESTS = 64  # of one kind in flight to one registry, when nothing throttles
THROTTLE_PATIENCE = 3  # times as many tries after throttling as after failures
T = TypeVar("T")
_REDIRECTS = 5
_MOVED = {301, 302, 303, 307, 308}
_UNAUTHORIZED, _NOT_FOUND = 401, 404
_NO_SUCH_METHOD = {405, 501}


@dataclass(frozen=True, slots=True)
class Ask:
    """One request but for its body. `operation` names it in counts, `what` in errors; `accepts` are the statuses that the
    caller can use; everything else is raised."""

    operation: str
    method: str
    url: Url
    scope: Scope
    what: str
    accepts: frozenset[int]
    headers: tuple[tuple[str, str], ...] = ()


class Registry:
    """A registry at `base`. `name` is what people call it; `host` what requests say (another than the address where an
    endpoint stands in for it)."""

    def __init__(
        self,
        name: str,
        origin: Origin,
        web: Web,
        source: LoginSource,
        *,
        side: Side,
        retry: RetryPolicy,
        host: str = "",
    ) -> None:
        self.name = name
        self.side = side
        self.retry = retry
        self.requests: Counter[str] = Counter()
        self.base = Url(origin, "/v2/")
        self._host = host or self.base.host
        self._web = web
        self._auth = Authorizer(self.base, source, self._ask_token)
        self._paces: dict[str, Limiter] = {}
        self._heads_manifests = True
        self.piece_bytes = 0  # that one request of an upload may have; 0 while none was refused for its size
        self.throttled = 0

    def pace(self, kind: str) -> Limiter:
        """The limit on requests of a kind: quotas differ by action, so each learns its own."""
        found = self._paces.get(kind)
        if found is None:
            found = self._paces[kind] = Limiter(fixed=0, upper=MOST_REQUESTS)
        return found

    def url(self, repository: str, path: str) -> Url:
        """`/v2/<repository>/<path>`."""
        return Url(self.base.origin, f"/v2/{quote(repository, safe='/')}/{path}")

    def title(self, repository: str, reference: str = "") -> str:
        """An image's name, for people."""
        mark = "" if not reference else "@" if is_digest(reference) else ":"
        return f"{self.name}/{repository}{mark}{reference}"

    # Requests

    async def send(self, ask: Ask, body: Body = b"", length: int | None = None) -> Response:
        """One authenticated exchange, redirects followed. Raises StoreError for a status that is not accepted.

        A refused token is replaced; where the body was a stream, which can't be sent twice, the BadCredentials says
        that it is `retryable`.
        """
        response, sent, at = await self._exchange(ask, body, length)
        # Whoever else answers, a store of blobs say, has no say in where the login goes.
        if response.status == _UNAUTHORIZED and at.origin == ask.url.origin == self.base.origin:
            renewed = await self._auth.refused(ask.scope, sent, response.headers)
            if renewed and isinstance(body, bytes):
                await drop(response)
                response, sent, at = await self._exchange(ask, body, length)
            elif renewed:
                error = await self._refusal(ask, response, at)
                error.retryable = True
                raise error
        if response.status not in ask.accepts:
            raise await self._refusal(ask, response, at)
        return response

    async def _exchange(self, ask: Ask, body: Body, length: int | None) -> tuple[Response, str | None, Url]:
        """The answer, the Authorization that the registry got, and the URL that answered."""
        url, sent = ask.url, await self._auth.header(ask.scope) if ask.url.origin == self.base.origin else None
        self.requests[ask.operation] += 1
        authorization = sent
        for _ in range(_REDIRECTS + 1):
            host = self._host if url.origin == self.base.origin else url.host
            headers = [("host", host), ("user-agent", "dth"), ("accept-encoding", "identity"), *ask.headers]
            if authorization:
                headers.append(("authorization", authorization))
            response = await self._web.client(url.origin).send(ask.method, url.target, headers, body, length)
            if response.status not in _MOVED or ask.method not in {"GET", "HEAD"}:
                return response, sent, url
            location = response.headers.get("location", "")
            await drop(response)
            try:
                target = self.follow(url, location)
            except RequestRefused as exc:
                raise RequestRefused(f"{ask.operation} of {ask.what}: {exc}") from exc
            if target.origin != url.origin:
                authorization = None  # a token is for the registry alone, never for where it stores its blobs
            url = target
        raise RequestRefused(f"{ask.operation} of {ask.what}: {url.host} redirects without end")

    def follow(self, base: Url, location: str) -> Url:
        """Where a Location leads, seen from the request at `base` that it answers. A registry for which an endpoint stands in
        may call itself by its own name: that stays with the endpoint. Raises RequestRefused where TLS would be left."""
        target = follow(base, location)
        stands_in = self._host != self.base.host and target.host == self._host
        return Url(self.base.origin, target.target) if stands_in else target

    async def _refusal(self, ask: Ask, response: Response, at: Url) -> StoreError:
        try:
            body = b"" if ask.method == "HEAD" else await response.read(ERROR_LIMIT)
        finally:
            response.close()
        error = refusal(
            operation=ask.operation,
            what=ask.what,
            push=ask.scope.push,
            status=response.status,
            headers=response.headers,
            body=body,
            elsewhere="" if at.origin == self.base.origin else at.host,
        )
        if isinstance(error, Throttled):
            self.throttled += 1
        return error

    async def _ask_token(
        self, method: str, url: Url, headers: Sequence[tuple[str, str]], body: bytes
    ) -> tuple[int, bytes]:
        async def once() -> tuple[int, bytes]:
            self.requests["Token"] += 1
            full = [("host", url.host), ("user-agent", "dth"), *headers]
            response = await self._web.client(url.origin).send(method, url.target, full, body)
            try:
                answer = await response.read(ERROR_LIMIT)
            finally:
                response.close()
            if response.status == 429 or response.status >= 500:  # noqa: PLR2004 - too many; faults
                raise refusal(
                    operation="Token",
                    what=url.host,
                    push=False,
                    status=response.status,
                    headers=response.headers,
                    body=b"",
                )
            return response.status, answer

        return await patiently(once, self.retry)

    async def whole(self, ask: Ask, body: bytes = b"", *, kind: str, limit: int = ERROR_LIMIT) -> Answer:
        """One request and its whole answer, at the pace of its kind, repeated where that helps."""
        return await patiently(lambda: self.once(ask, body, kind=kind, limit=limit), self.retry)

    async def once(self, ask: Ask, body: bytes = b"", *, kind: str, limit: int = ERROR_LIMIT) -> Answer:
        """As `whole`, not repeated."""
        pace = self.pace(kind)
        await pace.acquire()
        ended = False
        try:
            response = await self.send(ask, body)
            try:
                data = b"" if ask.method == "HEAD" else await response.read(limit)
            finally:
                response.close()
            ended = True
            return Answer(response.status, response.headers, unpacked(data, response.headers, limit))
        except Throttled as error:
            pace.throttled(error.retry_after)
            raise
        finally:
            pace.release(succeeded=ended)

    # Manifests

    async def head_manifest(self, repository: str, reference: str) -> str:
        """The digest behind a tag or digest, "" where it is not there (repository included). Where HEAD is refused, or answers
        without a digest, GET tells."""
        ask = self._manifest("HeadManifest", "HEAD", repository, reference, {200, 404})
        if self._heads_manifests:
            try:
                answer = await self.whole(ask, kind="read manifests")
            except Throttled:
                raise
            except (StoreError, ProtocolViolation) as error:  # of HEAD alone, perhaps, or of where it was sent on to
                self._heads_manifests = getattr(error, "status", 0) not in _NO_SUCH_METHOD
            else:
                if answer.status != 200:  # noqa: PLR2004
                    return ""
                digest = answer.headers.get("docker-content-digest", "")
                if is_digest(digest):
                    return digest
        return await self._digest_by_get(repository, reference)

    async def find_manifest(self, repository: str, reference: str) -> str:
        """As `head_manifest`, but a HEAD that finds nothing is not believed: GET is asked as well. For what a list has named,
        and before anything is removed because it is not there."""
        found = await self.head_manifest(repository, reference)
        return found or await self._digest_by_get(repository, reference)

    async def _digest_by_get(self, repository: str, reference: str) -> str:
        """The digest of the bytes, whatever they are; "" where there are none."""
        ask = self._manifest("GetManifest", "GET", repository, reference, {200, 404})
        answer = await self.whole(ask, kind="read manifests", limit=MANIFEST_LIMIT)
        if answer.status != 200:  # noqa: PLR2004
            return ""
        told = reference if is_digest(reference) else answer.headers.get("docker-content-digest", "")
        return digest_of(answer.data, told if is_digest(told) else "sha256:")

    async def get_manifest(self, repository: str, reference: str, limit: int = MANIFEST_LIMIT) -> Manifest:
        """The manifest of at most `limit` bytes, its digest computed here. Raises NotFound; BodyMismatch where the bytes are not
        those named."""
        ask = self._manifest("GetManifest", "GET", repository, reference, {200})
        answer = await self.whole(ask, kind="read manifests", limit=min(limit, MANIFEST_LIMIT))
        promised = reference if is_digest(reference) else answer.headers.get("docker-content-digest", "")
        found = parse_manifest(answer.data, answer.headers.get("content-type", ""))
        if is_digest(promised) and digest_of(answer.data, promised) != promised:
            raise BodyMismatch(f"{ask.what}: the manifest that arrived has another digest than {promised}")
        return found

    async def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> Mapping[str, str]:
        """Write it under a tag or its digest; the answer's headers. Raises TagConflict where the tag is immutable."""
        ask = self._manifest(
            "PutManifest", "PUT", repository, reference, {200, 201, 202}, push=True, content_type=manifest.media_type
        )
        answer = await self.whole(ask, manifest.raw, kind="write manifests")
        told = answer.headers.get("docker-content-digest", "")
        if is_digest(told) and told != digest_of(manifest.raw, told):
            raise AnswerInvalid(f"{ask.what}: the registry stored the manifest as {told}, not as {manifest.digest}")
        return answer.headers

    async def delete_manifest(self, repository: str, reference: str) -> bool:
        """Remove a tag, or a manifest with all its tags. False where the registry says that it is not there."""
        url = self.url(repository, f"manifests/{quote(reference, safe=':')}")
        scope = Scope(repository, push=True, delete=True)
        ask = Ask("DeleteManifest", "DELETE", url, scope, self.title(repository, reference), frozenset({200, 202, 404}))
        return (await self.whole(ask, kind="delete")).status != _NOT_FOUND

    def _manifest(
        self,
        operation: str,
        method: str,
        repository: str,
        reference: str,
        accepts: set[int],
        *,
        push: bool = False,
        content_type: str = "",
    ) -> Ask:
        url = self.url(repository, f"manifests/{quote(reference, safe=':')}")
        headers = (("content-type", content_type),) if content_type else (("accept", ACCEPT),)
        what = self.title(repository, reference)
        return Ask(operation, method, url, Scope(repository, push), what, frozenset(accepts), headers)

    async def referrers(self, repository: str, digest: str) -> list[Mapping[str, Any]] | None:
        """Descriptors of the manifests that refer to `digest`; None where the registry lacks this API. Raises ListingBroken."""
        title = self.title(repository, digest)

        async def read(url: Url) -> Answer:
            ask = Ask("Referrers", "GET", url, Scope(repository), title, _REFERRERS, (("accept", OCI_INDEX),))
            return await self.whole(ask, kind="read manifests", limit=pages.PAGE_LIMIT)

        return await pages.referrers(read, self.url(repository, f"referrers/{digest}"), title)

    # Lists

    def tags(self, repository: str) -> AsyncIterator[str]:
        """All tags, as the registry writes them. Raises NotFound where there is no such repository, ListingBroken where the
        list is not whole."""
        title = self.title(repository)
        return self._names("ListTags", self.url(repository, "tags/list"), Scope(repository), "tags", title)

    def repositories(self) -> AsyncIterator[str]:
        """All repositories, from the catalog: not in the specification, but most registries have it. Raises ListingBroken."""
        first = Url(self.base.origin, "/v2/_catalog")
        return self._names("Catalog", first, Scope("", catalog=True), "repositories", self.name)

    def _names(self, operation: str, first: Url, scope: Scope, field: str, title: str) -> AsyncIterator[str]:
        async def read(url: Url) -> Answer:
            ask = Ask(operation, "GET", url, scope, title, frozenset({200}))
            return await self.whole(ask, kind="list", limit=pages.PAGE_LIMIT)

        return pages.names(read, first, field, title, operation)

    async def check(self) -> None:
        """Whether the registry answers and lets us in: what stands in the way is raised. The one request counts apart."""
        await self.whole(Ask("Ping", "GET", self.base, Scope(""), self.name, frozenset({200, 404})), kind="list")


_REFERRERS = frozenset({200, 400, 404, 405, 501})


async def patiently(operation: Callable[[], Awaitable[T]], policy: RetryPolicy) -> T:
    """As `retry.retrying`, with more patience for a registry that asks to slow down: it works, and says so."""
    throttled = RetryPolicy(policy.attempts * THROTTLE_PATIENCE, policy.base_seconds, policy.cap_seconds)
    failures = refusals = 0
    while True:
        try:
            return await operation()
        except Throttled as error:
            refusals += 1
            if refusals >= throttled.attempts:
                raise
            await asyncio.sleep(throttled.wait_seconds(refusals, error.retry_after))
        except DthError as error:
            failures += 1
            if not error.retryable or failures >= policy.attempts:
                raise
            await asyncio.sleep(policy.wait_seconds(failures, getattr(error, "retry_after", None)))


async def drop(response: Response) -> None:
    """Read a small body so that the connection lives on; else close it."""
    try:
        await response.read(ERROR_LIMIT)
    finally:
        response.close()

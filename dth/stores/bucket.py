"""One bucket behind its endpoint: signs requests, sends them, and sets right what can be set right without the caller.

Three things are corrected once per request, inside the same provider only: the region (a bucket that lives elsewhere),
the clock (RequestTimeTooSkewed), and credentials that the store refuses although others are at hand. Redirects are never
followed: a region that the store names is turned into the provider's own endpoint for it, so credentials can't be sent to
a host that an answer chose (GHSA-8mxv-9xhp-86h4).
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from dth.causes import retry_cause
from dth.errors import (
    AnswerInvalid,
    BadCredentials,
    DthError,
    KeyRefused,
    ProtocolViolation,
    RequestRefused,
    StoreError,
    TransportError,
)
from dth.model import Location
from dth.retry import RetryPolicy, retrying
from dth.stores.answers import ERROR_LIMIT, Question, Refusal, date_of, error_of, read_refusal
from dth.stores.credentials import CredentialsProvider
from dth.stores.encode import encode_key
from dth.stores.providers import AMAZON_S3, ProviderProfile, endpoint_of, origin_of, region_in
from dth.stores.sign import EMPTY_SHA256, UNSIGNED, Credentials, Header, Signer, payload_sha256
from dth.transport.base import Body, HttpClient, Origin, Response
from dth.values import value

T = TypeVar("T")
Connect = Callable[[Origin], HttpClient]

_SKEW_MAX = (
    240.0  # seconds; AWS refuses past 900, but a clock that is 4 minutes off is worth setting right when refused
)
CLOCK_SECONDS = 86_400.0
"""How far a store may move the clock of signatures. Whoever answers as the store could ask for signatures of any day."""
_CORRECTIONS_MAX = 3


@value
class Call:
    """One request to be. `key` is raw, None for the bucket itself; `query` encoded and sorted; `headers` lower-case,
    without host and signature. `repeatable` False: not sent again once its answer was lost."""

    operation: str
    method: str
    key: str | None
    query: str = ""
    headers: tuple[Header, ...] | list[Header] = ()
    body: Body = b""
    length: int | None = None
    repeatable: bool = True

    def __post_init__(self) -> None:
        if self.key == "":
            raise KeyRefused("an empty key names no object, but the bucket itself")


@value
class Door:
    """Where requests go and who signs them: one per region."""

    client: HttpClient
    signer: Signer
    host: str
    path: str  # "" in virtual addressing, else /bucket
    unsigned: bool  # UNSIGNED-PAYLOAD is accepted


class Bucket:
    """Sends calls to one bucket. Raises StoreError and TransportError, named by side, operation and object."""

    def __init__(
        self,
        location: Location,
        profile: ProviderProfile,
        credentials: CredentialsProvider,
        *,
        connect: Connect,
        retry: RetryPolicy,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.location = location
        self.profile = profile
        self.requests: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()  # by cause: exchanges that must be made again, here or by the caller
        self.server = ""  # as the last answer's header names it
        self._credentials = credentials
        self._connect = connect
        self._retry = retry
        self._sleep = sleep
        self._clients: dict[Origin, HttpClient] = {}
        self._door: Door | None = None
        self._opening = asyncio.Lock()

    @property
    def region(self) -> str:
        """The region that requests are signed for, "" before the first one where it must be discovered."""
        return self._door.signer.region if self._door else self.location.region

    @property
    def clock_offset(self) -> float:
        """Seconds by which the store's clock is ahead of this machine's, as far as it was set right; 0 where it was not."""
        return self._door.signer.offset if self._door else 0.0

    async def opens_with_the_same_keys(self, other: Bucket) -> bool:
        """Whether both are at one endpoint, for one signer: then the one can be asked to read the other. What is read
        unsigned is not."""
        mine, theirs = await self._credentials.get(), await other._credentials.get()
        if mine is None or theirs is None or await self._endpoint() != await other._endpoint():
            return False
        return (mine.access_key, mine.secret_key) == (theirs.access_key, theirs.secret_key)

    async def _endpoint(self) -> tuple[str, Origin, str]:
        door = self._door or await self._open()
        region = door.signer.region
        return self.profile.name, origin_of(endpoint_of(self.profile, self.location.endpoint, region)), region

    async def place(self) -> str:
        """See `S3Store.place`."""
        door = self._door or await self._open()
        region = door.signer.region
        return f"{self.profile.name} at {endpoint_of(self.profile, self.location.endpoint, region)}, region {region}"

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.close()

    async def call(self, call: Call, read: Callable[[Response], Awaitable[T]]) -> T:
        """What `read` makes of the 2xx answer. Sending and reading are repeated together while the errors are retryable,
        unless the body is streamed, which can be sent once only."""
        if not isinstance(call.body, bytes):
            try:
                return await read(await self._send(call))
            except (TransportError, StoreError) as exc:
                self.asked_again(exc)
                raise

        async def once() -> T:
            try:
                return await read(await self._send(call))
            except TransportError as exc:
                if exc.sent and not call.repeatable:
                    exc.retryable = False
                self.asked_again(exc)
                raise self._named(call, exc) from exc
            except StoreError as exc:
                if not call.repeatable and (exc.status in {502, 504} or isinstance(exc, AnswerInvalid)):
                    exc.retryable = False  # a gateway's is a lost answer, and nonsense is none
                self.asked_again(exc)
                raise

        return await retrying(once, self._retry, sleep=self._sleep)

    def asked_again(self, error: DthError) -> None:
        """Count an exchange that failed, where it will be made again: here, or by the caller."""
        if error.retryable:
            self.retries[retry_cause(error)] += 1

    def question(self, call: Call) -> Question:
        """What `call` asks, for errors."""
        target = f"s3://{self.location.bucket}/{call.key}" if call.key is not None else f"s3://{self.location.bucket}"
        return Question(self.location.side.value, call.operation, target, head=call.method == "HEAD")

    async def _send(self, call: Call) -> Response:
        """The head of a 2xx answer, after at most three corrections."""
        for corrections_left in range(_CORRECTIONS_MAX, -1, -1):
            door, credentials = await self.ready()
            response = await self._exchange(door, call, credentials)
            if 200 <= response.status < 300:  # noqa: PLR2004 - statuses are their own names
                return response
            refusal = await self._refusal(call, response)
            error = error_of(self.question(call), refusal)
            if not corrections_left or not await self._corrected(door, refusal, response, credentials, error):
                raise error
            if not isinstance(call.body, bytes):
                error.retryable = True  # the caller's next try, with a new stream, goes right
                raise error
            self.retries["corrected"] += 1
        raise AssertionError("unreachable")

    async def _exchange(self, door: Door, call: Call, credentials: Credentials | None) -> Response:
        body = call.body
        if not isinstance(body, bytes):
            if not door.unsigned:
                raise RequestRefused(
                    f"{self.location.side.value}: {call.operation}: this store wants the hash of a body before the body on "
                    "plain HTTP, so a stream cannot be sent; use https or buffer it"
                )
            payload_hash = UNSIGNED
        elif body and not door.unsigned:
            payload_hash = (
                payload_sha256(body) if len(body) < 1 << 20 else await asyncio.to_thread(payload_sha256, body)
            )
        else:
            payload_hash = UNSIGNED if body else EMPTY_SHA256
        target, names, values = self.signed(door, call, payload_hash, credentials)
        headers = list(zip(names, values, strict=True))
        response = await door.client.send(call.method, target, headers, body, call.length)
        self.server = response.headers.get("server", "")
        return response

    def signed(
        self, door: Door, call: Call, payload_hash: str, credentials: Credentials | None
    ) -> tuple[str, tuple[str, ...], Sequence[str]]:
        """The request's target, and the names and values of all its headers. It counts as sent."""
        path, target = self.target(door, call)
        names, values = self.asked(door, call)
        self.requests[call.operation] += 1
        return target, *door.signer.sign(call.method, path, call.query, names, values, payload_hash, credentials)

    def target(self, door: Door, call: Call) -> tuple[str, str]:
        """The path that is signed, and the target that is sent."""
        path = (door.path if call.key is None else f"{door.path}/{encode_key(call.key)}") or "/"
        return path, f"{path}?{call.query}" if call.query else path

    def asked(self, door: Door, call: Call) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names and values of the headers before they are signed."""
        names, values = zip(("host", door.host), *call.headers, strict=True)
        if self.location.request_payer:
            names, values = (*names, "x-amz-request-payer"), (*values, "requester")
        return names, values

    async def ready(self) -> tuple[Door, Credentials | None]:
        """Where the next request goes, and who signs it."""
        return self._door or await self._open(), await self._credentials.get()

    async def _refusal(self, call: Call, response: Response) -> Refusal:
        try:
            body = await response.read(ERROR_LIMIT)
        except ProtocolViolation:
            body = b""  # longer than any error: the status alone speaks
        if call.method == "HEAD":
            body = b""
        return read_refusal(response.status, response.headers, body)

    async def _corrected(
        self, door: Door, refusal: Refusal, response: Response, credentials: Credentials | None, error: StoreError
    ) -> bool:
        """Whether something was set right, so that the same request may succeed now."""
        if refusal.region and refusal.region != door.signer.region and refusal.status in {301, 307, 308, 400, 403}:
            return self._move(door, refusal.region)
        if refusal.status not in {400, 401, 403}:
            return False
        theirs = date_of(response.headers)
        skew = 0.0 if theirs is None else theirs - door.signer.now()
        if abs(skew) > _SKEW_MAX and abs(door.signer.offset + skew) <= CLOCK_SECONDS:
            door.signer.offset += skew
            return True
        refused = isinstance(error, BadCredentials) or (
            not refusal.code and credentials is not None and credentials.session_token is not None
        )
        return refused and await self._credentials.renew(credentials) != credentials

    def _move(self, door: Door, region: str) -> bool:
        """Sign for the region from now on; False where somebody already did and it did not help."""
        if self._door is door:
            self._door = self._door_to(region)
            self._door.signer.offset = door.signer.offset
        return True

    async def _open(self) -> Door:
        async with self._opening:
            if self._door is None:
                location, profile = self.location, self.profile
                region = location.region or region_in(profile, location.endpoint or "")
                if not region and profile.name == AMAZON_S3 and not location.endpoint:
                    region = await self._discover()
                self._door = self._door_to(region or profile.default_region)
            return self._door

    async def _discover(self) -> str:
        """The bucket's region as AWS tells everybody who asks, signed or not, in the header of an answer to HeadBucket,
        whatever its status. The ambient region where it does not tell."""
        guess = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or self.profile.default_region
        door = self._door_to(guess)
        call = Call("HeadBucket", "HEAD", None)
        response = await self._exchange(door, call, None)
        response.close()
        return response.headers.get("x-amz-bucket-region") or guess

    def _door_to(self, region: str) -> Door:
        location, profile = self.location, self.profile
        endpoint = endpoint_of(profile, location.endpoint, region)
        if location.endpoint and profile.name == AMAZON_S3 and region_in(profile, endpoint) not in {"", region}:
            endpoint = endpoint_of(profile, "", region)  # the endpoint of another region of the same provider
        origin = origin_of(endpoint)
        addressing = location.addressing or profile.addressing
        if (
            origin.scheme == "https"
            and profile.name == AMAZON_S3
            and "." in location.bucket
            and not location.addressing
        ):
            addressing = "path"  # the certificate's wildcard covers one label
        if addressing == "virtual":
            origin = Origin(origin.scheme, f"{location.bucket}.{origin.host}", origin.port)
        if origin not in self._clients:
            self._clients[origin] = self._connect(origin)
        return Door(
            client=self._clients[origin],
            signer=Signer(region),
            host=_host_header(origin),
            path="" if addressing == "virtual" else f"/{location.bucket}",
            unsigned=origin.scheme == "https" or profile.unsigned_over_http,
        )

    def _named(self, call: Call, error: TransportError) -> TransportError:
        """The transport's error with what was asked put before its words; same kind, same meaning."""
        question = self.question(call)
        named = type(error)(f"{question.side}: {question.operation} {question.target}: {error}", sent=error.sent)
        named.retryable = error.retryable
        return named


def _host_header(origin: Origin) -> str:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    default = 443 if origin.scheme == "https" else 80
    return host if origin.port == default else f"{host}:{origin.port}"

"""A client that answers from a list, and a store over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dth.errors import DthError, ProtocolViolation
from dth.model import Location
from dth.retry import RetryPolicy
from dth.states import Side
from dth.stores.credentials import Anonymous, CredentialsProvider, fixed
from dth.stores.providers import PROFILES, ProviderProfile
from dth.stores.s3 import S3Store
from dth.stores.sign import Credentials
from dth.transport.base import Body, Origin

KEYS = Credentials("AKIA", "secret")
LOCATION = Location(Side.SOURCE, "", "http://127.0.0.1:1", "us-east-1", "bucket", "", "", "", "")


@dataclass
class FakeAnswer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False

    @property
    def length(self) -> int | None:
        return int(self.headers["content-length"]) if "content-length" in self.headers else None

    async def read(self, limit: int) -> bytes:
        self.ended = True
        if len(self.body) > limit:
            raise ProtocolViolation("too long")
        return self.body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.body), 4):
            yield self.body[start : start + 4]
        self.ended = True

    def close(self) -> None:
        self.ended = True


@dataclass(frozen=True)
class Sent:
    origin: Origin
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answers = Iterable[FakeAnswer | DthError] | Callable[[Sent], FakeAnswer | DthError]


class FakeNet:
    """What all clients of a store share: requests seen, answers to come (an error among them is raised)."""

    def __init__(self, answers: Answers) -> None:
        self.sent: list[Sent] = []
        self.given: list[FakeAnswer] = []
        self.closed: list[Origin] = []
        self._answer = answers if callable(answers) else self._next(iter(answers))

    @staticmethod
    def _next(answers: Iterable[FakeAnswer | DthError]) -> Callable[[Sent], FakeAnswer | DthError]:
        left = iter(answers)
        return lambda _: next(left)

    def connect(self, origin: Origin) -> FakeClient:
        return FakeClient(self, origin)

    async def answer(self, sent: Sent) -> FakeAnswer:
        await asyncio.sleep(0)
        self.sent.append(sent)
        answer = self._answer(sent)
        if isinstance(answer, DthError):
            raise answer
        if sent.method == "HEAD":
            answer = FakeAnswer(answer.status, answer.headers)
        self.given.append(answer)
        return answer


@dataclass
class FakeClient:
    net: FakeNet
    origin: Origin

    async def send(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: Body = b"", length: int | None = None
    ) -> FakeAnswer:
        names = [name for name, _ in headers]
        assert len(set(names)) == len(names), f"a header twice: {names}"
        if not isinstance(body, bytes):
            body = b"".join([bytes(chunk) async for chunk in body])
        return await self.net.answer(Sent(self.origin, method, target, dict(headers), body))

    async def close(self) -> None:
        self.net.closed.append(self.origin)


def fake_store(
    answers: Answers,
    *,
    profile: ProviderProfile | str = "Ceph_RGW",
    credentials: CredentialsProvider | None = None,
    anonymous: bool = False,
    attempts: int = 3,
    **location: str | bool,
) -> tuple[S3Store, FakeNet]:
    net = FakeNet(answers)
    store = S3Store(
        replace(LOCATION, **location),  # type: ignore[arg-type]
        PROFILES[profile] if isinstance(profile, str) else profile,
        credentials or (Anonymous() if anonymous else fixed(KEYS)),
        connect=net.connect,
        retry=RetryPolicy(attempts, 0.0, 0.0),
    )
    return store, net


def error(status: int, code: str, extra: str = "", **headers: str) -> FakeAnswer:
    body = f"<Error><Code>{code}</Code><Message>m</Message>{extra}</Error>" if code else ""
    return FakeAnswer(status, {name.replace("_", "-"): text for name, text in headers.items()}, body.encode())


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk

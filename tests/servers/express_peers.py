"""Two S3 peers in memory, and transports to them that deliver answers in any pieces and break off at any byte."""

import asyncio
import hashlib
import itertools
from base64 import b64encode
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from dth.transport.connection import Connection

Answered = tuple[bytes, int | None]
"""The answer's bytes, and after how many of them the connection breaks (None: not at all)."""
Fault = Callable[[str, bytes], Answered | None]
"""From a method and the right answer to another one; None: the right one."""


def answer(status: str, headers: dict[str, str], body: bytes = b"", *, length: int | None = None) -> bytes:
    """An answer as bytes, with the length of its body unless another one is given."""
    named = {**headers, "Content-Length": str(len(body) if length is None else length)}
    lines = "".join([f"{name}: {text}\r\n" for name, text in named.items()])
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


@dataclass
class Peer:
    """A bucket of one object at most. `cuts` are where answers are cut into pieces."""

    objects: dict[str, tuple[bytes, str]] = field(default_factory=dict)  # key -> bytes, content type
    requests: list[str] = field(default_factory=list)
    fault: Fault | None = None
    cuts: tuple[int, ...] = ()

    def answer(self, head: str, body: bytes) -> Answered:
        method, target, _ = head.split("\r\n", maxsplit=1)[0].split(" ")
        self.requests.append(method)
        key = target.partition("?")[0].split("/", 2)[2]
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        right = self._right(method, key, headers, body)
        return (self.fault and self.fault(method, right)) or (right, None)

    def _right(self, method: str, key: str, headers: dict[str, str], body: bytes) -> bytes:
        if method == "PUT":
            md5 = hashlib.md5(body)
            if headers.get("content-md5", "").lower() not in {"", b64encode(md5.digest()).decode().lower()}:
                return answer("400 Bad Request", {}, b"<Error><Code>BadDigest</Code></Error>")
            self.objects[key] = body, headers.get("content-type", "")
            return answer("200 OK", {"ETag": f'"{md5.hexdigest()}"'})
        if key not in self.objects:
            return answer("404 Not Found", {}, b"" if method == "HEAD" else b"<Error><Code>NoSuchKey</Code></Error>")
        data, content_type = self.objects[key]
        said = {"ETag": f'"{hashlib.md5(data).hexdigest()}"', "Content-Type": content_type}
        whole = answer("200 OK", said, data)
        return whole[: -len(data)] if method == "HEAD" and data else whole


class Wire:
    """An asyncio transport whose other end is a Peer."""

    def __init__(self, peer: Peer, protocol: Connection) -> None:
        self._peer = peer
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # of who opened it, as uvloop does
        self._sent = b""
        self._closed = False

    def write(self, data: bytes) -> None:
        self._sent += bytes(data)
        end = self._sent.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._sent[:end].decode()
        length = next((int(x.split(":")[1]) for x in head.split("\r\n") if x.startswith("content-length")), 0)
        if len(self._sent) < end + 4 + length:
            return
        body, self._sent = self._sent[end + 4 :], b""
        said, breaks_at = self._peer.answer(head, body)
        heard = said if breaks_at is None else said[:breaks_at]
        edges = [0, *sorted({cut for cut in self._peer.cuts if 0 < cut < len(heard)}), len(heard)]
        for start, stop in itertools.pairwise(edges):
            if stop > start:
                self._loop.call_soon(self._deliver, heard[start:stop], context=self._context)
        if breaks_at is not None:
            self._loop.call_soon(self._lose, ConnectionResetError("reset"), context=self._context)

    def _deliver(self, piece: bytes) -> None:
        if not self._closed:
            self._protocol.data_received(piece)

    def _lose(self, error: Exception | None) -> None:
        if not self._closed:
            self._closed = True
            self._protocol.connection_lost(error)

    def abort(self) -> None:
        self._loop.call_soon(self._lose, None)

    def is_closing(self) -> bool:
        return self._closed

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int, low: int) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def connecting(peers: dict[str, Peer]) -> Callable[..., Any]:
    """Stands for `transport.connect.connect`: peers by the origin's host."""

    async def connect(origin: Any, make: Callable[[], Connection], *_: Any) -> Connection:
        protocol = make()
        protocol.connection_made(Wire(peers[origin.host], protocol))  # type: ignore[arg-type]
        return protocol

    return connect

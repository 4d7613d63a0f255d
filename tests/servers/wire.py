"""HTTP for servers of our own: a request in, an answer out, one thread per connection, faults where an answer says so.

The standard library's server, not dth's transport: what tests dth must not share its mistakes.
"""

import contextlib
import http.server
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, unquote_plus

CHUNK = 1 << 18


@dataclass(slots=True)
class Request:
    """One request. `target` is as it came; `bucket`, `key` and `query` are decoded; header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    length: int
    _read: Callable[[int], bytes]
    _left: int = 0

    def __post_init__(self) -> None:
        self._left = self.length

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def bucket(self) -> str:
        return unquote(self.path[1:].partition("/")[0])

    @property
    def key(self) -> str:
        return unquote(self.path[1:].partition("/")[2], errors="surrogateescape")

    @property
    def query(self) -> dict[str, str]:
        pairs = (pair.partition("=") for pair in self.target.partition("?")[2].split("&") if pair)
        return {unquote_plus(n): unquote_plus(v, errors="surrogateescape") for n, _, v in pairs}

    def chunks(self) -> Iterator[bytes]:
        """The body, once. Raises ConnectionError if the client ends early."""
        while self._left:
            data = self._read(min(self._left, CHUNK))
            if not data:
                raise ConnectionError("the client ended early")
            self._left -= len(data)
            yield data

    def body(self) -> bytes:
        return b"".join(self.chunks())


@dataclass(slots=True)
class Answer:
    """What is said. `length` is declared where it isn't the body's own; after `cut` bytes of body the connection is
    closed (reset, if `reset`); -1 cuts before the head: the client hears nothing. `delay` is in seconds."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    cut: int | None = None
    reset: bool = False
    delay: float = 0.0


def xml(body: str, status: int = 200, **headers: str) -> Answer:
    """An XML document."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode("utf-8", "surrogateescape")
    return Answer(status, text, {"Content-Type": "application/xml", **headers})


def error(status: int, code: str, message: str = "", **headers: str) -> Answer:
    """An error as S3 says it."""
    return xml(f"<Error><Code>{code}</Code><Message>{message or code}</Message></Error>", status, **headers)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _handle(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = int(headers.get("content-length", "0"))
        target = self.requestline.split(" ")[1]  # self.path has its leading slashes folded
        request = Request(self.command, target, headers, length, self.rfile.read)
        answer = self.server.respond(request)
        if answer.delay:
            self.server.stopping.wait(answer.delay)
        if answer.cut == -1:
            self._end(answer)
            return
        self._say(answer)
        for _ in request.chunks():  # what the answer didn't care about
            pass

    def _say(self, answer: Answer) -> None:
        body = [answer.body] if isinstance(answer.body, bytes) else answer.body
        length = answer.length
        if length is None:
            assert isinstance(answer.body, bytes), "a streamed body needs its length"
            length = len(answer.body)
        self.send_response(answer.status, HTTPStatus(answer.status).phrase)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status not in {204, 304}:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        room = answer.cut
        for data in body if self.command != "HEAD" else ():
            self.wfile.write(data if room is None else data[:room])
            if room is not None:
                room -= len(data)
                if room <= 0:
                    break
        self.wfile.flush()
        if answer.cut is not None:
            self._end(answer)

    def _end(self, answer: Answer) -> None:
        self.close_connection = True
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - the base's names


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 256
    daemon_threads = False  # so that closing joins them

    def __init__(self, respond: Callable[[Request], Answer]) -> None:
        self.respond = respond
        self.stopping = threading.Event()
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)


class HttpServer:
    """`respond` behind a free port on loopback, in threads of its own, while the `with` block runs.

    `respond` is called from many threads at once.
    """

    def __init__(self, respond: Callable[[Request], Answer]) -> None:
        self._server = _Server(respond)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.port: int = self._server.server_address[1]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "HttpServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stopping.set()
        self._server.shutdown()
        self._thread.join()
        for connection in list(self._server.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()


def http_date(seconds: float | None = None) -> str:
    """As in Last-Modified."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))

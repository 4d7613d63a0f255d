"""A front of a store that refuses, or slows down, what a test says."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.servers.s3server import S3Server

SLOW_DOWN = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>not so fast</Message></Error>'
REFUSAL = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>not this one</Message></Error>'


class Refusing:
    """Stands before a store, refuses to hand out some keys or to tell of others, and asks to slow down so many times."""

    def __init__(self, server: S3Server) -> None:
        self.keys: set[str] = set()
        self.heads: set[str] = set()
        self.slow = 0
        where = urlsplit(server.endpoint)
        refusing = self

        class Front(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if refusal := refusing.refusal(self.command, unquote(urlsplit(self.path).path)):
                    status, text = refusal
                    self._send(status, [("Content-Type", "application/xml")], text)
                    return
                connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
                try:
                    connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        connection.putheader(name, value)
                    connection.endheaders(body)
                    answer = connection.getresponse()
                    self._send(answer.status, answer.getheaders(), answer.read())
                finally:
                    connection.close()

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

            def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                        self.send_header(name, value)
                length = len(body)
                if self.command == "HEAD":
                    length = int(dict(headers).get("Content-Length", "0"))
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def refusal(self, method: str, path: str) -> tuple[int, bytes] | None:
        """Status and body of what is refused."""
        key = path.partition("/")[2].partition("/")[2]
        if method == "GET" and key in self.keys:
            return 403, REFUSAL
        if method == "HEAD" and key in self.heads:
            return 403, b""
        if method == "GET" and key and self.slow > 0:
            self.slow -= 1
            return 503, SLOW_DOWN
        return None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

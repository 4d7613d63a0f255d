"""A proxy before SQS and DynamoDB that records what is asked, and what DynamoDB would bill for it."""

import http.client
import json
import math
import threading
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class AwsRecorder:
    """Used in a `with` block. `requests` counts operations (`AmazonSQS.SendMessageBatch`, `DynamoDB_20120810.Query`);
    `given_back` counts messages that became visible at once because their worker said so.

    A write unit is 1 KB or a part of it, of the item that is put, or of the small one that is updated or deleted; within
    a transaction it counts twice. A write whose condition fails costs the same, so answers don't matter.
    """

    def __init__(self, endpoint: str) -> None:
        self._target = urlsplit(endpoint)
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.write_units = 0
        self.given_back = 0
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                recorder._serve(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "AwsRecorder":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, queue_url: str) -> str:
        """The queue's URL, through here."""
        return self.endpoint + urlsplit(queue_url).path

    def count(self, service: str) -> int:
        """Requests to `AmazonSQS` or `DynamoDB`."""
        return sum(count for name, count in self.requests.items() if name.startswith(service))

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        target = handler.headers.get("X-Amz-Target", "?")
        with self._lock:
            self.requests[target] += 1
            asked = json.loads(body or b"{}")
            self.write_units += units(target.rpartition(".")[2], asked)
            changes = asked.get("Entries", [asked]) if "ChangeMessageVisibility" in target else []
            self.given_back += sum(change["VisibilityTimeout"] == 0 for change in changes)
        connection = http.client.HTTPConnection(self._target.hostname or "", self._target.port, timeout=60)
        try:
            headers = {name: value for name, value in handler.headers.items() if name.lower() != "connection"}
            connection.request("POST", handler.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            handler.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"connection", "transfer-encoding", "content-length", "date", "server"}:
                    handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)
        except OSError:
            handler.close_connection = True
        finally:
            connection.close()


def units(operation: str, request: Mapping[str, Any]) -> int:
    """Write units of one request."""
    if operation == "TransactWriteItems":
        return sum(2 * _item_units(each) for entry in request["TransactItems"] for each in entry.values())
    return _item_units(request) if operation in {"PutItem", "UpdateItem", "DeleteItem"} else 0


def _item_units(write: Mapping[str, Any]) -> int:
    item = write.get("Item", {})
    return max(1, math.ceil(sum(len(name) + _size(value) for name, value in item.items()) / 1024))


def _size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "L":
        return 3 + sum(1 + _size(each) for each in content)
    if kind == "SS":
        return sum(map(len, content))
    return len(content) * 3 // 4 if kind == "B" else len(str(content).encode())

"""An emulator that enforces IAM, users with policies of their own, and a proxy that records what was asked and refused."""

import contextlib
import http.client
import itertools
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from . import ministack

_numbers = itertools.count(1)


_SERVICES = {"AmazonSQS": "sqs", "DynamoDB": "dynamodb", "AmazonEC2ContainerRegistry": "ecr"}
_KEPT = (
    "x-amz-target", "content-type", "x-amz-acl", "x-amz-tagging", "x-amz-copy-source", "x-amz-server-side-encryption",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A request, without who asked. `body` is "" for those of S3: who may ask is decided without it."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: str

    @property
    def target(self) -> str:
        """`AmazonSQS.SendMessage`; "" for S3."""
        return dict(self.headers).get("x-amz-target", "")

    def kind(self) -> tuple[object, ...]:
        """Equal for requests that need the same permission: operation and resource, without what they carry."""
        if self.target:
            fields = json.loads(self.body)
            return self.target, fields.get("QueueUrl"), fields.get("TableName")
        parts = urlsplit(self.path)
        if parts.path.startswith("/v2/"):
            return self.method, parts.path
        names = frozenset(name for name, _ in parse_qsl(parts.query, keep_blank_values=True))
        return self.method, parts.path.split("/")[1], "/" in parts.path[1:], names, self.headers

    @property
    def service(self) -> str:
        """`sqs`, `dynamodb`, `ecr` or `s3`."""
        return _SERVICES.get(self.target.split(".")[0].split("_")[0], "s3")

    def send(self, endpoint: str, environment: Mapping[str, str]) -> bool:
        """Ask again as somebody else; whether that was refused."""
        service = self.service
        keys = Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        request = AWSRequest(self.method, endpoint + self.path, dict(self.headers), self.body.encode())
        sign = S3SigV4Auth if service == "s3" else SigV4Auth
        sign(keys, service, environment["AWS_REGION"]).add_auth(request)
        parts = urlsplit(endpoint)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        try:
            connection.request(self.method, self.path, self.body.encode(), dict(request.headers.items()))
            answer = connection.getresponse()
            content = answer.read()
            return answer.status == http.HTTPStatus.FORBIDDEN or b"AccessDenied" in content[:500]
        finally:
            connection.close()


def one_of_each(asked: Iterable[Asked]) -> list[Asked]:
    """The first request of each kind."""
    found: dict[tuple[object, ...], Asked] = {}
    for one in asked:
        found.setdefault(one.kind(), one)
    return list(found.values())


class Refusals:
    """Used in a `with` block: a proxy before the emulator. `asked` holds every request. `refused` holds `METHOD path` or the
    operation of each that was answered with 403, with the action that the answer names, where it names one."""

    def __init__(self, endpoint: str) -> None:
        target = urlsplit(endpoint)
        refused: list[str] = []
        asked: list[Asked] = []
        self.refused, self.asked = refused, asked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                kept = tuple((name, self.headers[name]) for name in _KEPT if name in self.headers)
                asked.append(
                    Asked(self.command, self.path, kept, body.decode() if "x-amz-target" in self.headers else "")
                )
                connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
                try:
                    headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                    connection.request(self.command, self.path, body, headers)
                    answer = connection.getresponse()
                    content = answer.read()
                    if answer.status == http.HTTPStatus.FORBIDDEN or b"AccessDenied" in content[:500]:
                        what = self.headers.get("X-Amz-Target", f"{self.command} {self.path}")
                        refused.append(f"{what}: {content[:400].decode(errors='replace')}")
                    self.send_response(answer.status)
                    for name, value in answer.getheaders():
                        if name.lower() not in {"connection", "transfer-encoding", "date", "server"}:
                            self.send_header(name, value)
                    if answer.getheader("Content-Length") is None:
                        self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True
                finally:
                    connection.close()

            do_GET = do_PUT = do_POST = do_PATCH = do_HEAD = do_DELETE = _pass  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Refusals":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Guarded:
    """The emulator. Root may do everything."""

    endpoint: str
    _clients: dict[str, Any] = field(default_factory=dict)

    def root(self, service: str) -> Any:
        """A client that may do everything; one for each service."""
        if service not in self._clients:
            self._clients[service] = boto3.session.Session().client(
                service,
                endpoint_url=self.endpoint,
                region_name=ministack.REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
        return self._clients[service]

    @contextlib.contextmanager
    def user(self, *policies: dict[str, Any]) -> Iterator[dict[str, str]]:
        """The environment of a new user who may do what the policies say, and nothing else."""
        iam, name = self.root("iam"), f"user-{next(_numbers)}"
        iam.create_user(UserName=name)
        for number, document in enumerate(policies):
            iam.put_user_policy(UserName=name, PolicyName=f"p{number}", PolicyDocument=json.dumps(document))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        yield {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_REGION": ministack.REGION,
            "AWS_DEFAULT_REGION": ministack.REGION,
        }

    def close(self) -> None:
        """Close the clients."""
        for client in self._clients.values():
            client.close()


@contextlib.contextmanager
def started(*, wait_scale: float = 0.02) -> Iterator[Guarded]:
    """One of its own."""
    running = ministack.start(auth=True, wait_scale=wait_scale)
    guarded = Guarded(running.endpoint)
    try:
        yield guarded
    finally:
        guarded.close()
        running.stop()

"""SQS and DynamoDB for tests: moto in this process, or ministack; queues and tables of their own for each test."""

import importlib.util
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from aiobotocore.session import AioSession
from botocore.loaders import create_loader

from dth.ledgers.dynamodb_setup import make_table
from dth.queues.sqs_setup import make_queue

from . import ministack

REGION = "us-east-1"
_numbers = itertools.count(1)
_session = secrets.token_hex(3)


@dataclass(frozen=True, slots=True)
class Aws:
    """Where the services are. `put_forward` lets their time pass, where that is possible."""

    kind: str
    endpoint: str
    put_forward: Callable[[float], None] | None = None

    def environment(self) -> dict[str, str]:
        """What a command needs to find them."""
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    @contextmanager
    def ambient(self) -> Iterator[None]:
        """This process's environment points to it."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment().items():
                patch.setenv(name, value)
            patch.setattr("aiobotocore.session.get_session", session_with_known_models)
            yield

    def client(self, service: str) -> Any:
        """A boto3 client, to be closed by its user."""
        return boto3.session.Session().client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


_models = create_loader()


def session_with_known_models() -> AioSession:
    """Each session reads the services' models anew, which takes longer than most tests."""
    session = AioSession()
    session.register_component("data_loader", _models)
    return session


def missing() -> str:
    """Why moto cannot run here; "" if it can."""
    return "" if importlib.util.find_spec("moto") else "moto is not installed (pip: moto[server])"


def new_name(label: str = "t") -> str:
    """A name that no test had before."""
    return f"{label}-{_session}-{next(_numbers)}"


async def queue_url(*, lease_seconds: float = 30, receive_limit: int = 20) -> str:
    """A new queue with its dead-letter queue, where the environment points to."""
    return (await make_queue(new_name(), lease_seconds=lease_seconds, receive_limit=receive_limit))[0]


async def table_name() -> str:
    """A new table, where the environment points to."""
    name = new_name()
    await make_table(name)
    return name


@contextmanager
def started_moto() -> Iterator[Aws]:
    """moto on threads of this process. Its backends are the process's."""
    import moto.sqs.models
    from moto.dynamodb.responses import DynamoHandler
    from moto.server import ThreadedMotoServer
    from moto.sqs.responses import SQSResponse

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    began, ticks = time.time() * 1000, itertools.count()  # it asks hundreds of times a request, and time must not stand
    ahead = 0.0
    one_request = threading.Lock()

    def put_forward(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    def serialised(handler: type) -> Callable[[Any], Any]:
        answer = handler.call_action  # type: ignore[attr-defined]

        def call_action(self: Any) -> Any:
            with one_request:
                return answer(self)

        return call_action

    def wait_for_messages(_queue: Any, _seconds: int) -> None:
        one_request.release()
        time.sleep(0.05)
        one_request.acquire()

    with pytest.MonkeyPatch.context() as patch:
        # Its backends bear no threads: a failed transaction, for one, puts all tables back, whatever others wrote.
        for handler in (DynamoHandler, SQSResponse):
            patch.setattr(handler, "call_action", serialised(handler))
        patch.setattr(moto.sqs.models.Queue, "wait_for_messages", wait_for_messages)
        # It takes up to a second for a receive, so leases end by `put_forward` alone.
        patch.setattr(moto.sqs.models, "unix_time_millis", lambda: began + next(ticks) / 1000 + 1000 * ahead)
        server.start()
        try:
            host, port = server.get_host_and_port()
            yield Aws("moto", f"http://{host}:{port}", put_forward)
        finally:
            server.stop()


@contextmanager
def started_ministack() -> Iterator[Aws]:
    """ministack in a process of its own."""
    running = ministack.start()
    try:
        yield Aws("ministack", running.endpoint)
    finally:
        running.stop()

"""The AWS services that a fleet stands on, emulated: SQS and DynamoDB by ministack, in an environment of its own."""

import contextlib
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

from tests.servers import ministack

QUEUE = "bench"


def missing() -> str:
    """Why they cannot run here; "" if they can."""
    return "" if ministack.program() else "ministack is not installed (make build/services.installed)"


@contextlib.contextmanager
def services() -> Iterator[str]:
    """Their URL, until the block ends."""
    running = ministack.start()
    try:
        yield running.endpoint
    finally:
        running.stop()


def environment(url: str) -> dict[str, str]:
    """By which dth finds them."""
    return {"AWS_ENDPOINT_URL_SQS": url, "AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_REGION": "us-east-1"}


def prepare(url: str) -> None:
    """Empty services with a queue and a table as `dth init` makes them; nobody's cost."""
    urllib.request.urlopen(urllib.request.Request(f"{url}/_ministack/reset", method="POST"), timeout=60).close()
    keys = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "benchsecret"}
    command = [sys.executable, "-m", "dth", "init", QUEUE]
    subprocess.run(command, env=environment(url) | keys, check=True, capture_output=True)

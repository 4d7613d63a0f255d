"""Makes and removes the queue of a fleet: a standard queue whose messages move to a dead-letter queue in the end."""

from __future__ import annotations

import json
import re
from contextlib import AsyncExitStack

from dth.aws import Refused, Service, queue_place
from dth.errors import QueueError
from dth.queues.sqs import DEAD_SUFFIX

RETENTION_SECONDS = 1_209_600  # 14 days, the most
MESSAGE_BYTES = 262_144  # every region takes it; 1 MiB is not offered everywhere
_GONE = ("NonExistentQueue", "QueueDoesNotExist")


async def make_queue(queue: str, *, lease_seconds: float, receive_limit: int) -> tuple[str, str]:
    """The URLs of the queue and of its dead-letter queue, called like it with `-dead`, made where they are not there yet. One
    that is there keeps its own settings, but gets the redrive policy. `queue` is a name, or a URL or ARN that has one."""
    async with AsyncExitStack() as stack:
        service, name = await _open(queue, stack)
        dead_url = await _make(service, name + DEAD_SUFFIX, {})
        answer = await service.call("get_queue_attributes", QueueUrl=dead_url, AttributeNames=["QueueArn"])
        policy = {"deadLetterTargetArn": answer["Attributes"]["QueueArn"], "maxReceiveCount": receive_limit}
        url = await _make(service, name, {"VisibilityTimeout": str(int(lease_seconds))})
        await service.call("set_queue_attributes", QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)})
        return url, dead_url


async def delete_queue(queue: str) -> tuple[str, str]:
    """Remove both queues with all their messages; the URLs of those that were there, else ""."""
    async with AsyncExitStack() as stack:
        service, name = await _open(queue, stack)
        url, dead_url = [await _find(service, each) for each in (name, name + DEAD_SUFFIX)]
        for each in filter(None, (url, dead_url)):
            await service.call("delete_queue", QueueUrl=each)
        return url, dead_url


async def _open(queue: str, stack: AsyncExitStack) -> tuple[Service, str]:
    """A client where the queue is, and its name."""
    endpoint, region = queue_place(queue)
    service = await Service.open("sqs", f"queue {queue}", region=region, endpoint=endpoint, error=QueueError)
    stack.push_async_callback(service.close)
    return service, re.split("[/:]", queue)[-1]


async def _find(service: Service, name: str) -> str:
    try:
        return str((await service.call("get_queue_url", expected=_GONE, QueueName=name))["QueueUrl"])
    except Refused:
        return ""


async def _make(service: Service, name: str, attributes: dict[str, str]) -> str:
    """An existing queue is left as it is: creating it with other attributes would be refused."""
    if url := await _find(service, name):
        return url
    common = {
        "MessageRetentionPeriod": str(RETENTION_SECONDS),
        "MaximumMessageSize": str(MESSAGE_BYTES),
        "ReceiveMessageWaitTimeSeconds": "20",
        "SqsManagedSseEnabled": "true",
    }
    answer = await service.call("create_queue", QueueName=name, Attributes={**common, **attributes})
    return str(answer["QueueUrl"])

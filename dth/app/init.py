"""`dth init`: the queue and the table of a fleet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Made:
    """What `dth init` made, or removed. Empty texts: nothing."""

    queue: str
    dead_letter_queue: str
    table: str


async def init(name: str, *, lease_seconds: float, receive_limit: int) -> Made:
    """The queue, its dead-letter queue and the table called `name`, made where they are not there."""
    from dth.ledgers.dynamodb_setup import make_table  # noqa: PLC0415 - loads the AWS client
    from dth.queues.sqs_setup import make_queue  # noqa: PLC0415

    url, dead_url = await make_queue(name, lease_seconds=lease_seconds, receive_limit=receive_limit)
    await make_table(name)
    return Made(url, dead_url, name)


async def remove(name: str) -> Made:
    """Remove them, with all messages and rows."""
    from dth.ledgers.dynamodb_setup import delete_table  # noqa: PLC0415 - loads the AWS client
    from dth.queues.sqs_setup import delete_queue  # noqa: PLC0415

    url, dead_url = await delete_queue(name)
    return Made(url, dead_url, name if await delete_table(name) else "")

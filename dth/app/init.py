"""`dth init`: the queue and the table of a fleet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Made:
    """What `dth init` made, or removed. Empty texts: nothing."""

    queue: str
    dead_letter_queue: str
    table: str


async def init(queue: str, table: str, *, lease_seconds: float, receive_limit: int) -> Made:
    """The queue, its dead-letter queue and the table, made where they are not there. Each is a name, or a URL or ARN, which
    says the region as well."""
    from dth.ledgers.dynamodb_setup import make_table  # noqa: PLC0415 - loads the AWS client
    from dth.queues.sqs_setup import make_queue  # noqa: PLC0415

    url, dead_url = await make_queue(queue, lease_seconds=lease_seconds, receive_limit=receive_limit)
    await make_table(table)
    return Made(url, dead_url, table)


async def remove(queue: str, table: str) -> Made:
    """Remove them, with all messages and rows."""
    from dth.ledgers.dynamodb_setup import delete_table  # noqa: PLC0415 - loads the AWS client
    from dth.queues.sqs_setup import delete_queue  # noqa: PLC0415

    url, dead_url = await delete_queue(queue)
    return Made(url, dead_url, table if await delete_table(table) else "")

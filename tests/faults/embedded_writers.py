"""Programs that write into one queue or ledger until they are killed, or until they are done; started as processes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from dth.ledgers.base import OutcomeRow
from dth.ledgers.sqlite import SqliteLedger
from dth.model import Counts
from dth.queues.sqlite import SqliteQueue

BATCH = 40


async def open_queue(path: Path, owner: str) -> SqliteQueue:
    return await SqliteQueue.open(path, owner=owner, lease_seconds=600, message_bytes=10_000, receive_limit=20)


def outcome(number: int, who: str) -> OutcomeRow:
    """Of message `number`, with counts that only this writer would give it."""
    return OutcomeRow(f"m{number}", "run", Counts(1, int(who), number % 7, number), who, f"by {who}")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def send_for_ever(path: Path, who: str) -> None:
    """Says each batch's name once `send` has returned."""
    queue = await open_queue(path, who)
    number = 0
    while True:
        await queue.send([f"{who}:{number}:{index}:" + "x" * 500 for index in range(BATCH)])
        say(f"{who}:{number}")
        number += 1


async def record_for_ever(path: Path, who: str) -> None:
    """Says each message's number once `record` has returned, whoever wrote the row in force."""
    ledger = await SqliteLedger.open(path)
    number = 0
    while True:
        rows = await asyncio.gather(*(ledger.record(outcome(n, who), who) for n in range(number, number + 5)))
        say("\n".join(row.message_id for row in rows))
        number += 5


async def record_all(path: Path, who: str) -> None:
    """Records 200 messages that everybody else records too; says whose row is in force, message by message."""
    ledger = await SqliteLedger.open(path)
    rows: list[OutcomeRow] = []
    for first in range(0, 200, 4):  # few at a time, so that the processes meet often
        rows += await asyncio.gather(*(ledger.record(outcome(n, who), who) for n in range(first, first + 4)))
    say(" ".join(row.bitmap for row in rows))
    await ledger.close()


async def work_all(path: Path, who: str) -> None:
    """Receives and acknowledges until the queue is empty; says what it acknowledged."""
    queue = await open_queue(path, who)
    while deliveries := await queue.receive(7, 0.2):
        await queue.ack(deliveries)
        say("\n".join(delivery.body for delivery in deliveries))
    await queue.close()


if __name__ == "__main__":
    program = {each.__name__: each for each in (send_for_ever, record_for_ever, record_all, work_all)}[sys.argv[1]]
    asyncio.run(program(Path(sys.argv[2]), sys.argv[3]))

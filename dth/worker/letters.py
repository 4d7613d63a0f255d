"""Dead letters that nobody counted: a message that killed or outlived every worker that received it.

The queue itself moves such a message away (its receive limit), without a word to the ledger; its run would never end.
"""

from __future__ import annotations

from dth.events import Emit, ObjectFailed
from dth.ledgers.base import Ledger, OutcomeRow
from dth.messages import DeleteMessage, MessageInvalid, ObjectsMessage, decode
from dth.queues.base import Queue
from dth.worker.outcomes import refused_row

LOOKED_AT = 10_000
BURIED = (
    "/dead-"  # in ids of letters that a worker wrote itself, having recorded the outcome (see `outcomes.letters_of`)
)


async def count_dead_letters(queue: Queue, ledger: Ledger, process: str, emit: Emit) -> int:
    """Record FAILED, once, for the entries of every dead letter without an outcome; how many entries that were.

    The letters stay: they are the evidence, and what a redrive would send again.
    """
    counted = 0
    for letter in await queue.dead_letters(LOOKED_AT):
        try:
            message = decode(letter.body)
        except MessageInvalid:
            continue  # foreign, or garbage: it was no run's entry
        if not isinstance(message, ObjectsMessage | DeleteMessage) or BURIED in message.message_id:
            continue
        if row := await ledger.outcome(message.message_id):
            await _send_what_remains(row, queue, ledger)
            continue
        if await ledger.run(message.run_id) is None:
            continue
        await ledger.record(refused_row(message, len(message.objects)), process)
        for entry in message.objects:
            emit(ObjectFailed(message.run_id, entry.key, "dead_letter", letter.reason, entry.attempt or 1, final=True))
        counted += len(message.objects)
    return counted


async def _send_what_remains(row: OutcomeRow, queue: Queue, ledger: Ledger) -> None:
    """A worker that recorded the message may have died before it sent the remainder; one that was sent twice finds a row."""
    if row.remainder and await ledger.outcome(decode(row.remainder).message_id) is None:
        await queue.send([row.remainder])

"""Dead letters that nobody counted: a message that killed or outlived every worker that received it.

The queue itself moves such a message away (its receive limit), without a word to the ledger; its run would never end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

from dth.events import Emit, ObjectFailed
from dth.ledgers.base import Ledger, OutcomeRow
from dth.messages import DeleteMessage, ImageMessage, Message, MessageInvalid, ObjectsMessage, PartsMessage, decode
from dth.queues.base import Queue
from dth.worker.admission import Admission
from dth.worker.breakdown import DEAD_LETTER, given_up
from dth.worker.outcomes import BURIED, refused_row

LOOKED_AT = 10_000

GiveUp = Callable[[PartsMessage, str], Awaitable[bool]]
"""Ends the shared upload that parts among the dead letters belong to, for a reason; False: look again later."""


def names_in(message: Message) -> list[tuple[str, int]]:
    """What a message's run counts of it, each with its attempt: keys, or an image; [] for parts, which never count."""
    match message:
        case ObjectsMessage() | DeleteMessage():
            return [(entry.key, entry.attempt or message.attempt) for entry in message.objects]
        case ImageMessage():
            return [(f"{message.registry}/{message.source}".lstrip("/"), message.attempt)]
        case PartsMessage():
            return []
        case _:
            assert_never(message)


async def count_dead_letters(
    queue: Queue, ledger: Ledger, process: str, emit: Emit, *, give_up: GiveUp | None = None
) -> int:
    """Record FAILED, once, for the entries of every dead letter without an outcome; how many entries that were.

    The letters stay: they are the evidence, and what a redrive would send again. Those of parts go, once `give_up` has
    ended their upload: the object itself is a letter then.
    """
    counted, admission = 0, Admission(ledger)
    for letter in await queue.dead_letters(LOOKED_AT):
        try:
            message = decode(letter.body)
        except MessageInvalid:
            continue  # foreign, or garbage: it was no run's entry
        if await admission.refusal(letter.body, message):
            continue  # whoever may write dead letters ends no entry of a run by that
        if isinstance(message, PartsMessage) and give_up and await give_up(message, letter.reason):
            await queue.forget([letter])
        names = names_in(message)
        if not names or BURIED in message.message_id:
            continue
        if row := await ledger.outcome(message.message_id):
            await _send_what_remains(row, queue, ledger, admission)
            continue
        await ledger.record(refused_row(message, len(names)), process, *given_up(message, names, letter.reason))
        for name, attempt in names:
            emit(ObjectFailed(message.run_id, name, DEAD_LETTER, letter.reason, attempt, final=True))
        counted += len(names)
    return counted


async def _send_what_remains(row: OutcomeRow, queue: Queue, ledger: Ledger, admission: Admission) -> None:
    """A worker that recorded the message may have died before it sent the remainder; one that was sent twice finds a row.
    Parts of a shared upload have rows of their own, by which `mend.Mender` sees which are lost."""
    if not row.remainder or isinstance(remainder := decode(row.remainder), PartsMessage):
        return
    if await ledger.outcome(remainder.message_id) is None:
        await queue.send(await admission.signed(row.run_id, [row.remainder]))

"""Which messages a worker believes. Asked of each before anything else is done for it.

A message says which objects to copy or to delete, so it is believed only where its run's key has signed it: then somebody
sent it who may read the ledger. What is not signed is an event of the source (a hint, see `events`) or garbage.

Runs that a version without keys opened have none. Their messages are taken without a signature for as long as a queue may
keep them, and then held to what the job's settings allow, its selection among it (`forbidden`).

Independently of the signature, every message is held to the job of its run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from dth.ledgers.base import Ledger
from dth.messages import DeleteMessage, Message, ObjectsMessage, PartsMessage
from dth.signing import is_signed, signed
from dth.states import Reason, RunState
from dth.transfer.context import Job
from dth.values import value

UNSIGNED_SECONDS = 14 * 86_400.0  # SQS's longest retention: an older run's messages are gone
_RUNS_KEPT = 1000  # of which this process remembers keys


@value
class _Known:
    """What is known of a run."""

    job_id: str
    key: bytes
    standing: bool
    started_at: float


class Admission:
    """Keys of runs, for one process: signs what it sends, and checks what it is sent."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._clock = clock
        self._runs: dict[str, _Known] = {}

    async def signed(self, run_id: str, texts: Sequence[str]) -> list[str]:
        """The messages of the run, each with its signature."""
        known = await self._known(run_id)
        return [signed(text, known.key) if known else text for text in texts]

    async def refusal(self, body: str, message: Message) -> str:
        """Why the message, which `body` decodes to, is not believed; "" where it is."""
        known = await self._known(message.run_id)
        if known is None:
            return f"the ledger knows no run {message.run_id!r}"
        if message.job_id != known.job_id:
            return f"not to be believed: run {message.run_id} is not of job {message.job_id}"
        if known.key:
            return (
                ""
                if is_signed(body, known.key)
                else "not to be believed: it asks for work and is not signed by its run"
            )
        return self._unsigned(message, known)

    async def is_unsigned(self, run_id: str) -> bool:
        """Whether messages of the run come without a signature."""
        known = await self._known(run_id)
        return known is None or not known.key

    def _unsigned(self, message: Message, known: _Known) -> str:
        if known.started_at < self._clock() - UNSIGNED_SECONDS:
            return "not to be believed: it is not signed, and its run is too old for that"
        hints = isinstance(message, ObjectsMessage) and all(one.reason is Reason.EVENT for one in message.objects)
        if known.standing and not hints:
            return "not to be believed: it is not signed, and its run has nothing but events"
        return ""

    async def _known(self, run_id: str) -> _Known | None:
        if found := self._runs.get(run_id):
            return found
        run = await self._ledger.run(run_id)
        if run is None:
            return None
        key = await self._ledger.run_key(run_id)
        if len(self._runs) >= _RUNS_KEPT:
            self._runs.pop(next(iter(self._runs)))
        known = self._runs[run_id] = _Known(run.job_id, key, run.state is RunState.STANDING, run.started_at)
        return known


def forbidden(message: ObjectsMessage | DeleteMessage | PartsMessage, job: Job, *, selected: bool) -> str:
    """Why the job's settings do not allow what the message asks for; "" where they do. `selected`: its keys must be
    selected by the job as well, because nobody has signed that they were. Pure."""
    prefix, choice = job.mapping.source_prefix, job.choice
    keys = [message.key] if isinstance(message, PartsMessage) else [entry.key for entry in message.objects]
    for key in keys:
        if not key.startswith(prefix):
            return f"not allowed: {key!r} is outside of the job's source, {prefix!r}"
        if selected and choice and not choice.takes_key(key):
            return f"not allowed: the job does not select {key!r}"
    if isinstance(message, PartsMessage) and message.dest_key != job.mapping.dest_key(message.key):
        return f"not allowed: the job does not write {message.key!r} to {message.dest_key!r}"
    if isinstance(message, DeleteMessage) and not job.deletes:
        return "not allowed: it deletes, and the job does not"
    return ""

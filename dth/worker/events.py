"""Events of the source: each makes its key true at the destination, whatever order they come in.

An event says which key to look at, never what to do: the source is asked before a delete, and again after a copy. So
two events of one key, in either order or at once, and repeated ones, end in the source's true state. Sequencers only save
work: an event that is older than one already seen is skipped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from pydantic import ValidationError

from dth.errors import ObjectChanged
from dth.ledgers.base import OutcomeRow
from dth.messages import MessageInvalid, ObjectEntry, ObjectsMessage
from dth.model import Counts, Entry, ObjectHead
from dth.multipart.look import look
from dth.queues.base import Delivery
from dth.queues.foreign import Happened, KeyEvent, events_in, sortable
from dth.states import Outcome, Reason
from dth.transfer.context import CopyContext
from dth.transfer.delete import Copy, at_source, delete_object
from dth.transfer.gone import GONE
from dth.transfer.result import Copied
from dth.transfer.single import skipped

_NOT_SELECTED = "not selected"
_LOOKS = 5  # an object that changes faster than it can be copied has later events to come


@dataclass(frozen=True, slots=True)
class EventRules:
    """Which events a worker acts on. `run_id` is the job's standing run; `takes_key` are the patterns of its selection, whose
    other rules need the object."""

    job_id: str
    run_id: str
    bucket: str
    prefix: str
    creations: bool
    removals: bool
    takes_key: Callable[[str], bool]

    def message(self, events: Sequence[KeyEvent], message_id: str) -> tuple[ObjectsMessage | None, int]:
        """What is to be done, None where it is nothing, and how many events ask for nothing: other kinds, buckets,
        prefixes, and what the job doesn't select."""
        entries = [_entry(event) for event in events if self._acts(event)]
        if not entries:
            return None, len(events)
        message = ObjectsMessage(job_id=self.job_id, run_id=self.run_id, message_id=message_id, objects=entries)
        return message, len(events) - len(entries)

    def _acts(self, event: KeyEvent) -> bool:
        if event.bucket not in {"", self.bucket} or not event.key.startswith(self.prefix):
            return False
        follows = {Happened.CREATED: self.creations, Happened.REMOVED: self.removals}
        return follows.get(event.happened, False) and self.takes_key(event.key)


FindRules = Callable[[], Awaitable[EventRules | None]]
"""Which events this worker acts on; None where it knows of no job that has any."""


@dataclass(frozen=True, slots=True)
class Meant:
    """What a foreign message means: entries, a row that counts events which ask for nothing, or why it is garbage."""

    message: ObjectsMessage | None = None
    ignored: OutcomeRow | None = None
    garbage: str = ""


async def translated(delivery: Delivery, invalid: MessageInvalid, find_rules: FindRules) -> Meant:
    """What a body means that is no message of ours, as `invalid` says."""
    try:
        events = events_in(delivery.body)
    except MessageInvalid as error:
        return Meant(garbage=str(invalid if '"kind"' in delivery.body else error))
    rules = await find_rules()
    if rules is None:
        reason = "an event, but this worker knows of no job that reads its bucket: give it the job's locations"
        return Meant(garbage=reason if events else "")
    name = message_id(delivery.name, delivery.body)
    try:
        message, ignored = rules.message(events, name)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return Meant(garbage=f"an event of an object that no store can hold: {first['loc'][0]}: {first['msg']}")
    row = OutcomeRow(f"{name}-ignored", rules.run_id, Counts(skipped=ignored), "", "") if ignored else None
    return Meant(message, row)


def message_id(name: str, body: str) -> str:
    """Of a foreign message: the queue's own id of it, so that equal bodies are messages of their own."""
    return "event-" + hashlib.sha256(f"{name}\n{body}".encode(errors="surrogatepass")).hexdigest()[:32]


def _entry(event: KeyEvent) -> ObjectEntry:
    """`etag` is empty where the source must be asked first, because the event doesn't say what is there."""
    known = event.happened is Happened.CREATED and event.size >= 0
    return ObjectEntry(
        key=event.key,
        size=event.size if known else 0,
        etag=event.etag if known else "",
        reason=Reason.EVENT,
        sequencer=event.sequencer,
    )


async def follow_event(entry: ObjectEntry, ctx: CopyContext, copy: Copy) -> Copied:
    """The destination holds what the source holds when this returns: a copy of its newest generation, or nothing where
    the source has nothing and the job follows removals."""
    if entry.sequencer and not await ctx.ledger.advance(ctx.job.job_id, entry.key, sortable(entry.sequencer)):
        return skipped(entry.etag, "a later event of this key came before")
    choice, copied = ctx.job.choice, None
    wanted = entry if entry.etag and not choice else None
    for _ in range(_LOOKS):
        if wanted:
            copied = await copy(wanted, ctx)
        head = await at_source(ctx.job.source, entry.key)
        if head is None:
            return await _absent(entry, ctx, copy)
        if copied and copied.outcome is Outcome.SKIPPED:
            return copied
        if copied and copied.source_etag == head.generation.etag:
            return copied
        if choice and not choice.takes(_listed(entry.key, head)):
            return copied or skipped(head.generation.etag, _NOT_SELECTED)
        wanted = _as_head(entry, head)
    raise ObjectChanged(f"{entry.key!r} changes faster than it can be copied")


async def _absent(entry: ObjectEntry, ctx: CopyContext, copy: Copy) -> Copied:
    """The source has nothing."""
    if not ctx.job.follows_removals:
        return skipped(entry.etag, "source gone", GONE)
    seen = await look(ctx.job.destination, ctx.job.mapping.dest_key(entry.key))
    if seen is None:
        return skipped("", "gone already")
    there = Entry(entry.key, seen.size, seen.etag, _iso(seen.last_modified), "")
    if ctx.job.choice and not ctx.job.choice.may_delete(there):
        return skipped(seen.etag, _NOT_SELECTED)
    return await delete_object(entry.model_copy(update={"size": seen.size, "etag": seen.etag}), ctx, copy)


def _as_head(entry: ObjectEntry, head: ObjectHead) -> ObjectEntry:
    generation = head.generation
    return entry.model_copy(
        update={"size": generation.size, "etag": generation.etag, "last_modified": head.last_modified}
    )


def _listed(key: str, head: ObjectHead) -> Entry:
    """As a listing would show it."""
    generation = head.generation
    return Entry(key, generation.size, generation.etag, _iso(head.last_modified), head.storage_class)


def _iso(text: str) -> str:
    """A time of HTTP's as listings write theirs; others as they are."""
    try:
        return parsedate_to_datetime(text).isoformat()
    except ValueError:
        return text

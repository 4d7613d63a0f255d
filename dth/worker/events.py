"""Events of the source: each makes its key true at the destination, whatever order they come in.

An event says which key to look at, never what to do: the source is asked before a delete, and again after a copy. So
two events of one key, in either order or at once, and repeated ones, end in the source's true state. Sequencers only save
work: an event that is older than one already seen is skipped where both sides are equal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime

from pydantic import ValidationError

from dth.errors import ObjectChanged
from dth.ledgers.base import OutcomeRow
from dth.messages import MessageInvalid, ObjectEntry, ObjectsMessage
from dth.model import Counts, Entry, ObjectHead
from dth.multipart.destination import look
from dth.queues.base import Delivery
from dth.queues.bucket_events import Happened, KeyEvent, events_in, sortable
from dth.states import Outcome, Reason
from dth.text import printable
from dth.transfer.context import CopyContext
from dth.transfer.delete import Copy, at_source, delete_object
from dth.transfer.gone import GONE
from dth.transfer.result import Copied
from dth.transfer.single import skipped
from dth.values import value

_NOT_SELECTED = "not selected"
_LOOKS = 5  # an object that changes faster than it can be copied has later events to come


Letter = tuple[str, str]
"""A dead letter: its body, and why."""


@value
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

    def message(self, events: Sequence[KeyEvent], message_id: str) -> tuple[ObjectsMessage | None, int, list[Letter]]:
        """What is to be done, None where it is nothing; how many events ask for nothing: other kinds, buckets, prefixes, and
        what the job doesn't select; and those of objects that no store can hold, to be buried."""
        entries, strange = [], []
        for event in events:
            if keys := self._keys(event):
                try:
                    entries.append(_entry(event, keys))
                except ValidationError as error:
                    strange.append(_letter(event, error))
        ignored = len(events) - len(entries) - len(strange)
        if not entries:
            return None, ignored, strange
        message = ObjectsMessage(job_id=self.job_id, run_id=self.run_id, message_id=message_id, objects=entries)
        return message, ignored, strange

    def _keys(self, event: KeyEvent) -> list[str]:
        """The spellings of the event's key that the job is about; none where the event asks for nothing."""
        follows = {Happened.CREATED: self.creations, Happened.REMOVED: self.removals}
        if event.bucket not in {"", self.bucket} or not follows.get(event.happened, False):
            return []
        spelt = [event.key, *([event.other_key] if event.other_key else [])]
        return [key for key in spelt if key.startswith(self.prefix) and self.takes_key(key)]


FindRules = Callable[[], Awaitable[EventRules | None]]
"""Which events this worker acts on; None where it knows of no job that has any."""


@value
class Meant:
    """What a foreign message means: entries, a row that counts events which ask for nothing, records that are to be buried, or
    why all of it is garbage."""

    message: ObjectsMessage | None = None
    ignored: OutcomeRow | None = None
    garbage: str = ""
    strange: Sequence[Letter] = ()


async def translated(delivery: Delivery, invalid: MessageInvalid, find_rules: FindRules) -> Meant:
    """What a body means that is no message of ours, as `invalid` says."""
    try:
        heard = events_in(delivery.body)
    except MessageInvalid as error:
        return Meant(garbage=str(invalid if '"kind"' in delivery.body else error))
    events = heard.events
    rules = await find_rules()
    if rules is None:
        reason = "an event, but this worker knows of no job that reads its bucket: give it the job's locations"
        return Meant(garbage=reason if events else "")
    name = message_id(delivery.name, delivery.body)
    message, ignored, strange = rules.message(events, name)
    if strange and not message and not ignored and not heard.strange:
        return Meant(garbage=strange[0][1])
    row = OutcomeRow(f"{name}-ignored", rules.run_id, Counts(skipped=ignored), "", "") if ignored else None
    return Meant(message, row, strange=[*heard.strange, *strange])


def _letter(event: KeyEvent, invalid: ValidationError) -> Letter:
    first = invalid.errors(include_url=False, include_input=False)[0]
    body = json.dumps({"bucket": event.bucket, "key": event.key, "size": event.size})
    return body, f"an event of an object that no store can hold: {first['loc'][0]}: {first['msg']}"


def message_id(name: str, body: str) -> str:
    """Of a foreign message: the queue's own id of it, so that equal bodies are messages of their own."""
    return "event-" + hashlib.sha256(f"{name}\n{body}".encode(errors="surrogatepass")).hexdigest()[:32]


def _entry(event: KeyEvent, keys: Sequence[str]) -> ObjectEntry:
    """`etag` is empty where the source must be asked first, because the event doesn't say what is there."""
    known = event.happened is Happened.CREATED and event.size >= 0
    return ObjectEntry(
        key=keys[0],
        other_key=keys[1] if keys[1:] else None,
        size=event.size if known else 0,
        etag=event.etag if known else "",
        reason=Reason.EVENT,
        sequencer=event.sequencer,
        event_time=event.at,
    )


async def follow_event(entry: ObjectEntry, ctx: CopyContext, copy: Copy) -> Copied:
    """Each key that the event may mean is made true: the other one too, unless the first is what the event says."""
    first = await _follow(entry, ctx, copy)
    if not entry.other_key or (entry.etag and first.source_etag == entry.etag and first.outcome is Outcome.DONE):
        return first
    second = await _follow(entry.model_copy(update={"key": entry.other_key}), ctx, copy)
    if second.outcome is Outcome.DONE:
        note = f"the key is {printable(entry.other_key)}, spelt otherwise in the event"
        return replace(second, bytes=second.bytes + first.bytes, note=note)
    return second if first.code == GONE else first


async def _follow(entry: ObjectEntry, ctx: CopyContext, copy: Copy) -> Copied:
    """The destination holds what the source holds when this returns: a copy of its newest generation, or nothing where
    the source has nothing and the job follows removals."""
    late = entry.sequencer and not await ctx.ledger.advance(ctx.job.job_id, entry.key, sortable(entry.sequencer))
    # Anybody may send an event whose sequencer is higher than all that are to come: it saves a copy, and decides nothing.
    if late and await _is_true(entry.key, ctx):
        return skipped(entry.etag, "a later event of this key came before")
    choice, copied = ctx.job.choice, None
    wanted = entry if entry.etag and not choice and not late else None
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


async def _is_true(key: str, ctx: CopyContext) -> bool:
    """Whether both sides say that there is nothing to do for the key."""
    head = await at_source(ctx.job.source, key)
    seen = await look(ctx.job.destination, ctx.job.mapping.dest_key(key))
    if head is None:
        return seen is None or not ctx.job.follows_removals
    return seen is not None and (seen.etag, seen.size) == (head.generation.etag, head.generation.size)


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
    except (ValueError, OverflowError):
        return text

"""Packing changes into messages: many small objects in one, a large one alone. Pure.

One queue request and one ledger row per 10 KB object would cost more than moving it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from pydantic import ValidationError

from dth.columns import Uniform
from dth.errors import ListingBroken
from dth.messages import KEY_CHARACTERS, encode_entries, encode_entry, encode_whole
from dth.model import Change
from dth.signing import MAC_BYTES

FIRST_OBJECTS = 100
"""Entries in each of a run's first messages."""
SHARE = 8
"""A later message holds at most one eighth of what was packed before it: all workers share a small run, and a large run
needs a tenth of the queue's and the ledger's work."""

_ENVELOPE_BYTES = 160 + MAC_BYTES  # field names, punctuation, attempt, and a message number of 20 digits


def _encoded(change: Change) -> str:
    listed = change.entry
    try:
        return encode_entry(listed.key, listed.size, listed.etag, listed.last_modified, change.reason)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        named = listed.key[:KEY_CHARACTERS]
        raise ListingBroken(
            f"the listing names an object that no store can hold, {named!r}: {first['loc'][0]}: {first['msg']}"
        ) from error


_MARKS = {"objects": "", "delete": "d"}


class Packer:
    """Fills messages of one kind, `objects` or `delete`, encoded as `messages.encode` does it, up to `pack_objects` entries, `pack_bytes` of content and `message_bytes` of JSON.

    The first messages hold `FIRST_OBJECTS` entries at most; then they grow up to `pack_objects` (see `SHARE`).
    An object of more than `pack_bytes` travels alone. An entry that is by itself over `message_bytes` (a key is 1,024 bytes
    at most, 6 KiB as JSON) travels alone too. Ids are `<run>-<n>`, of deletes
    `<run>-d<n>`: a run has one finder, so they are unique in the run.
    """

    def __init__(
        self,
        kind: Literal["objects", "delete"],
        job_id: str,
        run_id: str,
        pack_objects: int,
        pack_bytes: int,
        message_bytes: int,
    ) -> None:
        self._kind = kind
        self._job_id = job_id
        self._run_id = run_id
        self._pack_objects = pack_objects
        self._pack_bytes = pack_bytes
        # The run id stands there twice: by itself and in the message's id.
        self._room = message_bytes - _ENVELOPE_BYTES - len(json.dumps(job_id)) - 2 * len(json.dumps(run_id))
        self._entries: list[str] = []
        self._content = 0
        self._json = 0
        self._number = 0
        self._packed = 0  # entries in messages so far

    def add(self, changes: Sequence[Change]) -> list[str]:
        """Messages that are full now; the rest waits for more."""
        if isinstance(changes, Uniform) and (entries := encode_entries(changes.page, changes.reason)):
            return self._add_all(changes, entries)
        return self._add_each(changes)

    def _add_all(self, changes: Uniform, entries: list[str]) -> list[str]:
        """As `_add_each`, as many at once as fill a message; `entries` are the changes, encoded."""
        full: list[str] = []
        sizes = list(map(int, changes.page.sizes))
        at = 0
        while at < len(entries):
            stop = at + self._full_at() - len(self._entries)
            some, contents = entries[at:stop], sizes[at:stop]
            content, size = self._content + sum(contents), self._json + sum(map(len, some)) + len(some)
            if (
                content > self._pack_bytes or size > self._room
            ):  # the last message of these, or one of them, is too full
                full += self._add_each(changes[at : at + len(some)])
            else:
                self._entries += some
                self._content, self._json = content, size
                if len(self._entries) >= self._full_at():
                    full += self.flush()
            at += len(some)
        return full

    def _add_each(self, changes: Sequence[Change]) -> list[str]:
        full: list[str] = []
        full_at = self._full_at()
        for change in changes:
            entry = _encoded(change)
            content = change.entry.size
            if content > self._pack_bytes:
                full.append(self._message([entry]))
                continue
            size = len(entry) + 1  # and a comma
            if self._entries and (self._content + content > self._pack_bytes or self._json + size > self._room):
                full += self.flush()
            self._entries.append(entry)
            self._content += content
            self._json += size
            if len(self._entries) >= full_at:
                full += self.flush()
                full_at = self._full_at()
        return full

    def _full_at(self) -> int:
        return min(self._pack_objects, max(FIRST_OBJECTS, self._packed // SHARE))

    def flush(self) -> list[str]:
        """The message being filled, where there is one."""
        entries, self._entries = self._entries, []
        self._content = self._json = 0
        return [self._message(entries)] if entries else []

    def _message(self, entries: list[str]) -> str:
        self._number += 1
        self._packed += len(entries)
        message_id = f"{self._run_id}-{_MARKS[self._kind]}{self._number}"
        return encode_whole(self._kind, self._job_id, self._run_id, message_id, entries)

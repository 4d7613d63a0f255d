"""How a fleet divides its bandwidth: each machine says how many of its worker processes move something, and takes as large a
part of the whole.

A machine's word is a lease: it is renewed at every look, and one that does not change for `LEASE_SECONDS` of the reader's own
clock has lapsed. So no two clocks are compared, and what a dead machine held is divided among the others.

Processes that move nothing take no part. They are told a rate that fits even where all of them begin at the same moment.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

from dth.values import value

LEASE_SECONDS = 8.0
FORGOTTEN_SECONDS = 120.0  # then whoever sees it removes the word of a machine that died

_FIELDS = 3


@value
class Word:
    """What a machine says: how many of its processes are at work, how many are not, and how often it has said so."""

    busy: int
    idle: int
    beat: int

    def to_json(self) -> str:
        """As the ledger has it."""
        return json.dumps([self.busy, self.idle, self.beat])

    @classmethod
    def from_json(cls, text: str) -> Word | None:
        """The reverse; None for what is no such word."""
        try:
            found = json.loads(text)
        except ValueError:
            return None
        whole = isinstance(found, list) and len(found) == _FIELDS and all(type(each) is int for each in found)
        return cls(*found) if whole and min(found) >= 0 else None


@value
class Rates:
    """Bytes a second of one process: of those at work, and of those that are not."""

    busy: int
    idle: int


class Shares:
    """One machine's view of the fleet."""

    def __init__(self, machine: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._machine = machine
        self._clock = clock
        self._seen: dict[str, tuple[str, float]] = {}  # by machine: its last word, and when it changed
        self._beat = 0

    def say(self, busy: int, idle: int) -> Word:
        """This machine's next word."""
        self._beat += 1
        return Word(busy, idle, self._beat)

    def hear(self, words: Mapping[str, str]) -> list[str]:
        """Take the words of all machines; those that have long been dead and may be removed."""
        now = self._clock()
        self._seen = {
            machine: seen if (seen := self._seen.get(machine)) and seen[0] == text else (text, now)
            for machine, text in words.items()
            if machine != self._machine
        }
        return [machine for machine, (_, since) in self._seen.items() if now - since > FORGOTTEN_SECONDS]

    def divide(self, bandwidth: int, busy: int, idle: int) -> Rates:
        """What a process of this machine may move, where `busy` of them are at work and `idle` are not."""
        now = self._clock()
        for text, since in self._seen.values():
            word = Word.from_json(text)
            if word and now - since <= LEASE_SECONDS:
                busy, idle = busy + word.busy, idle + word.idle
        return Rates(max(1, bandwidth // max(1, busy)), max(1, bandwidth // max(1, busy + idle)))

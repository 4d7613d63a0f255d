"""Has archived objects restored, and says which of them can be read by now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dth.errors import DthError, NoSuchKey
from dth.finder.compare import ARCHIVED_CLASSES
from dth.finder.heads import HEADS, ask_each
from dth.finder.plan import Tally
from dth.model import Change
from dth.states import Reason, RestoreState
from dth.stores.base import Restorer
from dth.values import value


@value
class RestoreRules:
    """How archived objects are restored: see `Restorer.restore`. `ask` False only looks."""

    days: int
    tier: str
    ask: bool = True


class Restores:
    """Has archived objects restored, and lets those through that can be read by now, as RESTORED. One that cannot be asked
    for stays archived, and holds up no other; `error` is the first of such errors."""

    def __init__(self, source: Restorer, rules: RestoreRules, tally: Tally) -> None:
        self._source = source
        self._rules = rules
        self._slots = asyncio.Semaphore(HEADS)
        self._tally = tally
        self._on_their_way: set[str] = set()  # while only looking: of batches that nobody has asked about yet
        self.error: DthError | None = None

    @property
    def asks(self) -> bool:
        """Whether restores are asked for; otherwise it only looks."""
        return self._rules.ask

    def would_ask(self, key: str) -> bool:
        """Whether a restore would be asked for, of a key that stayed archived; once for each."""
        if key in self._on_their_way:
            self._on_their_way.remove(key)
            return False
        return True

    async def __call__(self, changes: Sequence[Change]) -> Sequence[Change]:
        """See `Settle`."""
        archived = [one for one in changes if one.reason is Reason.ARCHIVED]
        if not archived:
            return changes
        ready = await ask_each(archived, self._readable, self._slots)
        readable = {one.entry.key for one, is_ready in zip(archived, ready, strict=True) if is_ready}
        return [Change(one.entry, Reason.RESTORED) if one.entry.key in readable else one for one in changes]

    async def _readable(self, archived: Change) -> bool:
        key = archived.entry.key
        try:
            head = await self._source.head(key)
            if head.storage_class not in ARCHIVED_CLASSES:
                return True  # written anew since it was listed
            state = head.restore
            if state is RestoreState.UNDER_WAY:
                self._tally.restores_under_way += 1
                if not self._rules.ask:
                    self._on_their_way.add(key)
            if state is RestoreState.NONE:
                if self._rules.ask:
                    state = await self._source.restore(key, days=self._rules.days, tier=self._rules.tier)
                self._tally.restores_asked += 1
        except NoSuchKey:
            return True  # gone since it was listed: whoever wants to copy it sees that
        except DthError as error:
            self._tally.restores_failed += 1
            self.error = self.error or error
            return False
        return state is RestoreState.READY

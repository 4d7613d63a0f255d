"""Which objects a job is about: patterns, size, time, storage class. Pure; compiled once, applied to pages.

An object is chosen when **every** kind of rule that was given takes it:

- `include`: its name matches at least one of these patterns;
- `exclude`: its name matches none of these. The order of options means nothing: what is both included and excluded is
  excluded;
- size, time and storage class as the source lists them.

A pattern is matched, with regard to case, against the whole name below the source prefix (below its last `/`, where the
prefix is no folder). `*` stands for any characters, `/` too, so `*.jpg` means all of them and `logs/*` everything below
`logs/`; `?` for one character; `[ab]` and `[!ab]` for one of a set. That is how `aws s3 sync` reads patterns, except that
there the order counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fnmatch import translate

from dth.model import Entry
from dth.values import value

STANDARD = "STANDARD"

Match = Callable[[str], object]


@value
class Rules:
    """What was asked for. Empty and None mean: every object. Sizes in bytes, bounds included; times are at or after
    `modified_after` and before `modified_before`, so that windows that follow each other leave nothing out."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]
    min_size: int
    max_size: int | None
    modified_after: datetime | None
    modified_before: datetime | None
    storage_classes: tuple[str, ...]


class Selection:
    """The rules, for the names below one prefix; `prefix` is the source's."""

    def __init__(self, rules: Rules, prefix: str) -> None:
        self._rules = rules
        self._include = _any(rules.include)
        self._exclude = _any(rules.exclude)
        self._low = rules.min_size
        self._high = rules.max_size
        self._after = _aware(rules.modified_after)
        self._before = _aware(rules.modified_before)
        self._classes = frozenset(rules.storage_classes)
        self._start = prefix[prefix.rfind("/") + 1 :]

    def rejected(self, keys: Sequence[str], page: Sequence[Entry]) -> set[str]:
        """The full keys of those entries of a page that are not chosen; `keys` are theirs without the side's prefix."""
        out: set[str] = set()
        names = [self._start + key for key in keys] if self._start else keys
        if match := self._include:
            out.update(entry[0] for name, entry in zip(names, page, strict=True) if not match(name))
        if match := self._exclude:
            out.update(entry[0] for name, entry in zip(names, page, strict=True) if match(name))
        if low := self._low:
            out.update(entry[0] for entry in page if entry.size < low)
        if (high := self._high) is not None:
            out.update(entry[0] for entry in page if entry.size > high)
        if self._after or self._before:
            out.update(entry[0] for entry in page if self._time(entry, unknown="")[1])
        if classes := self._classes:
            out.update(entry[0] for entry in page if (entry.storage_class or STANDARD) not in classes)
        return out

    def takes_key(self, key: str) -> bool:
        """Whether the patterns take the key, which lacks the side's prefix."""
        name = self._start + key
        return not (self._include and not self._include(name)) and not (self._exclude and self._exclude(name))

    def deletable(self, keys: Sequence[str], page: Sequence[Entry]) -> list[Entry]:
        """Those of the destination's entries that every rule takes, as the destination lists them: only these are the
        job's to delete. One whose time cannot be read is not."""
        out = self.rejected(keys, page)
        dated = self._after or self._before
        return [
            entry
            for entry in page
            if entry.key not in out and not (dated and self._time(entry, unknown="no time listed")[1])
        ]

    def why_not(self, key: str, entry: Entry) -> tuple[str, str]:  # noqa: PLR0911 - one return a rule
        """The first rule that leaves the entry out: its setting, and the rule in words. Both are "" where the entry is chosen.
        `key` lacks the side's prefix."""
        name, rules = self._start + key, self._rules
        for pattern in rules.exclude:
            if re.compile(translate(pattern)).match(name):
                return "exclude", f"--exclude {pattern!r} matches {name!r}"
        if self._include and not self._include(name):
            return "include", f"no --include pattern matches {name!r}: {', '.join(map(repr, rules.include))}"
        if entry.size < self._low:
            return "min_size", f"its {entry.size} bytes are fewer than --min-size {self._low}"
        if self._high is not None and entry.size > self._high:
            return "max_size", f"its {entry.size} bytes are more than --max-size {self._high}"
        if (timed := self._time(entry, unknown=""))[1]:
            return timed
        found = entry.storage_class or STANDARD
        if self._classes and found not in self._classes:
            allowed = ", ".join(rules.storage_classes)
            return "storage_classes", f"its storage class {found} is not among --storage-classes {allowed}"
        return "", ""

    def _time(self, entry: Entry, unknown: str) -> tuple[str, str]:
        """The setting by which its time leaves it out, and why; `unknown` where the time cannot be read."""
        try:
            then = _aware(datetime.fromisoformat(entry.last_modified))
        except (ValueError, OverflowError):
            return "", unknown
        assert then is not None
        if self._after and then < self._after:
            text = f"it was modified at {entry.last_modified}, before --modified-after {self._after.isoformat()}"
            return "modified_after", text
        if self._before and then >= self._before:
            text = f"it was modified at {entry.last_modified}, not before --modified-before {self._before.isoformat()}"
            return "modified_before", text
        return "", ""


def selection(rules: Rules, prefix: str) -> Selection | None:
    """The rules compiled; None where they take every object, so that nothing is asked of each."""
    takes_all = Rules((), (), 0, None, None, None, ())
    return None if rules == takes_all else Selection(rules, prefix)


def _any(patterns: Sequence[str]) -> Match | None:
    """One expression for all of them. `translate` makes groups that don't backtrack, so no pattern takes exponential time."""
    return re.compile("|".join(map(translate, patterns))).match if patterns else None


def _aware(time: datetime | None) -> datetime | None:
    """A time without a zone is taken for UTC."""
    return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time

"""When a task runs: `once TIME`, `every 30 minutes`, or five fields of cron; each with a time zone at its end.

| text | means |
|---|---|
| `` | only when somebody starts it |
| `once 2026-12-01T03:00 Europe/Berlin`, `at(2026-12-01T03:00:00)` | once |
| `every 30 minutes`, `rate(2 hours)` | that long after its last beginning |
| `0 3 * * 1-5 Europe/Berlin`, `cron(0 3 ? * MON-FRI *)` | whenever the clock on the wall says so; see `dth.hub.cron` |

Without a zone, UTC. Whoever missed several times while the hub was off runs once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dth.hub.base import Refused
from dth.hub.cron import Cron

SHORTEST_SECONDS = 60
_HINT = "use `every 30 minutes`, `0 3 * * 1-5 Europe/Berlin`, or `once 2026-12-01T03:00 Europe/Berlin`"
_UNITS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EVERY = re.compile(r"(\d{1,6})\s*([a-z]+?)s?", re.IGNORECASE)
_CALL = re.compile(r"(cron|rate|at)\((.*)\)(?:\s+(\S+))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Once:
    """At one moment."""

    at: float

    def next(self, after: float) -> float | None:
        """That moment, where it is still to come."""
        return self.at if self.at > after else None


@dataclass(frozen=True, slots=True)
class Every:
    """Again and again, counted from a beginning."""

    seconds: int

    def next(self, after: float) -> float:
        """So many seconds after the moment."""
        return after + self.seconds


@dataclass(frozen=True, slots=True)
class OnClock:
    """Whenever a clock in the zone shows one of cron's times."""

    cron: Cron
    zone: tzinfo

    def next(self, after: float) -> float | None:
        """The first such moment after this one; None where no such day will ever be."""
        return self.cron.next(after, self.zone)


Schedule = Once | Every | OnClock


def parse_schedule(text: str) -> Schedule | None:
    """The schedule; None for an empty text. Raises Refused `schedule`, which shows the forms, for everything else."""
    text = " ".join(text.split())
    if not text:
        return None
    if called := _CALL.fullmatch(text):
        kind, inner, zone = called[1].lower(), called[2].strip(), called[3] or ""
        text = {"cron": f"{inner} {zone}", "rate": f"every {inner}", "at": f"once {inner} {zone}"}[kind].strip()
    first, _, rest = text.partition(" ")
    match first.lower():
        case "every":
            return _every(rest)
        case "once":
            return _once(rest)
        case "cron":
            return _clock(rest)
        case _:
            return _clock(text)


def is_repeated(text: str) -> bool:
    """Whether the schedule runs more than once."""
    return isinstance(parse_schedule(text), Every | OnClock)


def _every(text: str) -> Every:
    found = _EVERY.fullmatch(text)
    seconds = int(found[1]) * _UNITS.get(found[2].lower(), 0) if found else 0
    if seconds < SHORTEST_SECONDS:
        raise Refused("schedule", f"`every {text}` is no interval of a minute or more", _HINT)
    return Every(seconds)


def _once(text: str) -> Once:
    stamp, _, name = text.partition(" ")
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        raise Refused("schedule", f"`{stamp}` is no date and time", _HINT) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=_zone(name))
    elif name:
        raise Refused("schedule", f"`{text}` names two time zones", _HINT)
    return Once(moment.timestamp())


def _clock(text: str) -> OnClock:
    words = text.split(" ")
    name = words.pop() if len(words) > 5 and _is_zone(words[-1]) else ""  # noqa: PLR2004 - the fields of cron
    return OnClock(Cron.parse(words, _HINT), _zone(name))


def _is_zone(word: str) -> bool:
    return any(letter.isalpha() for letter in word) and ("/" in word or word.isalpha()) and not word.startswith("*")


def _zone(name: str) -> tzinfo:
    if not name or name.upper() in {"UTC", "Z"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refused("schedule", f"`{name}` is no time zone", "zones look like Europe/Berlin or UTC") from None


def moment_of(naive: datetime, zone: tzinfo, *, second: bool = False) -> tuple[float, bool]:
    """The moment at which a clock in the zone shows this, and whether it ever does: in the hour that is left out in spring
    it does not, and the moment is the one at which the clock jumps. `second`: of the two in autumn, the later one."""
    local = naive.replace(tzinfo=zone, fold=1 if second else 0)
    stamp = local.timestamp()
    shown = datetime.fromtimestamp(stamp, zone).replace(tzinfo=None)
    if shown == naive:
        return stamp, True
    return _jump(stamp, zone), False


def _jump(near: float, zone: tzinfo) -> float:
    """The moment of the change of clocks near a moment, by halving."""
    low, high = int(near) - 7200, int(near) + 7200
    before = datetime.fromtimestamp(low, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return float(high)


def is_twice(naive: datetime, zone: tzinfo) -> bool:
    """Whether a clock in the zone shows this twice, as in the hour that is repeated in autumn."""
    first, second = (naive.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return first > second

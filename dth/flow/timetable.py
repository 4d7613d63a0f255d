"""A bandwidth by the time of day: `08:00-18:00=50MB/s, else off`.

| text | means |
|---|---|
| `20MB/s` | that rate, always |
| `off` | no limit |
| `08:00-18:00=50MB/s, else off` | that rate between these times of every day, no limit otherwise |
| `Mon-Fri 08:00-18:00=5MB/s, Sat,Sun 10:00-14:00=20MB/s, else 50MB/s` | by the day of the week |
| `22:00-06:00=off, else 10MB/s` | over midnight; the day is the one on which it begins |

The first entry that holds decides. Times are those of a clock on the wall in the timetable's time zone, so a change of
clocks needs no rule: what the clock shows counts, the repeated hour twice and the skipped one never.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dth.errors import SettingsError
from dth.settings.units import parse_size
from dth.values import value

LEAST_RATE = 1024
"""Bytes a second. Below this requests only time out; to stop there is a pause."""

OFF = 0
"""The rate of no limit."""

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_AHEAD_DAYS = 8
_FORM = "write a rate (20MB/s), off, or a timetable such as `08:00-18:00=50MB/s, else off`"
_ENTRY = re.compile(r"(?:(?P<days>[a-z, -]+?)\s+)?(?P<start>\d{1,2}:\d\d)-(?P<stop>\d{1,2}:\d\d)\s*=\s*(?P<rate>[^,]+)")


@value
class Window:
    """A rate on some days of the week (0 = Monday) from one minute of the day to another, which may be the next day's."""

    days: frozenset[int]
    start: int
    stop: int
    rate: int

    def holds(self, weekday: int, minute: int) -> bool:
        """Whether a clock that shows this is inside."""
        if self.start < self.stop:
            return weekday in self.days and self.start <= minute < self.stop
        began_today = weekday in self.days and minute >= self.start
        return began_today or ((weekday - 1) % 7 in self.days and minute < self.stop)


@value
class Timetable:
    """Rates in bytes a second (0: no limit) by the clock of a time zone."""

    windows: tuple[Window, ...]
    otherwise: int
    zone: tzinfo = UTC

    @classmethod
    def parse(cls, text: str, zone: str = "UTC") -> Timetable:
        """From text as above. Raises SettingsError, which names the part that is wrong and shows the form."""
        place = zone_of(zone)
        pieces = _pieces(text)
        if len(pieces) == 1 and "=" not in pieces[0]:
            return cls((), _rate(pieces[0].removeprefix("else").strip(), text), place)
        last = pieces.pop()
        if not re.match(r"else\b", last, re.IGNORECASE):
            raise SettingsError(f"bandwidth {text!r} does not say what holds at other times: end it with `, else RATE`")
        return cls(tuple(_window(piece, text) for piece in pieces), _rate(last[4:].strip(), text), place)

    def rate_at(self, now: float) -> int:
        """The rate at a moment, in seconds since the epoch."""
        clock = datetime.fromtimestamp(now, self.zone)
        minute = clock.hour * 60 + clock.minute
        return next((each.rate for each in self.windows if each.holds(clock.weekday(), minute)), self.otherwise)

    def next_change(self, now: float) -> float | None:
        """When the rate will be another one, to the minute; None where it stays."""
        if not self.windows:
            return None
        rate = self.rate_at(now)
        moment = datetime.fromtimestamp(now, UTC).replace(second=0, microsecond=0)
        for _ in range(_AHEAD_DAYS * _DAY_MINUTES):
            moment += timedelta(minutes=1)
            if self.rate_at(moment.timestamp()) != rate:
                return moment.timestamp()
        return None


def zone_of(name: str) -> tzinfo:
    """A time zone by its name. Raises SettingsError for one that this machine does not know."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(f"time zone {name!r} is not known here: use a name such as Europe/Berlin, or UTC") from None


def _pieces(text: str) -> list[str]:
    """Entries, which end with a rate: a comma before that stands between days."""
    pieces = [""]
    for part in text.split(","):
        pieces[-1] = f"{pieces[-1]},{part}".strip(", ")
        if "=" in part or pieces[-1].lower().startswith("else"):
            pieces.append("")
    return [piece for piece in pieces if piece] or [""]


def _window(piece: str, text: str) -> Window:
    found = _ENTRY.fullmatch(piece.lower())
    if not found:
        raise SettingsError(f"bandwidth {text!r}: cannot read {piece!r}; {_FORM}")
    start, stop = (_minute(found[name], text) for name in ("start", "stop"))
    if start in (stop, _DAY_MINUTES):
        raise SettingsError(f"bandwidth {text!r}: {piece!r} holds at no time; for whole days write 00:00-24:00")
    return Window(_days(found["days"] or "", text), start, stop, _rate(found["rate"].strip(), text))


def _minute(text: str, whole: str) -> int:
    hour, _, minute = text.partition(":")
    found = int(hour) * 60 + int(minute)
    if int(minute) > 59 or found > _DAY_MINUTES:  # noqa: PLR2004 - an hour's last minute
        raise SettingsError(f"bandwidth {whole!r}: {text!r} is no time of day; times go from 00:00 to 24:00")
    return found


def _days(text: str, whole: str) -> frozenset[int]:
    if not text:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = (name.strip() for name in part.strip().partition("-"))
        try:
            begin, end = _DAYS.index(first), _DAYS.index(last or first)
        except ValueError:
            raise SettingsError(
                f"bandwidth {whole!r}: {part.strip()!r} is no day; days are Mon, Tue-Fri, ..."
            ) from None
        days.update((begin + ahead) % 7 for ahead in range((end - begin) % 7 + 1))
    return frozenset(days)


def _rate(text: str, whole: str) -> int:
    if text.lower() == "off":
        return OFF
    try:
        rate = parse_size(re.sub(r"/s$", "", text, flags=re.IGNORECASE))
    except ValueError:
        raise SettingsError(f"bandwidth {whole!r}: cannot read the rate {text!r}; {_FORM}") from None
    if rate < LEAST_RATE:
        raise SettingsError(
            f"bandwidth {whole!r}: {text!r} is less than {LEAST_RATE} bytes a second; `off` means no limit, and "
            "`dth limit --pause` stops"
        )
    return rate

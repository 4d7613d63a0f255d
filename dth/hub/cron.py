"""Five fields of cron (minute, hour, day, month, weekday), or AWS' six, which end with the year.

Of AWS' own: `?`, `L`, `15W`, `LW`, `6#3`, `5L`, and weekdays that count from 1 = Sunday; with five fields they count from
0 = Sunday. Where both day and weekday are restricted, five fields mean either.

Changes of clocks, in the zone of the schedule: what falls into the hour that is left out runs when the clock jumps; what
falls into the repeated hour runs in its first pass. Where minutes repeat in every hour of a row (`*`, `*/2` hours), a job
runs by the clock as it passes: not in the hour that is left out, and in both passes of the repeated one.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from dth.hub.base import Refused

_MONTHS = dict(
    zip(["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"], range(1, 13), strict=True)
)
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_FIELDS = 5
_YEARS = (1970, 2199)
_DAYS_AHEAD = 366 * 9  # the 29th of February is at most eight years away
_NAMES = ("minute", "hour", "day", "month", "weekday", "year")


@dataclass(frozen=True, slots=True)
class Cron:
    """Which minutes. `weekdays` count from 0 = Sunday; `day_rules` and `weekday_rules` are AWS' `L`, `W` and `#`."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    years: frozenset[int]
    day_rules: tuple[str, ...]
    weekday_rules: tuple[str, ...]
    either: bool
    hourly: bool

    @classmethod
    def parse(cls, words: Sequence[str], hint: str) -> Cron:
        """From five or six fields. Raises Refused `schedule`, naming the field that is wrong."""
        aws = len(words) == _FIELDS + 1
        if len(words) not in {_FIELDS, _FIELDS + 1}:
            raise Refused("schedule", f"`{' '.join(words)}` is no schedule: cron has five fields", hint)
        minute, hour, day, month, weekday = words[:5]
        if aws and "?" not in {day, weekday}:
            raise Refused("schedule", "with six fields, one of day and weekday must be `?`", hint)
        first = 1 if aws else 0
        names = {name: number + first for number, name in enumerate(_DAYS)}
        days, day_rules = _taken(day, "day", 1, 31, {}, hint)
        weekdays, weekday_rules = _taken(weekday, "weekday", first, 7, names, hint)
        return cls(
            minutes=_plain(minute, "minute", 0, 59, {}, hint),
            hours=_plain(hour, "hour", 0, 23, {}, hint),
            days=days,
            months=_plain(month, "month", 1, 12, _MONTHS, hint),
            weekdays=frozenset((number - first) % 7 for number in weekdays),
            years=_plain(words[5], "year", *_YEARS, {}, hint) if aws else frozenset(range(_YEARS[0], _YEARS[1] + 1)),
            day_rules=day_rules,
            weekday_rules=tuple(_from_sunday(rule, first) for rule in weekday_rules),
            either=not aws and day[0] not in "*?" and weekday[0] not in "*?",
            hourly=hour[0] == "*",
        )

    def next(self, after: float, zone: tzinfo) -> float | None:
        """The first moment after this one. None: there is no such day within nine years."""
        today = datetime.fromtimestamp(after, zone).date() - timedelta(
            days=1
        )  # a change of clocks may move back a little
        for ahead in range(_DAYS_AHEAD):
            day = today + timedelta(days=ahead)
            if self._takes(day):
                later = [moment for moment in self._moments(day, zone) if moment > after]
                if later:
                    return min(later)
        return None

    def _moments(self, day: date, zone: tzinfo) -> Iterator[float]:
        from dth.hub.schedule import is_twice, moment_of  # noqa: PLC0415 - these two files are one subject

        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                naive = datetime.combine(day, time(hour, minute))
                moment, shown = moment_of(naive, zone)
                if shown or not self.hourly:
                    yield moment
                if shown and self.hourly and is_twice(naive, zone):
                    yield moment_of(naive, zone, second=True)[0]

    def _takes(self, day: date) -> bool:
        if day.month not in self.months or day.year not in self.years:
            return False
        by_day = day.day in self.days or any(_rule_of_month(rule, day) for rule in self.day_rules)
        by_weekday = day.isoweekday() % 7 in self.weekdays or any(
            _rule_of_week(rule, day) for rule in self.weekday_rules
        )
        return by_day or by_weekday if self.either else by_day and by_weekday


def _plain(text: str, field: str, low: int, high: int, names: dict[str, int], hint: str) -> frozenset[int]:
    numbers, rules = _taken(text, field, low, high, names, hint)
    if rules:
        raise Refused("schedule", f"`{text}` is no {field}", hint)
    return numbers


def _taken(
    text: str, field: str, low: int, high: int, names: dict[str, int], hint: str
) -> tuple[frozenset[int], tuple[str, ...]]:
    """The numbers of a field, and its rules of AWS' kind."""
    numbers: set[int] = set()
    rules: list[str] = []
    for part in text.upper().split(","):
        if field in {"day", "weekday"} and _is_rule(part, field):
            rules.append(part)
            continue
        span, slash, step_text = part.partition("/")
        step = _number(step_text, 1, high, {}, text, field, hint) if slash else 1
        if span in {"*", "?"}:
            start, stop = low, high
        else:
            begin, dash, end = span.partition("-")
            start = _number(begin, low, high, names, text, field, hint)
            stop = _number(end, low, high, names, text, field, hint) if dash else (high if slash else start)
        if field == "weekday" and start > stop:  # FRI-MON
            numbers |= {*range(start, high + 1, step), *range(low, stop + 1, step)}
            continue
        if start > stop:
            raise Refused("schedule", f"`{text}` is no {field}: it ends before it begins", hint)
        numbers |= set(range(start, stop + 1, step))
    return frozenset(numbers), tuple(rules)


def _number(text: str, low: int, high: int, names: dict[str, int], whole: str, field: str, hint: str) -> int:
    value = names.get(text[:3]) if text.isalpha() else int(text) if text.isdigit() and len(text) < 5 else None  # noqa: PLR2004
    if value is None or not low <= value <= high:
        raise Refused("schedule", f"`{whole}` is no {field}: numbers from {low} to {high}", hint)
    return value


def _is_rule(part: str, field: str) -> bool:
    if field == "day":
        return part in {"L", "LW"} or (part.endswith("W") and part[:-1].isdigit() and 1 <= int(part[:-1]) <= 31)  # noqa: PLR2004
    day, hash_sign, number = part.partition("#")
    if hash_sign:
        return _is_weekday(day) and number in {"1", "2", "3", "4", "5"}
    return part == "L" or (part.endswith("L") and _is_weekday(part[:-1]))


def _is_weekday(text: str) -> bool:
    return text in _DAYS or (text.isdigit() and len(text) == 1 and 0 <= int(text) <= 7)  # noqa: PLR2004


def _from_sunday(rule: str, first: int) -> str:
    """The rule with its weekday as a number from 0 = Sunday."""
    if rule == "L":
        return "6L"  # Saturday, AWS says
    day, hash_sign, number = rule.partition("#")
    name = day if hash_sign else rule[:-1]
    weekday = _DAYS.index(name) if name in _DAYS else (int(name) - first) % 7
    return f"{weekday}#{number}" if hash_sign else f"{weekday}L"


def _rule_of_month(rule: str, day: date) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    if rule == "L":
        return day.day == last
    wanted = date(day.year, day.month, last if rule == "LW" else min(int(rule[:-1]), last))
    return day == _workday_near(wanted, last)


def _workday_near(wanted: date, last: int) -> date:
    """The nearest day from Monday to Friday of the same month."""
    match wanted.isoweekday():
        case 6:
            return wanted - timedelta(days=1) if wanted.day > 1 else wanted + timedelta(days=2)
        case 7:
            return wanted + timedelta(days=1) if wanted.day < last else wanted - timedelta(days=2)
        case _:
            return wanted


def _rule_of_week(rule: str, day: date) -> bool:
    """`5L`: the last Friday; `5#3`: the third."""
    if day.isoweekday() % 7 != int(rule[0]):
        return False
    if rule.endswith("L"):
        return day.day + 7 > calendar.monthrange(day.year, day.month)[1]
    return (day.day - 1) // 7 + 1 == int(rule[2])

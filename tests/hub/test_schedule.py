"""When schedules run: forms, AWS' and cron's, and what changes of clocks do to them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dth.hub.base import Refused
from dth.hub.schedule import is_repeated, parse_schedule

BERLIN = ZoneInfo("Europe/Berlin")


def stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def times(schedule: str, after: str, count: int, zone: ZoneInfo | None = None) -> list[str]:
    """The next so many runs, as a clock in the zone shows them."""
    parsed = parse_schedule(schedule)
    assert parsed
    found, now = [], stamp(after)
    for _ in range(count):
        following = parsed.next(now)
        if following is None:
            break
        assert following > now
        now = following
        found.append(datetime.fromtimestamp(now, zone or UTC).isoformat())
    return found


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("0 3 * * *", "2026-11-27T03:00:00+00:00", ["2026-11-28T03:00:00+00:00", "2026-11-29T03:00:00+00:00"]),
        ("*/15 8-9 * * 1-5", "2026-11-27T08:50:00+00:00", ["2026-11-27T09:00:00+00:00", "2026-11-27T09:15:00+00:00"]),
        ("0 0 29 2 *", "2026-01-01T00:00:00+00:00", ["2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00"]),
        ("0 12 1 * MON", "2026-11-27T00:00:00+00:00", ["2026-11-30T12:00:00+00:00", "2026-12-01T12:00:00+00:00"]),
        ("0 12 * * 7", "2026-11-27T00:00:00+00:00", ["2026-11-29T12:00:00+00:00"]),
        ("0 12 * * FRI-MON", "2026-11-28T13:00:00+00:00", ["2026-11-29T12:00:00+00:00", "2026-11-30T12:00:00+00:00"]),
        ("cron(0 3 ? * MON-FRI *)", "2026-11-27T03:00:00+00:00", ["2026-11-30T03:00:00+00:00"]),
        ("cron(0 3 ? * 2 *)", "2026-11-27T03:00:00+00:00", ["2026-11-30T03:00:00+00:00"]),  # 1 is Sunday there
        ("cron(0 3 L * ? *)", "2026-11-27T03:00:00+00:00", ["2026-11-30T03:00:00+00:00", "2026-12-31T03:00:00+00:00"]),
        (
            "cron(0 3 15W * ? 2026)",
            "2026-07-16T00:00:00+00:00",
            ["2026-08-14T03:00:00+00:00", "2026-09-15T03:00:00+00:00"],
        ),
        ("cron(0 3 ? * 6L *)", "2026-11-01T00:00:00+00:00", ["2026-11-27T03:00:00+00:00"]),
        ("cron(0 3 ? * FRI#2 *)", "2026-11-01T00:00:00+00:00", ["2026-11-13T03:00:00+00:00"]),
        ("*/30 * * * ? *", "2026-11-27T03:10:00+00:00", ["2026-11-27T03:30:00+00:00", "2026-11-27T04:00:00+00:00"]),
        ("0 0 */2 * ? *", "2026-11-27T00:00:00+00:00", ["2026-11-29T00:00:00+00:00", "2026-12-01T00:00:00+00:00"]),
        ("every 90 minutes", "2026-11-27T00:00:00+00:00", ["2026-11-27T01:30:00+00:00", "2026-11-27T03:00:00+00:00"]),
        ("rate(2 hours)", "2026-11-27T00:00:00+00:00", ["2026-11-27T02:00:00+00:00"]),
        ("once 2026-12-01T03:00 Europe/Berlin", "2026-11-27T00:00:00+00:00", ["2026-12-01T02:00:00+00:00"]),
        ("at(2026-12-01T03:00:00)", "2026-12-01T03:00:00+00:00", []),
        ("cron(0 3 ? * MON 2020)", "2026-11-27T00:00:00+00:00", []),
    ],
)
def test_the_next_runs_are_these(schedule: str, after: str, expected: list[str]) -> None:
    assert times(schedule, after, len(expected) or 1) == expected


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        # spring: from 02:00 to 03:00 the clock jumps; autumn: 02:00 to 03:00 comes twice
        ("30 2 * * *", "2026-03-28T03:00:00+01:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        ("30 2 * * *", "2026-10-24T03:00:00+02:00", ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
        ("0 3 * * *", "2026-03-28T03:00:00+01:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T03:00:00+02:00"]),
        ("0 3 * * *", "2026-10-24T03:00:00+02:00", ["2026-10-25T03:00:00+01:00", "2026-10-26T03:00:00+01:00"]),
        (
            "30 * * * *",
            "2026-03-29T01:00:00+01:00",
            ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-29T04:30:00+02:00"],
        ),
        (
            "30 * * * *",
            "2026-10-25T01:00:00+02:00",
            [
                "2026-10-25T01:30:00+02:00",
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:30:00+01:00",
                "2026-10-25T03:30:00+01:00",
            ],
        ),
        ("0,30 2 * * *", "2026-03-29T00:00:00+01:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]),
        ("once 2026-03-29T02:30", "2026-03-01T00:00:00+01:00", ["2026-03-29T03:30:00+02:00"]),
        ("every 12 hours", "2026-03-28T20:00:00+01:00", ["2026-03-29T09:00:00+02:00"]),
    ],
)
def test_changes_of_clocks_in_berlin(schedule: str, after: str, expected: list[str]) -> None:
    zone = "" if schedule.startswith("every") else " Europe/Berlin"
    assert times(schedule + zone, after, len(expected), BERLIN) == expected


@pytest.mark.parametrize(
    "schedule",
    [
        "daily", "61 * * * *", "* * * *", "* * * * * * *", "0 3 * * * Europe/Nowhere", "every 10 seconds", "every x minutes",
        "every", "once", "once tomorrow", "once 2026-12-01T03:00Z Europe/Berlin", "cron(0 3 * * * *)", "5-3 * * * *", "*/0 * * * *",
        "0 3 32 * *", "0 3 * FOO *", "0 3 ? * 6#9 *", "$(reboot)", "0 3 * * 1-5 ../../etc/passwd", "rate()", "at()",
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_the_forms(schedule: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_schedule(schedule)
    assert refused.value.kind == "schedule"
    assert refused.value.hint


def test_which_schedules_repeat() -> None:
    assert not is_repeated("")
    assert not is_repeated("once 2026-12-01T03:00")
    assert is_repeated("every 5 minutes")
    assert is_repeated("cron(0 3 ? * MON-FRI *)")


FIELD = st.sampled_from(["*", "*/7", "0", "5,17", "2-4"])


@settings(max_examples=30)
@given(
    minute=FIELD,
    hour=FIELD,
    day=st.sampled_from(["*", "1", "31", "10-20/5"]),
    weekday=st.sampled_from(["*", "1", "0,6"]),
)
def test_runs_rise_and_fit_and_none_is_left_out(minute: str, hour: str, day: str, weekday: str) -> None:
    """Beside a clock that walks minute by minute, where no clock changes."""
    parsed = parse_schedule(f"{minute} {hour} {day} * {weekday}")
    assert parsed
    begin = float(stamp("2026-01-28T00:00:00+00:00"))
    walked = []
    for now in range(int(begin) + 60, int(begin) + 9 * 86_400, 60):
        at = datetime.fromtimestamp(now, UTC)
        by_day, by_week = fits(day, at.day, 1), fits(weekday, at.isoweekday() % 7, 0)
        either = by_day or by_week if day[0] != "*" and weekday[0] != "*" else by_day and by_week
        if fits(minute, at.minute, 0) and fits(hour, at.hour, 0) and either:
            walked.append(float(now))
            if len(walked) == 12:
                break
    found: list[float] = []
    for _ in walked:
        following = parsed.next(found[-1] if found else begin)
        assert following is not None
        found.append(following)
    assert found == walked
    assert all(first < second for first, second in itertools.pairwise(found))


def fits(text: str, value: int, low: int) -> bool:
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            start, stop = low, 99
        else:
            begin, dash, end = span.partition("-")
            start, stop = int(begin), int(end) if dash else int(begin)
        if start <= value <= stop and (value - start) % int(step or 1) == 0:
            return True
    return False

"""Limits that change while a job runs: the timetable, the row, and how a fleet divides its bandwidth."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from dth.errors import SettingsError
from dth.flow.limits import Limits
from dth.flow.shares import FORGOTTEN_SECONDS, LEASE_SECONDS, Rates, Shares, Word
from dth.flow.timetable import Timetable

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = "08:00-18:00=50MB/s, else off"
MB = 10**6


def at(text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("20MB/s", {"2026-06-01T12:00": 20 * MB}),
        ("1GiB", {"2026-06-01T12:00": 1 << 30}),
        ("off", {"2026-06-01T12:00": 0}),
        (OFFICE, {"2026-06-01T07:59:59": 0, "2026-06-01T08:00": 50 * MB, "2026-06-01T17:59:59": 50 * MB, "2026-06-01T18:00": 0}),
        ("22:00-06:00=off,else 1MB/s", {"2026-06-01T23:00": 0, "2026-06-02T05:59": 0, "2026-06-02T06:00": MB}),
        ("00:00-24:00=2MB/s, else off", {"2026-06-01T00:00": 2 * MB, "2026-06-01T23:59:59": 2 * MB}),
        # 2026-06-05 is a Friday: its night lasts until Saturday morning, Saturday's own does not begin.
        ("Fri 22:00-06:00=2MB/s, else off", {"2026-06-06T05:00": 2 * MB, "2026-06-06T23:00": 0, "2026-06-05T05:00": 0}),
        (
            "Mon-Thu 08:00-18:00=1MB/s, Sat,Sun 10:00-14:00=2MB/s, else 3MB/s",
            {"2026-06-01T09:00": MB, "2026-06-05T09:00": 3 * MB, "2026-06-07T10:00": 2 * MB, "2026-06-06T14:00": 3 * MB},
        ),
        ("Sat-Mon 08:00-09:00=1MB/s, else off", {"2026-06-07T08:30": MB, "2026-06-08T08:30": MB, "2026-06-09T08:30": 0}),
    ],
)  # fmt: skip
def test_a_timetable_says_the_rate_of_a_moment(text: str, rates: dict[str, int]) -> None:
    table = Timetable.parse(text, "Europe/Berlin")
    assert {moment: table.rate_at(at(moment)) for moment in rates} == rates


def test_what_the_clock_on_the_wall_shows_counts_when_clocks_change() -> None:
    table = Timetable.parse("02:15-02:45=1MB/s, else off", "Europe/Berlin")
    spring = at("2026-03-29T01:59:59") + 1  # then the clock shows 03:00
    assert [table.rate_at(spring + minutes * 60) for minutes in range(-30, 90, 15)] == [0] * 8
    autumn = at("2026-10-25T02:00", fold=0)
    assert [table.rate_at(autumn + minutes * 60) for minutes in (0, 15, 30, 45, 60, 75, 90, 105, 120)] == [
        *(0, MB, MB, 0),
        *(0, MB, MB, 0),
        0,
    ]
    office = Timetable.parse(OFFICE, "Europe/Berlin")
    for day in ("2026-03-28", "2026-03-29", "2026-10-25"):  # before, at, and after changes: eight is eight
        assert office.next_change(at(f"{day}T00:30")) == at(f"{day}T08:00")
        assert office.next_change(at(f"{day}T12:00")) == at(f"{day}T18:00")
    assert Timetable.parse("off").next_change(0.0) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot read the rate ''"),
        ("fast", "cannot read the rate 'fast'"),
        ("0", "less than 1024 bytes"),
        ("12/s", "--pause"),
        ("08:00-18:00=50MB/s", "other times"),
        ("8-18=50MB/s, else off", "cannot read '8-18=50mb/s'"),
        ("08:00-18:00=50MB/s, 1MB/s", "other times"),
        ("08:00-25:00=50MB/s, else off", "'25:00' is no time of day"),
        ("08:60-09:00=50MB/s, else off", "'08:60' is no time of day"),
        ("08:00-08:00=50MB/s, else off", "holds at no time"),
        ("Mo 08:00-09:00=50MB/s, else off", "'mo' is no day"),
        ("Xyz 08:00-09:00=50MB/s, else off", "'xyz' is no day"),
        ("08:00-09:00=much, else off", "cannot read the rate 'much'"),
        ("else", "cannot read the rate"),
        ("08:00-09:00=1MB/s, else", "cannot read the rate"),
    ],
)
def test_what_is_no_timetable_is_refused_with_the_part_that_is_wrong(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Timetable.parse(text)
    assert said.lower() in str(refused.value).lower()


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "../../etc/passwd", "", "/etc/localtime"])
def test_a_zone_that_nobody_knows_is_refused(zone: str) -> None:
    with pytest.raises(SettingsError, match="Europe/Berlin"):
        Timetable.parse("off", zone)


def test_a_row_is_read_back_as_it_was_written() -> None:
    for limits in (Limits(), Limits(OFFICE, "Europe/Berlin", 3, 0, paused=True, changed_at=12.5, changed_by="me@höst")):
        assert Limits.from_json(limits.to_json()) == limits
    assert Limits(changed_at=3.0).empty
    assert not Limits(worker_number=0).empty


@pytest.mark.parametrize(
    "row",
    [
        *("", "no", "[]", "null", '"off"', '{"bandwidth": 5}', '{"bandwidth": "fast"}', '{"processes": true}'),
        *('{"processes": 0}', '{"processes": 1000}', '{"processes": 1.5}', '{"worker_number": -1}', '{"paused": 1}'),
        *('{"paused": "no"}', '{"time_zone": "Mars"}', '{"bandwidht": "off"}', '{"changed_at": "today"}'),
        '{"bandwidth": "off", "time_zone": "Mars"}',
    ],
)
def test_a_row_that_is_not_understood_whole_is_an_error_in_words(row: str) -> None:
    if row == '{"time_zone": "Mars"}':
        Limits.from_json(row)  # without a timetable it is not looked at
        return
    with pytest.raises(SettingsError):
        Limits.from_json(row)


class Fleet:
    """Machines that hear each other through a dictionary, and a clock."""

    def __init__(self, count: int) -> None:
        self.now = 1000.0
        self.words: dict[str, str] = {}
        self.machines = {f"m{number}": Shares(f"m{number}", lambda: self.now) for number in range(count)}
        self.state = dict.fromkeys(self.machines, (1, 0))

    def look(self, *, without: str = "") -> dict[str, Rates]:
        """All but one renew their words and hear the others'."""
        alive = [name for name in self.machines if name != without]
        for name in alive:
            self.words[name] = self.machines[name].say(*self.state[name]).to_json()
        for name in alive:
            for dead in self.machines[name].hear(self.words):
                self.words.pop(dead, None)
        return {name: self.machines[name].divide(9000, *self.state[name]) for name in alive}


def test_a_machine_that_dies_gives_its_part_back_when_its_lease_ends_and_is_forgotten_later() -> None:
    fleet = Fleet(3)
    assert {rates.busy for rates in fleet.look().values()} == {3000}
    for seconds, each in ((LEASE_SECONDS - 1, 3000), (LEASE_SECONDS + 1, 4500)):
        fleet.now = 1000.0 + seconds
        assert {rates.busy for rates in fleet.look(without="m1").values()} == {each}
    assert "m1" in fleet.words
    fleet.now += FORGOTTEN_SECONDS
    fleet.look(without="m1")
    assert "m1" not in fleet.words
    assert {rates.busy for rates in fleet.look().values()} == {3000}  # back again


def test_never_more_than_the_whole_even_where_all_that_wait_begin_at_once() -> None:
    fleet = Fleet(4)
    fleet.state = {"m0": (2, 0), "m1": (0, 3), "m2": (1, 1), "m3": (0, 0)}
    rates = fleet.look()
    assert {each.busy for each in rates.values()} == {3000}
    assert {each.idle for each in rates.values()} == {9000 // 7}
    fleet.state = dict.fromkeys(fleet.machines, (0, 2))
    assert sum(2 * each.idle for each in fleet.look().values()) <= 9000


@pytest.mark.parametrize("text", ["", "no", "{}", "[1, 2]", "[1, 2, true]", "[1.5, 0, 1]", "[-1, 0, 1]", '["1", 0, 1]'])
def test_a_word_that_makes_no_sense_takes_no_part(text: str) -> None:
    assert Word.from_json(text) is None
    fleet = Fleet(2)
    fleet.words["m9"] = text
    assert {rates.busy for rates in fleet.look().values()} == {4500}
    assert Word.from_json(json.dumps([1, 2, 3])) == Word(1, 2, 3)

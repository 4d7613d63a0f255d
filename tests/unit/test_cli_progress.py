"""Sums, rates and words: what the outputs say of an event stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.cli.output.format import short_count, shown_bytes, shown_key, shown_seconds
from dth.cli.output.progress import Meter, View
from dth.cli.output.summary import headline
from dth.events import (
    BytesMoved,
    InFlight,
    ListingProgress,
    Moved,
    Requests,
    RunAbandoned,
    RunOver,
    RunSealed,
    RunStarted,
    VerifyProgress,
    WorkerStopped,
)
from dth.summary import Tally


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_totals_of_the_ledger_replace_what_events_added_up() -> None:
    tally = Tally()
    tally(RunSealed("r", 5, 500, 9, {}))
    tally(Moved("r", 4, 0, 0, 400))
    tally(Moved("r", 4, 0, 0, 400))  # a repeated event
    tally(RunOver("r", "sealed", 5, 4, 0, 1, 400))
    end = tally.summary()
    assert (end.found, end.done, end.failed, end.bytes, end.compared, end.exit_code) == (5, 4, 1, 400, 9, 3)
    assert end.complete


def test_an_abandoned_run_is_not_success() -> None:
    tally = Tally()
    tally(RunStarted("r", "a", "b"))
    tally(RunAbandoned("r", "listing failed"))
    assert tally.summary().exit_code == 3


def test_requests_of_all_processes_are_added_up() -> None:
    tally = Tally()
    tally(Requests("a", {"GetObject": 2}, {"PutObject": 2}))
    tally(Requests("b", {"GetObject": 3, "ListObjectsV2": 1}, {}))
    assert tally.summary().requests == {
        "source": {"GetObject": 5, "ListObjectsV2": 1},
        "destination": {"PutObject": 2},
    }


def test_comparisons_of_several_runs_are_added_up() -> None:
    tally = Tally()
    for run_id in "ab":
        tally(ListingProgress(run_id, 5, 5, 1, 10))
        tally(RunSealed(run_id, 1, 10, 7, {}))
    assert tally.summary().compared == 14


def test_rates_and_time_left_follow_a_window() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter(RunSealed("r", 100, 100_000, 100, {}))
    for _ in range(60):
        clock.now += 1
        meter(Moved("r", 1, 0, 0, 1000))
        meter.sample()
    view = meter.view()
    assert view.objects_rate == pytest.approx(1.0)
    assert view.bytes_rate == pytest.approx(1000.0)
    assert view.left_seconds == pytest.approx(40.0)
    for _ in range(30):  # nothing moves any more: the window must notice
        clock.now += 1
        meter.sample()
    stalled = meter.view()
    assert (stalled.objects_rate, stalled.left_seconds) == (0.0, None)


def test_nobody_knows_the_time_left_while_listing_goes_on() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter(RunStarted("r", "a", "b"))
    meter(ListingProgress("r", 1000, 900, 100, 1000))
    clock.now += 1
    meter(Moved("r", 10, 0, 0, 100))
    view = meter.view()
    assert view.left_seconds is None
    assert "10 of 100 objects so far" in view.line


def test_bytes_of_a_large_object_count_once() -> None:
    meter = Meter(Clock())
    meter(RunSealed("r", 1, 3000, 1, {}))
    for _ in range(3):
        meter(BytesMoved("r", 1000))
    assert meter.view().bytes == 3000
    meter(Moved("r", 1, 0, 0, 3000))
    assert meter.view().bytes == 3000


def test_what_a_dead_worker_held_is_in_flight_no_more() -> None:
    meter = Meter(Clock())
    meter(InFlight("a", 5, 100))
    meter(InFlight("b", 7, 100))
    meter(WorkerStopped("a", 1, -9))
    assert meter.view().in_flight == 7


COUNTS = st.integers(0, 10**14)
RATES = st.floats(0, 10**13)


@given(
    ended=COUNTS, size=COUNTS, failed=COUNTS, flying=COUNTS, rate=RATES, bytes_rate=RATES, left=st.one_of(st.none(), st.floats(0, 1e12)),
    listed=st.booleans(),
)  # fmt: skip
def test_a_line_of_80_columns_tells_objects_bytes_rates_failures_and_time_left(
    ended: int, size: int, failed: int, flying: int, rate: float, bytes_rate: float, left: float | None, *, listed: bool
) -> None:
    view = View(ended, ended, listed, ended, size, ended, size, failed, flying, rate, bytes_rate, left)
    for columns in (80, 100, 140):
        line = view.line_in(columns)
        assert len(line) <= columns
        fields = line.split(" | ")
        assert len(fields) >= 5, line
        assert fields[-1].endswith(" left")
        assert fields[-2].endswith(" failed")
        assert fields[2].count("/s") == 2


@pytest.mark.parametrize(("columns", "line"), [
    (140, "1,234 of 56,789 objects | 1.5 GiB of 64 GiB | 321 objects/s, 45 MiB/s | 32 in flight | 0 failed | 2 min 53 s left"),
    (100, "1,234 of 56,789 objects | 1.5 GiB of 64 GiB | 321 objects/s, 45 MiB/s | 0 failed | 2 min 53 s left"),
    (80, "1,234/56,789 | 1.5GiB/64GiB | 321/s 45MiB/s | 0 failed | 2 min 53 s left"),
])  # fmt: skip
def test_wider_lines_say_more(columns: int, line: str) -> None:
    view = View(0, 0, True, 56_789, 64 << 30, 1234, 3 << 29, 0, 32, 321, 45 << 20, 173)  # noqa: FBT003
    assert view.line_in(columns) == line


@pytest.mark.parametrize(("count", "text"), [
    (0, "0"), (999, "999"), (999.6, "1.0k"), (1000, "1.0k"), (9_949, "9.9k"), (9_960, "10k"), (99_999, "100k"), (999_999, "1.0M"),
    (12_345_678, "12M"), (10**12, "1.0T"), (10**14, "100T"),
])  # fmt: skip
def test_short_counts_have_four_characters_at_most(count: float, text: str) -> None:
    assert short_count(count) == text


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9), st.integers(0, 9), st.integers(0, 10**6)), max_size=20)
)
def test_a_view_never_claims_more_than_there_is(moves: list[tuple[int, int, int, int]]) -> None:
    clock = Clock()
    meter = Meter(clock)
    for done, skipped, failed, size in moves:
        meter(BytesMoved("r", size))
        meter(Moved("r", done, skipped, failed, size))
        clock.now += 0.3
        meter.sample()
        view = meter.view()
        assert view.found >= view.ended
        assert view.found_bytes >= view.bytes >= 0
        assert view.objects_rate >= 0 <= view.bytes_rate
        assert view.line


@given(st.text())
def test_no_key_can_command_a_terminal(key: str) -> None:
    shown = shown_key(key + "\x1b[2J\r\n\udc80\u202e")
    assert shown.isprintable()
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (64 * 2**20, "64 MiB"), (2**40, "1.0 TiB"), (2**62, "4096 PiB")],
)
def test_bytes_are_short(count: int, shown: str) -> None:
    assert shown_bytes(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.42, "0.42 s"),
        (59.6, "1 min 00 s"),
        (12, "12 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (273_600, "3 d 04 h"),
    ],
)
def test_durations_are_short(seconds: float, shown: str) -> None:
    assert shown_seconds(seconds) == shown


def test_a_run_with_nothing_to_do_says_so() -> None:
    tally = Tally()
    tally(RunSealed("r", 0, 0, 12_345, {}))
    assert headline(tally.summary()).startswith("Nothing to copy: 12,345 objects compared in ")


def test_a_finder_says_what_it_found() -> None:
    tally = Tally()
    tally(RunSealed("r", 7, 700, 100, {}))
    assert headline(tally.summary()).startswith("Found 7 objects to copy in ")


def test_a_comparison_shows_what_it_has_compared_and_read() -> None:
    clock = Clock()
    meter = Meter(clock)
    assert meter.line() == ""
    clock.now += 2
    meter(VerifyProgress(30, 20, 20, 1, 0))
    assert meter.line() == "listed 30 and 20 | 20 objects compared, 10/s | 1 differ"
    meter(VerifyProgress(30, 20, 20, 1, 4 << 20))
    assert (
        meter.line() == "listed 30 and 20 | 20 objects compared, 10/s | 4.0 MiB read on each side, 2.0 MiB/s | 1 differ"
    )

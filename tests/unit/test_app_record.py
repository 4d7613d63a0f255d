"""Which runs decide a command's exit code."""

from __future__ import annotations

from dth.app.record import Record
from dth.events import Event, RunOver
from dth.states import RunState
from dth.summary import ExitCode


def ended(run_id: str, state: RunState, *, failed: int = 0) -> RunOver:
    return RunOver(run_id, state.value, 3, 3 - failed, 0, failed, 0)


def code(*events: Event, newest_speaks: bool) -> int:
    record = Record(lambda _: None)
    for event in events:
        record.note(event)
    return record.summary(interrupted=False, newest_speaks=newest_speaks).exit_code


def test_failures_of_an_earlier_run_are_healed_by_a_finder_that_found_them_again() -> None:
    runs = ended("old", RunState.SEALED, failed=2), ended("new", RunState.SEALED)
    assert code(*runs, newest_speaks=True) == ExitCode.COMPLETE
    assert code(*runs, newest_speaks=False) == ExitCode.SOME_FAILED


def test_the_newest_run_never_hides_its_own_failures_or_its_end() -> None:
    old = ended("old", RunState.SEALED)
    assert code(old, ended("new", RunState.SEALED, failed=1), newest_speaks=True) == ExitCode.SOME_FAILED
    assert code(old, ended("new", RunState.ABANDONED), newest_speaks=True) == ExitCode.SOME_FAILED

"""Which runs decide a command's exit code."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from dth.app.record import Record
from dth.events import Event, RunOver
from dth.ledgers.base import Ledger, Run
from dth.model import Counts
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


def test_a_finder_ends_well_though_workers_failed_to_copy_what_it_found_meanwhile() -> None:
    record = Record(lambda _: None)
    record.note(ended("new", RunState.SEALED, failed=1))
    assert record.summary(interrupted=False, only_listed=True).exit_code == ExitCode.COMPLETE
    record.note(ended("new", RunState.ABANDONED, failed=1))
    assert record.summary(interrupted=False, only_listed=True).exit_code == ExitCode.SOME_FAILED


@pytest.mark.parametrize("newest_speaks", [True, False])
@pytest.mark.parametrize("heard_first", ["old", "new"])
async def test_which_run_is_the_newest_is_told_by_when_it_began_not_by_when_it_was_heard_of(
    heard_first: str, *, newest_speaks: bool
) -> None:
    """A killed finder's messages may be worked after those of the run that found its difference again."""
    rows = {
        "old": Run("old", "job", RunState.ABANDONED, "{}", "f", 0.0, 1.0, None, 0, {}, Counts(done=1)),
        "new": Run("new", "job", RunState.SEALED, "{}", "f", 0.0, 2.0, 3, 0, {}, Counts(done=3)),
    }

    async def run(run_id: str) -> Run:
        return rows[run_id]

    record = Record(lambda _: None)
    for run_id in sorted(rows, key=lambda name: name != heard_first):
        record.note(ended(run_id, rows[run_id].state))
    await record.read_runs(cast("Ledger", SimpleNamespace(run=run)))
    assert record.summary(interrupted=False, newest_speaks=newest_speaks).exit_code == ExitCode.COMPLETE

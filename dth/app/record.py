"""Counts every event of a verb on its way to the output, and makes the summary of them."""

from __future__ import annotations

from dth import settings
from dth.events import Emit, Event, Notice, RunOver
from dth.ledgers.base import Ledger
from dth.states import RunState
from dth.stats import KINDS
from dth.summary import ExitCode, Summary, Tally

_ONCE = {"plain_http", "clock_corrected", "events_silent"}


class Record:
    """Passes events on and adds them up."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._tally = Tally()
        self._said: set[Event] = set()
        self._began: dict[str, float] = {}

    def note(self, event: Event) -> None:
        """Take one event. What every process of a run notices is passed on once."""
        if isinstance(event, Notice) and event.code in _ONCE:
            if event in self._said:
                return
            self._said.add(event)
        self._tally(event)
        self._emit(event)

    async def read_runs(self, ledger: Ledger) -> None:
        """Replace what events added up by the ledger's own totals: events of a killed worker are missing or doubled."""
        for run_id in list(self._tally.runs):
            run = await ledger.run(run_id)
            if run is not None:
                self._began[run_id] = run.started_at
                counts, noun = run.counts, settings.noun_of(run.job_settings)
                ends = counts.done, counts.skipped, counts.failed, counts.bytes
                behind = [dict(getattr(run.breakdown, kind)) for kind in KINDS]
                self.note(RunOver(run_id, run.state.value, run.found, *ends, noun, *behind))

    def summary(self, *, interrupted: bool, newest_speaks: bool = False, only_listed: bool = False) -> Summary:
        """The end. An abandoned run counts only as the latest one: an earlier run's difference was found again; so were
        its failures, where a finder has run after it (`newest_speaks`). Where this command lists and does not copy
        (`only_listed`), its exit code says how that ended: an object that a worker fails to copy meanwhile is no reason
        to list again."""
        if interrupted:
            return self._tally.summary(exit_code=ExitCode.INTERRUPTED)
        # In the order in which they began: a worker may hear of a later one first.
        runs = sorted(self._tally.runs.values(), key=lambda run: self._began.get(run.run_id, 0.0))
        speaking = runs[-1:] if newest_speaks else runs
        failed = (
            self._tally.buried > 0
            or (not only_listed and any(run.failed for run in speaking))
            or (bool(runs) and runs[-1].state == RunState.ABANDONED)
        )
        return self._tally.summary(exit_code=ExitCode.SOME_FAILED if failed else ExitCode.COMPLETE)

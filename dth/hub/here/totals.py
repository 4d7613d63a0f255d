"""The ledger's own totals of a run: exact, where events of a killed process are missing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from dth.errors import DthError
from dth.hub import forms
from dth.hub.base import TaskRow
from dth.hub.figures import Cause, Figures
from dth.hub.here.folder import HubFolder
from dth.hub.here.runs import Active
from dth.ledgers.base import Run
from dth.settings import TransferJob

_log = logging.getLogger("dth.hub")


class LedgerTotals:
    """Reads the ledgers of jobs whose process has ended."""

    def __init__(self, folder: HubFolder) -> None:
        self._folder = folder

    async def __call__(self, task: TaskRow, run: Active) -> None:
        """Replace what events added up."""
        if not run.figures.engine_runs:
            return
        from dth.app.status import status as look  # noqa: PLC0415 - a hub that only shows needs no engine

        try:
            job = forms.job_of(task.type, task.settings).model_copy(update={"state": self._folder.root})
            if not isinstance(job, TransferJob):
                return
            status = await look(job)
        except DthError as error:
            _log.warning("the ledger of task %s cannot be read: %s", task.id, error)
            return
        for row in status.runs:
            if row.run_id not in run.figures.engine_runs:
                continue
            counts = row.counts
            totals = run.figures.run(row.run_id)
            totals.update(done=counts.done, skipped=counts.skipped, failed=counts.failed, bytes=counts.bytes)
            totals["sealed"] = row.state.value == "sealed"
            totals["abandoned"] = row.state.value == "abandoned"
            if row.found is not None:
                totals["found"] = row.found
                totals["found_bytes"] = row.found_bytes
        take_breakdowns(run.figures, status.runs)


def take_breakdowns(figures: Figures, rows: Sequence[Run]) -> None:
    """What stands behind the counters: proofs, and how many failed for which cause. The ledger's numbers are exact."""
    mine = [row.breakdown for row in rows if row.run_id in figures.engine_runs]
    proofs: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    for one in mine:
        proofs.update(one.proofs)
        causes.update(one.causes)
    if proofs:
        figures.proofs = dict(proofs)
    for code, count in causes.items():
        cause = figures.causes.setdefault(code, Cause())
        cause.final, cause.count = count, max(cause.count, count)

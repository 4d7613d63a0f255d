"""Limits of a run that is under way: the same row of its ledger that `dth limit` writes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from dth.errors import DthError
from dth.flow.limits import Limits
from dth.hub import forms
from dth.hub.base import TaskRow
from dth.hub.here.folder import HubFolder
from dth.settings import TransferJob

_log = logging.getLogger("dth.hub")


async def change_live(folder: HubFolder, task: TaskRow, bandwidth: int | None, workers: int | None) -> bool:
    """Tell the processes of the task's run: bytes a second and processes, 0 for no limit, None for no change. False where they
    cannot be told, and have to begin anew."""
    from dth.app.limit import change_limits  # noqa: PLC0415 - a hub that only shows needs no engine

    def change(limits: Limits) -> Limits:
        if bandwidth is not None:
            limits = replace(limits, bandwidth=str(bandwidth) if bandwidth else "off")
        if workers is not None:
            limits = replace(limits, processes=workers or None)
        return limits

    return await _write(folder, task, lambda job: change_limits(job, change))


async def pause_live(folder: HubFolder, task: TaskRow, *, paused: bool) -> bool:
    """Tell the processes of a job to finish what is in flight and begin nothing new, or to go on. False where they cannot be told."""
    from dth.app.limit import change_limits  # noqa: PLC0415 - as above

    return await _write(folder, task, lambda job: change_limits(job, lambda limits: replace(limits, paused=paused)))


async def is_paused(job: TransferJob) -> bool:
    """Whether a job's processes have been told to pause."""
    from dth.app.limit import limits_now  # noqa: PLC0415 - as above

    return (await limits_now(job)).limits.paused


async def forget_live(folder: HubFolder, task: TaskRow) -> None:
    """A new run begins: what its task's settings say holds again."""
    from dth.app.limit import forget_limits  # noqa: PLC0415 - as above

    await _write(folder, task, forget_limits)


async def _write(folder: HubFolder, task: TaskRow, write: Callable[[TransferJob], Awaitable[object]]) -> bool:
    try:
        job = forms.job_of(task.type, task.settings).model_copy(update={"state": folder.root})
        if not isinstance(job, TransferJob):
            return False
        await write(job)
    except DthError as error:
        _log.warning("the limits of task %s cannot be written: %s", task.id, error)
        return False
    return True

"""`dth limit`: what a job's processes may use, changed and shown while they run."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from dth.app.build import Lock, open_embedded
from dth.app.live_limits import SHARE
from dth.errors import LedgerError, SettingsError
from dth.flow.limits import ROW, Limits
from dth.flow.shares import Word
from dth.ledgers.base import Ledger
from dth.settings import TransferJob

_TRIES = 20  # two people who change the same job at once are rare


@dataclass(frozen=True, slots=True)
class LimitsNow:
    """The row, and what follows from it now. `rate` is in bytes a second (0: no limit; None: as the processes were started),
    `rate_changes_at` in seconds since the epoch. `machines` are those that take part in the bandwidth. `known`: the job
    has had a run. `unreadable` says why the row cannot be read, "" where it can."""

    job_id: str
    limits: Limits
    rate: int | None
    rate_changes_at: float | None
    machines: Mapping[str, Word]
    known: bool
    unreadable: str = ""


async def limits_now(job: TransferJob) -> LimitsNow:
    """What holds for a job."""
    async with open_embedded(job, lock=Lock.NONE) as here:
        return await _now(here.ledger, here.job_id)


async def change_limits(job: TransferJob, change: Callable[[Limits], Limits]) -> LimitsNow:
    """Write the row anew, as `change` makes it of the one in force. Nothing that somebody else changes meanwhile is lost: then
    `change` is called again. A row that cannot be read is written over only by a change that does not depend on it
    (`Limits()` whatever it was). Raises SettingsError for limits that make no sense."""
    async with open_embedded(job, lock=Lock.NONE) as here:
        for _ in range(_TRIES):
            before = await here.ledger.get_note(here.job_id, ROW) or ""
            limits = _changed(before, change)
            stamped = replace(limits, changed_at=time.time(), changed_by=f"{_user()}@{socket.gethostname()}")
            if await here.ledger.swap_note(here.job_id, ROW, before, stamped.to_json()):
                return await _now(here.ledger, here.job_id)
        raise LedgerError(f"the limits of job {here.job_id} are being changed by others all the time: try again")


async def forget_limits(job: TransferJob) -> None:
    """Remove the row, where there is one."""
    async with open_embedded(job, lock=Lock.NONE) as here:
        if await here.ledger.get_note(here.job_id, ROW):
            await here.ledger.put_note(here.job_id, ROW, "")


def _changed(before: str, change: Callable[[Limits], Limits]) -> Limits:
    try:
        return change(Limits.from_json(before) if before else Limits())
    except SettingsError as error:
        if not before:
            raise
        anew = change(Limits(processes=1)), change(Limits(processes=2))
        if anew[0] == anew[1] and _unreadable(before):
            return anew[0]
        raise SettingsError(f"{error}; `dth limit --reset` writes the limits anew") from error


def _unreadable(text: str) -> str:
    try:
        Limits.from_json(text)
    except SettingsError as error:
        return str(error)
    return ""


async def _now(ledger: Ledger, job_id: str) -> LimitsNow:
    text = await ledger.get_note(job_id, ROW) or ""
    unreadable = _unreadable(text) if text else ""
    limits = Limits.from_json(text) if text and not unreadable else Limits()
    timetable = limits.timetable()
    now = time.time()
    words = {name: Word.from_json(word) for name, word in (await ledger.notes(job_id, SHARE)).items()}
    return LimitsNow(
        job_id=job_id,
        limits=limits,
        rate=timetable.rate_at(now) if timetable else None,
        rate_changes_at=timetable.next_change(now) if timetable else None,
        machines={name: word for name, word in words.items() if word},
        known=bool(await ledger.runs(job_id, 1)),
        unreadable=unreadable,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"

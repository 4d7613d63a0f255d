"""The standing run of a job's events: made when the first one comes."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid

from dth import settings
from dth.app.selection import choice_of
from dth.ledgers.base import Ledger, Run
from dth.model import Counts
from dth.settings import TransferJob
from dth.states import RunState
from dth.worker.events import EventRules


class StandingRun:
    """Which events a worker acts on: those of the job whose locations it was started with. Every set of settings has a
    standing run of its own, so that a job that is changed has a new one, and workers of both kinds get on. Its id is
    random and kept in the ledger: who knows the settings does not know it."""

    def __init__(self, job: TransferJob, ledger: Ledger) -> None:
        self._job = job
        self._ledger = ledger
        self._choice = choice_of(job)
        self._rules: EventRules | None = None
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self) -> EventRules | None:
        """See `worker.events.FindRules`."""
        async with self._one_at_a_time:
            if self._rules is None and self._job.src_bucket:
                text = settings.run_settings_json(self._job)
                job_id = settings.job_id(self._job)
                note = "standing-run/" + hashlib.sha256(text.encode()).hexdigest()[:16]
                run_id = await self._ledger.keep_note(job_id, note, f"events-{job_id}-{uuid.uuid4().hex[:16]}")
                await self._ledger.start_run(_standing(run_id, job_id, text), overlap=True)
                self._rules = EventRules(
                    job_id=job_id,
                    run_id=run_id,
                    bucket=self._job.src_bucket,
                    prefix=self._job.src_prefix,
                    creations=self._job.src_event != "No",
                    removals=self._job.src_event == "CreateAndDelete",
                    takes_key=self._takes_key,
                )
            return self._rules

    def _takes_key(self, key: str) -> bool:
        return self._choice is None or self._choice.takes_key(key)


def _standing(run_id: str, job_id: str, job_settings: str) -> Run:
    return Run(
        run_id=run_id,
        job_id=job_id,
        state=RunState.STANDING,
        job_settings=job_settings,
        finder="events",
        lease_until=0.0,
        started_at=time.time(),
        found=None,
        found_bytes=0,
        reasons={},
        counts=Counts(),
    )

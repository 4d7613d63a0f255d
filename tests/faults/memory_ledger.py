"""A ledger in memory: enough of the contract for a worker, exact and instant."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping

from dth.ledgers.base import OutcomeRow, Run, UploadRow
from dth.model import Counts
from dth.states import RunState


class MemoryLedger:
    def __init__(self) -> None:
        self.rows: dict[str, OutcomeRow] = {}
        self._runs: dict[str, Run] = {}

    async def start_run(self, run: Run, *, overlap: bool = False) -> None:
        self._runs[run.run_id] = run

    async def extend_run(self, run_id: str, finder: str, lease_until: float) -> None:
        self._runs[run_id] = dataclasses.replace(self._runs[run_id], lease_until=lease_until)

    async def seal_run(
        self, run_id: str, finder: str, found: int, found_bytes: int, reasons: Mapping[str, int]
    ) -> None:
        self._runs[run_id] = dataclasses.replace(self._runs[run_id], state=RunState.SEALED, found=found)

    async def abandon_run(self, run_id: str, *, expired_before: float | None = None) -> bool:
        run = self._runs[run_id]
        if run.state is not RunState.LISTING or (expired_before is not None and run.lease_until >= expired_before):
            return False
        self._runs[run_id] = dataclasses.replace(run, state=RunState.ABANDONED)
        return True

    async def run(self, run_id: str) -> Run | None:
        run = self._runs.get(run_id)
        counts = sum((row.counts for row in self.rows.values() if row.run_id == run_id), Counts())
        return dataclasses.replace(run, counts=counts) if run else None

    async def runs(self, job_id: str, limit: int) -> list[Run]:
        return [run for run_id in reversed(self._runs) if (run := await self.run(run_id))][:limit]

    async def record(self, row: OutcomeRow, process: str) -> OutcomeRow:
        return self.rows.setdefault(row.message_id, row)

    async def outcome(self, message_id: str) -> OutcomeRow | None:
        return self.rows.get(message_id)

    async def claim_upload(self, row: UploadRow) -> UploadRow:
        raise NotImplementedError

    async def update_upload(self, row: UploadRow) -> UploadRow:
        raise NotImplementedError

    async def close_upload(self, row: UploadRow) -> None:
        raise NotImplementedError

    def uploads(self, job_id: str) -> AsyncIterator[UploadRow]:
        raise NotImplementedError

    async def get_note(self, job_id: str, name: str) -> str | None:
        raise NotImplementedError

    async def put_note(self, job_id: str, name: str, value: str) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        pass

"""The upload rows and notes of a ledger, in memory; the rest of the protocol is not there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from dth.errors import LeaseLost
from dth.ledgers.base import OutcomeRow, Run, UploadRow


class MemoryLedger:
    def __init__(self) -> None:
        self.rows: dict[str, UploadRow] = {}
        self.notes: dict[str, str] = {}

    async def claim_upload(self, row: UploadRow) -> UploadRow:
        await asyncio.sleep(0)
        present = self.rows.get(row.dest_key)
        if present is None:
            self.rows[row.dest_key] = replace(row, revision=1)
        elif present.owned_until <= time.time():
            self.rows[row.dest_key] = replace(
                present,
                owner=row.owner,
                owned_until=row.owned_until,
                run_id=row.run_id,
                revision=present.revision + 1,
            )
        return self.rows[row.dest_key]

    async def update_upload(self, row: UploadRow) -> UploadRow:
        await asyncio.sleep(0)
        present = self.rows.get(row.dest_key)
        if present is None or present.revision != row.revision:
            raise LeaseLost("moved")
        self.rows[row.dest_key] = replace(row, revision=row.revision + 1)
        return self.rows[row.dest_key]

    async def close_upload(self, row: UploadRow) -> None:
        await asyncio.sleep(0)
        present = self.rows.get(row.dest_key)
        if present is None:
            return
        if present.revision != row.revision:
            raise LeaseLost("moved")
        del self.rows[row.dest_key]

    async def uploads(self, job_id: str) -> AsyncIterator[UploadRow]:
        await asyncio.sleep(0)
        for key in sorted(self.rows):
            yield self.rows[key]

    async def get_note(self, job_id: str, name: str) -> str | None:
        await asyncio.sleep(0)
        return self.notes.get(name)

    async def put_note(self, job_id: str, name: str, value: str) -> None:
        await asyncio.sleep(0)
        if value:
            self.notes[name] = value
        else:
            self.notes.pop(name, None)

    async def start_run(self, run: Run, *, overlap: bool = False) -> None:
        raise NotImplementedError

    async def extend_run(self, run_id: str, finder: str, lease_until: float) -> None:
        raise NotImplementedError

    async def seal_run(
        self, run_id: str, finder: str, found: int, found_bytes: int, reasons: Mapping[str, int]
    ) -> None:
        raise NotImplementedError

    async def abandon_run(self, run_id: str, *, expired_before: float | None = None) -> bool:
        raise NotImplementedError

    async def run(self, run_id: str) -> Run | None:
        raise NotImplementedError

    async def runs(self, job_id: str, limit: int) -> list[Run]:
        raise NotImplementedError

    async def record(self, row: OutcomeRow, process: str) -> OutcomeRow:
        raise NotImplementedError

    async def outcome(self, message_id: str) -> OutcomeRow | None:
        raise NotImplementedError

    async def close(self) -> None:
        return None

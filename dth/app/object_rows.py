"""Where a worker's records of objects go: the report, and the ledger's rows where they were asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dth import settings
from dth.app.ports import is_shared
from dth.embedded import StateFolder
from dth.ledgers.sqlite_objects import SqliteObjects
from dth.report import Report, ReportAndRows
from dth.settings import TransferJob

OBJECTS_FILE = "objects.db"


@asynccontextmanager
async def with_rows(job: TransferJob, folder: StateFolder, report: Report) -> AsyncIterator[Report]:
    """The report, or the report and the rows, which are closed at the end."""
    if job.ledger_records == "message":
        yield report
        return
    if is_shared(job):
        from dth.ledgers.dynamodb_objects import DynamoObjects  # noqa: PLC0415 - embedded runs do without

        rows: SqliteObjects | DynamoObjects = await DynamoObjects.open(job.table, settings.job_id(job), queue=job.queue)
    else:
        rows = await SqliteObjects.open(folder.path / OBJECTS_FILE)
    try:
        yield ReportAndRows(report, rows)
    finally:
        await rows.close()

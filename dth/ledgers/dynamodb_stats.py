"""The table's half that tells what a run knows about itself: see `dth.stats`.

A write unit is a kilobyte, and a name of a failed object some fifty bytes: so the failures of several messages share an
item, which is written before the messages are recorded. Whoever records one waits for that, a second or two.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
import uuid
import zlib
from collections import defaultdict
from collections.abc import Sequence

from dth.aws import Service
from dth.ledgers import dynamodb_rows as rows
from dth.ledgers.dynamodb_rows import Item
from dth.ledgers.dynamodb_table import Table
from dth.stats import Failure, Failures, ProcessRow

GATHER_SECONDS = 1.5  # how long failures wait for others to share their item
PAGE = 200  # failures in an item at most: it may have 400 KB
ERROR_CHARACTERS = 300  # of each
_RUN_DAYS = rows.RUN_DAYS


class Pages:
    """Gathers failures of many messages into few items."""

    def __init__(self, table: Table, gather_seconds: float) -> None:
        self._table = table
        self._gather_seconds = gather_seconds
        self._waiting: list[Failure] = []
        self._write: asyncio.Task[None] | None = None
        self._name = uuid.uuid4().hex[:8]
        self._number = 0

    async def add(self, failures: Sequence[Failure]) -> None:
        """Return when they are in the table. Raises LedgerError where they could not be written."""
        self._waiting += failures
        if self._write is None:
            self._write = asyncio.create_task(self._gather())
        await asyncio.shield(self._write)

    async def _gather(self) -> None:
        await asyncio.sleep(self._gather_seconds)
        waiting, self._waiting, self._write = self._waiting, [], None
        by_run: defaultdict[str, list[Failure]] = defaultdict(list)
        for failure in waiting:
            by_run[failure.run_id].append(failure)
        for run_id, failures in by_run.items():
            for at in range(0, len(failures), PAGE):
                self._number += 1
                sort = f"{time.time():017.6f}#{self._name}#{self._number}".encode()
                await self._table.put(_item(run_id, sort, failures[at : at + PAGE]))


def _item(run_id: str, sort: bytes, failures: Sequence[Failure]) -> Item:
    fields = [dataclasses.astuple(dataclasses.replace(one, error=one.error[:ERROR_CHARACTERS]))[1:] for one in failures]
    text = json.dumps(fields, separators=(",", ":"))
    return {
        "pk": rows.failed_key(run_id),
        "sk": {"B": sort},
        "failures": {"B": zlib.compress(text.encode("ascii"))},
        "expires": rows.expires(_RUN_DAYS),
    }


class DynamoStats(Table):
    """See `ledgers.base.Ledger`."""

    def __init__(self, service: Service, table: str, *, gather_seconds: float = GATHER_SECONDS) -> None:
        super().__init__(service, table)
        self._pages = Pages(self, gather_seconds)

    async def failures(self, run_id: str, *, code: str = "", after: str = "", limit: int = 100) -> Failures:
        """Objects of a run that ended FAILED, a page at a time; a worker's death may have named one twice."""
        place, _, behind = after.partition("/")
        found: list[Failure] = []
        skipped = int(behind or 0)
        begin: Item | None = {"B": place.encode()} if place else None
        between = (begin, {"B": b"\xff"}) if begin else None
        async for item in self._query(rows.failed_key(run_id), limit=10, between=between):
            sort = bytes(item["sk"]["B"]).decode("ascii")
            page = [Failure(run_id, *fields) for fields in json.loads(zlib.decompress(bytes(item["failures"]["B"])))]
            for at, failure in enumerate(page):
                if sort == place and at < skipped:
                    continue
                if not code or failure.code == code:
                    found.append(failure)
                    if len(found) == limit:
                        return Failures(tuple(found), f"{sort}/{at + 1}")
        return Failures(tuple(found), "")

    async def put_process(self, row: ProcessRow) -> None:
        """Write what a process says of itself."""
        said = {"B": zlib.compress(row.to_json().encode("ascii"))}
        key = rows.processes_key(row.job_id, row.run_id, row.process)
        await self.put({**key, "said": said, "expires": rows.expires(_RUN_DAYS)})

    async def processes(self, job_id: str, run_id: str) -> list[ProcessRow]:
        """What every process of a run last said."""
        key = rows.processes_key(job_id, run_id)
        items = [item async for item in self._query(key["pk"], begins=key["sk"]["B"])]
        return [ProcessRow.from_json(zlib.decompress(bytes(item["said"]["B"])).decode("ascii")) for item in items]

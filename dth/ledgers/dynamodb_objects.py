"""An item for each object in a fleet's table (`--ledger-records object`), so that people can query them.

| pk | sk | attributes | expires |
|---|---|---|---|
| `object#<job>#<0 to f>`: the first hex digit of the SHA-256 of the key | the source's key | as below | 90 days after it was written |

One item a key, the last word about it; nothing in dth reads them. A job's items lie under sixteen partition keys, which
take 16,000 writes a second. Each costs a write unit for each kilobyte that is begun, mostly one: with a hundred objects
in a message, a hundred times the writes of a ledger without them.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Self

from dth.aws import PATIENCE, Service, queue_place
from dth.errors import LedgerError
from dth.ledgers.dynamodb_rows import Item, expires, number
from dth.ledgers.sqlite_objects import raw, written_at
from dth.model import ObjectRecord

BATCH = 25  # items in one BatchWriteItem at most (API reference)
BATCHES_AT_ONCE = 4
DAYS = 90
_SORTED_KEY_BYTES = 900  # a sort key holds 1,024
_ERROR_CHARACTERS = 400  # an item should stay below a kilobyte


class DynamoObjects:
    """Items in a table; see `report.Report`."""

    def __init__(self, service: Service, table: str, job_id: str, clock: Callable[[], float]) -> None:
        self._service = service
        self._table = table
        self._job_id = job_id
        self._clock = clock

    @classmethod
    async def open(cls, table: str, job_id: str, *, queue: str = "", clock: Callable[[], float] = time.time) -> Self:
        """The items in `table`, an ARN or a name in the region of `queue`'s URL; asks nothing. Needs
        dynamodb:BatchWriteItem."""
        region = table.split(":")[3] if table.startswith("arn:") else queue_place(queue)[1]
        service = await Service.open("dynamodb", f"table {table}", region=region, endpoint="", error=LedgerError)
        return cls(service, table, job_id, clock)

    async def write(self, records: Sequence[ObjectRecord]) -> None:
        """All of them, in batches. Raises LedgerError where the table does not take them after many tries."""
        now = written_at(self._clock())
        items = (object_item(self._job_id, record, now) for record in records)
        each_once = {item["sk"]["B"]: item for item in items}  # as a batch demands
        puts = [{"PutRequest": {"Item": item}} for item in each_once.values()]
        batches = [puts[at : at + BATCH] for at in range(0, len(puts), BATCH)]
        for at in range(0, len(batches), BATCHES_AT_ONCE):
            await asyncio.gather(*map(self._write, batches[at : at + BATCHES_AT_ONCE]))

    async def _write(self, puts: list[Item]) -> None:
        for tried in range(1, PATIENCE.attempts + 1):
            answer = await self._service.call("batch_write_item", RequestItems={self._table: puts})
            puts = [put for left in answer.get("UnprocessedItems", {}).values() for put in left]
            if not puts:
                return
            await asyncio.sleep(PATIENCE.wait_seconds(tried, None))
        raise LedgerError(f"table {self._table} does not keep up: {len(puts)} objects' items were not taken")

    async def close(self) -> None:
        """Close all connections."""
        await self._service.close()


def object_item(job_id: str, record: ObjectRecord, now: str) -> Item:
    """An object's item."""
    key = raw(record.key)
    digest = hashlib.sha256(key)
    sort = key if len(key) <= _SORTED_KEY_BYTES else key[:_SORTED_KEY_BYTES] + b"\xff" + digest.digest()
    texts = {
        "key": _shown(record.key),
        "dest_key": _shown(record.dest_key),
        "outcome": record.outcome.value,
        "reason": record.reason.value,
        "source_etag": record.source_etag,
        "dest_etag": record.dest_etag,
        "verified_by": record.verified_by.value if record.verified_by else "",
        "error_code": record.error_code,
        "error": _shown(record.error[:_ERROR_CHARACTERS]),
        "run_id": record.run_id,
        "time": now,
    }
    return {
        "pk": {"S": f"object#{job_id}#{digest.hexdigest()[0]}"},
        "sk": {"B": sort},
        **{name: {"S": text} for name, text in texts.items() if text},
        "size": number(record.size),
        "attempt": number(record.attempt),
        "expires": expires(DAYS),
    }


def _shown(text: str) -> str:
    """Unicode, with escapes where it is none; the sort key has the bytes."""
    return text.encode(errors="backslashreplace").decode()

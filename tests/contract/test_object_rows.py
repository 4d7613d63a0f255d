"""A row for each object (`--ledger-records object`): the same promises of every adapter, each read by the service's own client."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import boto3
import pytest

from dth import settings
from dth.app.object_rows import with_rows
from dth.embedded import StateFolder
from dth.errors import LedgerError
from dth.ledgers.dynamodb_objects import DynamoObjects
from dth.model import ObjectRecord
from dth.report import NullReport, Report
from dth.settings import TransferJob
from dth.states import Outcome, Reason, VerifiedBy
from tests.servers.aws import Aws, table_name

ODD_KEYS = ["a/b", "a//b", "a\udc80b", "é", "\uffff", "😀", "a'b\"\\\n", "x" * 1024, "x" * 1023 + "y"]
RECORD = ObjectRecord(
    "r1", "key", "copy/key", 7, Outcome.DONE, Reason.MISSING, "e1", "e2", VerifiedBy.CONTENT_MD5, 1, "", ""
)

Rows = Callable[[], Awaitable[dict[bytes, dict[str, Any]]]]


class Place(Protocol):
    """Makes reports that write rows, and reads all rows back without dth, by the bytes of their keys."""

    async def report(self) -> Report: ...

    def rows(self) -> dict[bytes, dict[str, Any]]: ...


class Embedded:
    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.job = TransferJob(src_bucket="src", dest_bucket="dst", state=folder, ledger_records="object")
        self.folder = StateFolder(folder, settings.job_id(self.job))
        self.folder.make()
        self.stack = stack

    async def report(self) -> Report:
        return await self.stack.enter_async_context(with_rows(self.job, self.folder, NullReport()))

    def rows(self) -> dict[bytes, dict[str, Any]]:
        with closing(sqlite3.connect(self.folder.path / "objects.db")) as connection:
            connection.text_factory = bytes
            connection.row_factory = sqlite3.Row
            found = connection.execute("SELECT * FROM objects").fetchall()
        rows = [{name.decode() if isinstance(name, bytes) else name: row[name] for name in row.keys()} for row in found]  # noqa: SIM118
        return {
            row["key"]: {
                name: text.decode(errors="replace") if isinstance(text, bytes) else text for name, text in row.items()
            }
            for row in rows
        }


class Fleet(Embedded):
    def __init__(self, folder: Path, stack: AsyncExitStack, table: str) -> None:
        super().__init__(folder, stack)
        shared = {"queue": "http://127.0.0.1:1/1/queue", "table": table}
        self.job = self.job.model_copy(update=shared)

    def rows(self) -> dict[bytes, dict[str, Any]]:
        rows = {}
        client = boto3.client("dynamodb")
        with closing(client):
            for shard in "0123456789abcdef":
                pk = {"S": f"object#{settings.job_id(self.job)}#{shard}"}
                asked = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": pk}}
                for item in client.query(TableName=self.job.table, **asked)["Items"]:
                    key, expires = bytes(item.pop("sk")["B"]), int(item["expires"]["N"])
                    assert 89 < (expires - time.time()) / 86_400 < 91
                    plain = {name: next(iter(one.values())) for name, one in item.items()}
                    rows[key] = plain | {name: int(plain[name]) for name in ("size", "attempt")}
        return rows


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("moto", marks=pytest.mark.moto),
        pytest.param("ministack", marks=pytest.mark.ministack),
    ]
)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            yield Embedded(tmp_path, stack)
        else:
            aws: Aws = request.getfixturevalue(request.param)
            stack.enter_context(aws.ambient())
            yield Fleet(tmp_path, stack, await table_name())


async def rows_of(place: Place) -> dict[bytes, dict[str, Any]]:
    return await asyncio.to_thread(place.rows)


async def test_a_row_says_what_became_of_an_object_and_when(place: Place) -> None:
    report = await place.report()
    failed = replace(
        RECORD, key="bad", outcome=Outcome.FAILED, verified_by=None, attempt=5, error_code="access_denied", error="why"
    )
    await report.write([RECORD, failed])
    rows = await rows_of(place)
    good, bad = rows[b"key"], rows[b"bad"]
    wanted = {"dest_key": "copy/key", "outcome": "done", "reason": "missing", "size": 7, "attempt": 1, "run_id": "r1"}
    wanted |= {"source_etag": "e1", "dest_etag": "e2", "verified_by": "content_md5"}
    assert {name: good[name] for name in wanted} == wanted
    assert (bad["outcome"], bad["error_code"], bad["error"], bad["attempt"]) == ("failed", "access_denied", "why", 5)
    assert not bad.get("verified_by")
    assert good["time"].startswith("20")
    assert good["time"].endswith("Z")


async def test_keys_of_any_bytes_have_rows_of_their_own(place: Place) -> None:
    report = await place.report()
    await report.write([replace(RECORD, key=key, size=number) for number, key in enumerate(ODD_KEYS)])
    sizes = {row["size"] for row in (await rows_of(place)).values()}
    assert sizes == set(range(len(ODD_KEYS)))
    short = [key.encode(errors="surrogateescape") for key in ODD_KEYS if len(key) < 900]
    assert set(short) <= set(await rows_of(place))


async def test_the_last_word_about_a_key_holds_also_within_one_batch(place: Place) -> None:
    one, other = await place.report(), await place.report()
    await one.write([RECORD, replace(RECORD, size=8)])
    assert (await rows_of(place))[b"key"]["size"] == 8
    await other.write([replace(RECORD, run_id="r2", size=9)])
    rows = await rows_of(place)
    assert (len(rows), rows[b"key"]["size"], rows[b"key"]["run_id"]) == (1, 9, "r2")


async def test_batches_of_any_size_are_written_whole_by_many_at_once(place: Place) -> None:
    reports = [await place.report() for _ in range(2)]
    writes = [reports[n % 2].write([replace(RECORD, key=f"{n}/{each}") for each in range(130)]) for n in range(3)]
    await asyncio.gather(*writes)
    await reports[0].write([])
    assert len(await rows_of(place)) == 390


class Slow:
    """A service that takes one item a request, or none."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.taken: list[Any] = []

    async def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        assert operation == "batch_write_item"
        ((table, puts),) = parameters["RequestItems"].items()
        self.taken += puts[: self.takes]
        left = puts[self.takes :]
        return {"UnprocessedItems": {table: left} if left else {}}


async def test_items_that_a_busy_table_did_not_take_are_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dth.retry.RetryPolicy.wait_seconds", lambda *_: 0.0)
    slow = Slow(takes=5)
    rows = DynamoObjects(slow, "table", "job", time.time)  # type: ignore[arg-type]
    await rows.write([replace(RECORD, key=f"{each}") for each in range(30)])
    assert len(slow.taken) == 30
    slow.takes = 0
    with pytest.raises(LedgerError, match="does not keep up"):
        await rows.write([RECORD])


def test_the_partition_of_a_key_is_the_first_digit_of_its_hash() -> None:
    from dth.ledgers.dynamodb_objects import object_item

    item = object_item("job", RECORD, "now")
    assert item["pk"] == {"S": "object#job#" + hashlib.sha256(b"key").hexdigest()[0]}


async def test_without_the_setting_nothing_is_written(tmp_path: Path) -> None:
    job = TransferJob(src_bucket="src", dest_bucket="dst", state=tmp_path)
    folder = StateFolder(tmp_path, settings.job_id(job))
    folder.make()
    report = NullReport()
    async with with_rows(job, folder, report) as same:
        assert same is report
    assert not list(tmp_path.rglob("*.db"))

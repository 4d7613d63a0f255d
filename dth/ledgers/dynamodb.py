"""The ledger of a fleet: one DynamoDB table (`ledgers.dynamodb_rows` has its rows), conditional writes only.

Reads are consistent. Any request may be sent again after a lost answer: outcomes are written once whoever writes them,
and a compare-and-swap that finds its own result in the table has succeeded.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Self

from dth.aws import Refused, Service
from dth.errors import LeaseLost, LedgerError, LedgerUnavailable, RunUnderWay
from dth.ledgers import dynamodb_rows as rows
from dth.ledgers.base import OutcomeRow, PartsRow, Run, UploadRow, claimable
from dth.ledgers.dynamodb_rows import Item, number
from dth.ledgers.dynamodb_stats import DynamoStats
from dth.ledgers.dynamodb_table import CONDITION, names
from dth.signing import new_key
from dth.states import RunState
from dth.stats import NOTHING, Breakdown, Failure

_STARTS = 20  # how often starting a run looks again because another started or ended one meanwhile
_LISTING = {":listing": {"S": RunState.LISTING.value}}
_ABSENT = "attribute_not_exists(#pk)"
_SAME_UPLOAD = "#revision = :revision AND #created_at = :created"


class DynamoLedger(DynamoStats):
    """A ledger in a table."""

    def __init__(self, service: Service, table: str, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(service, table)
        self._clock = clock
        self._over: dict[str, Run] = {}  # sealed and counted: they never change again
        self._counting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @classmethod
    async def open(cls, table: str, *, region: str = "", clock: Callable[[], float] = time.time) -> Self:
        """The ledger in `table`, a name or an ARN. Raises LedgerUnavailable where it cannot be used or has other keys
        than `dth init` makes."""
        if table.startswith("arn:"):
            region = table.split(":")[3]
        service = await Service.open("dynamodb", f"table {table}", region=region, endpoint="", error=LedgerError)
        try:
            described = (await service.call("describe_table", TableName=table))["Table"]
            keys = [(each["AttributeName"], each["KeyType"]) for each in described["KeySchema"]]
            if keys != [("pk", "HASH"), ("sk", "RANGE")] or described["TableStatus"] not in {"ACTIVE", "UPDATING"}:
                raise LedgerUnavailable(f"table {table} is no ledger of dth, or not ready: `dth init` makes one")
        except BaseException:
            await service.close()
            raise
        return cls(service, table, clock=clock)

    # Runs

    async def start_run(self, run: Run, *, overlap: bool = False) -> None:
        """Write a new run (LISTING, or STANDING for a job's events), or raise RunUnderWay. Repeating it is no error;
        another finder's run of that id is a LedgerError. Runs whose finder's lease is over become ABANDONED."""
        for _ in range(_STARTS):
            present = await self.run(run.run_id)
            if present and present.finder == run.finder and present.state is run.state:
                return
            if present:
                raise LedgerError(f"table {self._table}: run {run.run_id} exists already; choose another id")
            found = await self._get(rows.open_key(run.job_id))
            living = await self._living(found)
            if living and not overlap and run.state is not RunState.STANDING:
                raise RunUnderWay(f"run {living[0]} of job {run.job_id} is still under way", living[0])
            if run.state is RunState.LISTING:
                living.append(run.run_id)
            try:
                await self._service.call(
                    "transact_write_items", expected=CONDITION, TransactItems=self._start(run, found, living)
                )
            except Refused:
                continue
            return
        raise LedgerError(f"table {self._table}: runs of job {run.job_id} start and end too fast")

    async def _living(self, found: Item | None) -> list[str]:
        """Those of the job's open runs that are under way; a LISTING one whose lease is over becomes ABANDONED."""
        living = []
        for run_id in found["open"]["SS"] if found and "open" in found else ():
            run = await self.run(run_id)
            if run is None or run.counted or run.state is RunState.ABANDONED:
                continue
            if run.state is RunState.LISTING and run.lease_until <= self._clock():
                await self.abandon_run(run_id, expired_before=self._clock())
                run = await self.run(run_id)
            if run and run.state is not RunState.ABANDONED:
                living.append(run_id)
        return living

    def _start(self, run: Run, found: Item | None, living: list[str]) -> list[Item]:
        """The transaction: the run, its place in the job's history, and the job's open runs as nobody else changed
        them."""
        revision = int(found["revision"]["N"]) if found else 0
        opened: Item = {**rows.open_key(run.job_id), "revision": number(revision + 1)}
        if living:
            opened["open"] = {"SS": living}
        history = {**rows.runs_key(run), "run_id": {"S": run.run_id}, "expires": rows.expires(rows.RUN_DAYS)}
        return [
            self._put(rows.run_item(run), _ABSENT),
            self._put(rows.secret_item(run, new_key()), ""),
            self._put(history, ""),
            self._put(opened, f"{_ABSENT} OR #revision = :revision", {":revision": number(revision)}),
        ]

    async def extend_run(self, run_id: str, finder: str, lease_until: float) -> None:
        """The finder's heartbeat. Raises LeaseLost where the run is no longer its LISTING run."""
        try:
            await self._update_listing(run_id, finder, "#lease_until = :lease", {":lease": number(lease_until)})
        except Refused as error:
            raise _run_lost(run_id, finder) from error

    async def seal_run(
        self, run_id: str, finder: str, found: int, found_bytes: int, reasons: Mapping[str, int]
    ) -> None:
        """Fix the totals; repeating it with the same ones is no error. Raises LeaseLost as `extend_run`."""
        values = {
            ":sealed": {"S": RunState.SEALED.value},
            ":found": number(found),
            ":bytes": number(found_bytes),
            ":reasons": {"S": rows.to_json(reasons)},
        }
        changes = "#state = :sealed, #found = :found, #found_bytes = :bytes, #reasons = :reasons"
        try:
            await self._update_listing(run_id, finder, changes, values)
        except Refused as error:
            run = await self.run(run_id)
            wanted = (RunState.SEALED, finder, found, found_bytes, dict(reasons))
            if run is None or (run.state, run.finder, run.found, run.found_bytes, dict(run.reasons)) != wanted:
                raise _run_lost(run_id, finder) from error

    async def _update_listing(self, run_id: str, finder: str, changes: str, values: Item) -> None:
        update, condition = f"SET #expires = :expires, {changes}", "#state = :listing AND #finder = :finder"
        await self._service.call(
            "update_item",
            expected=CONDITION,
            TableName=self._table,
            Key=rows.run_key(run_id),
            UpdateExpression=update,
            ConditionExpression=condition,
            ExpressionAttributeNames=names(update, condition),
            ExpressionAttributeValues={
                **_LISTING,
                ":finder": {"S": finder},
                ":expires": rows.expires(rows.RUN_DAYS),
                **values,
            },
        )

    async def abandon_run(self, run_id: str, *, expired_before: float | None = None) -> bool:
        """LISTING becomes ABANDONED, with `expired_before` only where the lease ended before. True where it did."""
        expired = {":before": number(expired_before)} if expired_before is not None else {}
        condition = "#state = :listing" + (" AND #lease_until < :before" if expired else "")
        try:
            await self._service.call(
                "update_item",
                expected=CONDITION,
                TableName=self._table,
                Key=rows.run_key(run_id),
                UpdateExpression="SET #state = :abandoned",
                ConditionExpression=condition,
                ExpressionAttributeNames=names("#state", condition),
                ExpressionAttributeValues={**_LISTING, ":abandoned": {"S": RunState.ABANDONED.value}, **expired},
            )
        except Refused:
            return False
        return True

    async def run(self, run_id: str) -> Run | None:
        """The run with its counters, consistently read."""
        if run_id in self._over:
            return self._over[run_id]
        run = rows.to_run([item async for item in self._query(rows.run_key(run_id)["pk"])])
        if run and run.counted:
            self._over[run_id] = run
        return run

    async def run_key(self, run_id: str) -> bytes:
        """What signs the run's messages; b"" where there is no key."""
        item = await self._get(rows.secret_key(run_id))
        return bytes(item["key"]["B"]) if item else b""

    async def runs(self, job_id: str, limit: int) -> list[Run]:
        """The job's newest runs first, each consistently read."""
        if limit <= 0:
            return []
        ids = []
        async for item in self._query({"S": f"runs#{job_id}"}, newest_first=True, limit=limit):
            ids.append(item["run_id"]["S"])
            if len(ids) >= limit:
                break
        found = await asyncio.gather(*map(self.run, ids))
        return [run for run in found if run]

    # Outcomes

    async def record(
        self, row: OutcomeRow, process: str, breakdown: Breakdown = NOTHING, failures: Sequence[Failure] = ()
    ) -> OutcomeRow:
        """Write the row and count it, in one transaction, unless the message has a row. Returns the row in force. What
        failed is named before: a death in between repeats a name, and loses none."""
        if failures:
            await self._pages.add(failures)
        count: Item = {
            "TableName": self._table,
            "Key": rows.counter_key(row.run_id, process),
            **rows.count_update(row.counts, breakdown),
        }
        items = [self._put(rows.outcome_item(row), _ABSENT), {"Update": count}]
        try:
            async with self._counting[row.run_id]:  # two of our own transactions at one counter would only collide
                await self._service.call("transact_write_items", expected=CONDITION, TransactItems=items)
        except Refused:
            return await self.outcome(row.message_id) or row
        return row

    async def outcome(self, message_id: str) -> OutcomeRow | None:
        """The row of a message."""
        item = await self._get(rows.outcome_key(message_id))
        return rows.to_outcome(message_id, item) if item else None

    # Uploads

    async def claim_upload(self, row: UploadRow) -> UploadRow:
        """Write the intent where the key has none; take it over where its owner has let it lapse; else change nothing.
        Returns the row in force."""
        while True:
            if await self._put_upload(row, _ABSENT, {}):
                return row
            present = await self.upload(row.job_id, row.dest_key)
            if present is None:
                continue
            if not claimable(present, row, self._clock()):
                return present
            taken = replace(
                present,
                owner=row.owner,
                owned_until=row.owned_until,
                run_id=row.run_id,
                revision=present.revision + 1,
            )
            if await self._put_upload(taken, _SAME_UPLOAD, _identity(present)):
                return taken

    async def update_upload(self, row: UploadRow) -> UploadRow:
        """Write the row if nobody has since `row.revision`; returns it with its new revision. Else raises LeaseLost."""
        updated = replace(row, revision=row.revision + 1)
        if await self._put_upload(updated, _SAME_UPLOAD, _identity(row)) or (
            await self.upload(row.job_id, row.dest_key) == updated
        ):
            return updated
        raise _upload_lost(row)

    async def close_upload(self, row: UploadRow) -> None:
        """Remove the row if nobody has changed it since. Raises LeaseLost where somebody did; absent is no error."""
        condition = f"{_ABSENT} OR ({_SAME_UPLOAD})"
        try:
            await self._service.call(
                "delete_item",
                expected=CONDITION,
                TableName=self._table,
                Key=rows.upload_key(row.job_id, row.dest_key),
                ConditionExpression=condition,
                ExpressionAttributeNames=names(condition),
                ExpressionAttributeValues=_identity(row),
            )
        except Refused as error:
            raise _upload_lost(row) from error

    async def uploads(self, job_id: str) -> AsyncIterator[UploadRow]:
        """All rows of the job in key order; those that come or go meanwhile may or may not be among them."""
        async for item in self._query({"S": f"uploads#{job_id}"}):
            yield rows.to_upload(item)

    async def upload(self, job_id: str, dest_key: str) -> UploadRow | None:
        """The row of a key, if it has one."""
        item = await self._get(rows.upload_key(job_id, dest_key))
        return rows.to_upload(item) if item else None

    async def put_parts(self, row: PartsRow) -> None:
        """Write what one `parts` message has moved."""
        await self.put(rows.parts_item(row))

    async def parts(self, job_id: str, upload_id: str, first: int, stop: int) -> AsyncIterator[PartsRow]:
        """Rows that begin in `first` up to but not including `stop`, in order."""
        begin, end = rows.parts_key(job_id, upload_id, first), rows.parts_key(job_id, upload_id, stop - 1)
        async for item in self._query(begin["pk"], between=(begin["sk"], end["sk"])):
            yield rows.to_parts_row(job_id, upload_id, item)

    async def _put_upload(self, row: UploadRow, condition: str, values: Item) -> bool:
        try:
            await self._service.call(
                "put_item", expected=CONDITION, **self._put(rows.upload_item(row), condition, values)["Put"]
            )
        except Refused:
            return False
        return True

    # Notes and the rest

    async def advance(self, job_id: str, key: str, sequencer: str) -> bool:
        """Remember the event as the key's latest; False where a later one was seen already."""
        condition = f"{_ABSENT} OR #sequencer <= :sequencer"
        value = {"S": sequencer}
        item = {**rows.sequencer_key(job_id, key), "sequencer": value, "expires": rows.expires(rows.OUTCOME_DAYS)}
        put = self._put(item, condition, {":sequencer": value})["Put"]
        try:
            await self._service.call("put_item", expected=CONDITION, **put)
        except Refused:
            return False
        return True

    async def get_note(self, job_id: str, name: str) -> str | None:
        """A small durable value of the job."""
        item = await self._get(rows.note_key(job_id, name))
        return rows.text(item["value"]["B"]) if item else None

    async def put_note(self, job_id: str, name: str, value: str) -> None:
        """Write such a value, "" to remove it."""
        key = rows.note_key(job_id, name)
        if value:
            await self.put({**key, "value": {"B": rows.blob(value)}})
        else:
            await self._service.call("delete_item", TableName=self._table, Key=key)

    async def keep_note(self, job_id: str, name: str, value: str) -> str:
        """Write such a value where there is none; the one in force."""
        item = {**rows.note_key(job_id, name), "value": {"B": rows.blob(value)}}
        try:
            await self._service.call("put_item", expected=CONDITION, **self._put(item, _ABSENT)["Put"])
        except Refused:
            return await self.get_note(job_id, name) or value
        return value

    async def swap_note(self, job_id: str, name: str, before: str, value: str) -> bool:
        """Write such a value where it is still `before`."""
        item = {**rows.note_key(job_id, name), "value": {"B": rows.blob(value)}}
        condition, values = ("#value = :before", {":before": {"B": rows.blob(before)}}) if before else (_ABSENT, None)
        try:
            await self._service.call("put_item", expected=CONDITION, **self._put(item, condition, values)["Put"])
        except Refused:
            return await self.get_note(job_id, name) == value  # a try whose answer was lost may have written it
        return True

    async def notes(self, job_id: str, prefix: str) -> dict[str, str]:
        """The values of the job whose names begin so, by the rest of their names."""
        key = rows.note_key(job_id, prefix)
        begins = bytes(key["sk"]["B"])
        return {
            rows.text(bytes(item["sk"]["B"])[len(begins) :]): rows.text(item["value"]["B"])
            async for item in self._query(key["pk"], begins=begins)
        }

    async def close(self) -> None:
        """Close all connections."""
        await self._service.close()


def _identity(row: UploadRow) -> Item:
    """A revision alone would let an owner of the key's last life pass as the owner of this one."""
    return {":revision": number(row.revision), ":created": number(row.created_at)}


def _run_lost(run_id: str, finder: str) -> LeaseLost:
    return LeaseLost(f"run {run_id} is no longer the listing run of finder {finder}")


def _upload_lost(row: UploadRow) -> LeaseLost:
    return LeaseLost(f"the upload to {row.dest_key} was changed by somebody else meanwhile")

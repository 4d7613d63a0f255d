"""Makes and removes the ledger of a fleet: one on-demand table whose rows expire."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from dth.aws import Refused, Service
from dth.errors import LedgerError

_PATIENCE_SECONDS = 180.0
_GONE = ("ResourceNotFoundException",)


async def make_table(table: str) -> bool:
    """The table, ready for use, its TTL on; True where this call made it."""
    async with AsyncExitStack() as stack:
        service, table = await _open(table, stack)
        made = True
        try:
            await service.call(
                "create_table",
                expected=("ResourceInUseException",),
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[
                    {"AttributeName": "pk", "AttributeType": "S"},
                    {"AttributeName": "sk", "AttributeType": "B"},
                ],
                KeySchema=[
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
            )
        except Refused:
            made = False
        await _wait(service, table)
        described = await service.call("describe_time_to_live", TableName=table)
        if described["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED":
            ttl = {"Enabled": True, "AttributeName": "expires"}
            await service.call("update_time_to_live", TableName=table, TimeToLiveSpecification=ttl)
        return made


async def delete_table(table: str) -> bool:
    """Remove the table with all its rows; True where it was there."""
    async with AsyncExitStack() as stack:
        service, table = await _open(table, stack)
        try:
            await service.call("delete_table", expected=_GONE, TableName=table)
        except Refused:
            return False
        return True


async def _open(table: str, stack: AsyncExitStack) -> tuple[Service, str]:
    """A client where the table, given by name or ARN, is; and its name."""
    region = table.split(":")[3] if table.startswith("arn:") else ""
    service = await Service.open("dynamodb", f"table {table}", region=region, endpoint="", error=LedgerError)
    stack.push_async_callback(service.close)
    return service, table.rpartition("/")[2]


async def _wait(service: Service, table: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (await service.call("describe_table", TableName=table))["Table"]["TableStatus"] != "ACTIVE":
        if time.monotonic() > deadline:
            raise LedgerError(f"table {table} was not ready after {_PATIENCE_SECONDS:.0f} s; look at it in the console")
        await asyncio.sleep(1)

"""Access to the ledger's one table: reads, queries, and the parts of requests that all of its rows share."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

from dth.aws import Service
from dth.ledgers.dynamodb_rows import Item

CONDITION = ("ConditionalCheckFailedException", "ConditionalCheckFailed")
"""How the service says that a condition did not hold, in a call or in a transaction."""


class Table:
    """A table, and the service that holds it."""

    def __init__(self, service: Service, table: str) -> None:
        self._service = service
        self._table = table

    def _put(self, item: Item, condition: str, values: Item | None = None) -> Item:
        put: Item = {"TableName": self._table, "Item": item}
        if condition:
            put |= {"ConditionExpression": condition, "ExpressionAttributeNames": names(condition)}
        if values:
            put["ExpressionAttributeValues"] = values
        return {"Put": put}

    async def put(self, item: Item) -> None:
        """Write an item over whatever is there."""
        await self._service.call("put_item", TableName=self._table, Item=item)

    async def _get(self, key: Item) -> Item | None:
        answer = await self._service.call("get_item", TableName=self._table, Key=key, ConsistentRead=True)
        return answer.get("Item")

    async def _query(
        self,
        pk: Item,
        *,
        newest_first: bool = False,
        limit: int = 0,
        between: tuple[Item, Item] | None = None,
        begins: bytes = b"",
    ) -> AsyncIterator[Item]:
        """All items under a partition key, in order; `between`: with these sort keys, or others between them; `begins`: with
        sort keys that begin so. `limit` is how many one request reads."""
        more: dict[str, Any] = {"Limit": limit} if limit else {}
        condition, values = "#pk = :pk", {":pk": pk}
        if between:
            condition += " AND #sk BETWEEN :first AND :last"
            values |= {":first": between[0], ":last": between[1]}
        elif begins:
            condition += " AND begins_with(#sk, :begins)"
            values |= {":begins": {"B": begins}}
        while True:
            answer = await self._service.call(
                "query",
                TableName=self._table,
                KeyConditionExpression=condition,
                ExpressionAttributeNames=names(condition),
                ExpressionAttributeValues=values,
                ConsistentRead=True,
                ScanIndexForward=not newest_first,
                **more,
            )
            for item in answer.get("Items", ()):
                yield item
            if not answer.get("LastEvaluatedKey"):
                return
            more["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def names(*expressions: str) -> dict[str, str]:
    """Every attribute stands as `#name` in expressions: some are words that DynamoDB keeps for itself."""
    return {f"#{found}": found for expression in expressions for found in re.findall(r"#(\w+)", expression)}

"""The table that knows what was done."""

from __future__ import annotations

from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct


class Ledger(Construct):
    """As `dth init` makes it, with recovery to any point in time. `name` and `arn` are the table's."""

    def __init__(self, scope: Construct, name: str) -> None:
        super().__init__(scope, name)
        table = dynamodb.CfnTable(
            self,
            "Table",
            billing_mode="PAY_PER_REQUEST",
            attribute_definitions=[
                {"attributeName": "pk", "attributeType": "S"},
                {"attributeName": "sk", "attributeType": "B"},
            ],
            key_schema=[{"attributeName": "pk", "keyType": "HASH"}, {"attributeName": "sk", "keyType": "RANGE"}],
            time_to_live_specification={"attributeName": "expires", "enabled": True},
            point_in_time_recovery_specification={"pointInTimeRecoveryEnabled": True},
            sse_specification={"sseEnabled": True},
        )
        self.name, self.arn = table.ref, table.attr_arn

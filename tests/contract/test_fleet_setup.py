"""What `dth init` makes is what finders and workers need, and what it removes is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from dth.app.init import Made, init, remove
from dth.errors import LedgerUnavailable, QueueUnavailable
from dth.ledgers.dynamodb import DynamoLedger
from dth.queues.sqs import SqsQueue
from tests.servers.aws import Aws, new_name


@pytest.fixture(
    params=[pytest.param("moto", marks=pytest.mark.moto), pytest.param("ministack", marks=pytest.mark.ministack)]
)
def aws(request: pytest.FixtureRequest) -> Iterator[Aws]:
    place: Aws = request.getfixturevalue(request.param)
    with place.ambient():
        yield place


async def open_queue(url: str, *, message_bytes: int = 1 << 20) -> int:
    """Open it and close it; the largest message that it takes."""
    queue = await SqsQueue.open(url, lease_seconds=30, message_bytes=message_bytes, receive_limit=20)
    await queue.close()
    return queue.message_bytes


async def test_what_init_makes_bounds_deliveries_and_expires_and_making_it_again_changes_nothing(aws: Aws) -> None:
    name = new_name("made")
    made = await init(name, name, lease_seconds=90, receive_limit=7)
    assert await init(name, name, lease_seconds=90, receive_limit=7) == made
    sqs, tables = aws.client("sqs"), aws.client("dynamodb")
    queue, dead = (
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        for url in (made.queue, made.dead_letter_queue)
    )
    table = tables.describe_table(TableName=made.table)["Table"]
    expiry = tables.describe_time_to_live(TableName=made.table)["TimeToLiveDescription"]
    sqs.close()
    tables.close()
    policy = json.loads(queue["RedrivePolicy"])
    assert (policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])) == (dead["QueueArn"], 7)
    assert (queue["VisibilityTimeout"], queue["MessageRetentionPeriod"]) == ("90", "1209600")
    assert dead["MessageRetentionPeriod"] == "1209600"
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert (expiry["AttributeName"], expiry["TimeToLiveStatus"]) == ("expires", "ENABLED")
    await remove(name, name)


async def test_the_largest_message_is_the_queues_own_where_that_is_less(aws: Aws) -> None:
    name = new_name("learnt")
    made = await init(name, name, lease_seconds=30, receive_limit=7)
    assert await open_queue(made.queue) == 262_144
    assert await open_queue(made.queue, message_bytes=100_000) == 100_000
    client = aws.client("sqs")
    client.set_queue_attributes(QueueUrl=made.queue, Attributes={"MaximumMessageSize": "8192"})
    client.close()
    assert await open_queue(made.queue) == 8192
    await remove(name, name)


async def test_what_is_removed_is_gone_and_removing_it_again_says_so(aws: Aws) -> None:
    name = new_name("gone")
    made = await init(name, name, lease_seconds=30, receive_limit=7)
    assert await remove(name, name) == made
    with pytest.raises(QueueUnavailable):
        await open_queue(made.queue)
    with pytest.raises(LedgerUnavailable):
        await DynamoLedger.open(made.table)
    assert await remove(name, name) == Made("", "", "")


async def test_a_queue_is_found_by_its_name_its_arn_and_its_url(aws: Aws) -> None:
    name = new_name("named")
    made = await init(name, name, lease_seconds=30, receive_limit=20)
    sqs = aws.client("sqs")
    sqs.send_message(QueueUrl=made.queue, MessageBody="hello")
    arn = sqs.get_queue_attributes(QueueUrl=made.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    for written in (name, arn, made.queue):
        queue = await SqsQueue.open(written, lease_seconds=30, message_bytes=1 << 16, receive_limit=20)
        assert (await queue.depth()).visible == 1, written
        await queue.close()
    for written in ("nobody-has-this", arn + "-either"):
        with pytest.raises(QueueUnavailable, match=r"there is no queue .*dth init .*makes one"):
            await open_queue(written)
    await remove(arn, name)


async def test_init_takes_what_the_settings_take(aws: Aws) -> None:
    name = new_name("by-arn")
    region, account = "us-east-1", "000000000000" if aws.kind == "ministack" else "123456789012"
    arns = f"arn:aws:sqs:{region}:{account}:{name}", f"arn:aws:dynamodb:{region}:{account}:table/{name}"
    made = await init(*arns, lease_seconds=30, receive_limit=20)
    assert made.queue.endswith(name)
    aws.client("dynamodb").describe_table(TableName=name)
    assert await init(made.queue, name, lease_seconds=30, receive_limit=20) == Made(
        made.queue, made.dead_letter_queue, name
    )
    await remove(made.queue, name)

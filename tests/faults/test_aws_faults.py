"""Services that throttle, conflict, fail and lose their answers: nothing is lost, nothing is counted twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from dth import aws as aws_module
from dth.aws import Service
from dth.errors import LedgerError, LedgerUnavailable
from dth.ledgers.base import OutcomeRow
from dth.ledgers.dynamodb import DynamoLedger
from dth.model import Counts
from dth.queues.sqs import SqsQueue
from dth.retry import RetryPolicy
from tests.contract.test_ledger import a_run
from tests.servers.aws import Aws, queue_url, table_name

pytestmark = pytest.mark.moto

Fault = Callable[[], Exception]


def refusal(code: str, *reasons: str) -> Fault:
    answer: Any = {"Error": {"Code": code, "Message": "by the test"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    if reasons:
        answer["CancellationReasons"] = [{"Code": reason} for reason in reasons]

    def fault() -> Exception:
        error: Exception = ClientError(answer, "operation")
        return error

    return fault


def lost() -> Exception:
    error: Exception = EndpointConnectionError(endpoint_url="http://127.0.0.1")
    return error


THROTTLED = refusal("ProvisionedThroughputExceededException")
CONFLICT = refusal("TransactionCanceledException", "None", "TransactionConflict")
DENIED = refusal("AccessDeniedException")


def spoil(service: Service, dice: random.Random, faults: list[Fault], share: float = 0.4) -> Counter[str]:
    """A share of calls meets a fault; half of the answers that get lost do so after the call has acted. What was asked,
    by operation."""
    client, asked = service._client, Counter[str]()

    class Spoilt:
        def __getattr__(self, name: str) -> Any:
            real = getattr(client, name)

            async def call(**parameters: Any) -> Any:
                asked[name] += 1
                fault = dice.choice(faults) if dice.random() < share else None
                if fault and (fault is not lost or dice.random() < 0.5):
                    raise fault()
                answer = await real(**parameters)
                if fault:
                    raise fault()
                return answer

            return call

    service._client = Spoilt()
    return asked


@pytest.fixture
async def ambient(moto: Aws, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(aws_module, "PATIENCE", RetryPolicy(attempts=30, base_seconds=0.0, cap_seconds=0.0))
    with moto.ambient():
        yield


@pytest.mark.usefixtures("ambient")
async def test_outcomes_are_counted_once_whatever_the_table_answers() -> None:
    ledger = await DynamoLedger.open(await table_name())
    await ledger.start_run(a_run())
    asked = spoil(ledger._service, random.Random(5), [THROTTLED, CONFLICT, lost])
    rows = [OutcomeRow(f"r1-{n}", "r1", Counts(done=1, bytes=10), "1", "") for n in range(40)]

    async def worker(process: str) -> None:
        for row in rows:
            assert await ledger.record(row, process) == row

    await asyncio.gather(worker("one"), worker("two"))
    await ledger.seal_run("r1", "finder-1", 40, 400, {})
    run = await ledger.run("r1")
    assert run
    assert (run.counts, run.counted) == (Counts(done=40, bytes=400), True)
    assert asked["transact_write_items"] > 100
    await ledger.close()


@pytest.mark.usefixtures("ambient")
async def test_a_table_that_refuses_for_good_is_asked_once_and_named() -> None:
    table = await table_name()
    ledger = await DynamoLedger.open(table)
    asked = spoil(ledger._service, random.Random(1), [DENIED], share=1.0)
    with pytest.raises(LedgerUnavailable, match=f"{table}.*AccessDenied"):
        await ledger.record(OutcomeRow("r1-1", "r1", Counts(), "", ""), "p")
    assert asked["transact_write_items"] == 1
    await ledger.close()


@pytest.mark.usefixtures("ambient")
async def test_a_table_that_throttles_for_ever_is_an_error_in_the_end() -> None:
    ledger = await DynamoLedger.open(await table_name())
    asked = spoil(ledger._service, random.Random(1), [THROTTLED], share=1.0)
    with pytest.raises(LedgerError, match="ProvisionedThroughputExceeded"):
        await ledger.record(OutcomeRow("r1-1", "r1", Counts(), "", ""), "p")
    assert asked["transact_write_items"] == aws_module.PATIENCE.attempts
    await ledger.close()


@pytest.mark.usefixtures("ambient")
async def test_messages_arrive_at_least_once_whatever_the_queue_answers() -> None:
    queue = await SqsQueue.open(await queue_url(), lease_seconds=60, message_bytes=10_000, receive_limit=20)
    spoil(queue._service, random.Random(7), [refusal("RequestThrottled"), refusal("InternalError"), lost])
    bodies = {f"message {number}" for number in range(60)}
    await queue.send(sorted(bodies))
    await queue.bury([("letter", "why")])
    seen: set[str] = set()
    empty = 0
    while empty < 5:  # what a lost answer held comes again when its lease ends
        deliveries = await queue.receive(10, 0)
        seen |= {delivery.body for delivery in deliveries}
        assert await queue.extend(deliveries, 60) == []
        await queue.ack(deliveries)
        empty = 0 if deliveries else empty + 1
    depth = await queue.depth()
    assert depth.visible == 0
    assert depth.leased >= len(bodies - seen)
    assert {letter.body for letter in await queue.dead_letters(10)} <= {"letter"}
    assert depth.dead >= 1
    await queue.close()

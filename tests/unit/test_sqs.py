"""What SQS answers for single entries of a batch, and for whole calls, ends in no message lost or named wrongly."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from dth.aws import Refused, Service, plain_code, queue_place
from dth.errors import QueueError
from dth.queues import sqs
from dth.queues.sqs import SqsQueue

BYTES = 10_000
Answer = Callable[[str, dict[str, Any]], dict[str, Any]]


class Scripted:
    """A service that answers as told, and remembers what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def call(self, operation: str, *, expected: tuple[str, ...] = (), **parameters: Any) -> dict[str, Any]:
        self.asked.append((operation, parameters))
        return self.answer(operation, parameters)

    async def close(self) -> None:
        pass

    def bodies(self) -> list[list[str]]:
        return [[entry["MessageBody"] for entry in asked["Entries"]] for _, asked in self.asked]


def a_queue(service: Scripted) -> SqsQueue:
    return SqsQueue(
        cast("Service", service), "https://q", "https://q-dead", lease_seconds=30, message_bytes=BYTES, receive_limit=20
    )


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_sleep(_seconds: float) -> None:
        pass

    monkeypatch.setattr("dth.queues.sqs.asyncio.sleep", no_sleep)


async def test_exactly_the_entries_that_the_service_failed_are_sent_again() -> None:
    seen: set[str] = set()

    def fails_three_once(_operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        failed = [entry for entry in asked["Entries"] if entry["MessageBody"] in "159" and entry["Id"] not in seen]
        seen.update(entry["Id"] for entry in failed)
        return {"Failed": [{"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"} for entry in failed]}

    service = Scripted(fails_three_once)
    await a_queue(service).send([str(number) for number in range(10)])
    assert service.bodies() == [[str(number) for number in range(10)], ["1", "5", "9"]]


async def test_entries_that_are_refused_for_what_they_are_are_named_and_not_sent_again() -> None:
    def refuses(_operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "Failed": [
                {"Id": entry["Id"], "SenderFault": True, "Code": "InvalidMessageContents"}
                for entry in asked["Entries"]
                if entry["MessageBody"] == "3"
            ]
        }

    service = Scripted(refuses)
    with pytest.raises(QueueError, match="InvalidMessageContents") as refused:
        await a_queue(service).send([str(number) for number in range(12)])
    assert refused.value.failed == ("3",)
    assert [len(batch) for batch in service.bodies()] == [10, 2]


async def test_entries_that_keep_failing_are_named_with_all_that_would_have_followed() -> None:
    def fails(_operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        return (
            {"Failed": [{"Id": "4", "SenderFault": False, "Code": "ServiceUnavailable"}]} if len(service.asked) else {}
        )

    service = Scripted(fails)
    with pytest.raises(QueueError, match="ServiceUnavailable") as refused:
        await a_queue(service).send([str(number) for number in range(12)])
    assert refused.value.failed == ("4", "10", "11")


async def test_batches_keep_to_ten_entries_and_to_the_largest_message() -> None:
    service = Scripted(lambda _operation, _asked: {})
    await a_queue(service).send(["x" * 4000] * 5 + ["y"] * 21)
    assert [len(batch) for batch in service.bodies()] == [2, 2, 10, 10, 2]
    assert all(sum(map(len, batch)) <= BYTES for batch in service.bodies())


async def test_too_many_messages_in_flight_is_no_error_but_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr("dth.queues.sqs.asyncio.sleep", sleep)

    def over_limit(_operation: str, _asked: dict[str, Any]) -> dict[str, Any]:
        raise Refused("too many in flight", "OverLimit")

    assert await a_queue(Scripted(over_limit)).receive(10, 0) == []
    assert sum(paused) >= sqs.OVER_LIMIT_SECONDS / 2


async def test_a_lease_that_the_service_refuses_to_extend_is_lost_and_its_receipt_never_used_again() -> None:
    def answers(operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        if operation == "receive_message":
            return {"Messages": [{"Body": n, "ReceiptHandle": n, "MessageId": n} for n in "ab"]}
        return {"Failed": [{"Id": e["Id"], "SenderFault": True} for e in asked["Entries"] if e["ReceiptHandle"] == "a"]}

    service = Scripted(answers)
    queue = a_queue(service)
    deliveries = await queue.receive(10, 0)
    assert [each.body for each in await queue.extend(deliveries, 30)] == ["a"]
    await queue.ack(deliveries)
    operation, asked = service.asked[-1]
    assert operation == "delete_message_batch"
    assert [entry["ReceiptHandle"] for entry in asked["Entries"]] == ["b"]


async def test_a_dead_letter_keeps_what_sqs_can_hold_of_any_body_and_reason() -> None:
    service = Scripted(lambda _operation, _asked: {})
    await a_queue(service).bury([("a\x00b", "why\x01" + "!" * 5000), ("", "")])
    first, second = service.asked[0][1]["Entries"]
    assert first["MessageBody"] == "a\\x00b"
    assert len(first["MessageAttributes"]["reason"]["StringValue"]) == sqs.REASON_BYTES
    assert second["MessageBody"]
    assert second["MessageAttributes"]["reason"]["StringValue"]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://sqs.us-east-1.amazonaws.com/123/q", ("", "us-east-1")),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123/q", ("", "cn-north-1")),
        ("https://sqs.us-isof-south-1.csp.hci.ic.gov/123/q", ("", "us-isof-south-1")),
        (
            "https://vpce-1-2.sqs.eu-west-1.vpce.amazonaws.com/123/q",
            ("https://vpce-1-2.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ),
        ("http://127.0.0.1:4566/000000000000/q", ("http://127.0.0.1:4566", "")),
    ],
)
def test_a_queue_s_url_says_where_it_is(url: str, place: tuple[str, str]) -> None:
    assert queue_place(url) == place


def test_codes_are_known_however_they_are_spelt() -> None:
    assert plain_code("AWS.SimpleQueueService.NonExistentQueue") == "NonExistentQueue"
    assert plain_code("com.amazonaws.sqs#OverLimit") == "OverLimit"


@pytest.mark.parametrize(
    ("url", "own", "dead", "expected"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/1234/q", "1234:q", "1234:q-dead", "https://sqs.eu-west-1.amazonaws.com/1234/q-dead"),
        ("http://127.0.0.1:4566/0000/q", "0000:q", "9999:lost", "http://127.0.0.1:4566/9999/lost"),
        ("http://127.0.0.1:4566/queues/q", "0000:q", "0000:q-dead", ""),
    ],
)  # fmt: skip
async def test_a_queue_with_a_redrive_policy_needs_no_right_to_look_up_urls(
    url: str, own: str, dead: str, expected: str
) -> None:
    """Where URLs are written as AWS writes them; elsewhere it is asked."""
    service = Scripted(lambda _, asked: {"QueueUrl": f"asked for {asked['QueueName']}"})
    policy = json.dumps({"deadLetterTargetArn": f"arn:aws:sqs:r:{dead}", "maxReceiveCount": 20})
    attributes = {"QueueArn": f"arn:aws:sqs:r:{own}", "RedrivePolicy": policy}
    found = await sqs._dead_url(cast("Service", service), url, attributes)
    assert found == (expected or "asked for q-dead")
    assert bool(service.asked) is not bool(expected)

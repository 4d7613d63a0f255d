"""What every queue promises (`dth.queues.base`), checked on every queue there is.

A place offers handles on one empty queue, and time that passes. Services that have only real time use short leases and
sleep; leases and delays here are whole seconds, because services know no smaller ones. Nothing here relies on an order
or on a message coming only once while its lease lives, except where a lease is what is tested.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from dth.errors import QueueError
from dth.queues.base import Delivery, Queue
from dth.queues.sqlite import SqliteQueue
from dth.queues.sqs import SqsQueue
from tests.servers.aws import Aws, queue_url

LEASE = 3.0
BYTES = 1000
LIMIT = 3


class QueueFactory(Protocol):
    async def __call__(self, *, owner: str = "tester", receive_limit: int = 20) -> Queue:
        """Another handle on the same queue: leases of LEASE seconds, messages of at most BYTES, `receive_limit` deliveries."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Let that much time pass for leases and delays."""
        ...


@dataclass
class SqliteQueues:
    path: Path
    stack: AsyncExitStack
    ahead: float = field(default=0.0)

    async def __call__(self, *, owner: str = "tester", receive_limit: int = 20) -> SqliteQueue:
        queue = await SqliteQueue.open(
            self.path,
            owner=owner,
            lease_seconds=LEASE,
            message_bytes=BYTES,
            receive_limit=receive_limit,
            clock=lambda: time.time() + self.ahead,
        )
        self.stack.push_async_callback(queue.close)
        return queue

    async def pass_time(self, seconds: float) -> None:
        self.ahead += seconds


@dataclass
class SqsQueues:
    """A queue of its own for each test. moto's clock can be put forward; ministack has only real time."""

    url: str
    aws: Aws
    stack: AsyncExitStack
    ahead: float = field(default=0.0)

    async def __call__(self, *, owner: str = "tester", receive_limit: int = 20) -> SqsQueue:
        clock = time.monotonic if self.aws.put_forward is None else lambda: self.ahead
        queue = await SqsQueue.open(
            self.url, lease_seconds=LEASE, message_bytes=BYTES, receive_limit=receive_limit, clock=clock
        )
        self.stack.push_async_callback(queue.close)
        return queue

    async def pass_time(self, seconds: float) -> None:
        if self.aws.put_forward is None:
            await asyncio.sleep(seconds)
        else:
            self.aws.put_forward(seconds)
            self.ahead += seconds


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("moto", marks=pytest.mark.moto),
        pytest.param("ministack", marks=pytest.mark.ministack),
    ]
)
async def queue_factory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[QueueFactory]:
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            yield SqliteQueues(tmp_path / "queue", stack)
        else:
            aws: Aws = request.getfixturevalue(request.param)
            stack.enter_context(aws.ambient())
            yield SqsQueues(await queue_url(), aws, stack)


@pytest.fixture
async def queue(queue_factory: QueueFactory) -> Queue:
    return await queue_factory()


async def drain(queue: Queue) -> list[Delivery]:
    """Everything that is visible, under lease."""
    deliveries: list[Delivery] = []
    while more := await queue.receive(10, 0.2):
        deliveries += more
    return deliveries


async def one(queue: Queue) -> Delivery:
    (delivery,) = await queue.receive(10, 1)
    return delivery


def texts(deliveries: list[Delivery]) -> Counter[str]:
    return Counter(delivery.body for delivery in deliveries)


async def test_everything_sent_is_received_however_many_bodies_a_call_has(queue: Queue) -> None:
    bodies = [f"message {number}" for number in range(237)]
    await queue.send(bodies)
    await queue.send([])
    assert texts(await drain(queue)) == Counter(bodies)


async def test_bodies_come_back_as_they_were_sent(queue: Queue) -> None:
    printable = "".join(map(chr, range(32, 127))) + "\t\n"
    escaped = json.dumps({"key": "\x00\x1f\udcff'\"\\%s;--\u2028😀"})
    bodies = [printable, escaped, "{}", "x" * BYTES]
    await queue.send(bodies)
    assert texts(await drain(queue)) == Counter(bodies)


async def test_equal_bodies_are_messages_of_their_own(queue: Queue) -> None:
    await queue.send(["same", "same"])
    first, second = await drain(queue)
    assert first.receipt != second.receipt
    await queue.ack([first])
    await queue.release([second])
    assert texts(await drain(queue)) == {"same": 1}


async def test_a_body_that_is_too_large_is_named_and_the_rest_is_sent(queue: Queue) -> None:
    with pytest.raises(QueueError) as refused:
        await queue.send(["first", "x" * (BYTES + 1), "last"])
    assert len(refused.value.failed) == 1
    assert texts(await drain(queue)) == {"first": 1, "last": 1}


async def test_receive_gives_no_more_than_asked_for(queue: Queue) -> None:
    await queue.send([str(number) for number in range(9)])
    assert len(await queue.receive(4, 1)) <= 4
    assert await queue.receive(0, 0) == []


async def test_an_empty_queue_gives_nothing(queue: Queue) -> None:
    assert await queue.receive(10, 0) == []
    assert await queue.receive(10, 0.05) == []


async def test_a_waiting_receiver_gets_what_arrives_meanwhile(queue_factory: QueueFactory) -> None:
    receiver, sender = await queue_factory(), await queue_factory()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        waiting = group.create_task(receiver.receive(10, 20))
        await asyncio.sleep(0.05)
        await sender.send(["late"])
    assert texts(waiting.result()) == {"late": 1}


async def test_a_cancelled_receiver_loses_nothing(queue_factory: QueueFactory) -> None:
    queue = await queue_factory()
    for turn in range(10):
        waiting = asyncio.create_task(queue.receive(10, 10))
        await asyncio.sleep(0.001 * turn)
        sending = asyncio.create_task(queue.send([str(turn)]))
        await asyncio.sleep(0.001 * (10 - turn))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await sending
    received: Counter[str] = Counter()
    for _ in range(3):  # a server may still answer a call that was cancelled, and leases what it answers with
        await queue_factory.pass_time(LEASE + 1)
        received += texts(await drain(queue))
        if len(received) == 10:
            break
    assert set(received) == set(map(str, range(10)))


async def test_a_delivery_says_when_its_lease_began_and_how_long_it_is(queue: Queue) -> None:
    await queue.send(["a"])
    before = time.monotonic()
    delivery = await one(queue)
    assert before <= delivery.leased_at <= time.monotonic()
    assert delivery.lease_seconds == LEASE
    assert delivery.deliveries == 1


async def test_a_leased_message_is_hidden_from_all_until_its_lease_ends(queue_factory: QueueFactory) -> None:
    first, second = await queue_factory(owner="1"), await queue_factory(owner="2")
    await first.send(["a"])
    await one(first)
    assert await first.receive(1, 0) == []
    assert await second.receive(1, 0) == []


async def test_a_lapsed_lease_brings_the_message_again_counted_and_with_a_new_receipt(
    queue_factory: QueueFactory,
) -> None:
    queue = await queue_factory()
    await queue.send(["a"])
    first = await one(queue)
    await queue_factory.pass_time(LEASE + 1)
    second = await one(queue)
    assert second.body == first.body
    assert second.deliveries == 2
    assert second.receipt != first.receipt


async def test_an_acknowledged_message_never_comes_back(queue_factory: QueueFactory) -> None:
    queue = await queue_factory()
    await queue.send([str(number) for number in range(25)])
    deliveries = await drain(queue)
    await queue.ack(deliveries[:24])
    await queue.ack(deliveries[:24])
    await queue.ack([])
    await queue_factory.pass_time(LEASE + 1)
    assert texts(await drain(queue)) == {deliveries[24].body: 1}


async def test_acknowledging_a_lost_lease_removes_nothing_that_another_holds(queue_factory: QueueFactory) -> None:
    slow, quick = await queue_factory(owner="slow"), await queue_factory(owner="quick")
    await slow.send(["a"])
    lost = await one(slow)
    await queue_factory.pass_time(LEASE + 1)
    held = await one(quick)
    await slow.ack([lost])
    await queue_factory.pass_time(LEASE + 1)
    again = await one(quick)
    assert again.deliveries == held.deliveries + 1


async def test_releasing_a_lost_lease_frees_nothing_that_another_holds(queue_factory: QueueFactory) -> None:
    slow, quick = await queue_factory(owner="slow"), await queue_factory(owner="quick")
    await slow.send(["a"])
    lost = await one(slow)
    await queue_factory.pass_time(LEASE + 1)
    held = await one(quick)
    await slow.release([lost])
    assert await slow.receive(1, 0) == []
    assert await quick.extend([held], LEASE) == []


async def test_an_extended_lease_lasts_longer(queue_factory: QueueFactory) -> None:
    queue = await queue_factory()
    await queue.send(["extended", "left alone"])
    deliveries = {delivery.body: delivery for delivery in await drain(queue)}
    assert await queue.extend([deliveries["extended"]], 3 * LEASE) == []
    await queue_factory.pass_time(LEASE + 1)
    assert texts(await drain(queue)) == {"left alone": 1}
    await queue_factory.pass_time(2 * LEASE)
    assert "extended" in texts(await drain(queue))


async def test_extend_returns_exactly_the_leases_that_are_lost(queue_factory: QueueFactory) -> None:
    queue, other = await queue_factory(owner="1"), await queue_factory(owner="2")
    await queue.send(["kept", "acknowledged", "taken"])
    mine = {delivery.body: delivery for delivery in await drain(queue)}
    await queue.ack([mine["acknowledged"]])
    await queue.release([mine["taken"]])
    await one(other)
    lost = await queue.extend(list(mine.values()), LEASE)
    assert set(texts(lost)) == {"acknowledged", "taken"}
    assert await queue.extend([], LEASE) == []


async def test_a_released_message_is_visible_at_once_and_its_next_delivery_is_counted(queue: Queue) -> None:
    await queue.send(["a"])
    first = await one(queue)
    await queue.release([first])
    await queue.release([])
    second = await one(queue)
    assert (second.deliveries, second.receipt != first.receipt) == (2, True)


async def test_a_message_released_with_a_delay_stays_hidden_that_long(queue_factory: QueueFactory) -> None:
    queue = await queue_factory()
    await queue.send(["a"])
    await queue.release([await one(queue)], 2 * LEASE)
    await queue_factory.pass_time(LEASE)
    assert await queue.receive(1, 0) == []
    depth = await queue.depth()
    assert depth.visible + depth.leased == 1  # delayed is not gone
    await queue_factory.pass_time(LEASE + 1)
    assert (await one(queue)).body == "a"


async def test_two_receivers_never_hold_one_lease(queue_factory: QueueFactory) -> None:
    bodies = [str(number) for number in range(300)]
    queues = [await queue_factory(owner=str(number)) for number in range(4)]
    await queues[0].send(bodies)
    received: list[list[Delivery]] = await asyncio.gather(*map(drain, queues))
    assert texts([delivery for some in received for delivery in some]) == Counter(bodies)


async def test_buried_messages_can_be_looked_at_until_they_are_forgotten(queue: Queue) -> None:
    letters = [(f"body {number}", f"reason {number}: \u00e9") for number in range(12)]
    await queue.bury(letters)
    await queue.bury([])
    assert await queue.receive(10, 0) == []
    seen = await queue.dead_letters(5)
    assert 0 < len(seen) <= 5
    assert {(letter.body, letter.reason) for letter in seen} <= set(letters)
    assert (await queue.depth()).dead == 12
    await queue.forget(seen)
    await queue.forget([])
    assert (await queue.depth()).dead == 12 - len(seen)
    left: set[tuple[str, str]] = set()
    while more := await queue.dead_letters(10):
        left |= {(letter.body, letter.reason) for letter in more}
        await queue.forget(more)
    assert left == set(letters) - {(letter.body, letter.reason) for letter in seen}


async def test_a_message_that_is_never_finished_ends_in_the_dead_letters_with_its_reason(
    queue_factory: QueueFactory,
) -> None:
    queue = await queue_factory(receive_limit=LIMIT)  # fewer than a service's own limit (20)
    await queue.send(["poison", "healthy"])
    for turn in range(LIMIT):
        deliveries = {each.body: each for each in await drain(queue)}
        assert deliveries["poison"].deliveries == turn + 1
        if "healthy" in deliveries:
            await queue.ack([deliveries["healthy"]])
        await queue.release([deliveries["poison"]])
    assert await queue.receive(1, 0) == []
    (letter,) = await queue.dead_letters(10)
    assert (letter.body, letter.reason) == ("poison", f"delivered {LIMIT} times and never finished")
    depth = await queue.depth()
    assert (depth.visible, depth.leased, depth.dead) == (0, 0, 1)


async def test_depth_counts_waiting_leased_and_dead(queue_factory: QueueFactory) -> None:
    queue = await queue_factory()
    await queue.send(["a", "b", "c"])
    await queue.bury([("x", "why")])
    await queue.receive(1, 1)
    depth = await queue.depth()
    assert (depth.visible, depth.leased, depth.dead) == (2, 1, 1)
    await queue_factory.pass_time(LEASE + 1)
    depth = await queue.depth()
    assert (depth.visible, depth.leased, depth.dead) == (3, 0, 1)


async def test_messages_outlive_every_handle(queue_factory: QueueFactory) -> None:
    sender = await queue_factory()
    await sender.send(["a"])
    await sender.close()
    await sender.close()
    assert (await one(await queue_factory())).body == "a"


@pytest.mark.parametrize("queue_factory", ["sqlite"], indirect=True)  # only embedded queues know who holds a lease
async def test_reclaim_ends_exactly_the_leases_of_the_owner(queue_factory: QueueFactory) -> None:
    dead, alive = await queue_factory(owner="dead"), await queue_factory(owner="alive")
    assert isinstance(dead, SqliteQueue)
    await dead.send(["1", "2", "3", "4"])
    assert await dead.owners() == set()
    lost = await dead.receive(2, 1)
    held = await alive.receive(1, 1)
    assert await dead.owners() == {"dead", "alive"}
    assert await dead.reclaim("dead") == 2
    assert await dead.owners() == {"alive"}
    assert await dead.extend(lost, LEASE) == lost
    again = await alive.receive(10, 1)
    assert set(texts(again)) == {"1", "2", "3", "4"} - set(texts(held))
    assert await dead.reclaim() == 4
    assert await dead.reclaim() == 0
    await alive.receive(10, 1)
    await queue_factory.pass_time(LEASE + 1)
    assert await dead.reclaim() == 0  # what has ended by itself is not ended again

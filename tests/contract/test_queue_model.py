"""Any order of calls, from two handles and with time passing, agrees with a model small enough to be seen right."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dth.queues.base import Delivery
from dth.queues.sqlite import SqliteQueue

LEASE = 10.0
LIMIT = 3


@dataclass
class Message:
    body: str
    visible_at: float
    deliveries: int = 0
    receipt: str = ""
    owner: int | None = None


class QueueAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.queues = [self.runner.run(self.open(str(owner))) for owner in range(2)]
        self.model: list[Message] = []
        self.dead = 0
        self.seen: list[Delivery] = []
        self.sent = 0

    async def open(self, owner: str) -> SqliteQueue:
        path = Path(self.folder.name) / "queue"
        return await SqliteQueue.open(
            path, owner=owner, lease_seconds=LEASE, message_bytes=100, receive_limit=LIMIT, clock=lambda: self.now
        )

    def teardown(self) -> None:
        for queue in self.queues:
            self.runner.run(queue.close())
        self.runner.close()
        self.folder.cleanup()

    def held(self, delivery: Delivery) -> Message | None:
        return next((each for each in self.model if each.receipt == delivery.receipt), None)

    def pick(self, picks: list[int]) -> list[Delivery]:
        return list({self.seen[n % len(self.seen)].receipt: self.seen[n % len(self.seen)] for n in picks}.values())

    @rule(count=st.integers(1, 5), who=st.integers(0, 1))
    def send(self, count: int, who: int) -> None:
        bodies = [str(self.sent + number) for number in range(count)]
        self.sent += count
        self.runner.run(self.queues[who].send(bodies))
        self.model += [Message(body, self.now) for body in bodies]

    @rule(seconds=st.sampled_from([0.5, 4.0, LEASE, 3 * LEASE]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(limit=st.integers(1, 6), who=st.integers(0, 1))
    def receive(self, limit: int, who: int) -> None:
        due = sorted((each for each in self.model if each.visible_at <= self.now), key=lambda each: each.visible_at)
        taken = due[:limit]  # sorted() is stable, and the model is in order of arrival
        for message in taken:
            message.deliveries += 1
        poison = [message for message in taken if message.deliveries > LIMIT]
        self.dead += len(poison)
        self.model = [each for each in self.model if each not in poison]
        expected = {message.body: message for message in taken if message not in poison}
        deliveries = self.runner.run(self.queues[who].receive(limit, 0))
        assert {each.body: each.deliveries for each in deliveries} == {
            body: message.deliveries for body, message in expected.items()
        }
        receipts = {each.receipt for each in self.seen}
        for delivery in deliveries:
            assert delivery.receipt not in receipts
            message = expected[delivery.body]
            message.receipt, message.owner, message.visible_at = delivery.receipt, who, self.now + LEASE
        self.seen += deliveries

    @rule(picks=st.lists(st.integers(0, 50), min_size=1, max_size=4), seconds=st.sampled_from([1.0, 25.0]))
    def extend(self, picks: list[int], seconds: float) -> None:
        chosen = self.pick(picks) if self.seen else []
        lost = self.runner.run(self.queues[0].extend(chosen, seconds))
        assert lost == [each for each in chosen if not self.held(each)]
        for message in filter(None, map(self.held, chosen)):
            message.visible_at = self.now + seconds

    @rule(picks=st.lists(st.integers(0, 50), min_size=1, max_size=4))
    def ack(self, picks: list[int]) -> None:
        chosen = self.pick(picks) if self.seen else []
        self.runner.run(self.queues[0].ack(chosen))
        self.model = [each for each in self.model if each.receipt not in {delivery.receipt for delivery in chosen}]

    @rule(picks=st.lists(st.integers(0, 50), min_size=1, max_size=4), delay=st.sampled_from([0.0, 7.0]))
    def release(self, picks: list[int], delay: float) -> None:
        chosen = self.pick(picks) if self.seen else []
        self.runner.run(self.queues[1].release(chosen, delay))
        for message in filter(None, map(self.held, chosen)):
            message.visible_at, message.receipt, message.owner = self.now + delay, "", None

    @rule(owner=st.sampled_from([None, 0, 1]))
    def reclaim(self, owner: int | None) -> None:
        living = [each for each in self.model if each.receipt and each.visible_at > self.now]
        ended = [each for each in living if owner is None or each.owner == owner]
        name = None if owner is None else str(owner)
        assert self.runner.run(self.queues[0].reclaim(name)) == len(ended)
        for message in ended:
            message.visible_at, message.receipt, message.owner = self.now, "", None

    @rule(who=st.integers(0, 1))
    def reopen(self, who: int) -> None:
        self.runner.run(self.queues[who].close())
        self.queues[who] = self.runner.run(self.open(str(who)))

    @invariant()
    def depth_agrees(self) -> None:
        depth = self.runner.run(self.queues[0].depth())
        leased = sum(1 for each in self.model if each.receipt and each.visible_at > self.now)
        assert (depth.visible, depth.leased, depth.dead) == (len(self.model) - leased, leased, self.dead)


# Time limits say more about the machine than about the queue; a schedule of 30 calls finds what 100 would.
QueueAgainstModel.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestQueueAgainstModel = QueueAgainstModel.TestCase

"""How the adaptive limit grows, on simulated stores and a simulated clock."""

from __future__ import annotations

import heapq
import itertools
import random

import pytest

from dth.flow import limiter as module
from dth.flow.limiter import Limiter

SIZE = 10 << 10


class World:
    """A worker that always has more to copy, and the stores that it copies between. Simulated seconds pass.

    An object takes `distance` seconds, twice that in a slot whose connection has to be opened first, times a random factor that is as wide as
    `jitter`. The stores serve `capacity` objects a second, one after the other. Of the objects, the share `loss` loses a
    packet, which is sent again after `LOST`. A store that has more than `patience` in hand asks to slow down. The process runs
    for the share `ran` of the time and waits for a processor for `waited` of it; the machine is `idle` for so much.
    """

    LOST = 0.22

    def __init__(
        self,
        seed: int,
        *,
        distance: float,
        capacity: float = 1e9,
        jitter: float = 0.0,
        loss: float = 0.0,
        patience: float = 1e9,
        upper: int = 1000,
        ran: float = 0.0,
        waited: float = 0.0,
        idle: float = 1.0,
    ) -> None:
        self.now = 1000.0
        self._random = random.Random(seed)
        self._distance, self._service = distance, 1 / capacity
        self._jitter, self.loss, self._patience = jitter, loss, patience
        self._free_at = self.now
        self._ends: list[tuple[float, int, float, bool]] = []
        self._number = itertools.count()
        self._connections = 0
        self.ran, self.waited, self.idle = ran, waited, idle  # of the time
        self.limiter = Limiter(
            fixed=0,
            upper=upper,
            clock=lambda: self.now,
            processor=lambda: (self.ran * self.now, self.waited * self.now),
            machine=lambda: (int(self.idle * self.now * 1000), int(self.now * 1000)),
        )
        self.highest = 0
        self.moved = 0

    def run(self, seconds: float) -> int:
        """Let so much time pass; the limit at the end."""
        end = self.now + seconds
        while True:
            while self.limiter.take():
                self._begin()
            self.highest = max(self.highest, self.limiter.limit)
            if not self._ends:
                self.now = min(end, self.now + 0.01)  # a store wants a pause
            elif self._ends[0][0] <= end:
                self._end()
            else:
                self.now = end
            if self.now >= end:
                return self.limiter.limit

    def _begin(self) -> None:
        in_hand = len(self._ends)
        took = self._distance * self._random.lognormvariate(0, self._jitter)
        if in_hand >= self._connections:
            self._connections += 1
            took *= 2
        if self._random.random() < self.loss:
            took += self.LOST
        self._free_at = max(self._free_at, self.now) + self._service
        refused = in_hand >= self._patience
        ends = self.now + self._distance / 4 if refused else self._free_at + took
        heapq.heappush(self._ends, (ends, next(self._number), self.now, refused))

    def _end(self) -> None:
        self.now, _, since, refused = heapq.heappop(self._ends)
        if refused:
            self.limiter.throttled()
        self.moved += not refused
        self.limiter.release(SIZE, succeeded=not refused, since=since)


SEEDS = range(4)
TURN = 0.2
NEAR = 0.004


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("loss", [0.0, 0.1])
@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.4])
def test_far_stores_are_met_with_enough_within_sixteen_turns(seed: int, jitter: float, loss: float) -> None:
    world = World(seed, distance=TURN, jitter=jitter, loss=loss)
    assert world.run(16 * TURN) >= 512


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("jitter", [0.0, 0.4])
@pytest.mark.parametrize("capacity", [100, 320])
def test_the_limit_settles_where_far_stores_take_no_more(seed: int, jitter: float, capacity: float) -> None:
    enough = capacity * TURN
    world = World(seed, distance=TURN, jitter=jitter, capacity=capacity)
    assert enough <= world.run(10) <= 2 * enough
    assert world.highest <= 8 * enough  # for a moment
    moved = world.moved
    assert world.run(20) <= 4 * enough
    assert world.moved - moved >= 0.9 * 20 * capacity


@pytest.mark.parametrize("seed", SEEDS)
def test_near_stores_that_take_no_more_are_asked_for_no_more(seed: int) -> None:
    world = World(seed, distance=NEAR, jitter=0.3, capacity=2000)
    assert world.run(2) == module.START
    assert world.highest <= 2 * module.START


@pytest.mark.parametrize("seed", SEEDS)
def test_lost_packets_are_no_reason_to_have_less_in_flight(seed: int) -> None:
    """A tenth of the objects takes fifty times as long, so that nine tenths of the slots only wait for them."""
    world = World(seed, distance=NEAR, jitter=0.3, loss=0.1, upper=128)
    assert world.run(2) == 128


def test_a_burst_of_lost_packets_does_not_end_the_growth() -> None:
    """Half of a window's objects wait for packets; the window after it tells that it was only that."""
    world = World(1, distance=TURN, jitter=0.1)
    world.run(5 * TURN)
    world.loss = 1.0
    world.run(TURN)
    world.loss = 0.0
    assert world.run(12 * TURN) >= 512


@pytest.mark.parametrize("seed", SEEDS)
def test_a_store_that_asks_to_slow_down_is_met_with_half(seed: int) -> None:
    world = World(seed, distance=0.1, jitter=0.3, patience=100)
    world.run(2)
    assert world.highest == 128
    assert world.limiter.throttles
    moved, throttles = world.moved, world.limiter.throttles
    assert 32 <= world.run(20) <= 128
    assert world.limiter.throttles - throttles < 0.01 * (world.moved - moved)


def test_the_limit_recovers_after_throttling_ends() -> None:
    world = World(1, distance=0.1, upper=128)
    for _ in range(8):
        world.now += 1
        world.limiter.throttled()
    assert world.limiter.limit == 1
    assert world.run(60) > 64


@pytest.mark.parametrize(("ran", "waited", "grows"), [
    (0.8, 0.0, False),
    (0.5, 0.4, False),  # together they fill the window
    (0.05, 0.3, False),  # it waits longer than it runs
    (0.05, 0.1, True),  # a slow store, and now and then somebody else
    (0.4, 0.25, True),
])  # fmt: skip
def test_waiting_for_the_processor_is_not_waiting_for_the_stores(ran: float, waited: float, *, grows: bool) -> None:
    world = World(1, distance=NEAR, jitter=0.1, upper=64, ran=ran, waited=waited)
    assert world.run(2) == (64 if grows else module.START)


@pytest.mark.parametrize(("ran", "waited", "here", "idle", "grows"), [
    (0.5, 0.4, False, 1.0, False),  # its own core is busy
    (0.05, 0.3, False, 0.0, True),  # the stores have processors of their own
    (0.05, 0.3, True, 0.3, True),
    (0.05, 0.3, True, 0.05, False),  # what looks far is perhaps a near store on a machine that has far too much to do
    (0.05, 0.1, True, 0.05, True),
])  # fmt: skip
def test_at_a_distance_a_crowded_machine_holds_growth_back_only_where_it_is_the_store_s_too(
    *, ran: float, waited: float, here: bool, idle: float, grows: bool
) -> None:
    world = World(1, distance=TURN, ran=ran, waited=waited, idle=idle)
    world.limiter.store_is_here = here
    assert (world.run(16 * TURN) >= 512) == grows


def test_the_limit_grows_once_the_core_has_time_again() -> None:
    world = World(1, distance=NEAR, jitter=0.1, upper=64, ran=0.8)
    assert world.run(1) == module.START
    world.ran = 0.1
    assert world.run(1) == 64


@pytest.mark.parametrize(("here", "idle", "distance", "capacity", "grows"), [
    (True, 0.05, 0.028, 1e9, False),  # a store that shares the processors, and there is nothing left to share
    (True, 0.5, 0.028, 1e9, True),  # it waits for its disk, perhaps
    (True, 0.5, 0.001, 1500, False),  # objects take far longer than one alone: they stand in a line
    (True, 0.05, 0.04, 1e9, True),  # what answers on this machine has to ask elsewhere: a tunnel, a gateway
    (False, 0.05, 0.01, 1e9, True),  # elsewhere: what others do on this machine says nothing of it
])  # fmt: skip
def test_a_store_on_this_machine_gets_more_requests_only_where_they_move_something(
    *, here: bool, idle: float, distance: float, capacity: float, grows: bool
) -> None:
    world = World(1, distance=distance, capacity=capacity, upper=64, idle=idle)
    world.limiter.store_is_here = here
    world.run(2)
    assert world.highest == (64 if grows else module.START)


@pytest.mark.parametrize("seed", SEEDS)
def test_near_stores_are_judged_by_what_they_move_however_long_one_object_takes(seed: int) -> None:
    """Slots wait for lost packets, and meanwhile others form a line: the median object takes longer, and more is moved."""
    world = World(seed, distance=0.01, jitter=0.3, loss=0.1, capacity=3000)
    assert world.run(3) >= 128

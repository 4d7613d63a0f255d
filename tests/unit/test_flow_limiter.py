"""The limiter: bounded, never blocking itself, growing where it pays and shrinking where a store says so."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dth.flow import limiter as module
from dth.flow.limiter import Limiter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_than_the_fixed_number_are_in_flight() -> None:
    limiter = Limiter(fixed=3, upper=1000)
    highest = 0

    async def one() -> None:
        nonlocal highest
        async with limiter.slot():
            highest = max(highest, limiter.in_flight)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(one())
    assert highest == 3
    assert limiter.in_flight == 0


@pytest.mark.parametrize("fixed", [1, 2, 5])
async def test_parts_inside_an_object_complete_whatever_the_limit(fixed: int) -> None:
    limiter = Limiter(fixed=fixed, upper=1000)
    moved = 0

    async def part() -> None:
        nonlocal moved
        async with limiter.slot(8):
            await asyncio.sleep(0)
            moved += 1

    async def one() -> None:
        async with limiter.slot(), asyncio.TaskGroup() as parts:
            for _ in range(7):
                parts.create_task(part())

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(one())
    assert moved == 42
    assert limiter.in_flight == 0


async def test_cancelled_parts_give_slot_and_ride_back() -> None:
    limiter = Limiter(fixed=1, upper=1000)

    async def one() -> None:
        async with limiter.slot(), asyncio.TaskGroup() as parts:
            for _ in range(3):
                parts.create_task(hang())

    async def hang() -> None:
        async with limiter.slot():
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(one()) for _ in range(3)]
    await _settle()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert limiter.in_flight == 0
    async with asyncio.timeout(5), limiter.slot(), limiter.slot():
        assert limiter.in_flight == 1


async def test_a_ride_given_in_the_instant_of_cancellation_is_passed_on() -> None:
    limiter = Limiter(fixed=1, upper=1000)
    free = asyncio.Event()
    through = asyncio.Event()

    async def first() -> None:
        async with limiter.slot():
            await free.wait()

    async def later() -> None:
        async with limiter.slot():
            through.set()

    async with limiter.slot():
        one = asyncio.create_task(first())
        await _settle()
        two = asyncio.create_task(later())
        three = asyncio.create_task(later())
        await _settle()
        free.set()
        await one
        two.cancel()
        await asyncio.wait_for(through.wait(), 5)
        await asyncio.wait([two, three])


async def test_throttling_halves_once_for_what_was_in_flight_together() -> None:
    clock = Clock()
    limiter = Limiter(fixed=0, upper=1000, clock=clock)
    before = limiter.limit
    for _ in range(20):
        limiter.throttled()
    assert limiter.limit == before // 2
    clock.now += 1
    limiter.throttled()
    assert limiter.limit == before // 4


async def test_throttling_never_goes_below_one() -> None:
    clock = Clock()
    limiter = Limiter(fixed=0, upper=1000, clock=clock)
    for _ in range(30):
        clock.now += 1
        limiter.throttled()
    assert limiter.limit == 1
    async with limiter.slot():
        pass


async def test_a_fixed_limit_stays_when_throttled() -> None:
    limiter = Limiter(fixed=7, upper=1000)
    limiter.throttled()
    assert limiter.limit == 7


async def test_retry_after_holds_new_work_back_and_lets_it_go_again() -> None:
    limiter = Limiter(fixed=4, upper=1000)
    limiter.throttled(0.05)
    waiting = asyncio.create_task(limiter.acquire())
    await _settle()
    assert not waiting.done()
    await asyncio.wait_for(waiting, 10)
    assert limiter.in_flight == 1


async def _drive(limiter: Limiter, clock: Clock, rate_at: object, windows: int, took: float = 0.01) -> None:
    """Let simulated time pass: `rate_at(limit)` objects a second, always more waiting than the limit lets through."""
    assert callable(rate_at)
    for _ in range(windows):
        ends = max(limiter.limit, 1)
        waiting = [asyncio.create_task(limiter.acquire()) for _ in range(limiter.limit + 1)]
        await _settle()
        seconds = max(module.WINDOW_SECONDS, ends / rate_at(limiter.limit))
        count = max(ends, int(rate_at(limiter.limit) * seconds))
        for n in range(count):
            if n == count - 1:
                clock.now += seconds
            limiter._in_flight += 1
            limiter.release(since=clock.now - took)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        limiter._in_flight = 0


async def test_the_limit_grows_while_throughput_grows_with_it() -> None:
    clock = Clock()
    limiter = Limiter(fixed=0, upper=1000, clock=clock)
    await _drive(limiter, clock, lambda limit: limit * 10, 12)
    assert limiter.limit == 1000


async def test_the_limit_settles_where_more_in_flight_moves_nothing_more() -> None:
    clock = Clock()
    limiter = Limiter(fixed=0, upper=1000, clock=clock)
    await _drive(limiter, clock, lambda limit: min(limit, 64) * 10, 30)
    assert 32 <= limiter.limit <= 160


async def test_the_limit_recovers_after_throttling_ends() -> None:
    clock = Clock()
    limiter = Limiter(fixed=0, upper=1000, clock=clock)
    for _ in range(8):
        clock.now += 1
        limiter.throttled()
    assert limiter.limit == 1
    await _drive(limiter, clock, lambda limit: limit * 10, 120)
    assert limiter.limit > 64


BURN = """
import os, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
if sys.argv[1] == "neighbour":
    print("here", flush=True)
    while True:
        pass
from dth.flow.limiter import processor_seconds
began, busy = time.monotonic(), processor_seconds()
while time.monotonic() - began < 0.5:
    pass
seconds = time.monotonic() - began
ran, waited = (now - then for now, then in zip(processor_seconds(), busy))
print(ran / seconds, (ran + waited) / seconds)
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not tell how long it lets wait")
def test_a_process_that_shares_its_core_counts_as_busy() -> None:
    """One that always has something to do either runs or waits for its turn, whatever else the machine does."""
    with subprocess.Popen([sys.executable, "-c", BURN, "neighbour"], stdout=subprocess.PIPE) as neighbour:
        try:
            assert neighbour.stdout
            neighbour.stdout.readline()
            done = subprocess.run([sys.executable, "-c", BURN, "me"], capture_output=True, text=True, check=True)
        finally:
            neighbour.kill()
    cpu, busy = map(float, done.stdout.split())
    assert cpu < module.CORE_BUSY < busy


def test_where_the_kernel_does_not_tell_the_waiting_cpu_time_stands_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/schedstat").write_text("")
    (tmp_path / "2").mkdir()
    for path in ("/nowhere/task", str(tmp_path)):
        monkeypatch.setattr(module, "THREADS", path)
        ran, waited = module.processor_seconds()
        assert 0 < ran <= time.process_time()
        assert waited == 0


def test_threads_that_wait_for_a_processor_are_counted_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "THREADS", str(tmp_path))
    for thread in ("1", "2", "3"):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text("5 1500000000 9\n")
    assert module.processor_seconds()[1] == pytest.approx(4.5)


@pytest.mark.parametrize(("ran", "waited", "grows"), [
    (0.5, 0.4, False),  # together they fill the window
    (0.05, 0.3, False),  # it waits longer than it runs
    (0.05, 0.1, True),  # a slow store, and now and then somebody else
    (0.4, 0.25, True),
])  # fmt: skip
async def test_waiting_for_the_processor_is_not_waiting_for_the_stores(
    ran: float, waited: float, *, grows: bool
) -> None:
    clock = Clock()
    limiter = Limiter(fixed=0, upper=1000, clock=clock, processor=lambda: (ran * clock.now, waited * clock.now))
    await _drive(limiter, clock, lambda limit: limit * 10, 12)
    assert limiter.limit == (1000 if grows else module.START)


async def test_the_limit_does_not_grow_while_the_process_has_its_core_busy() -> None:
    clock = Clock()
    limiter = Limiter(fixed=0, upper=1000, clock=clock, processor=lambda: (0.8 * clock.now, 0.0))
    await _drive(limiter, clock, lambda limit: limit * 10, 12)
    assert limiter.limit == module.START


async def test_the_limit_grows_once_the_core_has_time_again() -> None:
    clock = Clock()
    share = [0.8]
    limiter = Limiter(fixed=0, upper=1000, clock=clock, processor=lambda: (share[0] * clock.now, 0.0))
    await _drive(limiter, clock, lambda limit: limit * 10, 3)
    share[0] = 0.1
    await _drive(limiter, clock, lambda limit: limit * 10, 12)
    assert limiter.limit == 1000


@pytest.mark.parametrize(("here", "idle", "took", "grows"), [
    (True, 0.05, 0.028, False),  # a store that shares the processors, and there is nothing left to share
    (True, 0.5, 0.028, True),  # it waits for its disk, perhaps
    (True, 0.5, 0.01, False),  # one object takes a tenth of what objects take on average: they stand in a line
    (True, 0.05, 0.04, True),  # what answers on this machine has to ask elsewhere: a tunnel, a gateway
    (False, 0.05, 0.01, True),  # elsewhere: what others do on this machine says nothing of it
])  # fmt: skip
async def test_a_store_on_this_machine_gets_more_requests_only_where_they_move_something(
    *, here: bool, idle: float, took: float, grows: bool
) -> None:
    clock = Clock()
    limiter = Limiter(
        fixed=0,
        upper=1000,
        clock=clock,
        processor=lambda: (0.0, 0.0),
        machine=lambda: (int(idle * clock.now * 200), int(clock.now * 200)),
    )
    limiter.store_is_here = here
    await _drive(limiter, clock, lambda limit: limit * 10, 12, took)
    assert limiter.limit == (1000 if grows else module.START)


async def test_a_slot_tells_how_long_it_was_held() -> None:
    clock = Clock()
    limiter = Limiter(fixed=0, upper=1000, clock=clock)
    async with limiter.slot():
        clock.now += 0.125
    async with limiter.slot():
        clock.now += 0.25
    assert limiter._fastest == 0.125


@pytest.mark.skipif(not Path(module.MACHINE_STAT).exists(), reason="this kernel does not tell how busy it is")
def test_the_machine_s_idle_time_is_part_of_all_its_time() -> None:
    idle, ticks = module.machine_ticks()
    assert 0 <= idle < ticks


def test_where_the_kernel_tells_nothing_of_the_machine_it_counts_as_not_full(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/nowhere/stat", "/dev/null"):
        monkeypatch.setattr(module, "MACHINE_STAT", path)
        assert module.machine_ticks() == (0, 0)

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

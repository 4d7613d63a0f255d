"""The byte budget: bounded, fair, and whole again after every cancellation."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.flow.budget import ByteBudget


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_never_hands_out_more_than_its_total() -> None:
    budget = ByteBudget(100)
    highest = 0

    async def one(size: int) -> None:
        nonlocal highest
        async with budget.reserve(size):
            highest = max(highest, budget.in_use)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for size in range(1, 90):
            group.create_task(one(size))
    assert 0 < highest <= 100
    assert budget.in_use == 0


async def test_a_request_beyond_the_total_runs_alone() -> None:
    budget = ByteBudget(10)
    async with budget.reserve(1_000_000):
        assert budget.in_use == 10
        waiter = asyncio.create_task(budget.acquire(1))
        await _settle()
        assert not waiter.done()
    await waiter
    assert budget.in_use == 1


async def test_small_requests_do_not_overtake_a_large_one() -> None:
    budget = ByteBudget(10)
    order: list[str] = []

    async def one(name: str, size: int) -> None:
        async with budget.reserve(size):
            order.append(name)

    await budget.acquire(5)
    large = asyncio.create_task(one("large", 10))
    await _settle()
    small = asyncio.create_task(one("small", 1))
    await _settle()
    assert order == []
    budget.release(5)
    await asyncio.gather(large, small)
    assert order == ["large", "small"]


async def test_a_cancelled_waiter_at_the_head_lets_the_next_one_through() -> None:
    budget = ByteBudget(10)
    await budget.acquire(5)
    head = asyncio.create_task(budget.acquire(10))
    await _settle()
    behind = asyncio.create_task(budget.acquire(5))
    await _settle()
    head.cancel()
    await asyncio.wait_for(behind, 5)
    assert budget.in_use == 10


async def test_bytes_granted_in_the_instant_of_cancellation_are_passed_on() -> None:
    budget = ByteBudget(10)
    await budget.acquire(10)
    granted = asyncio.create_task(budget.acquire(10))
    behind = asyncio.create_task(budget.acquire(10))
    await _settle()
    budget.release(10)  # grants the first
    granted.cancel()  # before it has run
    await asyncio.wait_for(behind, 5)
    with pytest.raises(asyncio.CancelledError):
        await granted
    assert budget.in_use == 10


@given(
    total=st.integers(1, 50),
    steps=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 3), st.booleans()), max_size=40),
)
def test_whatever_is_asked_and_cancelled_everyone_else_gets_through(
    total: int, steps: list[tuple[int, int, bool]]
) -> None:
    async def scenario() -> None:
        budget = ByteBudget(total)

        async def one(size: int, turns: int) -> None:
            async with budget.reserve(size):
                assert budget.in_use <= total
                for _ in range(turns):
                    await asyncio.sleep(0)

        tasks = []
        for size, turns, cancel in steps:
            tasks.append(asyncio.create_task(one(size, turns)))
            await asyncio.sleep(0)
            if cancel:
                tasks[len(tasks) // 2].cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert budget.in_use == 0

    asyncio.run(scenario())

"""Writes of keys that lie above each other are kept apart, and no others."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.stores.nesting import Nesting

PATHS = st.lists(st.sampled_from(["a", "a/b", "a/b/c", "a/d", "ab", "b", "a/", "/a", "a//b"]), min_size=1, max_size=12)


def nested(one: str, other: str) -> bool:
    return one != other and (other.startswith(f"{one}/") or one.startswith(f"{other}/"))


@given(keys=PATHS)
def test_keys_above_each_other_are_never_written_at_once_and_all_are_written(keys: list[str]) -> None:
    async def play() -> list[str]:
        nesting = Nesting()
        running: list[str] = []
        done: list[str] = []

        async def write(key: str) -> None:
            async with nesting.writing(key):
                assert not any(nested(key, other) for other in running)
                running.append(key)
                for _ in range(3):
                    await asyncio.sleep(0)
                running.remove(key)
                done.append(key)

        await asyncio.gather(*map(write, keys))
        return done

    assert sorted(asyncio.run(play())) == sorted(keys)


async def test_keys_that_only_begin_alike_are_written_at_once() -> None:
    nesting = Nesting()
    async with (
        asyncio.timeout(10),
        nesting.writing("a"),
        nesting.writing("ab"),
        nesting.writing("b/a"),
        nesting.writing("a"),
    ):
        pass


@pytest.mark.parametrize(("held", "wanted"), [("x", "x/y"), ("x/y", "x")])
async def test_a_writer_that_is_cancelled_or_fails_lets_the_next_one_in(held: str, wanted: str) -> None:
    nesting = Nesting()
    entered = asyncio.Event()

    async def hold() -> None:
        async with nesting.writing(held):
            entered.set()
            await asyncio.sleep(3600)

    async def want() -> None:
        async with nesting.writing(wanted):
            pass

    holding = asyncio.create_task(hold())
    await entered.wait()
    waiting = asyncio.create_task(want())
    await asyncio.sleep(0)
    assert not waiting.done()
    holding.cancel()
    async with asyncio.timeout(10):
        await waiting

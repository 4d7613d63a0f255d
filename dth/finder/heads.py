"""Asking both stores about single objects, few at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from dth.model import Change
from dth.stores.base import Reader, Restorer
from dth.values import value

T = TypeVar("T")


class Source(Reader, Restorer, Protocol):
    """A source that can be asked about its objects."""


@value
class Stores:
    """Both sides, to be asked about single objects."""

    source: Source
    destination: Reader


HEADS = 32
"""Objects that are asked for at once: at 100 ms some 300 a second."""


async def ask_each(
    changes: Sequence[Change], ask: Callable[[Change], Awaitable[T]], slots: asyncio.Semaphore
) -> list[T]:
    """The answers in the order of `changes`; `slots` bounds how many are asked for at once."""

    async def one(change: Change) -> T:
        async with slots:
            return await ask(change)

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(one(change)) for change in changes]
    return [task.result() for task in asked]

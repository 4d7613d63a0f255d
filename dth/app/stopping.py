"""Work that a stop ends at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def unless_stopped(work: Coroutine[Any, Any, object], stop: asyncio.Event) -> None:
    """Wait for the end of `work`, or end it on `stop`; raises its error."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    both: list[asyncio.Future[Any]] = [working, stopping]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in both:
            one.cancel()
        await asyncio.wait(both)
    if not working.cancelled():
        working.result()

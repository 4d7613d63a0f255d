"""What processes print with `--json`, read on from where it was read to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20


async def read_events(path: Path, position: int) -> AsyncIterator[tuple[list[dict[str, Any]], int]]:
    """The whole lines from a position on, in batches, each with the position behind it. A line that is no event is left out;
    one that was not finished before another process went on behind it is such a line."""
    while True:
        data = await asyncio.to_thread(_read, path, position)
        end = data.rfind(b"\n") + 1
        if not end:
            if len(data) < CHUNK_BYTES:
                return
            position += len(data)  # no event is as long: garbage
            continue
        events = await asyncio.to_thread(_events, data[:end])
        position += end
        yield events, position
        if len(data) < CHUNK_BYTES:
            return


def _read(path: Path, position: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(position)
            return file.read(CHUNK_BYTES)
    except FileNotFoundError:
        return b""


def _events(data: bytes) -> list[dict[str, Any]]:
    found = []
    for line in data.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            found.append(event)
    return found

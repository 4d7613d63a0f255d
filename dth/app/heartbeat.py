"""Signs of life for whoever supervises a worker: a file for Kubernetes, messages for systemd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from dth.errors import SettingsError

BEAT_SECONDS = 5.0


@contextlib.asynccontextmanager
async def beating(file: str, stop: asyncio.Event, every: float = BEAT_SECONDS) -> AsyncIterator[None]:
    """Show life until the block ends.

    While the event loop turns, `file` (empty: none) gets a new modification time every `every` seconds; it is removed at the
    end. Where systemd listens (`NOTIFY_SOCKET`), it hears READY, WATCHDOG as often, and STOPPING once `stop` is set.
    Raises SettingsError where the file cannot be written.
    """
    path = Path(file) if file else None
    beats = asyncio.create_task(_beat(path, stop, every))
    try:
        _touch(path)
        _notify("READY=1")
        yield
    finally:
        beats.cancel()
        await asyncio.gather(beats, return_exceptions=True)
        if path:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


async def _beat(path: Path | None, stop: asyncio.Event, every: float) -> None:
    stopping = False
    while True:
        if stop.is_set():
            await asyncio.sleep(every)
        else:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), every)
        if stop.is_set() and not stopping:
            stopping = True
            _notify("STOPPING=1")
        _notify("WATCHDOG=1")
        with contextlib.suppress(SettingsError):  # a full disk is no reason to end: the supervisor sees an old file
            _touch(path)


def _touch(path: Path | None) -> None:
    if path is None:
        return
    try:
        path.touch()
        os.utime(path)
    except OSError as error:
        raise SettingsError(f"--health-file {path}: {error.strerror or error}") from error


def _notify(state: str) -> None:
    """Tell systemd, if it listens. A message that does not arrive is one that it will miss."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(0)
        sock.sendto(state.encode("ascii"), "\0" + address[1:] if address.startswith("@") else address)

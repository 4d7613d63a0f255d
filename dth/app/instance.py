"""What EC2 tells an instance of its own end: a spot interruption, two minutes ahead, or an Auto Scaling group that scales in.

Both stand in the instance's metadata (IMDSv2). Elsewhere nobody is asked: only where this is an EC2 instance by its firmware, or
where the user says so. An answer that is not exactly such a notice is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from dth.errors import DthError, SettingsError
from dth.events import Emit, Notice
from dth.text import printable
from dth.transport.base import Origin, Timeouts
from dth.transport.client import PooledClient

ENDPOINT = "http://169.254.169.254"
POLL_SECONDS = 5.0  # as EC2's documentation recommends
ANSWER_SECONDS = 2.0
TOKEN_SECONDS = 21_600
_ANSWER_BYTES = 4096
_FIRMWARE = (("sys_vendor", "Amazon EC2"), ("board_vendor", "Amazon EC2"))
_SPOT = "/latest/meta-data/spot/instance-action"
_SCALING = "/latest/meta-data/autoscaling/target-lifecycle-state"
_ACTIONS = ("terminate", "stop", "hibernate")
_OK, _UNAUTHORIZED = 200, 401


def is_wanted(choice: str, firmware: Path = Path("/sys/devices/virtual/dmi/id")) -> bool:
    """Whether to ask: `on`, or `auto` on an EC2 instance; never where AWS_EC2_METADATA_DISABLED is true. Raises SettingsError
    for another word."""
    if choice not in {"auto", "on", "off"}:
        raise SettingsError(f"--instance-notices {choice!r}: auto, on or off")
    if choice == "off" or os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return False
    return choice == "on" or any(_read(firmware / name) == text for name, text in _FIRMWARE)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""


class Metadata:
    """The service, asked with a token. Every call returns within a few seconds, whatever stands behind the address."""

    def __init__(self, endpoint: str = "") -> None:
        address = urlsplit(endpoint or os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or ENDPOINT)
        origin = Origin("http", address.hostname or "", address.port or 80)
        self._host = address.netloc
        self._client = PooledClient(origin, timeouts=Timeouts(*[ANSWER_SECONDS] * 3), max_connections=1)
        self._token = ""

    async def notice(self) -> str:
        """Why this instance is to end, as a sentence without its end; "" where it is not."""
        said = await self._get(_SPOT)
        with contextlib.suppress(ValueError, RecursionError):
            fields = json.loads(said) if said else None
            if isinstance(fields, dict) and fields.get("action") in _ACTIONS:
                when = printable(str(fields.get("time", "soon")), limit=40)
                return f"EC2 takes this spot instance back ({fields['action']} at {when})"
        if (await self._get(_SCALING)).strip() in _SCALED_IN:
            return "the Auto Scaling group ends this instance"
        return ""

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def _get(self, path: str) -> str:
        """The text there; "" where there is none, or nobody who could say so."""
        for _ in range(2):
            if not self._token:
                status, token = await self._ask("PUT", "/latest/api/token", (_TTL,))
                if status != _OK or not token.isascii() or not token.isprintable():
                    return ""
                self._token = token
            status, text = await self._ask("GET", path, (("x-aws-ec2-metadata-token", self._token),))
            if status != _UNAUTHORIZED:
                return text if status == _OK else ""
            self._token = ""  # it is over: once more with another
        return ""

    async def _ask(self, method: str, path: str, headers: tuple[tuple[str, str], ...]) -> tuple[int, str]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._client.send(method, path, (("host", self._host), *headers))
                return answer.status, (await answer.read(_ANSWER_BYTES)).decode("utf-8", "replace")
        except (DthError, TimeoutError):
            return 0, ""


_TTL = ("x-aws-ec2-metadata-token-ttl-seconds", str(TOKEN_SECONDS))
_SCALED_IN = {"Terminated", "Warmed:Terminated"}


@contextlib.asynccontextmanager
async def heeding_notices(
    choice: str, stop: asyncio.Event, emit: Emit, *, every: float = POLL_SECONDS
) -> AsyncIterator[None]:
    """Set `stop` where this instance is told that it ends; looked at before the block begins, and every few seconds in it."""
    if not is_wanted(choice):
        yield
        return
    metadata = Metadata()

    async def heed() -> bool:
        why = await metadata.notice()
        if why:
            text = f"{why}: workers finish what is in flight or give it back, and end"
            emit(Notice("warning", "instance_ending", text))
            stop.set()
        return bool(why)

    async def watch() -> None:
        ends = False
        while not ends:
            await asyncio.sleep(every)
            ends = await heed()

    watching: asyncio.Task[None] | None = None
    try:
        if not await heed():
            watching = asyncio.create_task(watch())
        yield
    finally:
        if watching:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await metadata.close()

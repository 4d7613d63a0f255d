"""The hub of this machine, put together."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dth import __version__
from dth.database import Database
from dth.errors import DthError
from dth.hub.base import Hub
from dth.hub.here.answers import Answers
from dth.hub.here.credentials import NamedCredentials
from dth.hub.here.demo import DemoStores
from dth.hub.here.folder import HubFolder
from dth.hub.here.keep import SqliteKeep
from dth.hub.here.launcher import LocalLauncher
from dth.hub.here.locations import SqliteLocations
from dth.hub.here.logs import FileLogs
from dth.hub.here.rates import SqliteSamples
from dth.hub.here.records import ReportRecords
from dth.hub.here.retention import Retention
from dth.hub.here.scheduler import Scheduler
from dth.hub.here.schema import HUB
from dth.hub.here.supervisor import Supervisor, Tell
from dth.hub.here.tasks import SqliteTasks
from dth.hub.here.terminal import TerminalJobs
from dth.hub.here.totals import LedgerTotals

POLL_SECONDS = 2.0
_log = logging.getLogger("dth.hub")


@dataclass(frozen=True, slots=True)
class Here:
    """An open hub. `address` is where another one of the same state says that it runs, "" where this one is the only one."""

    hub: Hub
    keep: SqliteKeep
    folder: HubFolder


class Taken(DthError):
    """Another hub works on this state; its address."""

    def __init__(self, address: str) -> None:
        super().__init__(f"a hub of this state runs already, at {address or 'an unknown address'}")
        self.address = address


@contextlib.asynccontextmanager
async def open_database(folder: HubFolder) -> AsyncIterator[Database]:
    """The hub's database, closed at the end."""
    folder.make()
    database = await Database.open(folder.database, HUB)
    folder.database.chmod(0o600)
    try:
        yield database
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def open_here(
    folder: HubFolder, *, at_once: int, tell: Tell, confined: bool, keep_runs: int = 100, keep_days: int = 90
) -> AsyncIterator[Here]:
    """The hub, with its supervisor and its scheduler at work. Raises Taken where another hub has this state."""
    folder.make()
    with _alone(folder.path / "lock", folder.path / "address"):
        async with open_database(folder) as database:
            answers = Answers(database, folder)
            supervisor = Supervisor(database, folder, at_once=at_once, read_totals=LedgerTotals(folder), tell=tell)
            launcher = LocalLauncher(database, folder, answers, supervisor.wake)
            scheduler = Scheduler(database, launcher)
            demo = DemoStores(folder)
            hub = Hub(
                kind="LOCAL",
                version=__version__,
                poll_seconds=POLL_SECONDS,
                tasks=SqliteTasks(database, folder),
                launcher=launcher,
                samples=SqliteSamples(database),
                logs=FileLogs(database, folder),
                records=ReportRecords(database, folder),
                credentials=NamedCredentials(),
                locations=SqliteLocations(database),
                demo=None if confined else demo,
                confined=confined,
            )
            terminal = TerminalJobs(database, folder)
            retention = Retention(database, folder, runs=keep_runs, days=keep_days)
            ticks = (scheduler.tick, supervisor.tick, answers.tick, terminal.tick, retention.tick)
            working = asyncio.create_task(_work(supervisor, ticks))
            try:
                yield Here(hub, SqliteKeep(database), folder)
            finally:
                working.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await working
                await demo.close()


async def _work(supervisor: Supervisor, ticks: Sequence[Callable[[], Awaitable[None]]]) -> None:
    while True:
        for tick in ticks:
            try:
                await tick()
            except Exception:  # noqa: BLE001 - a full disk now is no reason not to look again in a second
                _log.exception("the hub's own work failed; it goes on")
        await supervisor.rest()


@contextlib.contextmanager
def _alone(lock: Path, address: Path) -> Iterator[None]:
    """Hold the lock of the hub's state, which ends with this process however it ends."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            there = address.read_text("ascii").strip() if address.exists() else ""
            raise Taken(there) from None
        yield
    finally:
        os.close(descriptor)

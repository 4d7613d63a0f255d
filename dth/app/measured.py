"""A verb with its metrics: where they were asked for, every event of it goes through a sink, which Prometheus reads and
whose figures are written as CloudWatch's lines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from dth.embedded import process_name
from dth.errors import LedgerError, QueueError, SettingsError
from dth.events import Emit, Event, Notice, Requests
from dth.ledgers.base import Ledger, Run
from dth.queues.base import Queue
from dth.settings import JobBase
from dth.settings.urls import metrics_address
from dth.states import RunState

if TYPE_CHECKING:
    from dth.metrics.embedded import EmbeddedLines
    from dth.metrics.sink import Sink

LOOK_SECONDS = 10.0  # between two looks at ledger and queue
EMBEDDED_SECONDS = 60.0  # between two sets of CloudWatch's lines: its metrics have a minute's resolution
RUNS_SHOWN = 20  # newest first; of them, those that are not over, and the newest
LAST_LOOK_SECONDS = 5.0


class Measured:
    """What a verb is given: `emit` for its events, `watching` for its ledger and queue. This one measures nothing."""

    def __init__(self, emit: Emit) -> None:
        self.emit = emit

    @contextlib.asynccontextmanager
    async def watching(
        self, ledger: Ledger, queue: Queue | None, requests: Callable[[], Requests] | None = None
    ) -> AsyncIterator[None]:
        """Look at them now and then while the block runs, and at its end. `requests` says what was asked so far, for verbs
        that do not say so themselves."""
        del ledger, queue, requests
        yield


class _Measuring(Measured):
    def __init__(self, sink: Sink, job_id: str, emit: Emit) -> None:
        super().__init__(self._note)
        self._sink = sink
        self._job_id = job_id
        self._pass_on = emit

    def _note(self, event: Event) -> None:
        self._sink(event)
        self._pass_on(event)

    @contextlib.asynccontextmanager
    async def watching(
        self, ledger: Ledger, queue: Queue | None, requests: Callable[[], Requests] | None = None
    ) -> AsyncIterator[None]:
        async def look() -> None:
            if requests:
                self.emit(requests())
            with contextlib.suppress(LedgerError, QueueError):  # the next look may find them again
                runs = await ledger.runs(self._job_id, RUNS_SHOWN)
                self._sink.look(_shown(runs), await queue.depth() if queue else None)

        async def keep() -> None:
            while True:
                await look()
                await asyncio.sleep(LOOK_SECONDS)

        looking = asyncio.create_task(keep())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_LOOK_SECONDS):
                    await look()


def _shown(runs: list[Run]) -> list[Run]:
    return [
        run
        for number, run in enumerate(runs)
        if number == 0 or (not run.counted and run.state is not RunState.ABANDONED)
    ]


@contextlib.asynccontextmanager
async def measured(job: JobBase, job_id: str, emit: Emit) -> AsyncIterator[Measured]:
    """Measure while the block runs, as `metrics` and `metrics_emf` ask for. Raises SettingsError where nobody can listen at
    the address, or the file cannot be written."""
    if not job.metrics and not job.metrics_emf:
        yield Measured(emit)
        return
    from dth.metrics.sink import Sink  # noqa: PLC0415 - who measures nothing loads nothing

    sink = Sink()
    async with contextlib.AsyncExitStack() as stack:
        if job.metrics_emf:
            await stack.enter_async_context(_embedded(sink, job_id, job.metrics_emf))
        if job.metrics:
            await stack.enter_async_context(_served(sink, job_id, job.metrics, emit))
        yield _Measuring(sink, job_id, emit)


@contextlib.asynccontextmanager
async def _served(sink: Sink, job_id: str, address: str, emit: Emit) -> AsyncIterator[None]:
    from dth.metrics.prometheus import PrometheusServer  # noqa: PLC0415

    server = PrometheusServer.listen(sink, job_id, *metrics_address(address))
    emit(Notice("info", "metrics", f"metrics are at {server.url}"))
    try:
        yield
    finally:
        await asyncio.to_thread(server.close)


@contextlib.asynccontextmanager
async def _embedded(sink: Sink, job_id: str, file: str) -> AsyncIterator[None]:
    from dth.metrics.embedded import EmbeddedLines  # noqa: PLC0415

    lines = EmbeddedLines(job_id, {"process": process_name()}, time.time)
    _write(file, "")

    async def keep() -> None:
        while True:
            await asyncio.sleep(EMBEDDED_SECONDS)
            _flush(sink, lines, file)

    keeping = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        _flush(sink, lines, file)


def _flush(sink: Sink, lines: EmbeddedLines, file: str) -> None:
    with contextlib.suppress(SettingsError):  # a full disk ends no transfer; the next lines may fit
        _write(file, "".join(f"{line}\n" for line in lines.lines(sink.samples())))


def _write(file: str, text: str) -> None:
    """All lines at once, so that they stay whole beside those of others."""
    if file == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            data = text.encode("ascii")
            while data:
                data = data[os.write(handle, data) :]
        finally:
            os.close(handle)
    except OSError as error:
        raise SettingsError(f"metrics_emf = {file} cannot be written: {error.strerror or error}") from error

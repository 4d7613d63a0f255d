"""What a machine's workers are told while they run, read from a real ledger, with a clock of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from dth.app.live import Live
from dth.app.live_limits import SHARE, LiveLimits
from dth.children import Children
from dth.events import Event, InFlight, Notice
from dth.flow.limiter import Limiter
from dth.flow.limits import ROW, Limits
from dth.ledgers.sqlite import SqliteLedger
from dth.transport.pace import Pace

MB = 10**6


@dataclass
class Worker:
    """A worker's own side of the orders: its pace and its limiter, as a worker process has them."""

    name: str
    live: Live = field(default_factory=Live)

    def __post_init__(self) -> None:
        self.pace, self.limiter = Pace(0), Limiter(fixed=0, upper=100)
        self.live.bind(self.pace, self.limiter)

    def order(self, line: str) -> None:
        self.live.order(line)


class Machine:
    """One command: its limits, its workers, and what it says."""

    def __init__(self, ledger: SqliteLedger, name: str, workers: int, **own: int) -> None:
        self.clock = datetime(2026, 6, 1, 7, 59, 58, tzinfo=UTC).timestamp()
        self.said: list[Event] = []
        self.workers = [Worker(f"{name}/{number}") for number in range(workers)]
        own = {"most": workers, "bandwidth": 0, "number": 0, **own}
        self.limits = LiveLimits(ledger, "job", name, self.said.append, clock=lambda: self.clock, **own)
        self.most = 0
        self.orders: Any = None

    @property
    def staying(self) -> list[Worker]:
        return self.workers

    async def look(self) -> list[float]:
        """One look; the rates of the workers."""
        for worker in self.workers:
            self.limits.heard(InFlight(worker.name, 3, 100))
        await self.limits.look(cast("Children", self))
        return [worker.pace.rate for worker in self.workers]

    def codes(self) -> list[str]:
        return [event.code for event in self.said if isinstance(event, Notice)]


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    found = await SqliteLedger.open(tmp_path / "ledger")
    yield found
    await found.close()


async def test_a_timetable_switches_while_workers_run_and_what_the_command_was_given_returns_at_the_end(
    ledger: SqliteLedger,
) -> None:
    one, two = Machine(ledger, "one", 2, bandwidth=10 * MB), Machine(ledger, "two", 1)
    assert await one.look() == [5 * MB, 5 * MB]
    assert await two.look() == [0]
    await ledger.put_note("job", ROW, Limits("08:00-18:00=30MB/s, else off").to_json())
    assert (await one.look(), await two.look()) == ([0, 0], [0])
    one.clock = two.clock = one.clock + 2  # eight o'clock
    await one.look()
    await two.look()
    assert (await one.look(), await two.look()) == ([10 * MB, 10 * MB], [10 * MB])
    one.clock = two.clock = one.clock + 10 * 3600
    assert (await one.look(), await two.look()) == ([0, 0], [0])
    assert await ledger.notes("job", SHARE) == {}
    await ledger.put_note("job", ROW, "")
    assert (await one.look(), await two.look()) == ([5 * MB, 5 * MB], [0])


async def test_number_processes_and_pause_follow_the_row(ledger: SqliteLedger) -> None:
    machine = Machine(ledger, "one", 2, number=7)
    await machine.look()
    assert [worker.limiter.limit for worker in machine.workers] == [7, 7]
    await ledger.put_note("job", ROW, Limits(processes=5, worker_number=3).to_json())
    await machine.look()
    assert (machine.most, [worker.limiter.limit for worker in machine.workers]) == (5, [3, 3])
    await ledger.put_note("job", ROW, Limits(processes=5, paused=True).to_json())
    await machine.look()
    assert (machine.most, machine.codes()) == (0, ["paused"])
    await ledger.put_note("job", ROW, Limits().to_json())
    await machine.look()
    assert (machine.most, machine.codes()) == (2, ["paused", "resumed"])
    assert [worker.limiter.limit for worker in machine.workers] == [7, 7]


@pytest.mark.parametrize("row", ["{", "[]", '{"bandwidth": "lots"}', '{"paused": 0}', '{"of_a_newer_version": 1}'])
async def test_a_row_that_cannot_be_read_is_said_once_and_keeps_the_limits_before(
    ledger: SqliteLedger, row: str
) -> None:
    machine = Machine(ledger, "one", 1)
    await ledger.put_note("job", ROW, Limits("20MB/s", processes=3).to_json())
    assert await machine.look() == [20 * MB]
    await ledger.put_note("job", ROW, row)
    for _ in range(3):
        assert await machine.look() == [20 * MB]
    assert machine.most == 3
    assert machine.codes() == ["limits_unreadable"]
    await ledger.put_note("job", ROW, Limits("30MB/s").to_json())
    assert await machine.look() == [30 * MB]


async def test_a_ledger_that_is_away_changes_nothing(ledger: SqliteLedger) -> None:
    machine = Machine(ledger, "one", 1)
    await ledger.put_note("job", ROW, Limits("20MB/s").to_json())
    assert await machine.look() == [20 * MB]
    await ledger.close()
    assert await machine.look() == [20 * MB]
    assert len(machine.codes()) == 1


def test_orders_that_come_before_the_work_hold_from_its_beginning_and_nonsense_is_passed_over() -> None:
    live = Live()
    for line in ("rate 500", "number 4", "rate", "rate -1", "rate x", "number ²", "dance 3", ""):
        live.order(line)
    pace, limiter = Pace(0), Limiter(fixed=0, upper=10)
    live.bind(pace, limiter)
    assert (pace.rate, limiter.limit) == (500, 4)

"""The bound on bytes a second: against a clock of the test's, and where it stands in the way of bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest

from dth.app.sides import open_pace, open_store
from dth.app.work import share_of
from dth.ecr.web import Web
from dth.errors import ConnectionLost
from dth.model import Generation
from dth.multipart.checksum import Sums
from dth.multipart.relay import Relay, relayed
from dth.retry import RetryPolicy
from dth.settings import TransferJob, source_location
from dth.stores.base import Written
from dth.stores.credentials import Anonymous
from dth.stores.providers import PROFILES
from dth.stores.s3 import S3Store
from dth.transport.base import HttpClient, Origin, Timeouts
from dth.transport.client import PooledClient
from dth.transport.pace import BURST_SECONDS, LONGEST_SLEEP_SECONDS, Pace, PacedClient, PacedResponse
from tests.unit.store_fakes import LOCATION, FakeAnswer, FakeNet

RATE = 1000.0


class Time:
    """A clock that goes on only when somebody sleeps, or the test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.sleepers: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def doze(self, seconds: float) -> None:
        """For sleepers at the same time: they wake in the order of their times, when nobody else has anything to do."""
        until = self.now + seconds
        self.sleepers.append(until)
        while min(self.sleepers) < until or self.now < until:
            await asyncio.sleep(0)
            if min(self.sleepers) >= until:
                self.now = max(self.now, until)
        self.sleepers.remove(until)


async def test_a_stream_takes_as_long_as_its_bytes_are_due_whatever_its_chunks() -> None:
    for chunk in (1, 100, 5_000):
        time = Time()
        pace = Pace(RATE, clock=time.clock, sleep=time.sleep)
        for _ in range(10_000 // chunk):
            await pace.passed(chunk)
        assert time.now - 100.0 == pytest.approx(10 - BURST_SECONDS)


async def test_all_who_read_at_once_share_the_rate_in_the_order_they_came() -> None:
    time = Time()
    pace = Pace(RATE, clock=time.clock, sleep=time.doze)
    passed: list[tuple[int, float]] = []

    async def take(number: int) -> None:
        await pace.passed(500)
        passed.append((number, time.now - 100.0))

    await asyncio.gather(*map(take, range(20)))
    assert [number for number, _ in passed] == list(range(20))
    assert [when for _, when in passed] == pytest.approx([0.5 * n - BURST_SECONDS for n in range(1, 21)])


async def test_a_rate_that_changes_holds_for_those_who_wait_already() -> None:
    time = Time()
    pace = Pace(1.0, clock=time.clock, sleep=time.doze)
    waiting = asyncio.create_task(pace.passed(10_000))  # due in hours
    await asyncio.sleep(0)
    pace.change(RATE)
    await waiting
    assert time.now - 100.0 == pytest.approx(10, abs=LONGEST_SLEEP_SECONDS + BURST_SECONDS)
    before = time.now
    pace.change(0)
    await pace.passed(1 << 40)
    assert time.now == before
    pace.change(10.0)
    await pace.passed(100)
    assert time.now - before == pytest.approx(10, abs=2 * BURST_SECONDS)


async def test_what_a_higher_rate_had_in_store_is_no_burst_of_a_lower_one() -> None:
    time = Time()
    pace = Pace(1e9, clock=time.clock, sleep=time.sleep)
    pace.change(RATE)
    await pace.passed(10_000)
    assert time.now - 100.0 == pytest.approx(10 - BURST_SECONDS)


async def test_a_pause_is_not_saved_up() -> None:
    time = Time()
    pace = Pace(RATE, clock=time.clock, sleep=time.sleep)
    time.now += 3600
    before = time.now
    await pace.passed(10_000)
    assert time.now - before == pytest.approx(10 - BURST_SECONDS)


async def test_a_chunk_that_was_given_up_is_paid_for_all_the_same() -> None:
    time = Time()
    entered = asyncio.Event()

    async def for_ever(_: float) -> None:
        entered.set()
        await asyncio.Event().wait()

    pace = Pace(RATE, clock=time.clock, sleep=for_ever)
    waiting = asyncio.create_task(pace.passed(2_000))
    await entered.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    pace._sleep = time.sleep
    await pace.passed(1_000)
    assert sum(time.slept) == pytest.approx(3 - BURST_SECONDS)


class Gate:
    """A pace that lets pass what the test has allowed."""

    rate = 1.0

    def __init__(self) -> None:
        self.asked = 0
        self.open = asyncio.Event()

    async def passed(self, count: int) -> None:
        self.asked += count
        await self.open.wait()


async def paced(answer: FakeAnswer) -> tuple[S3Store, Gate]:
    net, gate = FakeNet([answer]), Gate()

    def connect(origin: Origin) -> HttpClient:
        return PacedClient(net.connect(origin), cast("Pace", gate))

    return S3Store(LOCATION, PROFILES["Ceph_RGW"], Anonymous(), connect=connect, retry=RetryPolicy(1, 0, 0)), gate


async def test_the_relay_sends_no_byte_before_it_was_due() -> None:
    store, gate = await paced(FakeAnswer(headers={"content-length": "8", "etag": '"e"'}, body=b"12345678"))
    stream = await store.get("key", pinned=Generation("e", 8))
    sent = bytearray()

    async def send(body: Relay) -> Written:
        async for chunk in body:
            sent.extend(chunk)
        return Written("e")

    relaying = asyncio.create_task(relayed(stream, Sums(()), send))
    for _ in range(20):
        await asyncio.sleep(0)
    assert (bytes(sent), gate.asked) == (b"", 4)
    gate.open.set()
    await relaying
    assert (bytes(sent), gate.asked) == (b"12345678", 8)


async def test_a_body_read_whole_waits_as_well_and_one_that_is_closed_waits_for_nothing() -> None:
    store, gate = await paced(FakeAnswer(headers={"content-length": "8", "etag": '"e"'}, body=b"12345678"))
    stream = await store.get("key", pinned=Generation("e", 8))
    reading = asyncio.create_task(stream.read())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not reading.done()
    gate.open.set()
    assert await reading == b"12345678"
    answer = FakeAnswer(body=b"x" * 8)
    PacedResponse(answer, cast("Pace", Gate())).close()
    assert answer.ended


async def test_a_body_that_breaks_off_breaks_off() -> None:
    class Broken(FakeAnswer):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"1234"
            raise ConnectionLost("cut")

    gate = Gate()
    gate.open.set()
    response = PacedResponse(Broken(), cast("Pace", gate))
    with pytest.raises(ConnectionLost):
        [chunk async for chunk in response]


def test_each_worker_gets_an_equal_share_and_none_without_a_limit() -> None:
    job = TransferJob(src_bucket="photos", dest_bucket="backup")
    assert share_of(job, 4) is job
    assert open_pace(job) is None
    limited = job.model_copy(update={"bandwidth": 1000})
    assert share_of(limited, 4).bandwidth == 250
    assert share_of(limited, 4000).bandwidth == 1


async def test_without_a_limit_nothing_stands_in_between_and_a_limit_that_comes_later_holds() -> None:
    net = FakeNet([FakeAnswer(body=b"1"), FakeAnswer(body=b"2")])
    pace = Pace(0)
    client = PacedClient(net.connect(Origin("http", "127.0.0.1", 1)), pace)
    assert not isinstance(await client.send("GET", "/a", ()), PacedResponse)
    pace.change(RATE)
    assert isinstance(await client.send("GET", "/b", ()), PacedResponse)


async def test_both_stores_and_registries_are_read_through_it() -> None:
    job = TransferJob(src_bucket="photos", dest_bucket="backup", src_endpoint="http://127.0.0.1:1", bandwidth=1000)
    origin = Origin("http", "127.0.0.1", 1)
    location = replace(source_location(job), credentials="anonymous")
    assert isinstance(open_store(location, job, 1, open_pace(job))._bucket._connect(origin), PacedClient)
    assert isinstance(open_store(location, job, 1)._bucket._connect(origin), PooledClient)
    web = Web(timeouts=Timeouts(1, 1, 1), ca_bundle="", unverified=frozenset(), max_connections=1, pace=Pace(1))
    assert isinstance(web.client(origin), PacedClient)

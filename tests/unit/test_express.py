"""The express and the ordinary way end equal, whatever the stores answer, and however their answers arrive."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from dataclasses import replace
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dth.errors import ConnectFailed, DthError
from dth.events import Emit
from dth.flow.budget import ByteBudget
from dth.flow.limiter import Limiter
from dth.messages import ObjectEntry
from dth.model import KeyMapping, Location
from dth.retry import RetryPolicy
from dth.states import Outcome, Reason, Side, VerifiedBy
from dth.stores.base import Written
from dth.stores.credentials import fixed
from dth.stores.express import Express
from dth.stores.providers import PROFILES
from dth.stores.s3 import S3Store
from dth.transfer.context import CopyContext, Job
from dth.transfer.copy import copy_object, prove_object
from dth.transfer.express import express_for, takes
from dth.transfer.options import CopyOptions, Verify
from dth.transfer.result import Copied
from dth.transport.base import HttpClient, Origin, Timeouts
from dth.transport.client import PooledClient
from dth.transport.connection import Connection
from dth.worker.express import GIVEN_BACK, ExpressLane
from tests.servers.express_peers import Answered, Fault, Peer, answer, connecting
from tests.unit.store_fakes import KEYS

BODY = b"the bytes of a small object"
MD5 = hashlib.md5(BODY).hexdigest()
TIMEOUTS = Timeouts(5.0, 60.0, 60.0)
FULL = os.environ.get("DTH_TEST_FULL") == "1"
USUAL = [200, 201, 204, 206, 299, 300, 301, 304, 307, *range(400, 418), 429, 451, *range(500, 506), 599, 999]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dth.retry.RetryPolicy.wait_seconds", lambda *_: 0.0)


class Ended(NamedTuple):
    """How a copy ended: what it returned or raised, and what the destination holds."""

    copied: Copied | None
    error: str
    objects: dict[str, tuple[bytes, str]]
    express: bool  # the express copied it


class Worker:
    """As much of a worker process as the lane knows."""

    def __init__(self, ctx: CopyContext) -> None:
        self.limiter, self.budget = ctx.limiter, ctx.budget
        self.draining = asyncio.Event()
        self.breaker = self
        self.successes = 0

    def succeeded(self) -> None:
        self.successes += 1


def store(side: Side) -> S3Store:
    location = Location(side, "MinIO", f"http://{side.value}", "r", "bucket", "", "", "", "path")

    def connect(origin: Origin) -> HttpClient:
        return PooledClient(origin, timeouts=TIMEOUTS, max_connections=8)

    return S3Store(location, PROFILES["MinIO"], fixed(KEYS), connect=connect, retry=RetryPolicy(2, 0, 0))


def entry(key: str, data: bytes) -> ObjectEntry:
    return ObjectEntry(key=key, size=len(data), etag=hashlib.md5(data).hexdigest(), reason=Reason.MISSING)


def context(source: S3Store, destination: S3Store, **changed: Any) -> CopyContext:
    options: dict[str, Any] = {
        "include_metadata": True, "storage_class": "", "acl": "", "sse": "", "sse_kms_key_id": "", "part_size": 0,
        "verify": Verify.TRANSFER, "no_clobber": False, "multipart_threshold": 1 << 23, "giant_threshold": 1 << 40,
    }  # fmt: skip
    job = Job(
        "job", source, destination, KeyMapping("", "", strip=True), CopyOptions(**options | changed),
        express=Express(source, destination),
    )  # fmt: skip
    limiter, budget = Limiter(fixed=4, upper=8), ByteBudget(1 << 20)
    ledger = cast("Any", None)
    return CopyContext(job, "run", "p", budget, limiter, ledger, lambda _: None, lambda: 1e12, redelivered=False)


async def copied_by(
    way: str, source: Peer, destination: Peer, data: bytes = BODY, emit: Emit = lambda _: None
) -> Ended:
    """Copy `key`; a first copy of `warm` has opened a connection on each side."""
    one, other = store(Side.SOURCE), store(Side.DESTINATION)
    ctx = replace(context(one, other), emit=emit)
    worker = Worker(ctx)
    source.objects |= {"warm": (b"w", "text/plain"), "key": (data, "text/html")}
    source_fault, source.fault = source.fault, None
    destination_fault, destination.fault = destination.fault, None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dth.transport.pool.connect", connecting({"source": source, "destination": destination}))
        try:
            await copy_object(entry("warm", b"w"), ctx)
            source.fault, destination.fault = source_fault, destination_fault
            result, error = None, ""
            ended: list[Copied] = []
            back: list[int] = []
            answers: list[Written | None] = []
            if way == "express":
                lane = await lane_of(ctx, worker, ended, back, answers)
                async with asyncio.timeout(30):
                    await lane.run([(0, entry("key", data), "key")])
                assert len(ended) + len(back) == 1
                result = ended[0] if ended else None
            if result is None:
                written = answers[0] if answers else None
                listed = entry("key", data)
                try:
                    result = await (prove_object(listed, written, ctx) if written else copy_object(listed, ctx))
                except DthError as exc:
                    error = type(exc).__name__
            assert ctx.limiter.in_flight == 0
            assert ctx.budget.in_use == 0
        finally:
            await one.close()
            await other.close()
    del destination.objects["warm"]
    return Ended(result, error, destination.objects, express=bool(ended))


async def lane_of(
    ctx: CopyContext,
    worker: Worker,
    ended: list[Copied],
    back: list[int],
    answers: list[Written | None] | None = None,
) -> ExpressLane:
    """`back` gets the positions that were handed back, `answers` what they were handed back with."""
    express = await express_for(ctx)
    assert express is not None

    def ordinary(position: int, written: Written | None) -> None:
        back.append(position)
        if answers is not None:
            answers.append(written)

    return ExpressLane(express, cast("Any", worker), ctx, lambda _, copied, __: ended.append(copied), ordinary)


async def both(get: Fault | None, put: Fault | None, cuts: tuple[int, ...] = ()) -> tuple[Ended, Ended]:
    """By the ordinary way, and by the express."""
    ordinary = await copied_by("ordinary", Peer(fault=get, cuts=cuts), Peer(fault=put, cuts=cuts))
    express = await copied_by("express", Peer(fault=get, cuts=cuts), Peer(fault=put, cuts=cuts))
    return ordinary, express


def always(method: str, said: bytes, breaks_at: int | None = None) -> Fault:
    return lambda asked, _: (said, breaks_at) if asked == method else None


def once(fault: Fault) -> Fault:
    """Its first answer only."""
    used = False

    def answered(method: str, right: bytes) -> Answered | None:
        nonlocal used
        said = None if used else fault(method, right)
        used = used or said is not None
        return said

    return answered


def assert_equal(ordinary: Ended, express: Ended) -> None:
    assert (express.copied, express.error) == (ordinary.copied, ordinary.error)
    assert express.objects == ordinary.objects


GOOD_GET = {"ETag": f'"{MD5}"', "Content-Type": "text/html"}
GOOD_PUT = {"ETag": f'"{MD5}"'}


@given(cuts=st.sets(st.integers(1, 140), max_size=12))
@example(cuts=set())
@example(cuts=set(range(1, 140)))
@settings(max_examples=25)
async def test_answers_in_any_pieces_go_by_the_express(cuts: set[int]) -> None:
    ordinary, express = await both(None, None, tuple(cuts))
    assert_equal(ordinary, express)
    assert express.express
    assert express.copied == Copied(Outcome.DONE, len(BODY), MD5, MD5, VerifiedBy.CONTENT_MD5)
    assert express.objects == {"key": (BODY, "text/html")}


async def test_answers_in_two_pieces_go_by_the_express_wherever_they_part() -> None:
    """At each seventh byte, at every one under DTH_TEST_FULL=1."""
    for cut in range(1, 140, 1 if FULL else 7):
        ended = await copied_by("express", Peer(cuts=(cut,)), Peer(cuts=(cut,)))
        assert ended.express
        assert ended.copied == Copied(Outcome.DONE, len(BODY), MD5, MD5, VerifiedBy.CONTENT_MD5)
        assert ended.objects == {"key": (BODY, "text/html")}


async def test_one_get_and_one_put_are_asked() -> None:
    for data in (b"", BODY, BODY * 9_000):
        source, destination = Peer(), Peer()
        assert (await copied_by("express", source, destination, data)).express
        assert (source.requests, destination.requests) == (["GET", "GET"], ["PUT", "PUT"])  # the first ones of `warm`


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_every_status_ends_as_in_the_ordinary_way(method: str) -> None:
    good = GOOD_GET if method == "GET" else GOOD_PUT
    """The usual ones, all of them under DTH_TEST_FULL=1."""
    for status in range(200, 1000) if FULL else USUAL:
        said = answer(f"{status} X", good, BODY if method == "GET" else b"")
        get, put = (always("GET", said), None) if method == "GET" else (None, always("PUT", said))
        ordinary, express = await both(get, put)
        assert_equal(ordinary, express)
        assert express.express == (status == 200)


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_cut_at_every_byte_is_made_up_for(method: str) -> None:
    right = answer("200 OK", GOOD_GET if method == "GET" else GOOD_PUT, BODY if method == "GET" else b"")
    for cut in range(len(right)):
        fault = once(always(method, right, cut))
        source, destination = Peer(), Peer()
        (source if method == "GET" else destination).fault = fault
        ended = await copied_by("express", source, destination)
        assert not ended.express
        assert ended.copied == Copied(Outcome.DONE, len(BODY), MD5, MD5, VerifiedBy.CONTENT_MD5)
        assert ended.objects == {"key": (BODY, "text/html")}


OTHER = hashlib.md5(b"another generation's bytes!!!").hexdigest()
ODD_GETS = [
    answer("200 OK", {"Content-Type": "text/html"}, BODY),
    answer("200 OK", GOOD_GET | {"ETag": f'"{OTHER}"'}, BODY),
    answer("200 OK", GOOD_GET | {"ETag": f'"{OTHER}-2"'}, BODY),
    answer("200 OK", GOOD_GET, BODY[:-1]),
    answer("200 OK", GOOD_GET, BODY + b"!"),
    answer("200 OK", GOOD_GET, BODY + b"!", length=len(BODY)),
    answer("200 OK", GOOD_GET, b"x" * len(BODY)),
    answer("200 OK", GOOD_GET, b"x" * 80_000),
    answer("200 OK", GOOD_GET | {"x-amz-server-side-encryption": "aws:kms"}, BODY),
    answer("200 OK", GOOD_GET | {"x-amz-missing-meta": "1"}, BODY),
    answer("200 OK", GOOD_GET | {"x-amz-meta-name": "value", "Cache-Control": "no-cache"}, BODY),
    answer("200 OK", GOOD_GET | {"x-amz-meta-name": "a\tb"}, BODY),
    answer("200 OK", GOOD_GET | {"x-goog-stored-content-encoding": "gzip"}, BODY),
    answer("200 OK", GOOD_GET | {"Connection": "close"}, BODY),
    answer("200 OK", GOOD_GET | {"Content-Length": "1"}, BODY),
    answer("200 OK", GOOD_GET, BODY).replace(b"HTTP/1.1", b"HTTP/1.0"),
    answer("200 OK", GOOD_GET, BODY).replace(b"Content-Length: 27", b"Transfer-Encoding: chunked").replace(
        BODY, b"1b\r\n%s\r\n0\r\n\r\n" % BODY
    ),
    b"HTTP/1.1 100 Continue\r\n\r\n" + answer("200 OK", GOOD_GET, BODY),
    b"nonsense\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent Length: 1\r\n\r\n",
]  # fmt: skip
ODD_PUTS = [
    answer("200 OK", {}),
    answer("200 OK", {"ETag": f'"{OTHER}"'}),
    answer("200 OK", GOOD_PUT, b"<Error><Code>InternalError</Code></Error>"),
    answer("200 OK", GOOD_PUT, b"<Error><Code>SlowDown</Code></Error>"),
    answer("200 OK", GOOD_PUT, b"x" * 70_000),
    answer("200 OK", GOOD_PUT | {"Connection": "close"}),
    answer("503 Slow Down", {}, b"<Error><Code>SlowDown</Code></Error>"),
    answer("400 Bad Request", {}, b"<Error><Code>BadDigest</Code></Error>"),
    b"HTTP/1.1 102 Processing\r\n\r\n" + answer("200 OK", GOOD_PUT),
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
]


@given(
    get=st.none() | st.sampled_from(ODD_GETS),
    put=st.none() | st.sampled_from(ODD_PUTS),
    cuts=st.sets(st.integers(1, 150), max_size=6),
)
@settings(max_examples=40)
async def test_odd_answers_end_as_in_the_ordinary_way(get: bytes | None, put: bytes | None, cuts: set[int]) -> None:
    ordinary, express = await both(
        always("GET", get) if get else None, always("PUT", put) if put else None, tuple(cuts)
    )
    assert_equal(ordinary, express)


async def test_random_objects_end_equal_by_both_ways() -> None:
    """100 of them, 1,000 under DTH_TEST_FULL=1: two in three meet a fault of the source or of the destination."""
    for number in range(1000 if FULL else 100):
        chance = random.Random(number)
        data = chance.randbytes(chance.choice([0, 1, 100, 5000, 70_000]))
        said = {"ETag": f'"{hashlib.md5(data).hexdigest()}"'}
        described = {
            "Content-Type": chance.choice(["", "text/html", "text/plain; charset=utf-8", "\u00e9"]),
            f"x-amz-meta-{chance.randrange(3)}": chance.choice(["value", "a  b", "\u00fc", "%s"]),
        }
        method = chance.choice(["GET", "PUT", ""])
        good = said | described if method == "GET" else said
        status = chance.choice(["200 OK"] * 3 + ["404 X", "412 X", "500 X", "503 X"])
        whole = answer(status, good, data if method == "GET" else b"")
        cut = chance.choice([None, chance.randrange(len(whole))])
        passes = (cut is not None or status[0] == "5") and chance.randrange(2)
        cuts = tuple(chance.randrange(1, len(data) + 150) for _ in range(chance.randrange(9)))
        ended = []
        for way in ("ordinary", "express"):
            fault = always(method, whole, cut) if method else None
            fault = once(fault) if fault and passes else fault
            get, put = (fault, None) if method == "GET" else (None, fault)
            ended.append(await copied_by(way, Peer(fault=get, cuts=cuts), Peer(fault=put, cuts=cuts), data))
        assert_equal(*ended)


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_each_odd_answer_ends_as_in_the_ordinary_way(method: str) -> None:
    for said in ODD_GETS if method == "GET" else ODD_PUTS:
        ordinary, express = await both(
            *((always("GET", said), None) if method == "GET" else (None, always("PUT", said)))
        )
        assert_equal(ordinary, express)


async def test_what_is_answered_with_another_etag_is_proven_and_not_written_again() -> None:
    other = answer("200 OK", {"ETag": f'"{OTHER}"'})
    source, destination = Peer(), Peer(fault=lambda method, right: (other, None) if method == "PUT" else None)
    ended = await copied_by("express", source, destination)
    assert not ended.express
    assert ended.copied == Copied(Outcome.DONE, len(BODY), MD5, OTHER, VerifiedBy.CONTENT_MD5)
    assert ended.objects == {"key": (BODY, "text/html")}
    assert destination.requests.count("PUT") == 2  # that of `warm`, and one


async def test_bytes_that_arrive_damaged_are_told_and_sent_again() -> None:
    refusal = answer("400 Bad Request", {}, b"<Error><Code>BadDigest</Code></Error>")
    said: list[Any] = []
    ended = await copied_by("express", Peer(), Peer(fault=once(always("PUT", refusal))), emit=said.append)
    assert (ended.express, ended.objects) == (False, {"key": (BODY, "text/html")})
    assert [(notice.level, notice.code) for notice in said] == [("warning", "sent_again")]


async def test_a_lane_whose_objects_are_not_plain_leaves_the_rest_alone() -> None:
    source, destination = Peer(), Peer(fault=always("PUT", answer("200 OK", {"ETag": f'"{OTHER}"'})))
    one, other = store(Side.SOURCE), store(Side.DESTINATION)
    ctx = context(one, other)
    worker, ended, back = Worker(ctx), list[Copied](), list[int]()
    objects = {f"{number:02}": (BODY, "") for number in range(40)}
    source.objects |= objects
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dth.transport.pool.connect", connecting({"source": source, "destination": destination}))
        try:
            await open_connections(one, other)
            lane = await lane_of(ctx, worker, ended, back)
            await lane.run([(number, entry(key, BODY), key) for number, key in enumerate(sorted(objects))])
        finally:
            await one.close()
            await other.close()
    assert (sorted(back), ended) == (list(range(40)), [])
    assert destination.requests.count("PUT") < GIVEN_BACK + 8


async def test_connections_that_are_missing_are_opened() -> None:
    source, destination = Peer(), Peer()
    one, other = store(Side.SOURCE), store(Side.DESTINATION)
    ctx = context(one, other)
    worker, ended, back = Worker(ctx), list[Copied](), list[int]()
    objects = {f"{number:02}": (BODY, "") for number in range(60)}
    source.objects |= objects
    entries = [entry(key, BODY) for key in sorted(objects)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dth.transport.pool.connect", connecting({"source": source, "destination": destination}))
        try:
            async with asyncio.TaskGroup() as tasks:

                async def ordinary(number: int) -> None:
                    async with ctx.limiter.slot(len(BODY)):
                        ended.append(await copy_object(entries[number], ctx))

                def hand_back(number: int, written: Written | None) -> None:
                    del written
                    back.append(number)
                    tasks.create_task(ordinary(number))

                express = await express_for(ctx)
                assert express is not None
                lane = ExpressLane(
                    express, cast("Any", worker), ctx, lambda _, copied, __: ended.append(copied), hand_back
                )
                await lane.run([(number, listed, listed.key) for number, listed in enumerate(entries)])
        finally:
            await one.close()
            await other.close()
    assert destination.objects == objects
    assert len(ended) == 60
    assert back == []


async def test_what_is_handed_back_takes_a_slot_of_its_own() -> None:
    source, destination = Peer(), Peer(fault=always("PUT", answer("200 OK", {"ETag": f'"{OTHER}"'})))
    one, other = store(Side.SOURCE), store(Side.DESTINATION)
    ctx = context(one, other)
    worker, most = Worker(ctx), list[int]()
    source.objects |= {f"{number:02}": (BODY, "") for number in range(40)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dth.transport.pool.connect", connecting({"source": source, "destination": destination}))
        try:
            async with asyncio.TaskGroup() as tasks:
                running = 0

                async def ordinary(number: int) -> None:
                    nonlocal running
                    async with ctx.limiter.slot():
                        running += 1
                        most.append(running)
                        await one.head(f"{number:02}")
                        running -= 1

                def hand_back(number: int, written: Written | None) -> None:
                    del written
                    tasks.create_task(ordinary(number))

                async with ctx.limiter.slot():  # whoever opens the connections holds a slot
                    await open_connections(one, other)
                express = await express_for(ctx)
                assert express is not None
                lane = ExpressLane(express, cast("Any", worker), ctx, lambda *_: None, hand_back)
                await lane.run([(number, entry(key, BODY), key) for number, key in enumerate(sorted(source.objects))])
        finally:
            await one.close()
            await other.close()
    assert len(most) == 40
    assert max(most) <= ctx.limiter.limit


@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_lane_that_gets_no_connection_frees_everything(cancelled: bool) -> None:
    one, other = store(Side.SOURCE), store(Side.DESTINATION)
    ctx = context(one, other)
    worker, ended, back = Worker(ctx), list[Copied](), list[int]()

    async def connect(*_: object) -> Connection:
        if cancelled:
            await asyncio.sleep(60)
        raise ConnectFailed("nobody is there", sent=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dth.transport.pool.connect", connect)
        try:
            lane = await lane_of(ctx, worker, ended, back)
            running = asyncio.create_task(lane.run([(number, entry("key", BODY), "key") for number in range(9)]))
            for _ in range(20):
                await asyncio.sleep(0)
            if cancelled:
                assert ctx.limiter.in_flight == 4
                running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        finally:
            await one.close()
            await other.close()
    assert (ctx.limiter.in_flight, ctx.budget.in_use, ended) == (0, 0, [])
    assert sorted(back) == ([] if cancelled else list(range(9)))


async def open_connections(*stores: S3Store) -> None:
    for each in [*stores, *stores]:  # the first request learns who signs, before others are sent beside it
        await asyncio.gather(*[each.head("00") for _ in range(4)], return_exceptions=True)


async def test_a_lane_that_is_cancelled_frees_everything_and_hands_nothing_back() -> None:
    silent = always("GET", b"HTTP/1.1 100 Continue\r\n\r\n")
    source, destination = Peer(fault=silent), Peer()
    one, other = store(Side.SOURCE), store(Side.DESTINATION)
    ctx = context(one, other)
    worker, ended, back = Worker(ctx), list[Copied](), list[int]()
    source.objects["key"] = BODY, ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dth.transport.pool.connect", connecting({"source": source, "destination": destination}))
        try:
            await open_connections(one, other)
            lane = await lane_of(ctx, worker, ended, back)
            running = asyncio.create_task(lane.run([(number, entry("key", BODY), "key") for number in range(9)]))
            for _ in range(20):
                await asyncio.sleep(0)
            assert (source.requests.count("GET"), ctx.limiter.in_flight, back) == (4, 4, [])
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        finally:
            await one.close()
            await other.close()
    assert (ctx.limiter.in_flight, ctx.budget.in_use, ended, back) == (0, 0, [], [])
    assert not one.retries


async def test_only_what_is_plain_is_taken() -> None:
    one, other = store(Side.SOURCE), store(Side.DESTINATION)
    ctx = context(one, other)
    plain = entry("key", BODY)
    assert takes(plain, "key", 1, ctx)
    for odd in (
        {"etag": ""}, {"etag": f"{MD5}-2"}, {"size": (1 << 20) + 1}, {"reason": Reason.EVENT},
    ):  # fmt: skip
        assert not takes(plain.model_copy(update=odd), "key", 1, ctx)
    assert not takes(plain, "key", 2, ctx)
    assert not takes(plain, "k" * 1025, 1, ctx)
    assert not takes(plain, "key", 1, context(one, other, multipart_threshold=len(BODY) - 1))
    for changed in ({"verify": Verify.FULL}, {"verify": Verify.OFF}, {"no_clobber": True}):
        assert await express_for(context(one, other, **changed)) is None
    ctx.job.trust.destination_made_otherwise = True
    assert await express_for(ctx) is None

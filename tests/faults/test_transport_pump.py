"""Bodies that a thread carries from one connection to another: they end as those that the loop carries, whatever the peers do."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest

from dth.errors import BodyMismatch, ConnectionLost, DthError, TimedOut
from dth.multipart.checksum import Sums
from dth.multipart.relay import Relay, relayed
from dth.stores.base import Written
from dth.transport import pump
from dth.transport.base import Fate, Loan, Timeouts
from dth.transport.client import PooledClient
from dth.transport.pace import Pace, PacedClient
from dth.transport.proxy import Proxy
from dth.transport.pump import End, Pump
from dth.transport.response import Answer
from tests.servers.rawhttp import Peer, RawServer, answering, raw_server

HOST = [("host", "test")]
MIB = 1 << 20
OK = b"HTTP/1.1 200 OK\r\n"
SMALL = b"the middle of a body"
PUT = "PUT / HTTP/1.1"
LARGE = bytes(range(256)) * 4096 * 6

Script = Callable[[Peer], Awaitable[None]]


@pytest.fixture
def pumped(monkeypatch: pytest.MonkeyPatch) -> list[End | BaseException]:
    """How each thread's run ended. Bodies of any size are worth a thread."""
    ends: list[End | BaseException] = []
    run = Pump.run

    def counted(self: Pump, buffer: bytearray) -> End:
        try:
            ends.append(run(self, buffer))
        except BaseException as error:
            ends.append(error)
            raise
        return cast("End", ends[-1])

    monkeypatch.setattr(Pump, "run", counted)
    monkeypatch.setattr("dth.transport.connection.LEAST", 1)
    return ends


def never(*_: object) -> Loan | None:
    return None


@contextlib.asynccontextmanager
async def client_of(server: RawServer, *, idle: float = 20.0, connections: int = 2) -> AsyncIterator[PooledClient]:
    client = PooledClient(server.origin, timeouts=Timeouts(20.0, 20.0, idle), max_connections=connections)
    try:
        yield client
    finally:
        await client.close()
        await server.all_closed()


def holding(body: bytes) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@dataclass
class Taker:
    """A destination: what it got, whole or not, and what it says to that."""

    says: bytes = holding(b"")
    speaks_after: int = -1  # bytes of the body; -1: all of it
    goes_after: int = -1  # it closes there, without a word
    got: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.head()
            self.asked.set()
            length = int(head.lower().split("content-length:")[1].split()[0])
            if self.goes_after >= 0:
                await peer.reader.readexactly(self.goes_after)
                return
            early = b"" if self.speaks_after < 0 else await peer.reader.readexactly(self.speaks_after)
            if self.speaks_after >= 0:
                await peer.say(self.says)
            body = early + await peer.reader.readexactly(length - len(early))
            self.got.append(body)
            if self.speaks_after < 0:
                await peer.say(self.says)


def in_two(answer: bytes, at: int, taker: Taker, *, whole: bool = True, closes: bool = False) -> Script:
    """Says the answer in two pieces, or the first one only. Where the first holds the head, the second waits until the
    request for which it is the body has begun."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(answer[:at])
        if at >= answer.index(b"\r\n\r\n") + 4:
            await taker.asked.wait()
        else:
            await asyncio.sleep(0.002)
        if whole:
            await peer.say(answer[at:])
            if not closes:
                await peer.reader.read()

    return script


@contextlib.asynccontextmanager
async def stand(
    source: Script, dest: Script, *, idle: float = 20.0, connections: int = 2
) -> AsyncIterator[tuple[RawServer, RawServer, PooledClient, PooledClient]]:
    """Both servers, and a client of each."""
    async with (
        raw_server(source) as left,
        raw_server(dest) as right,
        client_of(left, idle=idle, connections=connections) as reading,
        client_of(right, idle=idle, connections=connections) as writing,
    ):
        yield left, right, reading, writing


async def relay(source: Script, taker: Taker, *, idle: float = 20.0) -> tuple[str, list[bytes]]:
    """How a relay ends - the answer, or the error - and what the destination has got."""
    async with stand(source, taker, idle=idle) as (left, right, reading, writing):
        try:
            answer = await reading.send("GET", "/", HOST)
            body = Relay(cast("Any", answer), Sums(()))
            written = await writing.send("PUT", "/", HOST, body, answer.length)
            said = f"{written.status} {await written.read(1000)!r}, {body.passed} passed"
        except DthError as error:
            said = f"{type(error).__name__}: {error}"
        finally:
            with contextlib.suppress(UnboundLocalError):
                answer.close()
        for server, name in ((left, "SOURCE"), (right, "DEST")):
            said = said.replace(f"{server.origin.host}:{server.origin.port}", name)
        said = re.sub(
            r"reset the connection \(.*\)", "closed the connection", said
        )  # whoever meets it first, keeps the reason
    return said, taker.got


async def both(
    monkeypatch: pytest.MonkeyPatch,
    source: Callable[[Taker], Script],
    taker: Callable[[], Taker] = Taker,
    *,
    idle: float = 20.0,
) -> tuple[str, list[bytes]]:
    """The same relay by a thread and by the loop; they end equal."""
    one, other = taker(), taker()
    by_thread = await relay(source(one), one, idle=idle)
    with monkeypatch.context() as patched:
        patched.setattr(Answer, "lend", never)
        by_loop = await relay(source(other), other, idle=idle)
    assert by_thread == by_loop
    return by_thread


async def test_every_split_of_an_answer_gives_the_same_body(
    pumped: list[End | BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = holding(SMALL)
    for at in range(1, len(answer)):
        said, got = await both(monkeypatch, partial(in_two, answer, at))
        assert (said, got) == (f"200 b'', {len(SMALL)} passed", [SMALL])
    assert pumped == [End.WHOLE] * len(SMALL)


async def test_a_cut_at_any_byte_of_an_answer_is_the_same_error_and_no_body(
    pumped: list[End | BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = holding(SMALL)
    for at in range(len(answer)):
        said, got = await both(monkeypatch, partial(in_two, answer, at, whole=False))
        assert said.startswith("ConnectionLost: http://SOURCE closed the connection")
        assert got == []
    assert pumped == [End.HANDED_BACK] * len(SMALL)


@pytest.mark.parametrize(
    "status", [200, 204, 301, 307, 400, 403, 404, 409, 411, 412, 413, 429, 500, 501, 503, 507, 599]
)
@pytest.mark.parametrize("early", [0, 7, -1])
async def test_whatever_the_destination_answers_is_what_the_caller_gets(
    status: int, early: int, pumped: list[End | BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    says = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status
    said, _ = await both(monkeypatch, partial(in_two, holding(SMALL), 45), lambda: Taker(says, early))
    assert said.startswith(f"{status} b''")
    assert pumped


async def test_an_answer_amid_a_large_body_ends_the_sending(
    pumped: list[End | BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads the rest, so that more is left than the sockets hold."""

    async def denying(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(MIB)
        await peer.say(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\ndenied")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await gone.wait()

    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK + b"Content-Length: %d\r\n\r\n" % (256 * MIB))
        while True:
            await peer.say(bytes(MIB))

    for lend in (Answer.lend, never):
        monkeypatch.setattr(Answer, "lend", lend)
        gone = asyncio.Event()
        async with stand(endless, denying) as (left, right, reading, writing):
            answer = await reading.send("GET", "/", HOST)
            refused = await writing.send("PUT", "/", HOST, answer, answer.length)
            assert (refused.status, await refused.read(100)) == (403, b"denied")
            answer.close()
            gone.set()
            await left.all_closed()  # what is not read to its end serves nobody any more
            await right.all_closed()
    assert pumped == [End.HANDED_BACK]


@pytest.mark.parametrize("interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Processing\r\nA: b\r\n\r\n" * 3])
async def test_interim_answers_amid_a_body_change_nothing(
    interim: bytes, pumped: list[End | BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def chatty(peer: Peer) -> None:
        await peer.head()
        start = await peer.reader.readexactly(5)
        await peer.say(interim)
        go_on.set()
        await peer.say(holding(start + await peer.reader.readexactly(len(SMALL) - 5)))

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.say(holding(SMALL)[:-12])
        await go_on.wait()
        await asyncio.sleep(0.02)
        await peer.say(SMALL[-12:])

    for lend in (Answer.lend, never):
        monkeypatch.setattr(Answer, "lend", lend)
        go_on = asyncio.Event()
        async with stand(slow, chatty) as (_, _, reading, writing):
            answer = await reading.send("GET", "/", HOST)
            echoed = await writing.send("PUT", "/", HOST, answer, answer.length)
            assert await echoed.read(100) == SMALL
    assert pumped == [End.HANDED_BACK]


async def test_a_destination_that_goes_at_any_byte_is_the_same_error(
    pumped: list[End | BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(len(SMALL)):
        said, got = await both(monkeypatch, partial(in_two, holding(SMALL), 45), partial(Taker, goes_after=at))
        assert said.startswith("ConnectionLost: http://DEST")
        assert got == []
    assert len(pumped) == len(SMALL)


async def test_a_large_body_arrives_and_both_connections_serve_on(pumped: list[End | BaseException]) -> None:
    taker = Taker()
    async with stand(answering(*[holding(LARGE)] * 3), taker) as (left, right, reading, writing):
        for _ in range(3):
            answer = await reading.send("GET", "/", HOST)
            body = Relay(cast("Any", answer), Sums(["crc64nvme", "md5"]))
            await (await writing.send("PUT", "/", HOST, body, answer.length)).read(0)
            assert body._sums.raw("md5") == hashlib.md5(LARGE).digest()
            assert body.passed == len(LARGE)
        assert (left.connections, right.connections) == (1, 1)
    assert [hashlib.md5(body).digest() for body in taker.got] == [hashlib.md5(LARGE).digest()] * 3
    assert pumped == [End.WHOLE] * 3


async def test_bytes_behind_the_body_are_nobodys_answer(pumped: list[End | BaseException]) -> None:
    """The next request waits for the very connection on which they came."""

    async def generous(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(holding(SMALL)[:-5])
            await taker.asked.wait()
            await peer.say(SMALL[-5:] + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nlie")

    taker = Taker()
    async with stand(generous, taker, connections=1) as (left, _, reading, writing):
        answer = await reading.send("GET", "/", HOST)
        following = asyncio.create_task(reading.send("GET", "/", HOST))
        await asyncio.sleep(0)
        await (await writing.send("PUT", "/", HOST, answer, answer.length)).read(0)
        second = await following
        assert second.length == len(SMALL)
        await (await writing.send("PUT", "/", HOST, second, second.length)).read(0)
        assert left.connections == 2
    assert taker.got == [SMALL, SMALL]
    assert pumped[0] is End.WHOLE


def test_what_had_arrived_before_and_could_not_be_sent_is_handed_back_in_order() -> None:
    passed: list[bytes] = []
    given_back: list[tuple[int, Fate]] = []
    source, _source = socket.socketpair()
    dest, peer = socket.socketpair()
    with _source, peer:
        peer.send(b"HTTP/1.1 503 Slow Down\r\n")
        loan = Loan(
            source, [b"one", b"two"], 5, lambda data: passed.append(bytes(data)), lambda *how: given_back.append(how)
        )
        carrier = Pump(loan, dest, 20.0, b"head")
        assert carrier.run(bytearray(16)) is End.HANDED_BACK
        carrier.close()
        carrier.give_back()
    assert (carrier.rest, carrier.left) == (b"headonetwo", 5)
    assert passed == [b"one", b"two"]
    assert given_back == [(0, Fate.SOUND)]


def test_a_body_that_was_stopped_after_its_last_byte_spoils_the_connection() -> None:
    given_back: list[tuple[int, Fate]] = []
    source, _source = socket.socketpair()
    dest, peer = socket.socketpair()
    with _source, peer:
        _source.send(b"five!")
        loan = Loan(source, [], 5, lambda _: carrier.stop(), lambda *how: given_back.append(how))
        carrier = Pump(loan, dest, 20.0, b"head")
        assert carrier.run(bytearray(16)) is End.HANDED_BACK
        carrier.close()
        carrier.give_back()
    assert (carrier.rest, carrier.left) == (b"five!", 0)
    assert given_back == [(5, Fate.SPOILT)]


async def test_a_source_that_falls_silent_times_out(
    pumped: list[End | BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_: Taker) -> Script:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(holding(SMALL)[:-5])
            await peer.reader.read()

        return script

    said, got = await both(monkeypatch, silent, idle=0.3)
    assert said == f"{TimedOut.__name__}: http://SOURCE sent nothing more of the body for 0.3 s"
    assert got == []
    assert pumped == [End.SOURCE_SILENT]


async def test_a_destination_that_takes_nothing_times_out(pumped: list[End | BaseException]) -> None:
    async def deaf(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK + b"Content-Length: %d\r\n\r\n" % (256 * MIB))
        while True:
            await peer.say(bytes(MIB))

    async with raw_server(endless) as left, raw_server(deaf) as right, client_of(left, idle=0.3) as reading:
        writing = PooledClient(right.origin, timeouts=Timeouts(20, 20, 0.3), max_connections=1)
        answer = await reading.send("GET", "/", HOST)
        with pytest.raises(TimedOut, match=r"took no byte of the request for 0\.3 s"):
            await writing.send("PUT", "/", HOST, answer, answer.length)
        answer.close()
        await writing.close()
    assert pumped == [End.DEST_SILENT]


@pytest.mark.parametrize("ends", ["cancelled", "source closed", "destination closed", "answer closed"])
async def test_a_body_given_up_in_its_middle_leaves_no_thread_and_no_socket(
    ends: str, pumped: list[End | BaseException]
) -> None:
    started = asyncio.Event()

    async def stuck(peer: Peer) -> None:
        await peer.request()
        await peer.say(holding(SMALL)[:-5])
        await peer.reader.read()

    async def waiting(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(5)
        started.set()
        await peer.reader.read()

    async with stand(stuck, waiting, connections=1) as (left, right, reading, writing):
        answer = await reading.send("GET", "/", HOST)
        sending = asyncio.create_task(writing.send("PUT", "/", HOST, answer, answer.length))
        await started.wait()
        match ends:
            case "cancelled":
                sending.cancel()
            case "source closed":
                await reading.close()
            case "destination closed":
                await writing.close()
            case _:
                answer.close()
        with pytest.raises(asyncio.CancelledError if ends == "cancelled" else Exception) as raised:
            await sending
        assert ends == "cancelled" or isinstance(raised.value, DthError)
        answer.close()
        await left.all_closed()
        await right.all_closed()
        if ends == "cancelled":  # the slots are free
            assert (await reading.send("GET", "/", HOST)).status == 200
    assert pumped == [End.HANDED_BACK]
    assert not [each for each in threading.enumerate() if each.name.startswith("pump")]


async def test_bytes_that_are_not_the_sources_never_become_a_body(pumped: list[End | BaseException]) -> None:
    taker = Taker()
    async with stand(in_two(holding(LARGE), MIB, taker), taker) as (_, _, reading, writing):
        answer = await reading.send("GET", "/", HOST)
        sums = Sums((), [("crc64nvme", "AAAAAAAAAAA=")])

        async def send(body: Relay) -> Written:
            await writing.send("PUT", "/", HOST, cast("Any", body), answer.length)
            raise AssertionError("it was sent")

        with pytest.raises(BodyMismatch, match="the source keeps AAAAAAAAAAA="):
            await relayed(cast("Any", answer), sums, send)
    assert taker.got == []
    assert isinstance(pumped[0], BodyMismatch)


async def test_more_bodies_than_threads_go_by_the_loop(
    pumped: list[End | BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "THREADS", 2)
    taker = Taker()
    async with stand(answering(holding(LARGE)), taker, connections=5) as (_, _, reading, writing):

        async def one() -> None:
            answer = await reading.send("GET", "/", HOST)
            await (await writing.send("PUT", "/", HOST, answer, answer.length)).read(0)

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(one())
    assert [len(body) for body in taker.got] == [len(LARGE)] * 5
    assert 2 <= len(pumped) < 5


@pytest.mark.parametrize("how", ["chunked", "until it closes", "a limit of bandwidth", "a proxy"])
async def test_what_is_not_plain_goes_by_the_loop(how: str, pumped: list[End | BaseException]) -> None:
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(SMALL), SMALL)
    closing = OK + b"Connection: close\r\n\r\n" + SMALL
    said = {"chunked": chunked, "until it closes": closing}.get(how, holding(SMALL))
    taker = Taker()
    script = in_two(said, len(said) - 5, taker, closes=how == "until it closes")
    async with raw_server(script) as left, raw_server(taker) as right, client_of(right) as writing:
        proxy = Proxy(left.origin) if how == "a proxy" else None
        client = PooledClient(left.origin, timeouts=Timeouts(20, 20, 20), max_connections=1, proxy=proxy)
        reading = PacedClient(client, Pace(1e9 if "bandwidth" in how else 0))
        answer = await reading.send("GET", "/", HOST)
        await (await writing.send("PUT", "/", HOST, answer, len(SMALL))).read(0)
        await reading.close()
    assert taker.got == [SMALL]
    assert pumped == []


async def test_a_body_of_another_length_than_announced_is_not_lent(pumped: list[End | BaseException]) -> None:
    taker = Taker()
    async with stand(in_two(holding(SMALL), 45, taker), taker) as (_, _, reading, writing):
        answer = await reading.send("GET", "/", HOST)
        with pytest.raises(DthError, match="1 bytes short"):
            await writing.send("PUT", "/", HOST, answer, len(SMALL) + 1)
    assert pumped == []


async def test_without_a_descriptor_for_the_thread_it_goes_by_the_loop(
    pumped: list[End | BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("dth.transport.connection.socket.fromfd", none_left)
    taker = Taker()
    said, got = await relay(in_two(holding(SMALL), 45, taker), taker)
    assert (said, got) == (f"200 b'', {len(SMALL)} passed", [SMALL])
    assert pumped == []


async def test_a_destination_that_resets_the_connection_is_told_by_its_own_name(
    pumped: list[End | BaseException],
) -> None:
    """The thread meets it first, and leaves the words to the connection."""

    async def resetting(peer: Peer) -> None:
        await peer.head()
        peer.reset()
        taker.asked.set()

    taker = Taker()
    async with stand(in_two(holding(SMALL), 45, taker), resetting) as (_, right, reading, writing):
        answer = await reading.send("GET", "/", HOST)
        with pytest.raises(ConnectionLost, match=f":{right.origin.port} (closed|reset) the connection"):
            await writing.send("PUT", "/", HOST, answer, answer.length)
        answer.close()
    assert pumped == [End.HANDED_BACK]

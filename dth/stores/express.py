"""Small whole objects from one store to another by callbacks: a GET, then a PUT, without a task or a future for each.

Requests, checks of answers, connections and timeouts are those of every other request; only the waiting differs. This is
for the plain case: whatever is unusual ends the trip without a result, and the caller copies the object in the ordinary
way. That is always safe, because a trip does nothing but read, and write a whole object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from dth.errors import BodyMismatch, DthError, ProtocolViolation, TransportError
from dth.model import Generation, ObjectHead
from dth.stores.answers import ERROR_LIMIT, error_of, read_refusal
from dth.stores.base import PutOptions, Written
from dth.stores.bucket import Bucket, Call, Door
from dth.stores.s3 import S3Store
from dth.stores.sign import EMPTY_SHA256, UNSIGNED, Credentials
from dth.stores.stencil import Stencil, are_alike, cut
from dth.transport.client import PooledClient
from dth.transport.connection import Connection
from dth.transport.pace import PacedClient

Options = Callable[[ObjectHead], PutOptions | None]
"""What the object is to be written with, beside its MD5; None where it is none for the express."""
Done = Callable[[Written | DthError | None], None]
"""Called once, when the trip has ended: with its result, the error where there was one, or None."""

_OK = 200


class Express:
    """`stores.base.Express` for a pair of stores."""

    def __init__(self, source: S3Store, destination: S3Store) -> None:
        self._source = source
        self._destination = destination
        self._sides: tuple[_Side, _Side] | None = None

    async def ready(self) -> bool:
        """See `stores.base.Express`."""
        source, destination = self._source, self._destination
        self._sides = None
        sides = [_Side(one.bucket, *await one.bucket.ready()) for one in (source, destination)]
        if all(side.pooled for side in sides) and sides[1].unsigned and not destination.writes_in_turn:
            self._sides = sides[0], sides[1]
        return self._sides is not None

    def begin(self, key: str, generation: Generation, dest_key: str, options: Options, done: Done) -> Trip | None:
        """See `stores.base.Express`."""
        if self._sides is None:
            return None
        source, destination = self._sides
        if source.is_limited or destination.is_limited:
            return None
        trip = Trip(self._source, self._destination, destination, generation, dest_key, options, done)
        connection, reserved = source.take(), destination.take()
        try:
            call = self._source.reading.get_call(key, generation, None)
            if connection is None or reserved is None:
                _give_back(connection, reserved)
                trip.open(source, call)
            else:
                trip.get(source, call, connection, reserved)
        except Exception:  # noqa: BLE001 - whatever it is, the ordinary way gives it a name
            _give_back(connection, reserved)
            return None
        return trip


def _give_back(*connections: Connection | None) -> None:
    for each in connections:
        if each is not None:
            each.give_back()


class _Side:
    """One side's requests: where they go and who signs them."""

    def __init__(self, bucket: Bucket, door: Door, credentials: Credentials | None) -> None:
        self.bucket = bucket
        self.unsigned = door.unsigned
        self._door = door
        self._credentials = credentials
        self._paced = door.client if isinstance(door.client, PacedClient) else None
        client = self._paced.client if self._paced else door.client
        self._stencil: Stencil | None = None
        self._last: Call | None = None  # that was made without it
        self.pooled = client if isinstance(client, PooledClient) and client.is_direct else None

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit of bandwidth now."""
        return self._paced is not None and self._paced.is_limited

    def take(self) -> Connection | None:
        """An idle connection."""
        assert self.pooled is not None
        return self.pooled.take()

    async def acquire(self) -> Connection:
        """A connection, opened where none is idle."""
        assert self.pooled is not None
        return await self.pooled.acquire()

    def send(self, connection: Connection, call: Call, body: bytes, trip: Trip) -> None:
        """Begin the exchange."""
        head = self._head(call, UNSIGNED if body else EMPTY_SHA256)
        connection.begin(call.method, head, body, trip)

    def _head(self, call: Call, payload_hash: str) -> bytes:
        """The head of the request, from a stencil where the last ones were alike."""
        if self._stencil is not None and (head := self._stencil.fill(call, payload_hash)) is not None:
            return head
        assert self.pooled is not None
        target, names, values = self.bucket.signed(self._door, call, payload_hash, self._credentials)
        head = self.pooled.head(call.method, target, names, values, call.length)
        last, self._last = self._last, call
        if last is not None and self._credentials and are_alike(last, call):
            self._stencil = cut(self.bucket, self._door, self.pooled, call, payload_hash, self._credentials)
        return head


class Trip:
    """One object on its way: the `transport.base.Receiver` of its GET, and then of its PUT."""

    __slots__ = ("_body", "_call", "_connection", "_dest_key", "_destination", "_done", "_generation", "_limit", "_opening",
                 "_options", "_reserved", "_side", "_source", "_to", "headers", "length", "status")  # fmt: skip

    def __init__(
        self,
        source: S3Store,
        destination: S3Store,
        to: _Side,
        generation: Generation,
        dest_key: str,
        options: Options,
        done: Done,
    ) -> None:
        self._source = source
        self._destination = destination
        self._to = to
        self._generation = generation
        self._dest_key = dest_key
        self._options = options
        self._done: Done | None = done
        self._limit = max(generation.size, ERROR_LIMIT)  # of the answer's body
        self._opening: asyncio.Task[None] | None = None
        self._reserved: Connection | None = None  # for the PUT, while the GET is under way
        self._side: _Side
        self._call: Call
        self._connection: Connection
        self._body: bytes | bytearray = b""
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.length: int | None = None

    def open(self, side: _Side, call: Call) -> None:
        """Ask for the object once there is a connection on both sides: the one case in which a trip takes a task."""
        self._opening = asyncio.create_task(self._open(side, call))

    async def _open(self, side: _Side, call: Call) -> None:
        connection = reserved = None
        try:
            connection = await side.acquire()
            reserved = await self._to.acquire()
            self._opening = None
            self.get(side, call, connection, reserved)
        except BaseException as error:
            _give_back(connection, reserved)
            self._end(None)
            if not isinstance(error, Exception):  # the ordinary way meets the others again
                raise

    def get(self, side: _Side, call: Call, connection: Connection, reserved: Connection) -> None:
        """Ask for the object. Raises where there can be no such request, or no connection any more."""
        self._exchange(side, connection, call, b"")
        self._reserved = reserved

    def cancel(self) -> None:
        """Give up. `done` is called."""
        if self._opening is not None:
            self._opening.cancel()
            self._end(None)
            return
        error = TransportError("the copy was given up")
        error.retryable = False
        self._connection.fail(error)

    # As a Receiver

    def feed(self, data: bytes) -> None:
        """Bytes of the body came."""
        if not self._body:
            self._body = data
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data
        if len(self._body) > self._limit:
            self._connection.fail(ProtocolViolation("the answer's body is too long"))

    def finish(self) -> None:
        """The answer is whole."""
        result: Written | DthError | None = None
        try:
            if self.status != _OK:
                refusal = read_refusal(self.status, self.headers, bytes(self._body))
                raise error_of(self._side.bucket.question(self._call), refusal)
            if self._reserved is None:
                result = self._destination.writing.checked(self._call, self, bytes(self._body))
            elif self._put(self._reserved):
                return
        except DthError as error:
            result = error
            self._side.bucket.asked_again(error)
        except Exception:  # noqa: BLE001, S110 - a defect of ours; in the ordinary way it gets a name
            pass
        self._end(result)

    def break_off(self, error: TransportError) -> None:
        """The answer will not be whole."""
        if not self._connection.was_stale:
            self._side.bucket.asked_again(error)
        self._end(error)

    def _put(self, reserved: Connection) -> bool:
        """The object is here: write it. False where that is not for the express."""
        head, length = self._source.reading.checked(self._call, self, self._generation, None)
        body = bytes(self._body)
        if len(body) != length:
            raise BodyMismatch(f"{len(body)} bytes came instead of {length}")
        options = self._options(head)
        if options is None or reserved.is_closing():
            return False
        call = self._destination.writing.put_call(self._dest_key, body, length, options, head.md5)
        self._exchange(self._to, reserved, call, body)
        self._limit = ERROR_LIMIT
        self._reserved = None
        return True

    def _exchange(self, side: _Side, connection: Connection, call: Call, body: bytes) -> None:
        self._side, self._call, self._connection = side, call, connection
        self._body = b""
        side.send(connection, call, body, self)

    def _end(self, result: Written | DthError | None) -> None:
        reserved, self._reserved = self._reserved, None
        if reserved is not None:
            reserved.give_back()
        done, self._done = self._done, None
        if done is not None:
            done(result)

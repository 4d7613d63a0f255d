"""Blobs into a registry: in one request or in several, resumed after cuts, and waited for where the registry needs its time."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import quote

from dth.ecr.auth import Scope
from dth.ecr.download import Reader
from dth.ecr.manifest import Descriptor
from dth.ecr.registry import Ask, Registry, drop
from dth.ecr.web import Url
from dth.errors import (
    AnswerInvalid,
    BodyMismatch,
    DthError,
    NotFound,
    ProtocolViolation,
    RequestRefused,
    ServerFault,
    StoreError,
    Throttled,
    TimedOut,
    TransportError,
)

ONE_REQUEST = 16 * 1024 * 1024
"""Blobs up to here are uploaded whole by one PUT; larger ones by PATCH, which can be resumed where the registry kept what
came before a cut."""
LEAST_PIECE = 64 * 1024
"""Bytes of an upload's request below which it does not help to make it smaller still."""
FINISH_LOOKS = 30
"""How often we look for a blob whose end the registry takes its time for: with the waits between, about five minutes beyond the
time limit of the request itself."""
_OK, _CREATED, _ACCEPTED, _NO_CONTENT, _NOT_FOUND, _RANGE, _TOO_LARGE = 200, 201, 202, 204, 404, 416, 413
_GATEWAY_TIMEOUTS = {504, 524}
_RESETS = 2  # without progress, after which smaller requests are tried
_RANGE_TEXT = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_TELL_BYTES = 1 << 20
_MINIMUM = "oci-chunk-min-length"


class Landed(StrEnum):
    """How a blob came to be at the destination."""

    PRESENT = "present"
    MOUNTED = "mounted"
    UPLOADED = "uploaded"


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload session: how many bytes it has, and the least that it takes in a request that is not its last."""

    url: Url
    offset: int = 0
    least: int = 0


class Uploader:
    """Puts one blob into a repository. `sent` counts the bytes handed to the registry, repeated ones included."""

    def __init__(self, registry: Registry, repository: str, blob: Descriptor, tell: Callable[[int], None]) -> None:
        self._registry = registry
        self._repository = repository
        self._blob = blob
        self._tell = tell
        self._asked = 0  # bytes of the request that went out last
        self.sent = 0
        self.mount_refused = False

    async def present(self) -> bool:
        """Whether the repository has the blob. One that cannot be looked at is not there, and neither is one of another
        length; an answer without a length has to name the digest."""
        url = self._registry.url(self._repository, f"blobs/{self._blob.digest}")
        ask = self._ask("HeadBlob", "HEAD", url, {_OK, _NOT_FOUND})
        try:
            answer = await self._registry.whole(ask, kind="look at blobs")
        except Throttled:
            raise
        except (StoreError, ProtocolViolation):
            return False
        length = answer.headers.get("content-length", "")
        if length.isdigit() and (int(length) or not self._blob.size):
            return answer.status == _OK and int(length) == self._blob.size
        return answer.status == _OK and answer.headers.get("docker-content-digest") == self._blob.digest

    async def start(self, mount_from: str = "") -> Upload | None:
        """A new session; None where the blob was mounted from that repository instead."""
        query = f"?mount={quote(self._blob.digest)}&from={quote(mount_from, safe='')}" if mount_from else ""
        url = self._registry.url(self._repository, f"blobs/uploads/{query}")
        operation = "MountBlob" if mount_from else "StartUpload"
        scope = Scope(self._repository, push=True, mount_from=mount_from)
        ask = Ask(operation, "POST", url, scope, self._title, frozenset({_CREATED, _ACCEPTED}))
        answer = await self._registry.whole(ask, kind="start uploads")
        if answer.status == _CREATED and mount_from:
            return None
        self.mount_refused = bool(mount_from)
        location = answer.headers.get("location", "")
        if not location:
            raise AnswerInvalid(f"{self._title}: the registry opened an upload and does not say where")
        least = answer.headers.get(_MINIMUM, "")
        return Upload(
            self._registry.follow(url, location), least=int(least) if re.fullmatch(r"[0-9]{1,12}", least) else 0
        )

    async def put(self, reader: Reader, upload: Upload) -> None:
        """Upload the blob, from the session's offset or anew as the registry lets us, until it has it."""
        pace = self._registry.pace("write blobs")
        policy, failures, best = self._registry.retry, 0, 0
        session: Upload | None = upload
        await pace.acquire()
        try:
            while True:
                session = session or await self.start()
                assert session is not None
                before = self.sent
                try:
                    await self._attempt(reader, session)
                    return
                except DthError as error:
                    failures += 1
                    if isinstance(error, Throttled):
                        pace.throttled(error.retry_after)
                    smaller = self._smaller(error, session, failures)
                    lost = isinstance(error, NotFound) or getattr(error, "status", 0) == _RANGE
                    hopeless = not (error.retryable or lost or smaller)
                    if isinstance(error, BodyMismatch) or hopeless or (failures >= policy.attempts and not smaller):
                        raise
                    if _slow(error) and self.sent - before >= self._blob.size and await self._appears():
                        return  # all of it was sent in one request, and the registry took its time
                    if smaller:  # no failure of this size: the next request is another one
                        failures -= 1
                    else:
                        await asyncio.sleep(policy.wait_seconds(failures, getattr(error, "retry_after", None)))
                    session = None if lost else await self._resumed(session)
                    if session is not None and session.offset > reader.reached:
                        session = None  # the registry claims more than it was ever sent
                    if session is not None and session.offset > best:
                        failures, best = 1, session.offset
                    if session is None and self.sent and await self.present():
                        return  # only the answer was lost
        finally:
            pace.release(self._blob.size)

    def _smaller(self, error: DthError, session: Upload, failures: int) -> bool:
        """Whether the next requests are smaller than those until now, because one was refused for its size: in words, or by a
        connection that breaks again and again."""
        refused = getattr(error, "status", 0) == _TOO_LARGE
        cut = isinstance(error, TransportError) and failures > _RESETS
        least = max(LEAST_PIECE, session.least)
        if not (refused or cut) or self._asked <= least:
            return False
        registry, piece = self._registry, max(self._asked // 2, least)
        registry.piece_bytes = min(registry.piece_bytes or piece, piece)
        return refused

    async def _attempt(self, reader: Reader, session: Upload) -> None:
        size, most = self._blob.size, self._registry.piece_bytes
        if size <= min(ONE_REQUEST, most or ONE_REQUEST) and not session.offset:
            await self._commit(session.url, reader)
            return
        if session.offset < size:
            async with contextlib.aclosing(self._counted(reader.read_from(session.offset))) as pieces:
                session = await self._send(_Cutter(pieces), session, max(most or size, session.least))
        await self._finish(session.url)

    async def _send(self, cutter: _Cutter, session: Upload, most: int) -> Upload:
        """Send what is left of the blob, `most` bytes a request."""
        while session.offset < self._blob.size:
            count = self._asked = min(most, self._blob.size - session.offset)
            end = session.offset + count
            headers = (("content-type", "application/octet-stream"), ("content-range", f"{session.offset}-{end - 1}"))
            ask = self._ask("UploadBlob", "PATCH", session.url, {_OK, _CREATED, _ACCEPTED, _NO_CONTENT}, headers)
            async with contextlib.aclosing(cutter.take(count)) as body:
                response = await self._registry.send(ask, body, count)
            await drop(response)
            kept = _kept(response.headers)
            if kept is not None and kept != end:
                raise ServerFault(
                    f"{self._title}: the registry says that it kept {kept} of the {end} bytes that it was sent"
                )
            location = response.headers.get("location", "")
            url = self._registry.follow(session.url, location) if location else session.url
            session = replace(session, url=url, offset=end)
        return session

    async def _commit(self, at: Url, reader: Reader) -> None:
        """The whole blob and its digest in one request."""
        ask = self._end_of(at)
        self._asked = self._blob.size
        if not self._blob.size:
            await self._registry.whole(ask, kind="look at blobs")
            return
        async with contextlib.aclosing(self._counted(reader.read_from(0))) as body:
            response = await self._registry.send(ask, body, self._blob.size)
        await drop(response)

    async def _finish(self, at: Url) -> None:
        """End a session that has all bytes. A registry may work on them for minutes, longer than any proxy waits for its answer:
        then we look for the blob, and ask again, but do not begin anew meanwhile."""
        policy, tried, slow = self._registry.retry, 0, False
        while True:
            tried += 1
            self._asked = 0
            try:
                await self._registry.once(self._end_of(at), kind="look at blobs")
                return
            except DthError as error:
                slow = slow or _slow(error)
                again = error.retryable or (slow and isinstance(error, (NotFound, RequestRefused)))
                if not again or tried >= (FINISH_LOOKS if slow else policy.attempts):
                    raise
                wished = getattr(error, "retry_after", None)
            await asyncio.sleep(policy.wait_seconds(tried, wished))
            if slow and await self.present():
                return

    async def _appears(self) -> bool:
        """Whether the blob is there after a while."""
        for tried in range(1, FINISH_LOOKS + 1):
            if await self.present():
                return True
            await asyncio.sleep(self._registry.retry.wait_seconds(tried, None))
        return False

    def _end_of(self, at: Url) -> Ask:
        mark = "&" if "?" in at.target else "?"
        url = Url(at.origin, f"{at.target}{mark}digest={quote(self._blob.digest)}")
        headers = (("content-type", "application/octet-stream"),)
        return self._ask("FinishUpload", "PUT", url, {_CREATED, _NO_CONTENT}, headers)

    async def _resumed(self, session: Upload) -> Upload | None:
        """The session as the registry has it after a cut; None where it has none, or does not say how much of it, so that all
        begins anew."""
        if self._blob.size <= ONE_REQUEST and not self._registry.piece_bytes:
            return None
        ask = self._ask("UploadStatus", "GET", session.url, {_NO_CONTENT, _OK, _ACCEPTED})
        try:
            answer = await self._registry.whole(ask, kind="start uploads")
        except DthError as error:
            if isinstance(error, (NotFound, RequestRefused, ServerFault)):
                return None
            raise
        kept, location = _kept(answer.headers), answer.headers.get("location", "")
        if kept is None or kept > self._blob.size:
            return None
        url = self._registry.follow(session.url, location) if location else session.url
        return replace(session, url=url, offset=kept)

    async def _counted(self, pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes, None]:
        untold = 0
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                self.sent += len(piece)
                untold += len(piece)
                if untold >= _TELL_BYTES:
                    self._tell(untold)
                    untold = 0
                yield piece
        self._tell(untold)

    def _ask(
        self, operation: str, method: str, url: Url, accepts: set[int], headers: tuple[tuple[str, str], ...] = ()
    ) -> Ask:
        scope = Scope(self._repository, push=True)
        return Ask(operation, method, url, scope, self._title, frozenset(accepts), headers)

    @property
    def _title(self) -> str:
        return self._registry.title(self._repository, self._blob.digest)


class _Cutter:
    """A stream of bytes, taken in portions."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    async def take(self, count: int) -> AsyncGenerator[memoryview, None]:
        """The next `count` bytes."""
        while count:
            self._rest = self._rest or memoryview(await anext(self._pieces))
            part = self._rest[:count]
            self._rest = self._rest[len(part) :]
            count -= len(part)
            yield part


def _kept(headers: Mapping[str, str]) -> int | None:
    """How many bytes the registry has of an upload; None where it does not say. `0-0` stands for no byte as well as for one:
    taken for none."""
    found = _RANGE_TEXT.fullmatch(headers.get("range", ""))
    return None if found is None else int(found[1]) + 1 if int(found[1]) else 0


def _slow(error: DthError) -> bool:
    """Whether the registry may still be at work: somebody gave up waiting for its answer."""
    return isinstance(error, TimedOut) or getattr(error, "status", 0) in _GATEWAY_TIMEOUTS

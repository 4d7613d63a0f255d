"""Blobs: streamed out of one registry and into another, resumed after cuts on either side, hashed on the way.

A blob is known by its digest, so its last bytes are only handed on once the digest of all of them is right: a destination
never gets a whole body that is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from dth.ecr.auth import Scope
from dth.ecr.manifest import Descriptor
from dth.ecr.registry import Ask, Registry, drop
from dth.ecr.web import Url
from dth.errors import (
    AnswerInvalid,
    BodyMismatch,
    DthError,
    ManifestMissing,
    NotFound,
    RequestRefused,
    ServerFault,
    Throttled,
)
from dth.transport.base import Response

ONE_REQUEST = 16 * 1024 * 1024
"""Blobs up to here are uploaded whole by one PUT; larger ones by PATCH, which can be resumed where the registry kept what
came before a cut."""
_OK, _CREATED, _ACCEPTED, _NO_CONTENT, _PARTIAL, _NOT_FOUND, _RANGE = 200, 201, 202, 204, 206, 404, 416
_RANGE_TEXT = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_TELL_BYTES = 1 << 20


class Landed(StrEnum):
    """How a blob came to be at the destination."""

    PRESENT = "present"
    MOUNTED = "mounted"
    UPLOADED = "uploaded"


class Reader:
    """Reads one blob from anywhere on, again and again if need be. What is read the first time is hashed; what is read
    again was hashed before, and the destination's own check covers it."""

    def __init__(self, registry: Registry, repository: str, blob: Descriptor) -> None:
        self._registry = registry
        self._repository = repository
        self._blob = blob
        self._hash: Any = hashlib.new(blob.digest.partition(":")[0])
        self._hashed = 0

    @property
    def reached(self) -> int:
        """How far it was read; a resumed upload begins no later."""
        return self._hashed

    async def read_from(self, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `offset` to the end. Raises BodyMismatch before the last ones where the digest is wrong,
        ManifestMissing where the registry lacks the blob."""
        if not self._blob.size:
            return
        pace = self._registry.pace("read blobs")
        policy, failures = self._registry.retry, 0
        await pace.acquire()
        try:
            while offset < self._blob.size:
                began = offset
                try:
                    async with contextlib.aclosing(self._pieces(offset)) as pieces:
                        async for piece in pieces:
                            offset += len(piece)
                            yield piece
                except DthError as error:
                    failures = 1 if offset > began else failures + 1
                    if isinstance(error, Throttled):
                        pace.throttled(error.retry_after)
                    if isinstance(error, BodyMismatch) or not error.retryable or failures >= policy.attempts:
                        raise
                    await asyncio.sleep(policy.wait_seconds(failures, getattr(error, "retry_after", None)))
        finally:
            pace.release(self._blob.size)

    async def _pieces(self, offset: int) -> AsyncGenerator[bytes, None]:
        response = await self._open(offset)
        try:
            skip = offset if response.status == _OK else 0
            at = offset - skip
            async for piece in response:
                if skip >= len(piece):
                    skip -= len(piece)
                    at += len(piece)
                    continue
                useful = piece[skip:] if skip else piece
                at += skip
                skip = 0
                at += len(useful)
                self._check(useful, at)
                yield useful
            if at < self._blob.size:
                raise ServerFault(f"{self._title}: the blob ended after {at} of {self._blob.size} bytes")
        finally:
            response.close()

    def _check(self, piece: bytes, at: int) -> None:
        """Hash what is new of the piece, which ends at `at`; the last one must make the digest right."""
        if at > self._blob.size:
            raise BodyMismatch(
                f"{self._title}: the blob is longer than the {self._blob.size} bytes that its manifest says"
            )
        if at > self._hashed:
            self._hash.update(memoryview(piece)[len(piece) - (at - self._hashed) :])
            self._hashed = at
        if at == self._blob.size and self._hash.hexdigest() != self._blob.digest.partition(":")[2]:
            self._hash, self._hashed = hashlib.new(self._blob.digest.partition(":")[0]), 0
            raise BodyMismatch(f"{self._title}: the bytes that the source sent have another digest")

    async def _open(self, offset: int) -> Response:
        accepts = {_OK, _PARTIAL} if offset else {_OK}
        headers = (("range", f"bytes={offset}-"),) if offset else ()
        url = self._registry.url(self._repository, f"blobs/{self._blob.digest}")
        ask = Ask("GetBlob", "GET", url, Scope(self._repository), self._title, frozenset(accepts), headers)
        try:
            response = await self._registry.send(ask)
        except NotFound as exc:
            raise ManifestMissing(f"{self._title}: the image names this blob, but its registry lacks it") from exc
        if response.status == _PARTIAL and not response.headers.get("content-range", "").startswith(f"bytes {offset}-"):
            response.close()
            raise AnswerInvalid(f"{self._title}: the registry answered with another range than {offset}-")
        return response

    @property
    def _title(self) -> str:
        return self._registry.title(self._repository, self._blob.digest)


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload session, and how many bytes it has."""

    url: Url
    offset: int = 0


class Uploader:
    """Puts one blob into a repository. `sent` counts the bytes handed to the registry, repeated ones included."""

    def __init__(self, registry: Registry, repository: str, blob: Descriptor, tell: Callable[[int], None]) -> None:
        self._registry = registry
        self._repository = repository
        self._blob = blob
        self._tell = tell
        self.sent = 0
        self.mount_refused = False

    async def present(self) -> bool:
        """Whether the repository has the blob. An answer with another length is no proof of it."""
        url = self._registry.url(self._repository, f"blobs/{self._blob.digest}")
        answer = await self._registry.whole(self._ask("HeadBlob", "HEAD", url, {_OK, _NOT_FOUND}), kind="look at blobs")
        length = answer.headers.get("content-length", "")
        return answer.status == _OK and (not length.isdigit() or int(length) in {self._blob.size, 0})

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
        return Upload(self._location(url, answer.headers.get("location", "")))

    async def put(self, reader: Reader, upload: Upload) -> None:
        """Upload the blob, from the session's offset or anew as the registry lets us, until it has it."""
        pace = self._registry.pace("write blobs")
        policy, failures = self._registry.retry, 0
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
                    failures = 1 if self.sent - before > _TELL_BYTES else failures + 1
                    if isinstance(error, Throttled):
                        pace.throttled(error.retry_after)
                    lost = isinstance(error, NotFound) or getattr(error, "status", 0) == _RANGE
                    if isinstance(error, BodyMismatch) or failures >= policy.attempts or not (error.retryable or lost):
                        raise
                    await asyncio.sleep(policy.wait_seconds(failures, getattr(error, "retry_after", None)))
                    session = None if lost else await self._resumed(session)
                    if session is not None and session.offset > reader.reached:
                        session = None  # the registry claims more than it was ever sent
                    if session is None and self.sent and await self.present():
                        return  # only the answer was lost
        finally:
            pace.release(self._blob.size)

    async def _attempt(self, reader: Reader, session: Upload) -> None:
        if self._blob.size <= ONE_REQUEST and not session.offset:
            await self._commit(session.url, reader)
            return
        left = self._blob.size - session.offset
        if left:
            span = f"{session.offset}-{self._blob.size - 1}"
            headers = (("content-type", "application/octet-stream"), ("content-range", span))
            ask = self._ask("UploadBlob", "PATCH", session.url, {_OK, _CREATED, _ACCEPTED, _NO_CONTENT}, headers)
            response = await self._registry.send(ask, self._counted(reader.read_from(session.offset)), left)
            await drop(response)
            session = Upload(self._location(session.url, response.headers.get("location", "")), self._blob.size)
        await self._commit(session.url, None)

    async def _commit(self, at: Url, reader: Reader | None) -> None:
        """End the session: the digest, and with it the bytes where they travel in the same request."""
        mark = "&" if "?" in at.target else "?"
        url = Url(at.origin, f"{at.target}{mark}digest={quote(self._blob.digest)}")
        headers = (("content-type", "application/octet-stream"),)
        ask = self._ask("FinishUpload", "PUT", url, {_CREATED, _NO_CONTENT}, headers)
        if reader is None or not self._blob.size:
            await self._registry.whole(ask, kind="look at blobs")
            return
        response = await self._registry.send(ask, self._counted(reader.read_from(0)), self._blob.size)
        await drop(response)

    async def _resumed(self, session: Upload) -> Upload | None:
        """The session as the registry has it after a cut; None where it has none, so that all begins anew.

        `Range: 0-0` stands for no byte as well as for one: taken for none.
        """
        if self._blob.size <= ONE_REQUEST:
            return None
        ask = self._ask("UploadStatus", "GET", session.url, {_NO_CONTENT, _OK, _ACCEPTED})
        try:
            answer = await self._registry.whole(ask, kind="start uploads")
        except DthError as error:
            if isinstance(error, (NotFound, RequestRefused, ServerFault)):
                return None
            raise
        found = _RANGE_TEXT.fullmatch(answer.headers.get("range", ""))
        kept = int(found[1]) + 1 if found and int(found[1]) else 0
        url = self._location(session.url, answer.headers.get("location", "") or session.url.target)
        return Upload(url, kept) if kept <= self._blob.size else None

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

    def _location(self, base: Url, location: str) -> Url:
        if not location:
            raise AnswerInvalid(f"{self._title}: the registry opened an upload and does not say where")
        return self._registry.follow(base, location)

    def _ask(
        self, operation: str, method: str, url: Url, accepts: set[int], headers: tuple[tuple[str, str], ...] = ()
    ) -> Ask:
        scope = Scope(self._repository, push=True)
        return Ask(operation, method, url, scope, self._title, frozenset(accepts), headers)

    @property
    def _title(self) -> str:
        return self._registry.title(self._repository, self._blob.digest)

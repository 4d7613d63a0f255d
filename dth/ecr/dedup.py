"""What the destination is known to have, so that each blob and manifest moves once, whoever asks for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from dth.ecr.download import Reader
from dth.ecr.manifest import Descriptor
from dth.ecr.registry import Registry
from dth.ecr.upload import Landed, Uploader
from dth.flow.budget import ByteBudget

MANIFEST_BYTES = 16 * 1024 * 1024
"""Of manifests below indexes that are held at a time, however many an index names."""
_REFUSALS = 3
"""Mounts refused, with none that worked, after which nobody waits for another's upload in the hope of mounting it."""


@dataclass(slots=True)
class Tally:
    """What one image cost. Bytes are of blobs; `skipped_bytes` needed no upload (there already, or mounted)."""

    size: int = 0
    moved_bytes: int = 0
    sent_bytes: int = 0  # as moved, with what cuts made us send again
    skipped_bytes: int = 0
    blobs: Counter[Landed] = field(default_factory=Counter)
    manifests: int = 0
    mounts_refused: int = 0
    foreign: int = 0


class Once:
    """Does things once for each key: who comes while it is being done waits for it; a failure lets the next one try."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, str], asyncio.Future[bool]] = {}

    async def do(self, key: tuple[str, str], work: Callable[[], Awaitable[None]]) -> bool:
        """True where this call did the work; False where it was done already. Raises what the own work raises."""
        while (end := self._ends.get(key)) is not None:
            if await asyncio.shield(end):
                return False
        end = self._ends[key] = asyncio.get_running_loop().create_future()
        done = False
        try:
            await work()
            done = True
        finally:
            if not done:
                del self._ends[key]
            end.set_result(done)
        return True


class Shelf:
    """Blobs and manifests of the destination, by repository and digest.

    A blob on its way to one repository is waited for by others, which then mount it. A refused mount is an ordinary
    upload.
    """

    def __init__(self, destination: Registry, tell: Callable[[int], None]) -> None:
        self._destination = destination
        self._tell = tell
        self.manifests = ByteBudget(MANIFEST_BYTES)
        self._blobs = Once()
        self._manifests = Once()
        self._home: dict[str, str] = {}  # digest -> a destination repository that has the blob
        self._moving: dict[str, asyncio.Future[None]] = {}  # digest -> the end of its upload to some repository
        self._mounted = 0
        self._refused = 0

    async def manifest_once(self, repository: str, digest: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Bring a manifest by `work`, unless it was brought already; True where this call did it."""
        return await self._manifests.do((repository, digest), work)

    async def bring_blob(
        self, registry: Registry, source: str, destination: str, blob: Descriptor, tally: Tally
    ) -> None:
        """Make sure that the destination repository has the blob, which the repository `source` of `registry` has."""

        async def work() -> None:
            await self._bring(registry, source, destination, blob, tally)

        if not await self._blobs.do((destination, blob.digest), work):
            tally.skipped_bytes += blob.size
            tally.blobs[Landed.PRESENT] += 1

    async def _bring(self, registry: Registry, source: str, destination: str, blob: Descriptor, tally: Tally) -> None:
        uploader = Uploader(self._destination, destination, blob, self._tell)
        origin = self._home.get(blob.digest, source if registry.base == self._destination.base else "")
        if not origin and await uploader.present():
            how = Landed.PRESENT
        else:
            how = await self._place(uploader, Reader(registry, source, blob), blob, origin)
        self._home.setdefault(blob.digest, destination)
        tally.blobs[how] += 1
        tally.mounts_refused += uploader.mount_refused
        tally.sent_bytes += uploader.sent
        if how is Landed.UPLOADED:
            tally.moved_bytes += blob.size
        else:
            tally.skipped_bytes += blob.size

    async def _place(self, uploader: Uploader, reader: Reader, blob: Descriptor, origin: str) -> Landed:
        origin = origin or self._home.get(blob.digest, "")  # it may have arrived while we asked whether it is there
        if not origin and (self._mounted or self._refused < _REFUSALS):
            while not origin and (moving := self._moving.get(blob.digest)) is not None:
                await asyncio.shield(moving)
                origin = self._home.get(blob.digest, "")
        leads = not origin
        if leads:
            end = self._moving[blob.digest] = asyncio.get_running_loop().create_future()
        try:
            upload = await uploader.start(origin)
            self._refused += uploader.mount_refused
            if upload is None:
                self._mounted += 1
                return Landed.MOUNTED
            await uploader.put(reader, upload)
            return Landed.UPLOADED
        finally:
            if leads:
                if self._moving.get(blob.digest) is end:
                    del self._moving[blob.digest]
                asyncio.get_running_loop().call_soon(_finish, end)


def _finish(end: asyncio.Future[None]) -> None:
    """After the uploader's caller has noted where the blob is."""
    if not end.done():
        end.set_result(None)

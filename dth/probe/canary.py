"""What a probe writes, all below one folder of a random name, and its removal."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Coroutine
from typing import Any, TypeVar

from dth.errors import DthError
from dth.stores.base import PutOptions, Written
from dth.stores.s3 import S3Store
from dth.transport.base import Body

T = TypeVar("T")

CLEANUP_SECONDS = 30.0


class Canary:
    """Every key is remembered before the store is asked for it, and no write is broken off: a store may still land what it had
    received, after it was deleted. So `remove` misses none."""

    def __init__(self, store: S3Store, prefix: str) -> None:
        self.folder = f"{prefix}dth-probe-{secrets.token_hex(8)}/"
        self._store = store
        self._keys: set[str] = set()
        self._uploads: set[tuple[str, str]] = set()
        self._writing: set[asyncio.Future[Any]] = set()

    def key(self, name: str) -> str:
        """The name's key, to be removed."""
        key = self.folder + name
        self._keys.add(key)
        return key

    async def put(self, name: str, body: Body, length: int, options: PutOptions, via: S3Store | None = None) -> Written:
        """One PutObject, through another opened store where one is named."""
        return await self.unbroken((via or self._store).put(self.key(name), body, length, options))

    async def create_upload(self, name: str, options: PutOptions) -> tuple[str, str]:
        """Key and id of an upload."""
        key = self.key(name)

        async def create() -> tuple[str, str]:
            upload = key, await self._store.create_upload(key, options)
            self._uploads.add(upload)
            return upload

        return await self.unbroken(create())

    async def unbroken(self, write: Coroutine[Any, Any, T]) -> T:
        """Its result; where the caller is cancelled, it goes on, and `remove` waits for it."""
        writing = asyncio.ensure_future(write)
        self._writing.add(writing)
        try:
            return await asyncio.shield(writing)
        finally:
            if writing.done():
                self._writing.discard(writing)

    async def remove(self) -> tuple[list[str], DthError | None]:
        """Abort and delete all of it, also while the task is cancelled; what is left, and the first reason."""
        removing = asyncio.ensure_future(self._remove())
        while not removing.done():
            with contextlib.suppress(asyncio.CancelledError):  # again: it is bounded, and nothing else cleans up
                await asyncio.shield(removing)
        return removing.result()

    async def _remove(self) -> tuple[list[str], DthError | None]:
        left: list[str] = []
        reason: DthError | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLEANUP_SECONDS):
                await asyncio.gather(*self._writing, return_exceptions=True)
                for key, upload_id in self._uploads:
                    with contextlib.suppress(DthError):  # completed, most of them
                        await self._store.abort_upload(key, upload_id)
                for key in sorted(self._keys):
                    left.append(key)
                    try:
                        await self._store.delete(key)
                    except DthError as error:
                        reason = reason or error
                    else:
                        left.pop()
                return left, reason
        return sorted(self._keys), reason

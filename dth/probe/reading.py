"""Questions that change nothing: listing, and reading the first object that is there."""

from __future__ import annotations

from collections.abc import Sequence

from dth.errors import PreconditionFailed
from dth.model import ByteSpan, Entry, Generation
from dth.probe.findings import Answer, Findings, Verdict
from dth.stores.base import Capabilities
from dth.stores.s3 import S3Store

WRONG_ETAG = "0" * 32
PRECONDITION_FAILED = 412
READ_MAX = 1 << 20


class ReadQuestions:
    """What a source must be able to do, of `store`, below `prefix`."""

    def __init__(
        self,
        store: S3Store,
        other_style: S3Store,
        other_version: S3Store,
        prefix: str,
        assumed: Capabilities,
        *,
        keys_to_come: bool,
    ) -> None:
        """`keys_to_come`: what is there is not asked what a canary will tell."""
        self._store = store
        self._other_style = other_style
        self._other_version = other_version
        self._prefix = prefix
        self._assumed = assumed
        self._keys_to_come = keys_to_come
        self._page: Sequence[Entry] = ()

    async def ask(self, findings: Findings) -> None:
        """All of them, in an order in which each stands on what came before."""
        assumed = self._assumed
        if await findings.ask("list", self._list) is not Verdict.YES:
            return
        await findings.ask("list_other_version", self._list_other_version)
        await findings.ask("other_addressing", self._list_other_style)
        await findings.ask("list_uploads", self._list_uploads)
        if self._keys_to_come:
            return
        await findings.ask("ordered", self._ordered, assumed=assumed.ordered)
        await findings.ask("start_after", self._start_after, assumed=assumed.start_after)
        entry = next((entry for entry in self._page if 0 < entry.size <= READ_MAX), None)
        if entry is not None:
            await ReadObject(self._store, entry).ask(findings)

    async def _list(self) -> Answer:
        self._page = await self._store.first_page(self._prefix)
        return True, f"{len(self._page)} keys on the first page"

    async def _list_other_version(self) -> Answer:
        page = await self._other_version.first_page(self._prefix)
        same = [entry.key for entry in page] == [entry.key for entry in self._page]
        return same, "the same keys" if same else f"{len(page)} keys, and not the same"

    async def _list_other_style(self) -> Answer:
        try:
            await self._other_style.first_page(self._prefix)
        except Exception as error:  # noqa: BLE001 - a host name that leads nowhere is an answer
            return False, f"{type(error).__name__}"
        return True, "path and virtual host both lead here"

    async def _ordered(self) -> Answer:
        keys = [entry.key for entry in self._page]
        if keys != sorted(keys):
            return False, "the first page is not in the order of its bytes"
        if len(keys) < 2:  # noqa: PLR2004 - what an order takes
            return None, "too few keys to tell; --write brings some"
        return True, f"as far as {len(keys)} keys tell"

    async def _start_after(self) -> Answer:
        keys = [entry.key for entry in self._page]
        if len(keys) < 2:  # noqa: PLR2004 - one to start after, one to come
            return None, "too few keys to tell; --write brings some"
        at = len(keys) // 2
        page = await self._store.first_page(self._prefix, after=keys[at - 1])
        begins = [entry.key for entry in page[: len(keys) - at]]
        return begins == keys[at:], f"after {keys[at - 1]!r}"

    async def _list_uploads(self) -> Answer:
        async for _ in self._store.open_uploads(self._prefix):
            break
        return True, ""


class ReadObject:
    """What reading can do, shown on one object."""

    def __init__(self, store: S3Store, entry: Entry) -> None:
        self._store = store
        self._key, self._size, self._etag = entry.key, entry.size, entry.etag

    async def ask(self, findings: Findings) -> None:
        """GET, a range, a condition, HEAD, tags."""
        if await findings.ask("get", self._get) is not Verdict.YES:
            return
        await findings.ask("range", self._range)
        await findings.ask("if_match", self._if_match)
        await findings.ask("head", self._head)
        await findings.ask("get_tags", self._tags, assumed=self._store.capabilities.keeps_tags)

    async def _get(self) -> Answer:
        stream = await self._store.get(self._key, pinned=Generation(self._etag, self._size))
        try:
            await stream.read()
        finally:
            stream.close()
        return True, f"{self._size} bytes of {self._key!r}"

    async def _range(self) -> Answer:
        stream = await self._store.get(self._key, pinned=None, span=ByteSpan(0, 1))
        try:
            await stream.read()
        finally:
            stream.close()
        return True, ""

    async def _if_match(self) -> Answer:
        try:
            stream = await self._store.get(self._key, pinned=Generation(WRONG_ETAG, self._size))
        except PreconditionFailed as error:
            return error.status == PRECONDITION_FAILED, "" if error.status == PRECONDITION_FAILED else "it is ignored"
        stream.close()
        return None, "the object has that very ETag"

    async def _head(self) -> Answer:
        head = await self._store.head(self._key)
        told = f"checksums: {', '.join(name for name, _ in head.checksums)}" if head.checksums else "no checksums"
        return head.generation.size == self._size, told

    async def _tags(self) -> Answer:
        return True, f"{len(await self._store.tags(self._key))} tags"

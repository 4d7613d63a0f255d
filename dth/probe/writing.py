"""Questions that only a write answers: a canary goes the way of a copy, and is removed again."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from dth.errors import (
    AnswerInvalid,
    BodyMismatch,
    DigestRefused,
    KeyRefused,
    PreconditionFailed,
    RequestRefused,
    ServerFault,
)
from dth.model import ByteSpan, Entry, Generation
from dth.multipart.checksum import Crc, multipart_etag
from dth.probe.canary import Canary
from dth.probe.findings import Answer, Findings, Verdict
from dth.probe.reading import WRONG_ETAG, ReadObject
from dth.stores.base import Capabilities, PutOptions, UploadedPart
from dth.stores.s3 import S3Store

BODY = b"written by dth probe; to be removed\n"
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
OTHER = hashlib.md5(b"other bytes", usedforsecurity=False).hexdigest()
TAGS = (("a b", "c+d/="), ("empty", ""))
PLAIN = PutOptions()
IN_ORDER = (
    "o",
    "o-1",
    "o/1",
    "o0",
    "oa",
    "oé",
    "o\uff5e",
    "o😀",
)  # of UTF-8; by folders or by UTF-16 it is another one
CHECKSUMS = ("crc64nvme", "crc32c", "crc32")


@dataclass(frozen=True, slots=True)
class WriteQuestions:
    """What a destination must be able to do. `streaming` is the same store, told that it takes unhashed bodies; `assumed` what
    dth takes for granted of it."""

    store: S3Store
    streaming: S3Store
    canary: Canary
    assumed: Capabilities

    async def ask(self, findings: Findings) -> None:
        """All of them; the canary's removal is the caller's."""
        assumed = self.assumed
        if await findings.ask("put", self._put) is not Verdict.YES:
            return
        await findings.ask("md5_etag", self._md5_etag, assumed=assumed.md5_etag)
        await ReadObject(self.store, Entry(self.canary.key("a b+c~é"), len(BODY), "", "", "")).ask(findings)
        await findings.ask("content_md5_verified", self._content_md5)
        for name in CHECKSUMS:
            await findings.ask(f"{name}_verified", partial(self._checksum, name), assumed=name in assumed.checksums)
        await findings.ask("unsigned_payload", self._unsigned, assumed=not assumed.needs_payload_hash)
        await findings.ask("conditional_put", self._conditional_put, assumed=assumed.conditional_put)
        if await findings.ask("multipart", self._multipart) is Verdict.YES:
            await findings.ask("multipart_etag", self._multipart_etag, assumed=assumed.multipart_etag)
            await findings.ask("list_parts", self._list_parts)
            await findings.ask("abort_upload", self._abort)
        await findings.ask("server_side_copy", self._copy, assumed=assumed.server_side_copy)
        if findings.verdicts["server_side_copy"] is Verdict.YES:
            await findings.ask("copy_if_match", self._copy_if_match)
        await findings.ask("copies_parts", self._copy_part, assumed=assumed.copies_parts)
        await findings.ask("ordered", self._ordered, assumed=assumed.ordered)
        await findings.ask("start_after", self._start_after, assumed=assumed.start_after)
        await findings.ask("keeps_empty_segments", self._segments, assumed=not assumed.key_rules.folds_empty_segments)
        await findings.ask("tags", self._tags, assumed=assumed.keeps_tags)
        if findings.verdicts["tags"] is Verdict.YES and findings.verdicts["multipart"] is Verdict.YES:
            await findings.ask("uploads_keep_tags", self._upload_tags, assumed=assumed.uploads_keep_tags)
        await findings.ask("conditional_delete", self._conditional_delete, assumed=assumed.conditional_delete)

    async def _put(self) -> Answer:
        await self.canary.put("a b+c~é", BODY, len(BODY), PLAIN)
        return True, f"below {self.canary.folder!r}"

    async def _md5_etag(self) -> Answer:
        written = await self.canary.put("a b+c~é", BODY, len(BODY), PLAIN)
        return written.etag == MD5, f"ETag {written.etag}"

    async def _content_md5(self) -> Answer:
        return await self._refuses(PutOptions(content_md5=OTHER), PutOptions(content_md5=MD5))

    async def _checksum(self, name: str) -> Answer:
        right, wrong = Crc(name), Crc(name)
        right.update(BODY)
        wrong.update(b"other bytes")
        return await self._refuses(PutOptions(checksum=(name, wrong.base64)), PutOptions(checksum=(name, right.base64)))

    async def _refuses(self, wrong: PutOptions, right: PutOptions) -> Answer:
        """Whether a wrong digest is refused, and a right one is not."""
        try:
            await self.canary.put("digest", BODY, len(BODY), right)
        except (DigestRefused, RequestRefused, ServerFault) as error:
            return False, f"refused although it was right: {error.status} {error.store_code}"
        try:
            await self.canary.put("digest", BODY, len(BODY), wrong)
        except (DigestRefused, RequestRefused) as error:
            return True, f"{error.status} {error.store_code}"
        return False, "a wrong one is taken"

    async def _unsigned(self) -> Answer:
        async def body() -> AsyncIterator[bytes]:
            yield BODY

        try:
            await self.canary.put("stream", body(), len(BODY), PLAIN, via=self.streaming)
        except (DigestRefused, RequestRefused) as error:
            return False, f"{error.status} {error.store_code}"
        return True, ""

    async def _conditional_put(self) -> Answer:
        try:
            await self.canary.put("a b+c~é", BODY, len(BODY), PutOptions(if_none_match=True))
        except PreconditionFailed:
            return True, ""
        except (RequestRefused, ServerFault) as error:
            return False, f"{error.status} {error.store_code}"
        return False, "an object that is there was overwritten"

    async def _multipart(self) -> Answer:
        etag = await self._uploaded("parts", PLAIN)
        return True, f"ETag {etag}"

    async def _uploaded(self, name: str, options: PutOptions) -> str:
        key, upload_id = await self.canary.create_upload(name, options)
        part = await self.store.upload_part(key, upload_id, 1, BODY, len(BODY), PLAIN)
        parts = [UploadedPart(1, len(BODY), part.etag)]
        return (await self.canary.unbroken(self.store.complete_upload(key, upload_id, parts))).etag

    async def _multipart_etag(self) -> Answer:
        """Of two parts: one part's may be right by chance."""
        first = bytes(self.assumed.part_min)
        key, upload_id = await self.canary.create_upload("parts", PLAIN)
        parts = []
        for number, body in enumerate((first, BODY), 1):
            written = await self.store.upload_part(key, upload_id, number, body, len(body), PLAIN)
            parts.append(UploadedPart(number, len(body), written.etag))
        said = (await self.canary.unbroken(self.store.complete_upload(key, upload_id, parts))).etag
        listed = (await self.store.first_page(key))[0].etag
        wanted = multipart_etag([hashlib.md5(first, usedforsecurity=False).hexdigest(), MD5])
        wrong = [etag for etag in (said, listed) if etag != wanted]
        return not wrong, f"{wrong[0]} instead of {wanted}" if wrong else ""

    async def _list_parts(self) -> Answer:
        key, upload_id = await self.canary.create_upload("open", PLAIN)
        await self.store.upload_part(key, upload_id, 1, BODY, len(BODY), PLAIN)
        found = [part async for part in self.store.uploaded_parts(key, upload_id)]
        return [(part.number, part.size) for part in found] == [(1, len(BODY))], ""

    async def _abort(self) -> Answer:
        key, upload_id = await self.canary.create_upload("aborted", PLAIN)
        await self.store.abort_upload(key, upload_id)
        return True, ""

    async def _copy(self) -> Answer:
        """Of a plain key: radosgw 16.2.15 dies of a part's copy whose source has a `%` in it."""
        written = await self.canary.put("plain", BODY, len(BODY), PLAIN)
        try:
            await self._copied(written.etag)
            stream = await self.store.get(self.canary.key("copied"), pinned=None)
            try:
                same = await stream.read() == BODY
            finally:
                stream.close()
        except (RequestRefused, ServerFault, AnswerInvalid, BodyMismatch) as error:
            return False, str(error)
        return same, "" if same else "the copy has other bytes"

    async def _copied(self, etag: str) -> None:
        source, key = self.canary.key("plain"), self.canary.key("copied")
        copying = self.store.copy(self.store, source, Generation(etag, len(BODY)), key, PLAIN)
        await self.canary.unbroken(copying)

    async def _copy_if_match(self) -> Answer:
        try:
            await self._copied(WRONG_ETAG)
        except PreconditionFailed:
            return True, ""
        return False, "another generation was copied than was asked for"

    async def _copy_part(self) -> Answer:
        written = await self.canary.put("plain", BODY, len(BODY), PLAIN)
        key, upload_id = await self.canary.create_upload("copied-parts", PLAIN)
        generation, span = Generation(written.etag, len(BODY)), ByteSpan(0, len(BODY))
        try:
            await self.store.copy_part(self.store, self.canary.key("plain"), generation, span, key, upload_id, 1)
        except (RequestRefused, ServerFault, AnswerInvalid) as error:
            return False, str(error)
        found = [part.size async for part in self.store.uploaded_parts(key, upload_id)]
        return found == [len(BODY)], ""

    async def _ordered(self) -> Answer:
        for name in IN_ORDER:
            await self.canary.put(name, b"", 0, PLAIN)
        keys = [entry.key.removeprefix(self.canary.folder) for entry in await self._ours()]
        return keys == list(IN_ORDER), " ".join(keys)

    async def _ours(self, after: str = "") -> list[Entry]:
        """The keys that were put to be listed."""
        start = f"{self.canary.folder}o"
        page = await self.store.first_page(start, after=after)
        return [entry for entry in page if entry.key != f"{self.canary.folder}open"]

    async def _start_after(self) -> Answer:
        keys = [entry.key for entry in await self._ours()]
        for at, key in enumerate(keys):
            after = [entry.key for entry in await self._ours(after=key)]
            if after != keys[at + 1 :]:
                return False, f"wrong after {key.removeprefix(self.canary.folder)!r}"
        return True, f"after each of {len(keys)} keys"

    async def _segments(self) -> Answer:
        folded = self.canary.key("fold/x")
        try:
            await self.canary.put("fold//x", b"", 0, PLAIN)
        except (KeyRefused, RequestRefused, ServerFault) as error:
            return False, str(error)
        listed = {entry.key for entry in await self.store.first_page(f"{self.canary.folder}fold")}
        return folded not in listed, "`a//b` becomes `a/b`" if folded in listed else ""

    async def _tags(self) -> Answer:
        try:
            await self.canary.put("tagged", BODY, len(BODY), PutOptions(tags=TAGS))
            kept = sorted(await self.store.tags(self.canary.key("tagged"))) == sorted(TAGS)
        except (RequestRefused, ServerFault) as error:
            return False, f"{error.status} {error.store_code}"
        count = (await self.store.head(self.canary.key("tagged"))).tag_count
        return kept, "their number is told" if count == len(TAGS) else "their number is not told"

    async def _upload_tags(self) -> Answer:
        await self._uploaded("tagged-parts", PutOptions(tags=TAGS))
        kept = sorted(await self.store.tags(self.canary.key("tagged-parts"))) == sorted(TAGS)
        return kept, "" if kept else "those that an upload is created with are dropped"

    async def _conditional_delete(self) -> Answer:
        await self.canary.put("kept", BODY, len(BODY), PLAIN)
        try:
            await self.store.delete(self.canary.key("kept"), if_match=WRONG_ETAG)
        except PreconditionFailed:
            return True, ""
        except (RequestRefused, ServerFault) as error:
            return False, f"{error.status} {error.store_code}"
        return False, "an object of another ETag was deleted"

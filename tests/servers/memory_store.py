"""An object store in memory that follows S3's rules, and breaks them on demand.

Implements the whole `ObjectStore` protocol. `faults` are asked before every call, with the operation's name and its
key, and may raise, or change the store, first; the switches below them misbehave inside a call. Every call yields to
the loop, so that tasks interleave.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from dth.errors import (
    AccessDenied,
    AnswerInvalid,
    ConnectionLost,
    DigestRefused,
    DthError,
    NoSuchKey,
    NoSuchUpload,
    ObjectChanged,
    PreconditionFailed,
    RequestRefused,
    ServerFault,
)
from dth.model import Attributes, ByteSpan, Entry, Generation, ObjectHead, Tags
from dth.multipart.checksum import Crc, composite, multipart_etag
from dth.stores.base import Capabilities, KeyRules, OpenUpload, PutOptions, Reader, UploadedPart, Written
from dth.transport.base import Body

MIB = 1 << 20

AWS_LIKE = Capabilities(
    provider="Memory",
    ordered=True,
    start_after=True,
    md5_etag=True,
    multipart_etag=True,
    checksums=("crc64nvme", "crc32c"),
    needs_payload_hash=False,
    conditional_put=True,
    server_side_copy=False,
    part_min=1,
    part_max=5 << 30,
    parts_max=10_000,
    put_max=5 << 30,
    object_max=50 << 40,
    equal_parts=False,
    key_rules=KeyRules(),
)
PLAIN = replace(AWS_LIKE, checksums=(), conditional_put=False)

Fault = Callable[[str, str], object]
NOTHING = Attributes()


@dataclass
class Stored:
    data: bytes
    etag: str
    options: PutOptions
    modified: str
    plain: bool  # a single PUT without KMS: its ETag is its MD5
    checksums: tuple[tuple[str, str], ...] = ()
    parts: int = 0


@dataclass
class Upload:
    key: str
    options: PutOptions
    initiated: str
    declared: str
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)


class Stream:
    """A body in chunks; `cut` ends it early, as a connection that is lost."""

    def __init__(self, head: ObjectHead, data: bytes, chunk: int, cut: int | None, store: MemoryStore) -> None:
        self.head = head
        self.length = len(data)
        self._data = data
        self._chunk = chunk
        self._cut = cut
        self._store = store
        self._closed = False
        store.open_streams += 1

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._data), self._chunk):
            await asyncio.sleep(0)
            if self._cut is not None and start >= self._cut:
                self.close()
                raise ConnectionLost("cut by the test")
            yield self._data[start : start + self._chunk]
        self.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._store.open_streams -= 1


class MemoryStore:
    def __init__(self, capabilities: Capabilities = AWS_LIKE) -> None:
        self.capabilities = capabilities
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.calls: Counter[str] = Counter()
        self.parts_received: list[tuple[str, int]] = []
        self.open_streams = 0
        self.faults: list[Fault] = []
        self.chunk = 64 * 1024
        # Switches. Those that count fall by one with each use.
        self.md5_lies = False  # ETags that look like MD5s and aren't, unknown to the store's own HEAD
        self.kms = False  # ETags of unknown make, and HEAD says so
        self.denies_head = False
        self.denies_versions = False
        self.tells_tags = False
        self.drops_tags = False
        self.drops_upload_tags = False
        self.ignores_digests = False
        self.answers_checksums = True
        self.keeps_checksums = False
        self.copies = False  # by itself, from any other store in memory
        self.copies_whatever_is_there = False  # and takes no notice of If-Match
        self.damage_puts = 0  # bytes arrive damaged
        self.damage_gets = 0  # bytes leave damaged
        self.composite = ""  # the algorithm of the checksums that multipart objects keep of their parts
        self.short_streams = 0
        self.lose_complete_answers = 0
        self.early_successes = 0  # a 200 before the body was read
        self._serial = 0

    # what tests do to it

    def seed(self, key: str, data: bytes, attributes: Attributes = NOTHING, parts: int = 0, tags: Tags = ()) -> Entry:
        """Put an object there; `parts` > 0 as a multipart upload of that part size."""
        options = PutOptions(attributes=attributes, tags=tags)
        if parts:
            cut = [data[i : i + parts] for i in range(0, len(data), parts)]
            self._store(key, data, options, multipart_etag([hashlib.md5(p).hexdigest() for p in cut]), plain=False)
            stored = self.objects[key]
            stored.parts = parts
            if self.composite:
                raws = [hashlib.new(self.composite, p).digest() for p in cut]
                stored.checksums = ((self.composite, composite(self.composite, raws)),)
            if self.kms:
                stored.etag = f"{hashlib.md5(b'salt' + data).hexdigest()}-{len(cut)}"
        else:
            self._store(key, data, options, self._etag(data), plain=True)
        return self.entry(key)

    def entry(self, key: str) -> Entry:
        stored = self.objects[key]
        return Entry(key, len(stored.data), stored.etag, stored.modified, "")

    def fail(self, operation: str, error: Exception, times: int = 1, after: int = 0) -> None:
        """The next `times` calls of `operation` raise, after `after` that don't."""
        left = [after, times]

        def fault(name: str, key: str) -> None:
            if name != operation:
                return
            if left[0] > 0:
                left[0] -= 1
            elif left[1] > 0:
                left[1] -= 1
                raise error

        self.faults.append(fault)

    def before(self, operation: str, action: Callable[[], object], after: int = 0) -> None:
        """Do something once, before a call of `operation`, after `after` others."""
        left = [after, 1]

        def fault(name: str, key: str) -> None:
            if name == operation:
                if left[0] > 0:
                    left[0] -= 1
                elif left[1] > 0:
                    left[1] = 0
                    action()

        self.faults.append(fault)

    # the protocol

    @property
    def requests(self) -> Mapping[str, int]:
        return self.calls

    @property
    def retries(self) -> Mapping[str, int]:
        return {}

    @property
    def priced_region(self) -> str:
        return ""

    async def close(self) -> None:
        return None

    async def pages(self, prefix: str, *, after: str = "", until: str = "") -> AsyncIterator[Sequence[Entry]]:
        await self._call("ListObjectsV2", prefix)
        found = [
            self.entry(key)
            for key in sorted(self.objects)
            if key.startswith(prefix) and key > after and (not until or key <= until)
        ]
        for start in range(0, len(found), 1000):
            yield found[start : start + 1000]

    async def head(self, key: str, *, if_match: str = "") -> ObjectHead:
        await self._call("HeadObject", key)
        if self.denies_head:
            raise AccessDenied("HeadObject refused", operation="HeadObject", status=403)
        stored = self._stored(key)
        if if_match and stored.etag != if_match:
            raise PreconditionFailed("HeadObject", operation="HeadObject", status=412)
        return self._head(stored)

    async def get(self, key: str, *, pinned: Generation | None, span: ByteSpan | None = None) -> Stream:
        await self._call("GetObject", key)
        stored = self._stored(key)
        if pinned is not None:
            if pinned.etag and stored.etag != pinned.etag:
                raise PreconditionFailed("GetObject", operation="GetObject", status=412)
            if self.denies_versions and not pinned.etag and pinned.version_id:
                raise AccessDenied("GetObjectVersion", operation="GetObject", status=403)
            if pinned.size != len(stored.data):
                raise ObjectChanged(f"{key}: {len(stored.data)} bytes, not {pinned.size}")
        data = stored.data
        if span is not None:
            if span.start >= len(data):
                raise RequestRefused("InvalidRange", operation="GetObject", status=416)
            data = data[span.start : span.stop]
        if self.damage_gets and data:
            self.damage_gets -= 1
            data = _flipped(data)
        cut = None
        if self.short_streams:
            self.short_streams -= 1
            cut = len(data) // 2
        return Stream(self._head(stored), data, self.chunk, cut, self)

    async def tags(self, key: str) -> Tags:
        await self._call("GetObjectTagging", key)
        return self._stored(key).options.tags

    async def put_tags(self, key: str, tags: Tags) -> None:
        await self._call("PutObjectTagging", key)
        stored = self._stored(key)
        stored.options = replace(stored.options, tags=() if self.drops_tags else tags)

    async def part_size(self, key: str, generation: Generation) -> int:
        await self._call("GetObjectAttributes", key)
        stored = self._stored(key)
        return stored.parts if stored.etag == generation.etag else 0

    async def put(self, key: str, body: Body, length: int, options: PutOptions) -> Written:
        await self._call("PutObject", key)
        if options.if_none_match and key in self.objects:
            raise PreconditionFailed("PutObject", operation="PutObject", status=412)
        data = await self._receive(body, length, options)
        if data is None:
            return Written(hashlib.md5(b"").hexdigest())
        etag = self._etag(data)
        self._store(key, data, options, etag, plain=True)
        return Written(etag, self._answer(data), opaque_etag=self.kms)

    async def delete(self, key: str, *, if_match: str = "") -> None:
        await self._call("DeleteObject", key)
        stored = self.objects.get(key)
        if if_match and self.capabilities.conditional_delete and stored and stored.etag != if_match:
            raise PreconditionFailed("DeleteObject: 412", operation="DeleteObject", status=412)
        self.objects.pop(key, None)

    async def create_upload(self, key: str, options: PutOptions, checksum_algorithm: str = "") -> str:
        await self._call("CreateMultipartUpload", key)
        self._serial += 1
        upload_id = f"upload-{self._serial}"
        self.uploads[upload_id] = Upload(key, options, _now(), checksum_algorithm)
        await self._call("CreateMultipartUpload.answer", key)
        return upload_id

    async def upload_part(
        self, key: str, upload_id: str, number: int, body: Body, length: int, options: PutOptions
    ) -> Written:
        await self._call("UploadPart", key)
        self._upload(key, upload_id)
        data = await self._receive(body, length, options)
        upload = self._upload(key, upload_id)
        if data is None:
            return Written("0" * 32)
        etag = self._etag(data)
        upload.parts[number] = (data, etag)
        self.parts_received.append((key, number))
        await self._call("UploadPart.answer", key)
        return Written(etag, self._answer(data, declared=upload.declared != ""), opaque_etag=self.kms)

    async def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, if_none_match: bool = False
    ) -> Written:
        await self._call("CompleteMultipartUpload", key)
        upload = self._upload(key, upload_id)
        if if_none_match and key in self.objects:
            raise PreconditionFailed("Complete", operation="CompleteMultipartUpload", status=412)
        for part in parts:
            if part.number not in upload.parts or upload.parts[part.number][1] != part.etag:
                raise RequestRefused("InvalidPart", operation="CompleteMultipartUpload", store_code="InvalidPart")
        data = b"".join(upload.parts[part.number][0] for part in parts)
        etag = multipart_etag([part.etag for part in parts])
        if not self.capabilities.multipart_etag or self.kms:
            etag = f"{hashlib.sha1(data).hexdigest()[:32]}-{len(parts)}"
        options = replace(upload.options, tags=()) if self.drops_upload_tags else upload.options
        self._store(key, data, options, etag, plain=False)
        del self.uploads[upload_id]
        if self.lose_complete_answers:
            self.lose_complete_answers -= 1
            raise ConnectionLost("the answer to Complete was lost")
        await self._call("CompleteMultipartUpload.answer", key)
        return Written(etag, self._answer(data, declared=upload.declared != ""))

    async def copies_from(self, source: Reader) -> bool:
        return self.copies and isinstance(source, MemoryStore)

    async def copy(
        self, source: Reader, source_key: str, generation: Generation, key: str, options: PutOptions
    ) -> Written:
        await self._call("CopyObject", key)
        data = _copied(source, source_key, Generation("", 0) if self.copies_whatever_is_there else generation)
        etag = self._etag(data)
        self._store(key, data, options, etag, plain=True)
        await self._call("CopyObject.answer", key)
        return Written(etag)

    async def copy_part(
        self,
        source: Reader,
        source_key: str,
        generation: Generation,
        span: ByteSpan,
        key: str,
        upload_id: str,
        number: int,
    ) -> Written:
        await self._call("UploadPartCopy", key)
        data = _copied(source, source_key, generation)[span.start : span.stop]
        etag = self._etag(data)
        self._upload(key, upload_id).parts[number] = (data, etag)
        return Written(etag)

    async def abort_upload(self, key: str, upload_id: str) -> None:
        await self._call("AbortMultipartUpload", key)
        self.uploads.pop(upload_id, None)  # whatever the key: some stores look at nothing but the id

    async def uploaded_parts(self, key: str, upload_id: str) -> AsyncIterator[UploadedPart]:
        await self._call("ListParts", key)
        upload = self._upload(key, upload_id)
        for number, (data, etag) in sorted(upload.parts.items()):
            yield UploadedPart(number, len(data), etag)

    async def open_uploads(self, prefix: str) -> AsyncIterator[OpenUpload]:
        await self._call("ListMultipartUploads", prefix)
        for upload_id, upload in list(self.uploads.items()):
            if upload.key.startswith(prefix):
                yield OpenUpload(upload.key, upload_id, upload.initiated)

    # inside

    async def _call(self, operation: str, key: str) -> None:
        await asyncio.sleep(0)
        self.calls[operation] += 1
        for fault in self.faults:
            fault(operation, key)

    async def _receive(self, body: Body, length: int, options: PutOptions) -> bytes | None:
        if self.early_successes:
            self.early_successes -= 1
            return None
        try:
            data = body if isinstance(body, bytes) else b"".join([bytes(chunk) async for chunk in body])
        except DthError as error:
            raise ServerFault("the request's body broke off") from error
        if len(data) != length:
            raise AnswerInvalid(f"{len(data)} bytes came, {length} were promised", operation="PutObject")
        if self.damage_puts and data:
            self.damage_puts -= 1
            data = _flipped(data)
        if not self.ignores_digests:
            if options.content_md5 and hashlib.md5(data).hexdigest() != options.content_md5:
                raise DigestRefused("BadDigest", operation="PutObject", status=400)
            if options.checksum is not None and _crc(options.checksum[0], data) != options.checksum[1]:
                raise DigestRefused("BadDigest", operation="PutObject", status=400)
        return data

    def _answer(self, data: bytes, *, declared: bool = True) -> tuple[tuple[str, str], ...]:
        if not self.answers_checksums or (self.capabilities.declares_checksum and not declared):
            return ()
        return tuple((name, _crc(name, data)) for name in self.capabilities.checksums)

    def _etag(self, data: bytes) -> str:
        if self.md5_lies or self.kms:
            return hashlib.md5(b"salt" + data).hexdigest()
        if not self.capabilities.md5_etag:
            return f"W-{hashlib.sha1(data).hexdigest()}"
        return hashlib.md5(data).hexdigest()

    def _store(self, key: str, data: bytes, options: PutOptions, etag: str, *, plain: bool) -> None:
        if self.drops_tags:
            options = replace(options, tags=())
        kept = tuple((name, _crc(name, data)) for name in self.capabilities.checksums) if self.keeps_checksums else ()
        self.objects[key] = Stored(data, etag, options, _now(), plain and not self.kms, kept)

    def _stored(self, key: str) -> Stored:
        if key not in self.objects:
            raise NoSuchKey("NoSuchKey", operation="GetObject", status=404)
        return self.objects[key]

    def _head(self, stored: Stored) -> ObjectHead:
        return ObjectHead(
            generation=Generation(stored.etag, len(stored.data)),
            last_modified=stored.modified,
            attributes=stored.options.attributes,
            md5=stored.etag if stored.plain and self.capabilities.md5_etag else "",
            checksums=stored.checksums,
            checksum_type=_kind(stored.checksums),
            opaque_etag=self.kms,
            tag_count=len(stored.options.tags) or None if self.tells_tags else None,
        )

    def _upload(self, key: str, upload_id: str) -> Upload:
        upload = self.uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise NoSuchUpload("NoSuchUpload", operation="UploadPart", status=404)
        return upload


def _copied(source: Reader, key: str, generation: Generation) -> bytes:
    assert isinstance(source, MemoryStore)
    stored = source.objects.get(key)
    if stored is None:
        raise NoSuchKey("NoSuchKey", operation="CopyObject", status=404)
    if generation.etag and stored.etag != generation.etag:
        raise PreconditionFailed("CopyObject", operation="CopyObject", status=412)
    return stored.data


def _flipped(data: bytes) -> bytes:
    """One bit of one byte anywhere is another."""
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _crc(algorithm: str, data: bytes) -> str:
    crc = Crc(algorithm)
    crc.update(data)
    return crc.base64


def _kind(checksums: tuple[tuple[str, str], ...]) -> str:
    if not checksums:
        return ""
    return "COMPOSITE" if any("-" in value for _, value in checksums) else "FULL_OBJECT"


_clock = [datetime.now(UTC).timestamp()]


def _now() -> str:
    """Strictly rising, to the microsecond, so that two writes never look like one."""
    _clock[0] = max(_clock[0] + 1e-3, datetime.now(UTC).timestamp())
    return datetime.fromtimestamp(_clock[0], UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

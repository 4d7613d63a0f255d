"""What the engine asks of an object store, in the smallest pieces.

Functions take the smallest capability that they need (`Lister`, `Reader`, `Writer`), never a whole client. Promises that
hold for all of them:

- Errors are children of `StoreError` or `TransportError`, named by side, bucket, key and operation.
- Requests that are safe to repeat are repeated by the store itself (a bounded number of times, with jitter): listing,
  HEAD, the head of a GET, and every write whose body is `bytes`. A streamed body is sent once: its error is the caller's
  to handle by reading the source again.
- Keys are raw text (see `model.Entry`); encoding is the store's business, done once for URL and signature.
- ETags go in and out without quotes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

from dth.errors import DthError
from dth.model import Attributes, ByteSpan, Entry, Generation, ObjectHead, Tags
from dth.states import RestoreState
from dth.transport.base import Body
from dth.values import value


@value
class KeyRules:
    """Keys that a destination refuses or folds into others. `max_segment_bytes` 0 means unlimited."""

    max_bytes: int = 1024
    max_segment_bytes: int = 0
    folds_empty_segments: bool = False  # `a//b` becomes `a/b`, `/a` becomes `a`
    refuses_dot_segments: bool = False  # `.` and `..` between slashes
    refuses_control: bool = False  # characters below 0x20
    folds_backslashes: bool = False  # a backslash becomes a slash
    empties_folders: bool = False  # a key that ends in `/` keeps none of its bytes, and the PUT says 200
    nested_keys_race: bool = False  # `x` is lost where it is written at the moment at which `x/y` is
    markers_yield: bool = False  # `x/` vanishes when `x` is written; the pair is refused by name, at `x/`

    def refusal(self, key: str, size: int = 0) -> str:  # noqa: PLR0911 - one return a rule
        """Why the destination cannot hold `size` bytes at `key`, as half a sentence; "" where it can. Pure."""
        try:
            length = len(key.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            return "the key holds half of a surrogate pair, which stands for no bytes"
        if not key or length > self.max_bytes:
            return f"the key has {length} bytes, the destination takes 1 to {self.max_bytes}"
        if self.folds_backslashes and "\\" in key:
            return "the destination turns backslashes into slashes, so another key would be written"
        if self.empties_folders and size and key.endswith("/"):
            return "the destination keeps no bytes under a key that ends in `/`"
        segments = key.split("/")
        if self.folds_empty_segments and "" in segments[:-1]:
            return (
                "the destination folds empty path segments (`//` or a leading `/`), so another key would be overwritten"
            )
        if self.refuses_dot_segments and not {".", ".."}.isdisjoint(segments):
            return "the destination refuses `.` and `..` between slashes"
        if self.max_segment_bytes:
            longest = max(len(segment.encode("utf-8", "surrogateescape")) for segment in segments)
            if longest > self.max_segment_bytes:
                return f"a path segment has {longest} bytes, the destination takes {self.max_segment_bytes}"
        if self.refuses_control and any(ch < " " for ch in key):
            return "the destination refuses control characters"
        return ""


@value
class Capabilities:
    """What a kind of store can do: the engine's view of a provider profile. Sizes in bytes.

    `ordered`: listings come in byte order. `start_after`: listing may begin after any key. `md5_etag`: a plain PUT's
    ETag is the MD5 of its bytes. `multipart_etag`: a multipart ETag is the MD5 of the parts' MD5s and `-count`.
    `checksums`: algorithms that it verifies on PUT and UploadPart and answers with, best first (`crc64nvme`, `crc32c`,
    `crc32`); empty where such headers are ignored or refused. `needs_payload_hash`: this endpoint refuses
    UNSIGNED-PAYLOAD, so a body must be whole before it is sent. `conditional_put`: If-None-Match on PUT works.
    `declares_checksum`: an upload created for an algorithm takes parts without that header and answers each with its
    own sum (AWS refuses such parts, but answers with CRC64NVME where no algorithm was declared). `conditional_delete`: If-Match
    on DELETE works. `keeps_tags`: it has object tags; None where that is not known. `tells_tag_count`: the answer to a GET
    or HEAD says how many there are, to whoever may read them. `uploads_keep_tags`: those that an upload is created with are
    its object's. `tells_parts`: it tells the sizes of an object's parts, whose MD5s its ETag is then made of.
    `server_side_copy`: CopyObject works; `copies_parts`: UploadPartCopy too. `assumed`: nobody knows this kind of store, so
    what stands here is a guess until its answers bear it out.
    """

    provider: str
    ordered: bool
    start_after: bool
    md5_etag: bool
    multipart_etag: bool
    checksums: tuple[str, ...]
    needs_payload_hash: bool
    conditional_put: bool
    server_side_copy: bool
    part_min: int
    part_max: int
    parts_max: int
    put_max: int
    object_max: int
    equal_parts: bool
    key_rules: KeyRules
    declares_checksum: bool = False
    conditional_delete: bool = False
    keeps_tags: bool | None = None
    tells_tag_count: bool = False
    uploads_keep_tags: bool = False
    tells_parts: bool = False
    copies_parts: bool = False
    assumed: bool = False


@value
class PutOptions:
    """What a write carries besides its bytes. `content_md5` is hex; `checksum` is (algorithm, base64 value), sent as a
    header, never as a trailer. Storage class, ACL and encryption are sent only where set (not "")."""

    attributes: Attributes = Attributes()
    content_md5: str = ""
    checksum: tuple[str, str] | None = None
    storage_class: str = ""
    acl: str = ""
    sse: str = ""  # "", AES256 or aws:kms
    sse_kms_key_id: str = ""
    if_none_match: bool = False
    tags: Tags = ()


@value
class Written:
    """A successful write's answer: ETag, and checksums by lower-case algorithm where the store gave any. `opaque_etag`: by
    its own words the ETag is not made of the bytes (KMS)."""

    etag: str
    checksums: tuple[tuple[str, str], ...] = ()
    version_id: str | None = None
    opaque_etag: bool = False


@value
class UploadedPart:
    """One part that the store holds. `number` counts from 1."""

    number: int
    size: int
    etag: str


@value
class OpenUpload:
    """A multipart upload as ListMultipartUploads names it; `initiated` is the store's ISO 8601 text."""

    key: str
    upload_id: str
    initiated: str


class ObjectStream(Protocol):
    """An object's bytes, of one generation, on their way. End it as a transport response: `read`, iterate, or `close`.

    Both ways assert the length: fewer or more bytes than `length` is an error, never a short object.
    """

    @property
    def head(self) -> ObjectHead:
        """Taken from this very answer, so it belongs to these bytes."""
        ...

    @property
    def length(self) -> int:
        """Bytes that follow."""
        ...

    async def read(self) -> bytes:
        """All of them. The caller holds a budget for them."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks as they arrive."""
        ...

    def close(self) -> None:
        """Give up the rest. Idempotent."""
        ...


class Lister(Protocol):
    """Lists keys."""

    @property
    def capabilities(self) -> Capabilities:
        """Of this endpoint, as profile and settings say."""
        ...

    def pages(self, prefix: str, *, after: str = "", until: str = "") -> AsyncIterator[Sequence[Entry]]:
        """Pages of entries with `prefix`, after `after` (exclusive), up to `until` (inclusive; "" is the end).

        In the store's order, which the caller guards. Each page is retried by itself. Raises ListingBroken where pages
        repeat, loop or claim to go on without saying how. Never sends a start-after that sorts before `prefix`.
        """
        ...


class Reader(Protocol):
    """Reads objects."""

    @property
    def capabilities(self) -> Capabilities:
        """Of this endpoint."""
        ...

    async def head(self, key: str, *, if_match: str = "") -> ObjectHead:
        """Raises NoSuchKey for 404, AccessDenied for 403 (which is not absence), PreconditionFailed for 412."""
        ...

    async def get(self, key: str, *, pinned: Generation | None, span: ByteSpan | None = None) -> ObjectStream:
        """Open the object, or `span` of it. `pinned` sends If-Match with its ETag (its version id where no ETag is
        known): another generation raises PreconditionFailed, and an answer whose total size is not `pinned.size` raises
        ObjectChanged before a byte is handed out. A 200 to a ranged request raises AnswerInvalid."""
        ...

    async def tags(self, key: str) -> Tags:
        """The tags of the object as it is now."""
        ...

    async def part_size(self, key: str, generation: Generation) -> int:
        """The size of the parts that this generation was uploaded in, all but the last; 0 where they were not equal, or
        the store does not tell, or does not let us ask. One request, with 10,000 parts at most ten."""
        ...


class Restorer(Protocol):
    """Has archived objects restored."""

    async def head(self, key: str, *, if_match: str = "") -> ObjectHead:
        """As `Reader.head`; its `restore` says how far that is."""
        ...

    async def restore(self, key: str, *, days: int, tier: str) -> RestoreState:
        """Ask for a readable copy that stays for `days`, made as fast as `tier` says (`Bulk`, `Standard`, `Expedited`).
        UNDER_WAY, asked for now or before; READY where there was one, whose days begin anew."""
        ...


class Writer(Protocol):
    """Writes objects."""

    @property
    def capabilities(self) -> Capabilities:
        """Of this endpoint."""
        ...

    async def put(self, key: str, body: Body, length: int, options: PutOptions) -> Written:
        """One PutObject. Not a byte is visible at `key` unless this returns (or its answer was lost: then read)."""
        ...

    async def head(self, key: str, *, if_match: str = "") -> ObjectHead:
        """As `Reader.head`; where HEAD is refused (403) but listing is allowed, callers use `Lister.pages`."""
        ...

    async def put_tags(self, key: str, tags: Tags) -> None:
        """Replace the object's tags."""
        ...

    async def delete(self, key: str, *, if_match: str = "") -> None:
        """Delete one key; absent is success."""
        ...

    async def create_upload(self, key: str, options: PutOptions, checksum_algorithm: str = "") -> str:
        """The new upload's id. Not repeated after an answer was lost: that would leave an upload behind."""
        ...

    async def upload_part(
        self, key: str, upload_id: str, number: int, body: Body, length: int, options: PutOptions
    ) -> Written:
        """One part, `number` from 1. Of `options` only `content_md5` and `checksum` apply."""
        ...

    async def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, if_none_match: bool = False
    ) -> Written:
        """A 200 that holds an error, or no result with an ETag, raises. Repeating after a lost answer may raise
        NoSuchUpload although the object is there: the caller looks."""
        ...

    async def copies_from(self, source: Reader) -> bool:
        """Whether this store can be asked to copy from `source` by itself: it knows how, the endpoint is the same, and so are
        the credentials."""
        ...

    async def copy(
        self, source: Reader, source_key: str, generation: Generation, key: str, options: PutOptions
    ) -> Written:
        """One CopyObject of exactly this generation, which is no larger than `put_max`; what it carries is in `options`
        alone. Raises PreconditionFailed for another generation, NoSuchKey, and, for an error inside a 200, that error."""
        ...

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
        """One UploadPartCopy of a span of exactly this generation. Errors as of `copy`."""
        ...

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Absent is success."""
        ...

    def uploaded_parts(self, key: str, upload_id: str) -> AsyncIterator[UploadedPart]:
        """All parts that the store holds, in order, over all pages."""
        ...

    def open_uploads(self, prefix: str) -> AsyncIterator[OpenUpload]:
        """All uploads whose key starts with `prefix`, over all pages (keys that merely start with a wanted key are
        among them: compare whole keys)."""
        ...


class Trip(Protocol):
    """One object on its way by `Express`."""

    def cancel(self) -> None:
        """Give up; `done` is called."""
        ...


class Express(Protocol):
    """Copies small whole objects between two stores by callbacks, in the plain case: nothing about the requests or their
    answers is unusual."""

    async def ready(self) -> bool:
        """Look up where requests go and who signs them: to be called again every now and then. False where the two stores
        always ask for more than the express knows."""
        ...

    def begin(
        self,
        key: str,
        generation: Generation,
        dest_key: str,
        options: Callable[[ObjectHead], PutOptions | None],
        done: Callable[[Written | DthError | None], None],
    ) -> Trip | None:
        """Set out with exactly this generation of the object, and write it with `options` (None: not by this way) and its MD5,
        which the destination is to check the bytes against. `done` is called once: with what was written, or with None or the error where the object must be copied in the ordinary way. Returns None,
        with nothing sent and `done` not called, where either side has no idle connection, or no such request can be made."""
        ...


class ObjectStore(Lister, Reader, Writer, Protocol):
    """All of it, as `app` builds it."""

    @property
    def requests(self) -> Mapping[str, int]:
        """HTTP requests sent so far, retries included, by operation name (`GetObject`)."""
        ...

    @property
    def retries(self) -> Mapping[str, int]:
        """Requests that failed and had to be made again so far, by cause (see `causes.RETRIES`)."""
        ...

    @property
    def priced_region(self) -> str:
        """The region whose prices AWS takes for requests here (its own default until another is known); "" where this is not
        AWS."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


async def listed_alone(store: Lister, key: str) -> Entry | None:
    """What a listing says of one key, None where it names none: for who may not ask for the object itself."""
    async for page in store.pages(key, until=key):
        for entry in page:
            if entry.key == key:
                return entry
            if store.capabilities.ordered:
                return None  # the key itself is the first that begins with it
    return None

"""The values that flow through the pipe. All are immutable; sizes are bytes; spans are half-open."""

from __future__ import annotations

from typing import NamedTuple

from dth.errors import KeyRefused
from dth.states import Outcome, Reason, RestoreState, Side, VerifiedBy
from dth.values import value


@value
class Location:
    """One side of a job: where, and the *names* of what opens it. Holds no secret, so it may be stored and shown.

    `endpoint` is a URL with a scheme, or "" for what provider and region imply; `region` may be "" until discovered;
    `credentials` is a secret's name, `anonymous`, or "" for the ambient chain; `profile` a section of the AWS
    configuration; `addressing` is `path`, `virtual` or "" for the provider's own.
    """

    side: Side
    provider: str
    endpoint: str
    region: str
    bucket: str
    prefix: str
    credentials: str
    profile: str
    addressing: str
    request_payer: bool = False

    def url(self, key: str = "") -> str:
        """`s3://bucket/key`, for people."""
        return f"s3://{self.bucket}/{key or self.prefix}"


class Entry(NamedTuple):
    """One listed object. A tuple, not a dataclass: a listing makes a million a second, and a frozen dataclass costs
    four times as much to build (measured: 0.25 against 1.0 µs).

    Keys are text whose code point order is the byte order of their UTF-8; bytes that are no UTF-8 are kept as lone
    surrogates (`surrogateescape`). `etag` is without quotes, "" where none was listed. `last_modified` is the store's
    own ISO 8601 text in UTC (`2024-05-01T12:00:00.000Z`), parsed only by rungs that need it.
    """

    key: str
    size: int
    etag: str
    last_modified: str
    storage_class: str


@value
class Change:
    """What the finder decided about one source object, and which rung said so. `there` is the destination's object, where it
    is still OPEN."""

    entry: Entry
    reason: Reason
    there: Entry | None = None


class ByteSpan(NamedTuple):
    """Bytes `start` up to but not including `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of bytes."""
        return self.stop - self.start


@value
class Generation:
    """Which bytes of a key: two equal generations are the same object. `etag` is without quotes, "" where unknown."""

    etag: str
    size: int
    version_id: str | None = None


@value
class Attributes:
    """What an object carries besides its bytes; the same for PUT and for multipart uploads.

    `headers` are content headers by lower-case name (content-type, content-encoding, content-disposition,
    content-language, cache-control, expires, x-amz-website-redirect-location); `metadata` is the user's, names without
    the `x-amz-meta-` prefix. Values are kept as the source sent them. `withheld` is true if the source says that it has more
    metadata than it can send in headers.
    """

    headers: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    withheld: bool = False


Tags = tuple[tuple[str, str], ...]
"""An object's tags, key and value, in the store's order. No part of its generation: they change without its ETag."""


@value
class ObjectHead:
    """An object's answer to HEAD or the head of a GET: generation, attributes, and what its ETag and checksums mean.

    `md5` is the hex MD5 of the bytes where the answer proves that the ETag is one (not multipart, not KMS, SSE-C or a
    directory bucket's), else "". `checksums` maps a lower-case algorithm (`crc64nvme`, `sha256`) to the store's base64
    value; `checksum_type` is `FULL_OBJECT`, `COMPOSITE` or "". `storage_class` is "" for STANDARD. `opaque_etag`: the
    object is encrypted in a way (KMS, SSE-C) under which ETags are not made of the bytes. `tag_count` is None where the
    answer does not tell. `restore` is about an archived object.
    """

    generation: Generation
    last_modified: str
    attributes: Attributes
    md5: str = ""
    checksums: tuple[tuple[str, str], ...] = ()
    checksum_type: str = ""
    storage_class: str = ""
    opaque_etag: bool = False
    tag_count: int | None = None
    restore: RestoreState = RestoreState.NONE


@value
class Counts:
    """How many entries ended how. `bytes` counts the bytes of DONE objects."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    bytes: int = 0

    @property
    def ended(self) -> int:
        """Entries that reached a final outcome."""
        return self.done + self.skipped + self.failed

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.done + other.done,
            self.skipped + other.skipped,
            self.failed + other.failed,
            self.bytes + other.bytes,
        )


@value
class ObjectRecord:
    """One line of the report: what became of one object, and what proved it. `seconds` are those of its last delivery, retries
    included, from its first request on; 0.0 where nobody measured them."""

    run_id: str
    key: str
    dest_key: str
    size: int
    outcome: Outcome
    reason: Reason
    source_etag: str
    dest_etag: str
    verified_by: VerifiedBy | None
    attempt: int
    error_code: str
    error: str
    seconds: float = 0.0


@value
class ImageRecord:
    """One line of the report of an image job: what became of one image. Bytes are of its blobs; `skipped_bytes` needed no
    upload. `referrer_of` is the digest that a signature or the like belongs to; `removed` says that the destination's tag was
    to go, because the source lacks it."""

    run_id: str
    source: str
    destination: str
    digest: str
    outcome: Outcome
    moved_bytes: int
    skipped_bytes: int
    blobs_uploaded: int
    blobs_mounted: int
    blobs_present: int
    mounts_refused: int
    foreign_layers: int
    attempt: int
    referrer_of: str
    error_code: str
    error: str
    removed: bool = False


@value
class ImageEnd:
    """How an image that a worker was sent has ended: DONE where anything was written, SKIPPED where nothing had to be. `bytes`
    are those that moved; `records` its line of the report and one for each referrer."""

    outcome: Outcome
    bytes: int
    records: tuple[ImageRecord, ...]


@value
class KeyMapping:
    """How source keys become destination keys. Replacing one prefix by another keeps the order of keys, which is what
    lets two ordered listings be merge-joined.

    `strip` true (`sync`, `verify`): `source_prefix` is replaced by `dest_prefix`. False (the guide's mapping): the
    destination prefix, `/` where it is not empty and lacks one, and the full key.
    """

    source_prefix: str
    dest_prefix: str
    strip: bool

    def dest_key(self, key: str) -> str:
        """The destination's key. Raises KeyRefused where `key` is none of the source's: it does not start with
        `source_prefix`, and cutting so many characters off would name another object."""
        if not key.startswith(self.source_prefix):
            raise KeyRefused(f"{key!r} is outside of the job's source: it does not start with {self.source_prefix!r}")
        if self.strip:
            return self.dest_prefix + key[len(self.source_prefix) :]
        if self.dest_prefix and not self.dest_prefix.endswith("/"):
            return f"{self.dest_prefix}/{key}"
        return self.dest_prefix + key

    @property
    def dest_listing_prefix(self) -> str:
        """The prefix that all mapped keys share."""
        return self.dest_key(self.source_prefix)

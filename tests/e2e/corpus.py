"""A deterministic corpus of every kind of object, put into real stores quickly, and what a bucket holds afterwards.

`corpus(n, seed)` yields the same objects for the same arguments. Their bytes are computed when they are sent: a corpus
of any size costs no memory. One of 20,000 small objects fills a Ceph RGW on two cores in about 80 s.
"""

import contextlib
import hashlib
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

KIB, MIB = 1 << 10, 1 << 20
PART = 5 * MIB  # smallest part that S3 takes

HEADERS = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType")
"""What `Made.headers` may hold, by boto3's names. `Expires` is left out: boto3 parses and rewrites it."""

ODD_KEYS = (
    # characters that URLs, XML, JSON, signatures and shells treat specially
    "odd/plain space",
    "odd/ leading and trailing ",
    "odd/plus+sign a+b%2B%20%",
    "odd/hash#question?and&equals=semi;colon:at@comma,",
    "odd/quotes'\"`",
    "odd/angle<>&amp;]]>",
    "odd/back\\slash",
    "odd/tilde~star*paren()[]{}!$^|",
    "odd/new\nline\r\ttab",
    "odd/control\x01\x1f\x7f",
    # slashes and dots that paths would fold
    "/odd-leading-slash",
    "//odd-two-leading",
    "odd//double//slash",
    "odd/trailing/slash/",
    "odd/./dot/../dots/..",
    "../odd-above",
    ".",
    "odd/...",
    # a key that is a prefix of others, and characters on both sides of `/` (0x2F) in byte order
    "edge",
    "edge-1",
    "edge-1/a",
    "edge.txt",
    "edge/",
    "edge/a",
    "edge/a/b",
    "edge0",
    "edge!",
    "edge dir/a",
    "edge1-2/x",
    "edge1/x",
    # beyond ASCII: code point order and UTF-16 order disagree on the last two
    "odd/ümlaut-composed-\u00e9",
    "odd/ümlaut-combining-e\u0301",
    "odd/日本語/ключ/مفتاح",
    "odd/emoji-👩‍👩‍👧‍👦-🏳️‍🌈",
    "odd/bmp-end-\uffee",
    "odd/astral-\U00010000",
)

_NESTED = frozenset(
    key for key in ODD_KEYS if any(key.startswith(f"{other}/") or other.startswith(f"{key}/") for other in ODD_KEYS)
)
_writing_nested = threading.Lock()

_TYPES = ("text/plain", "application/json", "image/png", "text/html; charset=utf-8", "binary/octet-stream")
_ENCODINGS = ("gzip", "br", "identity")  # the bytes needn't be: nobody on the way may look


@dataclass(frozen=True, slots=True)
class Made:
    """One object of the corpus. `part_size` 0 means a single PUT."""

    key: str
    size: int
    seed: int
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    part_size: int = 0

    def body(self) -> bytes:
        """Its bytes: not compressible, different for each object."""
        return random.Random(self.seed).randbytes(self.size)


@dataclass(frozen=True, slots=True)
class Held:
    """One object as a bucket holds it. `sha256` is "" in the variant without hashes."""

    size: int
    sha256: str
    headers: Mapping[str, str]
    metadata: Mapping[str, str]


def longest_keys(length: int) -> tuple[str, str]:
    """Keys of exactly `length` bytes of UTF-8: of ASCII, and of three-byte characters."""
    ascii_key, wide = "odd/long-", "odd/wide-"
    room = length - len(wide)
    return ascii_key + "x" * room, wide + "語" * (room // 3) + "x" * (room % 3)


def corpus(n: int, *, seed: int = 1, odd: bool = True, big: bool = True, longest: int = 1024) -> Iterator[Made]:
    """`n` objects (at least as many as there are odd keys, if `odd`), in no particular order of keys.

    `big` adds five of about a megabyte and four of 5 to 20 MiB by multipart to the small ones, within `n`. `longest` is
    the longest key in bytes: 1,024 less what a prefix, here or at a destination, will take.
    """
    dice = random.Random(seed)
    made = 0
    fixed = [(key, 16) for key in ODD_KEYS + longest_keys(longest)] if odd else []
    fixed += [(f"markers/folder-{number}/", 0) for number in range(3)]
    for key, size in fixed:
        yield _made(dice, key, size)
        made += 1
    for key, size, part_size in _big_ones() if big else ():
        yield _made(dice, key, size, part_size)
        made += 1
    for number in range(made, n):
        yield _made(dice, _folder(dice) + f"object-{number:07}", dice.choice((0, 1, 100, KIB, KIB, 10 * KIB)))


def _big_ones() -> Iterator[tuple[str, int, int]]:
    for number in range(5):
        yield f"big/near-a-megabyte-{number}", MIB - 2 + number, 0
    yield "big/one-part", PART, PART
    yield "big/aligned", 2 * PART, PART
    yield "big/last-part-of-one-byte", 2 * PART + 1, PART
    yield "big/parts-of-six", 19 * MIB + 12_345, 6 * MIB


def _folder(dice: random.Random) -> str:
    depth = dice.choice((0, 1, 1, 2, 3, 6))
    return "".join(f"{dice.choice('abc')}{dice.randrange(8)}/" for _ in range(depth))


def _made(dice: random.Random, key: str, size: int, part_size: int = 0) -> Made:
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    dressed = part_size or dice.random() < 0.3
    if dressed:
        headers["ContentType"] = dice.choice(_TYPES)
        headers["CacheControl"] = f"max-age={dice.randrange(10_000)}, public"
        metadata["seed"] = str(dice.randrange(1_000_000))
        metadata["with-dashes-and.dots"] = "a b  c; d=e, f"
        if dice.random() < 0.5:
            headers["ContentEncoding"] = dice.choice(_ENCODINGS)
            headers["ContentLanguage"] = "de, en"
            headers["ContentDisposition"] = 'attachment; filename="a b.txt"'
    return Made(key, size, dice.getrandbits(48), headers, metadata, part_size)


def fill(client: Any, bucket: str, objects: Iterable[Made], *, prefix: str = "", threads: int = 16) -> int:
    """Put them all, in parallel; how many there were. The first failure ends it and is raised.

    Odd keys that lie above or below each other are put one at a time. SeaweedFS 4.48 keeps only one of `a` and `a/b` where
    both are written at the same moment, and answers 200 to both.
    """

    def put(made: Made) -> None:
        attributes = {**made.headers, "Metadata": dict(made.metadata)}
        with _writing_nested if made.key in _NESTED else contextlib.nullcontext():
            if made.part_size:
                _put_parts(client, bucket, prefix + made.key, made, attributes)
            else:
                client.put_object(Bucket=bucket, Key=prefix + made.key, Body=made.body(), **attributes)

    return sum(1 for _ in _parallel(put, objects, threads))


def _put_parts(client: Any, bucket: str, key: str, made: Made, attributes: Mapping[str, Any]) -> None:
    target = {"Bucket": bucket, "Key": key}
    upload = client.create_multipart_upload(**target, **attributes)["UploadId"]
    body, parts = made.body(), []
    for number, start in enumerate(range(0, made.size, made.part_size), 1):
        piece = body[start : start + made.part_size]
        answer = client.upload_part(**target, UploadId=upload, PartNumber=number, Body=piece)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(**target, UploadId=upload, MultipartUpload={"Parts": parts})


def expected(objects: Iterable[Made], *, prefix: str = "") -> dict[str, Held]:
    """What `inventory` answers for a bucket that holds exactly these."""
    return {
        prefix + made.key: Held(
            made.size,
            hashlib.sha256(made.body()).hexdigest(),
            {"ContentType": "binary/octet-stream", **made.headers},
            dict(made.metadata),
        )
        for made in objects
    }


def inventory(client: Any, bucket: str, prefix: str = "", *, threads: int = 16) -> dict[str, Held]:
    """Every object under `prefix`, read whole: size, SHA-256, content headers, user metadata."""

    def read(key: str) -> tuple[str, Held]:
        answer = client.get_object(Bucket=bucket, Key=key)
        digest, size = hashlib.sha256(), 0
        with contextlib.closing(answer["Body"]) as body:
            for chunk in body.iter_chunks(MIB):
                digest.update(chunk)
                size += len(chunk)
        # boto3 leaves the type out where the store has none; S3's own default is this one
        headers = {"ContentType": "binary/octet-stream", **{name: answer[name] for name in HEADERS if name in answer}}
        return key, Held(size, digest.hexdigest(), headers, answer["Metadata"])

    return dict(_parallel(read, (item["Key"] for item in listing(client, bucket, prefix)), threads))


def sizes(client: Any, bucket: str, prefix: str = "") -> dict[str, int]:
    """Key and size of every object under `prefix`, by listing alone: the fast variant."""
    return {item["Key"]: item["Size"] for item in listing(client, bucket, prefix)}


def listing(client: Any, bucket: str, prefix: str = "") -> Iterator[dict[str, Any]]:
    """Every entry under `prefix`, as boto3 gives it."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Contents", ())


def open_uploads(client: Any, bucket: str) -> list[tuple[str, str]]:
    """(key, upload id) of every multipart upload that nobody completed or aborted."""
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
    return [(item["Key"], item["UploadId"]) for page in pages for item in page.get("Uploads", ())]


def remove_all(client: Any, bucket: str, keys: Iterable[str], *, threads: int = 16) -> None:
    """Delete the keys one by one, in parallel (DeleteObjects can't hold every character)."""
    for _ in _parallel(lambda key: client.delete_object(Bucket=bucket, Key=key), keys, threads):
        pass


def _parallel(do: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Results as they come, with at most a few items per thread taken ahead; the first failure is raised."""
    with ThreadPoolExecutor(threads) as pool:
        pending: set[Future[R]] = set()
        try:
            for item in items:
                pending.add(pool.submit(do, item))
                if len(pending) >= 4 * threads:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            yield from (future.result() for future in as_completed(pending))
        finally:
            for future in pending:
                future.cancel()

"""A source whose objects are computed, and a sink that keeps hashes only: objects of any size, no disk, no memory.

Each 64 KiB of an object begins with its name's checksum and its own number, so that blocks that change places, repeat
or come from another object are noticed.
"""

import hashlib
import itertools
import random
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .wire import Answer, HttpServer, Request, error, http_date, xml

BLOCK = 1 << 16
_FILL = random.Random(7).randbytes(BLOCK - 16)
BURST_SECONDS = 0.25
_MD5_UP_TO = 64 << 20  # above, an ETag is opaque, as of a multipart upload


def generated(key: str, start: int, stop: int) -> Iterator[bytes]:
    """Bytes `start` up to `stop` of the object `key`, in chunks."""
    name = zlib.crc32(key.encode("utf-8", "surrogateescape")).to_bytes(8, "big")
    at = start
    while at < stop:
        number, inside = divmod(at, BLOCK)
        data = (name + number.to_bytes(8, "big") + _FILL)[inside : inside + stop - at]
        at += len(data)
        yield data


def sha256_of(key: str, start: int, stop: int) -> str:
    """What those bytes hash to."""
    digest = hashlib.sha256()
    for data in generated(key, start, stop):
        digest.update(data)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Received:
    """A body that came: by PUT, or a part."""

    size: int
    sha256: str
    md5: str


@dataclass(frozen=True, slots=True)
class Landed:
    """An object that arrived: its pieces in order (one for a PUT)."""

    pieces: tuple[Received, ...]
    etag: str
    headers: dict[str, str]

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)

    def equals(self, key: str) -> bool:
        """Whether its bytes are those of the generated object `key` (hashes them once more)."""
        at = 0
        for piece in self.pieces:
            if sha256_of(key, at, at + piece.size) != piece.sha256:
                return False
            at += piece.size
        return True


@dataclass
class _Upload:
    key: str
    headers: dict[str, str]
    parts: dict[int, Received] = field(default_factory=dict)


@dataclass
class Generator:
    """`with Generator({"big.bin": 5 << 30}) as server:`: bucket `source` holds those, any other bucket is the sink.

    Signatures are not looked at. `counts` counts requests by operation; `landed` is by bucket and key; `received` counts the
    bytes of bodies as they come. With a `rate`, requests for objects beyond so many a second are answered 503 SlowDown; `taken`
    has the times of the others. `refuse` may answer in the store's place.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    latency: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    landed: dict[tuple[str, str], Landed] = field(default_factory=dict)
    received: int = 0
    rate: float = 0.0
    taken: list[float] = field(default_factory=list)
    refuse: Callable[[Request], Answer | None] = lambda _: None

    def __post_init__(self) -> None:
        self._tokens, self._filled = self.rate * BURST_SECONDS, time.monotonic()
        self._server = HttpServer(self._respond)
        self._uploads: dict[str, _Upload] = {}
        self._ids = itertools.count(1)
        self._etags: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return self._server.endpoint

    @property
    def parts_held(self) -> list[Received]:
        """All parts of uploads that are still open, cut ones among them."""
        return [part for upload in list(self._uploads.values()) for part in list(upload.parts.values())]

    @property
    def open_uploads(self) -> int:
        return len(self._uploads)

    def __enter__(self) -> "Generator":
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def etag(self, key: str) -> str:
        """MD5 up to 64 MiB; above, 32 digits and a number of parts that mean nothing."""
        if key not in self._etags:
            digest = hashlib.md5()
            size = self.sizes[key]
            for data in generated(key, 0, size if size <= _MD5_UP_TO else BLOCK):
                digest.update(data)
            self._etags[key] = digest.hexdigest() + ("" if size <= _MD5_UP_TO else f"-{size // _MD5_UP_TO + 1}")
        return self._etags[key]

    def _respond(self, request: Request) -> Answer:
        if self.rate and request.key and not self._takes():
            for _ in request.chunks():
                pass
            with self._lock:
                self.counts["refused"] += 1
            return error(503, "SlowDown")
        if refusal := self.refuse(request):
            for _ in request.chunks():
                pass
            with self._lock:
                self.counts["refused"] += 1
            return refusal
        operation, answer = self._route(request)
        with self._lock:
            self.counts[operation] += 1
        answer.delay = self.latency
        return answer

    def _takes(self) -> bool:
        """One more request, where the rate allows it: a bucket of tokens that holds those of `BURST_SECONDS`."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._tokens + (now - self._filled) * self.rate, self.rate * BURST_SECONDS)
            self._filled = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            self.taken.append(now)
            return True

    def _route(self, request: Request) -> tuple[str, Answer]:
        query, method = request.query, request.method
        if not request.key:
            return ("list", self._list(request)) if method == "GET" else ("bucket", Answer())
        if method == "GET" and "uploadId" in query:
            return "parts", self._parts(query["uploadId"])
        if method in {"GET", "HEAD"}:
            return method.lower(), self._get(request)
        if method == "POST":
            created = "uploads" in query
            return ("create", self._create(request)) if created else ("complete", self._complete(request))
        if method == "DELETE":
            return "abort" if self._uploads.pop(query.get("uploadId", ""), None) else "delete", Answer(204)
        return ("part", self._part(request)) if "uploadId" in query else ("put", self._put(request))

    def _list(self, request: Request) -> Answer:
        prefix, after = request.query.get("prefix", ""), request.query.get("start-after", "")
        held = (
            {key: (size, self.etag(key)) for key, size in self.sizes.items()}
            if request.bucket == "source"
            else {
                key: (item.size, item.etag) for (bucket, key), item in self.landed.items() if bucket == request.bucket
            }
        )
        keys = sorted((key for key in held if key.startswith(prefix) and key > after), key=str.encode)
        assert len(keys) <= 1000, "the generator lists one page; a lister has more"
        entries = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2024-05-01T12:00:00.000Z</LastModified>"
            f"<ETag>&quot;{held[key][1]}&quot;</ETag><Size>{held[key][0]}</Size></Contents>"
            for key in keys
        )
        return xml(f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>")

    def _get(self, request: Request) -> Answer:
        if request.bucket != "source":
            item = self.landed.get((request.bucket, request.key))
            if item is None or request.method == "GET":
                return error(404 if item is None else 410, "NoSuchKey" if item is None else "OnlyHashesWereKept")
            return Answer(
                headers={"ETag": f'"{item.etag}"', "Last-Modified": http_date(0)} | item.headers, length=item.size
            )
        if request.key not in self.sizes:
            return error(404, "NoSuchKey")
        size, etag = self.sizes[request.key], f'"{self.etag(request.key)}"'
        headers = {"ETag": etag, "Last-Modified": http_date(1714564800), "Content-Type": "binary/octet-stream"}
        if request.headers.get("if-match", etag).strip('"') != etag.strip('"'):
            return error(412, "PreconditionFailed")
        start, stop, status = 0, size, 200
        if "range" in request.headers:
            first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
            start, stop, status = int(first), min(int(last) + 1 if last else size, size), 206
            if start >= size:
                return error(416, "InvalidRange")
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return Answer(status, generated(request.key, start, stop), headers, length=stop - start)

    def _receive(self, request: Request) -> Received:
        md5, sha256, size = hashlib.md5(), hashlib.sha256(), 0
        for data in request.chunks():
            with self._lock:
                self.received += len(data)
            md5.update(data)
            sha256.update(data)
            size += len(data)
        return Received(size, sha256.hexdigest(), md5.hexdigest())

    def _put(self, request: Request) -> Answer:
        if "x-amz-copy-source" in request.headers:
            return error(501, "NotImplemented")  # it keeps no bytes to copy
        body = self._receive(request)
        self.landed[request.bucket, request.key] = Landed((body,), body.md5, _kept(request))
        return Answer(headers={"ETag": f'"{body.md5}"'})

    def _create(self, request: Request) -> Answer:
        upload_id = f"upload-{next(self._ids)}"
        self._uploads[upload_id] = _Upload(request.key, _kept(request))
        name = f"<Bucket>{request.bucket}</Bucket><Key>{request.key}</Key>"
        return xml(
            f"<InitiateMultipartUploadResult>{name}<UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
        )

    def _part(self, request: Request) -> Answer:
        upload = self._uploads.get(request.query["uploadId"])
        body = self._receive(request)
        if upload is None or upload.key != request.key:
            return error(404, "NoSuchUpload")
        upload.parts[int(request.query["partNumber"])] = body
        return Answer(headers={"ETag": f'"{body.md5}"'})

    def _parts(self, upload_id: str) -> Answer:
        upload = self._uploads.get(upload_id)
        if upload is None:
            return error(404, "NoSuchUpload")
        assert len(upload.parts) <= 1000, "the generator lists one page; a lister has more"
        entries = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{part.md5}&quot;</ETag><Size>{part.size}</Size></Part>"
            for number, part in sorted(upload.parts.items())
        )
        return xml(f"<ListPartsResult><IsTruncated>false</IsTruncated>{entries}</ListPartsResult>")

    def _complete(self, request: Request) -> Answer:
        asked = request.body()
        upload = self._uploads.pop(request.query["uploadId"], None)
        if upload is None:
            return error(404, "NoSuchUpload")
        pieces = tuple(upload.parts[number] for number in sorted(upload.parts))
        if asked.count(b"<PartNumber>") != len(pieces):
            return error(400, "InvalidPart")
        digest = hashlib.md5(b"".join(bytes.fromhex(piece.md5) for piece in pieces)).hexdigest()
        etag = f"{digest}-{len(pieces)}"
        self.landed[request.bucket, request.key] = Landed(pieces, etag, upload.headers)
        name = f"<Bucket>{request.bucket}</Bucket><Key>{request.key}</Key>"
        return xml(
            f"<CompleteMultipartUploadResult>{name}<ETag>&quot;{etag}&quot;</ETag></CompleteMultipartUploadResult>"
        )


def _kept(request: Request) -> dict[str, str]:
    """What the object carries besides its bytes."""
    names = ("content-type", "content-encoding", "content-disposition", "content-language", "cache-control", "expires")
    return {name: value for name, value in request.headers.items() if name in names or name.startswith("x-amz-meta-")}

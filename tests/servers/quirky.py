"""A small S3 in memory, strict about signatures, that wears other providers' costumes and their defects.

Not fast, not for large objects. A test sets what goes wrong, lets dth run, and looks into `objects` and `seen`.
"""

import base64
import gzip
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from .quirky_parts import Uploads, kept, xml_key
from .s3server import Account, S3Server
from .sigv4 import Checker
from .wire import Answer, HttpServer, Request, error, http_date, xml

ACCOUNT = Account("QUIRKYACCESSKEY", "quirkysecret")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object: its bytes as they were kept, its ETag without quotes, its headers, when it was written."""

    body: bytes
    etag: str
    headers: dict[str, str] = field(default_factory=dict)
    modified: float = 1714564800.0


@dataclass
class Quirks:
    """What is odd about it. Numbers are how often it still happens: they count down.

    Costumes: `stores_chunks_raw` keeps the framing of aws-chunked bodies as if it were content, and their coding token;
    `folds_slashes` makes `a//b` and `/a/b` into `a/b`; `ignores_encoding_type` lists keys verbatim whatever was asked;
    `random_etags` answers ETags that are no MD5; `inflates_gzip` decompresses on GET and drops the header; `no_head`
    refuses HEAD with 403; `unordered` lists backwards; `denies` are operations that policy refuses (names as counted in
    `seen`).

    Defects: `complete_error`: 200 with an Error; `complete_blank`: 200, blanks, then a cut; `complete_empty`: 200 and
    nothing; `complete_lost`: it completes and the answer is lost; `put_lost`: likewise; `forgets_uploads`: UploadPart and
    Complete answer 404 NoSuchUpload; `throttle`: 503 SlowDown with Retry-After; `server_error`: 500; `short_get`: GET
    declares all and gives half; `corrupt_get`: GET flips a bit; `corrupt_put`: what is stored differs from what came, as
    does its ETag; `copy_error`, `copy_empty`: a copy answers 200 with an Error, or with nothing; `ignores_copy_source`: it
    is taken for a PUT of no bytes; `moved_to`: everything is answered with 301 to that region.
    """

    stores_chunks_raw: bool = False
    folds_slashes: bool = False
    ignores_encoding_type: bool = False
    random_etags: bool = False
    inflates_gzip: bool = False
    no_head: bool = False
    unordered: bool = False
    denies: frozenset[str] = frozenset()
    complete_error: int = 0
    complete_blank: int = 0
    complete_empty: int = 0
    complete_lost: int = 0
    put_lost: int = 0
    forgets_uploads: int = 0
    throttle: int = 0
    server_error: int = 0
    short_get: int = 0
    corrupt_get: int = 0
    corrupt_put: int = 0
    copy_error: int = 0
    copy_empty: int = 0
    ignores_copy_source: bool = False
    moved_to: str = ""

    def happens(self, name: str) -> bool:
        """Whether it happens this time; counts down. Called with the server's lock held."""
        left: int = getattr(self, name)
        setattr(self, name, max(left - 1, 0))
        return left > 0


@dataclass
class Seen:
    """One request as it came."""

    operation: str
    key: str
    headers: dict[str, str]
    query: dict[str, str]


@dataclass
class Quirky:
    """`with Quirky() as store:`. Every bucket exists. `before` is called ahead of each request and may change anything
    (overwrite an object between two parts, say); an answer from it is given as it is."""

    quirks: Quirks = field(default_factory=Quirks)
    region: str = "us-east-1"
    session_token: str = ""
    unsigned_payload: bool = True
    part_min: int = 5 << 20
    check_signatures: bool = True
    before: Callable[[str, Request], Answer | None] = lambda operation, request: None
    objects: dict[tuple[str, str], Stored] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = HttpServer(self._respond)
        self._lock = threading.RLock()
        self._checker = Checker(ACCOUNT, self.region, self.session_token, self.unsigned_payload)
        self.uploads = Uploads(self.part_min)

    @property
    def server(self) -> S3Server:
        """For clients: endpoint, keys, region. Close it if you use its boto3 client."""
        account = self._checker.account
        return S3Server("quirky", self._server.endpoint, account.access_key, account.secret_key, self.region)

    @property
    def endpoint(self) -> str:
        return self._server.endpoint

    def __enter__(self) -> "Quirky":
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def hold(self, bucket: str, key: str, body: bytes, **headers: str) -> Stored:
        """Put an object there without a request; `content_type=...` is a header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        stored = Stored(body, hashlib.md5(body).hexdigest(), named)
        with self._lock:
            self.objects[bucket, key] = stored
        return stored

    def count(self, operation: str) -> int:
        """How many requests of that operation came."""
        return sum(item.operation == operation for item in self.seen)

    def _respond(self, request: Request) -> Answer:
        operation = _operation(request)
        body = request.body()
        with self._lock:
            self.seen.append(Seen(operation, request.key, dict(request.headers), request.query))
            refusal = self._refusal(operation, request, body)
            if refusal is not None:
                return refusal
            do = getattr(self, f"_{operation}", None)
            answer: Answer = do(request, body) if do else error(501, "NotImplemented")
            return answer

    def _refusal(self, operation: str, request: Request, body: bytes) -> Answer | None:
        quirks = self.quirks
        if quirks.happens("throttle"):
            return error(503, "SlowDown", **{"Retry-After": "0"})
        if quirks.happens("server_error"):
            return error(500, "InternalError")
        if quirks.moved_to:
            there = {"x-amz-bucket-region": quirks.moved_to, "Location": "http://127.0.0.1:9/elsewhere"}
            return error(301, "PermanentRedirect", **there)
        answer = self.before(operation, request)
        if answer is None and self.check_signatures:
            answer = self._checker.refusal(request) or self._checker.body_refusal(request, body)
        if answer is None and (operation in quirks.denies or (quirks.no_head and operation == "head")):
            answer = error(403, "AccessDenied")
        return answer

    def _folded(self, key: str) -> str:
        return "/".join(part for part in key.split("/") if part) if self.quirks.folds_slashes else key

    # ---- objects

    def _body(self, request: Request, body: bytes) -> bytes | Answer:
        """What is to be stored of what came, or why not."""
        headers = request.headers
        if headers.get("x-amz-content-sha256", "").startswith("STREAMING-") and not self.quirks.stores_chunks_raw:
            body = _unchunked(body)
        said = headers.get("content-md5")
        if said is not None and said != base64.b64encode(hashlib.md5(body).digest()).decode():
            return error(400, "BadDigest")
        if self.quirks.happens("corrupt_put"):
            body = bytes([body[0] ^ 1]) + body[1:] if body else body
        return body

    def _etag(self, body: bytes) -> str:
        salt = str(len(self.seen)).encode() if self.quirks.random_etags else b""
        return hashlib.md5(body + salt).hexdigest()

    def _put(self, request: Request, body: bytes) -> Answer:
        place = request.bucket, self._folded(request.key)
        if request.headers.get("if-none-match") == "*" and place in self.objects:
            return error(412, "PreconditionFailed")
        stored = self._body(request, body)
        if isinstance(stored, Answer):
            return stored
        etag = self._etag(stored)
        self.objects[place] = Stored(stored, etag, kept(request, raw=self.quirks.stores_chunks_raw))
        answer = Answer(headers={"ETag": f'"{etag}"'})
        return replace(answer, cut=-1) if self.quirks.happens("put_lost") else answer

    def _copy(self, request: Request, body: bytes) -> Answer:
        if self.quirks.ignores_copy_source:
            return self._put(request, body)
        if self.quirks.happens("copy_error"):
            return error(200, "InternalError", "We encountered an internal error. Please try again.")
        if self.quirks.happens("copy_empty"):
            return Answer(200)
        item = self._copied(request)
        if isinstance(item, Answer):
            return item
        replaced = request.headers.get("x-amz-metadata-directive") == "REPLACE"
        headers = kept(request, raw=False) if replaced else item.headers
        etag = self._etag(item.body)
        self.objects[request.bucket, self._folded(request.key)] = Stored(item.body, etag, headers)
        return xml(f"<CopyObjectResult><ETag>&quot;{etag}&quot;</ETag></CopyObjectResult>")

    def _copied(self, request: Request) -> Stored | Answer:
        """The source of a copy, or why there is none. Its path is encoded once; a `?` outside of that begins the version."""
        path, _, _version = request.headers["x-amz-copy-source"].removeprefix("/").partition("?")
        bucket, _, key = unquote(path, errors="surrogateescape").partition("/")
        item = self.objects.get((bucket, self._folded(key)))
        if item is None:
            return error(404, "NoSuchKey")
        if request.headers.get("x-amz-copy-source-if-match", item.etag).strip('"') != item.etag:
            return error(412, "PreconditionFailed")
        return item

    def _part_copy(self, request: Request, body: bytes) -> Answer:
        item = self._copied(request)
        if isinstance(item, Answer):
            return item
        first, _, last = request.headers["x-amz-copy-source-range"].removeprefix("bytes=").partition("-")
        piece = item.body[int(first) : int(last) + 1]
        answer = self.uploads.part(request, piece, self._etag(piece))
        if answer.status != 200:
            return answer
        return xml(f"<CopyPartResult><ETag>&quot;{self._etag(piece)}&quot;</ETag></CopyPartResult>")

    def _head(self, request: Request, body: bytes) -> Answer:
        answer = self._get(request, body)
        if answer.status >= 400:
            answer.body = b""
        return answer

    def _get(self, request: Request, body: bytes) -> Answer:
        item = self.objects.get((request.bucket, self._folded(request.key)))
        if item is None:
            return error(404, "NoSuchKey")
        if request.headers.get("if-match", item.etag).strip('"') not in {item.etag, "*"}:
            return error(412, "PreconditionFailed")
        headers = {"ETag": f'"{item.etag}"', "Last-Modified": http_date(item.modified)} | item.headers
        data = item.body
        if self.quirks.inflates_gzip and headers.get("content-encoding") == "gzip":
            del headers["content-encoding"]
            data = gzip.decompress(data)
        status, size = 200, len(data)
        if "range" in request.headers:
            first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
            if int(first) >= size:
                return error(416, "InvalidRange")
            data = data[int(first) : int(last or size) + 1]
            headers["Content-Range"] = f"bytes {first}-{int(first) + len(data) - 1}/{size}"
            status = 206
        if request.method == "GET" and data and self.quirks.happens("corrupt_get"):
            data = bytes([data[0] ^ 1]) + data[1:]
        cut = len(data) // 2 if request.method == "GET" and self.quirks.happens("short_get") else None
        return Answer(status, data, headers, cut=cut)

    def _delete(self, request: Request, body: bytes) -> Answer:
        self.objects.pop((request.bucket, self._folded(request.key)), None)
        return Answer(204)

    # ---- buckets

    def _bucket(self, request: Request, body: bytes) -> Answer:
        if "location" in request.query:
            return xml(f"<LocationConstraint>{self.region}</LocationConstraint>")
        return Answer(headers={"x-amz-bucket-region": self.region})

    def _list(self, request: Request, body: bytes) -> Answer:
        query = request.query
        prefix, second = query.get("prefix", ""), "list-type" in query
        after = query.get("continuation-token") or query.get("start-after") or query.get("marker") or ""
        encoded = query.get("encoding-type") == "url" and not self.quirks.ignores_encoding_type
        limit = min(int(query.get("max-keys", 1000)), 1000)

        def order(key: str) -> bytes:
            return key.encode("utf-8", "surrogateescape")

        keys = sorted((key for bucket, key in self.objects if bucket == request.bucket), key=order)
        keys = [key for key in keys if key.startswith(prefix) and (not after or order(key) > order(after))]
        page, more = keys[:limit], len(keys) > limit
        show = (lambda key: quote(key, safe="/", errors="surrogateescape")) if encoded else xml_key
        entries = []
        for key in reversed(page) if self.quirks.unordered else page:
            item = self.objects[request.bucket, key]
            entries.append(
                f"<Contents><Key>{show(key)}</Key><LastModified>2024-05-01T12:00:00.000Z</LastModified>"
                f"<ETag>&quot;{item.etag}&quot;</ETag><Size>{len(item.body)}</Size></Contents>"
            )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more and second else ""
        kind = "<EncodingType>url</EncodingType>" if encoded else ""
        head = f"<IsTruncated>{str(more).lower()}</IsTruncated>{kind}{token}"
        return xml(f"<ListBucketResult>{head}{''.join(entries)}</ListBucketResult>")

    # ---- multipart

    def _create(self, request: Request, body: bytes) -> Answer:
        headers = kept(request, raw=self.quirks.stores_chunks_raw)
        return self.uploads.create(request.bucket, self._folded(request.key), headers)

    def _part(self, request: Request, body: bytes) -> Answer:
        stored = self._body(request, body)
        if isinstance(stored, Answer):
            return stored
        if self.quirks.happens("forgets_uploads"):
            return error(404, "NoSuchUpload")
        return self.uploads.part(request, stored, self._etag(stored))

    def _complete(self, request: Request, body: bytes) -> Answer:
        quirks = self.quirks
        if quirks.happens("complete_error"):
            return error(200, "InternalError", "We encountered an internal error. Please try again.")
        if quirks.happens("complete_blank"):
            return Answer(200, b"   \n   ", {"Content-Type": "application/xml"}, length=400, cut=7)
        if quirks.happens("complete_empty"):
            return Answer(200)
        if quirks.happens("forgets_uploads"):
            return error(404, "NoSuchUpload")
        answer, done = self.uploads.complete(request, body)
        if done is not None:
            whole, etag, headers = done
            self.objects[request.bucket, self._folded(request.key)] = Stored(whole, etag, headers)
        return replace(answer, cut=-1) if quirks.happens("complete_lost") else answer

    def _abort(self, request: Request, body: bytes) -> Answer:
        return self.uploads.abort(request)

    def _list_parts(self, request: Request, body: bytes) -> Answer:
        return self.uploads.list_parts(request)

    def _list_uploads(self, request: Request, body: bytes) -> Answer:
        return self.uploads.list_open(request)


def _operation(request: Request) -> str:
    """Its name, as counted and denied."""
    query, method = request.query, request.method
    if not request.key:
        return "list_uploads" if "uploads" in query else "bucket" if "location" in query or method != "GET" else "list"
    copies = "x-amz-copy-source" in request.headers
    with_id = {"GET": "list_parts", "PUT": "part_copy" if copies else "part", "POST": "complete", "DELETE": "abort"}
    if "uploadId" in query:
        return with_id[method]
    return "create" if "uploads" in query else "copy" if copies else method.lower()


def _unchunked(body: bytes) -> bytes:
    """The content of an aws-chunked body; signatures and trailers are dropped unread."""
    content: list[bytes] = []
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].partition(b";")[0], 16)
        if not size:
            return b"".join(content)
        content.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2

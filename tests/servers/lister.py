"""Lists key spaces of any size and shape that nobody stored: ListObjects V1 and V2, deterministic, with faults by page.

A key space is a sequence of keys in byte order. `Flat`, `Skewed` and `Deep` compute theirs; any sorted list will do.
"""

import enum
import itertools
import re
import threading
import zlib
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload
from urllib.parse import quote
from xml.sax.saxutils import escape

from .wire import Answer, HttpServer, Request, error, xml

PAGE = 1000
_PLAIN = re.compile(r"[A-Za-z0-9/._~-]*").fullmatch  # needs no escape: most keys, and escaping is what a page costs


def byte_order(key: str) -> bytes:
    """What S3 sorts by."""
    return key.encode("utf-8", "surrogateescape")


class _Computed(Sequence[str]):
    def __init__(self, total: int) -> None:
        self.total = total

    def __len__(self) -> int:
        return self.total

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self.key(number) for number in range(*index.indices(self.total))]
        if not 0 <= index < self.total:
            raise IndexError(index)
        return self.key(index)

    def key(self, number: int) -> str:
        raise NotImplementedError


class Flat(_Computed):
    """One folder."""

    def key(self, number: int) -> str:
        return f"object-{number:012}"


class Skewed(_Computed):
    """Nine of ten keys under one prefix out of many, as logs of one busy tenant."""

    def key(self, number: int) -> str:
        tenth = self.total // 10
        if number < tenth:
            return f"a/{number * 10 // tenth:03}/{number:012}"
        return f"m/busy/2024/{number:012}.log"


class Deep(_Computed):
    """Sixteen folders at each of five levels, keys at the leaves."""

    def key(self, number: int) -> str:
        spread = number * 16**5 // max(self.total, 1)
        return "/".join(f"{spread >> shift & 15:x}" for shift in (16, 12, 8, 4, 0)) + f"/{number:012}"


class Fault(enum.Enum):
    """What goes wrong with a page."""

    SERVER_ERROR = enum.auto()  # 500
    SLOW_DOWN = enum.auto()  # 503
    DENIED = enum.auto()  # 403
    CUT = enum.auto()  # the connection ends half way through the body
    REPEATED = enum.auto()  # its token leads to itself
    NO_TOKEN = enum.auto()  # truncated, but not said where to go on
    OUT_OF_ORDER = enum.auto()  # its first and last keys have changed places
    EMPTY = enum.auto()  # nothing on it, more to come: allowed
    SHORT = enum.auto()  # a single key: allowed


@dataclass
class Lister:
    """`with Lister(Flat(10**7)) as lister:` and list any bucket at `lister.endpoint`.

    `faults` maps the number of a list request, counted from 1, to what goes wrong with it; `fault` decides by the
    request instead. `ordered=False` lists in the order given and ignores byte order (start-after then counts positions
    by search, so only tokens work). `honours_encoding_type=False` answers keys as they are and doesn't say otherwise.
    `latency` is in seconds a page; `page` is the most keys on one.

    `longest_chain` is the most pages that were waited for one after another: a page that was asked for by a token came
    after the page that gave the token, any other one after all that were answered before it was asked for.
    """

    keys: Sequence[str]
    size: Callable[[str], int] = len
    etag: Callable[[str], str] = lambda key: f"{zlib.crc32(byte_order(key)):032x}"
    faults: dict[int, Fault] = field(default_factory=dict)
    fault: Callable[[Request], Fault | None] = lambda request: None
    latency: float = 0.0
    page: int = PAGE
    ordered: bool = True
    honours_encoding_type: bool = True
    storage_class: str = "STANDARD"
    requests: list[dict[str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._server = HttpServer(self._respond)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._order = byte_order if self.ordered else None
        self._stopping = threading.Event()
        self._answered = 0  # the longest chain that ends in an answer
        self._led_to: dict[tuple[str, str], int] = {}  # by bucket and token: the chain that ended in giving it
        self.longest_chain = 0

    @property
    def endpoint(self) -> str:
        return self._server.endpoint

    def __enter__(self) -> "Lister":
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.__exit__()

    def _respond(self, request: Request) -> Answer:
        self.counts[request.method] += 1
        query = request.query
        if request.key or request.method != "GET":
            return error(501, "NotImplemented", "this server only lists")
        if "location" in query:
            return xml('<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>')
        with self._lock:
            number = next(self._numbers)
            self.requests.append(query)
            token = request.bucket, query.get("continuation-token", "")
            chain = 1 + self._led_to.get(token, self._answered)
            self.longest_chain = max(self.longest_chain, chain)
        fault = self.faults.get(number) or self.fault(request)
        answer = self._fail(fault) or self._page(request.bucket, query, fault, chain)
        if fault is Fault.CUT:
            assert isinstance(answer.body, bytes)
            answer.cut = len(answer.body) // 2
        self._stopping.wait(self.latency)
        with self._lock:
            self._answered = max(self._answered, chain)
        return answer

    @staticmethod
    def _fail(fault: Fault | None) -> Answer | None:
        if fault is Fault.SERVER_ERROR:
            return error(500, "InternalError")
        if fault is Fault.SLOW_DOWN:
            return error(503, "SlowDown")
        return error(403, "AccessDenied") if fault is Fault.DENIED else None

    def _start(self, query: dict[str, str]) -> int:
        """Position of the first key that may be listed."""
        if "continuation-token" in query:
            return int(query["continuation-token"].removeprefix("position-"))
        prefix = query.get("prefix", "")
        after = query.get("start-after") or query.get("marker") or ""
        if not self.ordered:
            return self.keys.index(after) + 1 if after else 0
        first = bisect_left(self.keys, byte_order(prefix), key=byte_order)
        delimiter = query.get("delimiter")
        if delimiter and after == query.get("marker") and after.endswith(delimiter):  # that folder was listed
            return bisect_left(self.keys, byte_order(after[:-1] + chr(ord(after[-1]) + 1)), key=byte_order)
        return max(first, bisect_right(self.keys, byte_order(after), key=byte_order)) if after else first

    def _walk(self, start: int, prefix: str) -> Iterator[int]:
        for position in range(start, len(self.keys)):
            if self.keys[position].startswith(prefix):
                yield position
            elif self.ordered:
                return

    def _page(self, bucket: str, query: dict[str, str], fault: Fault | None, chain: int) -> Answer:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        limit = min(int(query.get("max-keys", PAGE)), self.page)
        limit = {Fault.EMPTY: 0, Fault.SHORT: 1}.get(fault, limit) if fault else limit
        start = self._start(query)
        keys: list[str] = []
        folders: list[str] = []
        follow: int | None = None
        if self.ordered and not delimiter:  # by arithmetic: what a large listing waits for
            listed = self.keys[start : start + limit + 1]
            inside = (
                listed if not listed or listed[-1].startswith(prefix) else [k for k in listed if k.startswith(prefix)]
            )
            keys = list(inside[:limit])
            follow = start + limit if len(inside) > limit else None
        for position in self._walk(start, prefix) if delimiter or not self.ordered else ():
            key = self.keys[position]
            folder = prefix + key[len(prefix) :].partition(delimiter)[0] + delimiter if delimiter else ""
            folded = bool(delimiter) and delimiter in key[len(prefix) :]
            if folded and folders and folders[-1] == folder:
                continue
            if len(keys) + len(folders) == limit:
                follow = position
                break
            if folded:
                folders.append(folder)
            else:
                keys.append(key)
        if fault is Fault.OUT_OF_ORDER and len(keys) > 1:
            keys[0], keys[-1] = keys[-1], keys[0]
        if fault is Fault.REPEATED:
            follow = start
        with self._lock:
            self._led_to[bucket, f"position-{follow}"] = chain
        return xml(self._render(bucket, query, keys, folders, follow, fault))

    def _render(
        self,
        bucket: str,
        query: dict[str, str],
        keys: Sequence[str],
        folders: Sequence[str],
        follow: int | None,
        fault: Fault | None,
    ) -> str:
        encoded = self.honours_encoding_type and query.get("encoding-type") == "url"

        def show(text: str) -> str:
            if _PLAIN(text):
                return text
            return quote(text, safe="/", errors="surrogateescape") if encoded else escape(text, {"\r": "&#13;"})

        second = "list-type" in query
        truncated = follow is not None or fault is Fault.NO_TOKEN
        parts = [
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
            f"<Name>{bucket}</Name><Prefix>{show(query.get('prefix', ''))}</Prefix><MaxKeys>{PAGE}</MaxKeys>",
            f"<IsTruncated>{str(truncated).lower()}</IsTruncated>",
            "<EncodingType>url</EncodingType>" if encoded else "",
            f"<KeyCount>{len(keys) + len(folders)}</KeyCount>" if second else "",
        ]
        if follow is not None and fault is not Fault.NO_TOKEN:
            if second:
                parts.append(f"<NextContinuationToken>position-{follow}</NextContinuationToken>")
            elif query.get("delimiter"):
                parts.append(f"<NextMarker>{show((folders or keys)[-1])}</NextMarker>")
        parts += [
            f"<Contents><Key>{show(key)}</Key><LastModified>2024-05-01T12:00:00.000Z</LastModified>"
            f"<ETag>&quot;{self.etag(key)}&quot;</ETag><Size>{self.size(key)}</Size>"
            f"<StorageClass>{self.storage_class}</StorageClass></Contents>"
            for key in keys
        ]
        parts += [f"<CommonPrefixes><Prefix>{show(folder)}</Prefix></CommonPrefixes>" for folder in folders]
        return "".join(parts) + "</ListBucketResult>"

"""Listing a bucket page by page, over ListObjects version 1 or 2, trusting no page to lead to the next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from dth.columns import between
from dth.errors import AnswerInvalid, ListingBroken
from dth.model import Entry
from dth.stores.bucket import Bucket, Call
from dth.stores.encode import encode_query
from dth.stores.page import ListPage, read_page
from dth.stores.xml import XmlInvalid
from dth.transport.base import Response

_PAGE_LIMIT = 16 << 20  # bytes; 1,000 keys of 1,024 bytes, each byte as %XX, are 3.1 MB
_PAGE_KEYS = 1000  # asked for, and the most that S3 itself gives
_EMPTY_MAX = 1000  # truncated pages in a row without an object; AWS may send some after mass deletion


async def list_pages(bucket: Bucket, prefix: str, *, after: str, until: str) -> AsyncIterator[Sequence[Entry]]:
    """See `stores.base.Lister.pages`. Empty pages are not handed out."""
    capable = bucket.profile.start_after
    begin = after if capable and after >= prefix else ""  # SeaweedFS#11321: what sorts before the prefix lists nothing
    token = ""
    guard = _LoopGuard(bucket)
    while True:
        page = await _fetch(bucket, prefix, begin, token, _PAGE_KEYS)
        guard.check(page, prefix, token or begin)
        entries = page.entries
        past = bool(entries and until and bucket.profile.ordered and entries[-1].key > until)
        if entries and (page.least <= after or (until and page.greatest > until)):  # a range's first or last page
            entries = between(entries, after, until)
        if entries:
            yield entries
        if past or not _goes_on(bucket, page, begin, token):
            return
        begin, token = _next(bucket, page, begin)
        _keep_freed()


def _keep_freed() -> None:
    """Pages follow one another. Imported here: whoever lists one page, or none, has nothing from it."""
    from dth.transport.memory import keep_freed  # noqa: PLC0415 - see above

    keep_freed()


async def probe(bucket: Bucket, prefix: str) -> None:
    """Ask for one key. Raises what stands in the way of listing; the cheapest read-only check there is."""
    await _fetch(bucket, prefix, "", "", 1)


async def first_page(bucket: Bucket, prefix: str, after: str) -> Sequence[Entry]:
    """One page as the store gives it: nothing sorted, filtered or followed."""
    return (await _fetch(bucket, prefix, after, "", _PAGE_KEYS)).entries


async def _fetch(bucket: Bucket, prefix: str, begin: str, token: str, max_keys: int) -> ListPage:
    """One page. `begin` is the key after which it starts; `token` wins over it."""
    second = bucket.profile.list_version != 1
    parameters = [("max-keys", str(max_keys)), ("prefix", prefix)]
    if bucket.profile.url_encoding:
        parameters.append(("encoding-type", "url"))
    if second:
        parameters.append(("list-type", "2"))
    if token:
        parameters.append(("continuation-token", token))
    elif begin:
        parameters.append(("start-after" if second else "marker", begin))
    call = Call("ListObjectsV2" if second else "ListObjects", "GET", None, encode_query(parameters))

    async def read(response: Response) -> ListPage:
        data = await response.read(_PAGE_LIMIT)
        try:
            return read_page(data)
        except XmlInvalid as exc:
            raise AnswerInvalid(str(exc), operation=call.operation, status=response.status) from exc

    try:
        return await bucket.call(call, read)
    except AnswerInvalid as exc:
        raise _broken(
            bucket,
            f"a page cannot be read: {exc}. Keys with control characters are the usual cause; a provider profile with "
            "url-encoded listings (src_type or dest_type) avoids that",
        ) from exc


def _goes_on(bucket: Bucket, page: ListPage, begin: str, token: str) -> bool:
    """Whether more may follow a page that was asked for by `begin` and `token`. Only a page that says so is the last one.

    | IsTruncated              | a token or marker that leads on | objects on the page            | more?              |
    |--------------------------|---------------------------------|--------------------------------|--------------------|
    | true                     | -                               | -                              | yes                |
    | anything else            | yes                             | -                              | yes                |
    | false                    | no                              | as many as the page may hold   | asked, if assumed  |
    | false                    | no                              | fewer                          | no                 |
    | absent, or not understood| no                              | some                           | asked              |
    | absent, or not understood| no                              | none                           | no                 |

    "Asked" costs one request after the last key. "If assumed": of a kind of store about which nothing is known.
    """
    if page.truncated or (page.token and page.token != token) or (page.marker and page.marker != begin):
        return True
    if page.truncated is None:
        return bool(page.entries)
    return bucket.profile.assumed and len(page.entries) >= (page.most or _PAGE_KEYS)


def _next(bucket: Bucket, page: ListPage, begin: str) -> tuple[str, str]:
    """Where the next page starts: `(begin, token)`."""
    last = page.entries[-1].key if page.entries else ""
    if bucket.profile.list_version == 1:
        # Without a delimiter NextMarker, where it comes at all, is the last key. That one is used, because whether the
        # marker is url-encoded differs: Ceph 16.2 and SeaweedFS 4.48 encode keys and leave it plain, AWS encodes both.
        begin = last or page.marker
    elif page.token:
        return begin, page.token
    else:
        begin = last if bucket.profile.start_after else ""
    if not begin:
        raise _broken(bucket, "a page says that there is more and not how to get it")
    return begin, ""


class _LoopGuard:
    """Notices pages that repeat, at once, and loops of any length, with memory of three pages: each is compared with the
    one before and with one kept from a power of two of pages ago (Brent's cycle detection)."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._count = 0
        self._power = 1
        self._empty = 0
        self._before: tuple[str, str] | None = None
        self._kept: tuple[str, str] | None = None
        self._cursor: str | None = None
        self._kept_cursor: str | None = None

    def check(self, page: ListPage, prefix: str, cursor: str) -> None:
        """Raises ListingBroken where this page can't be one more of the same listing."""
        if page.folded:
            raise _broken(self._bucket, "keys come folded into common prefixes, which nobody asked for")
        entries = page.entries
        # whatever sorts between two texts with a prefix has it too, so the first and the last in order speak for all
        if entries and not (page.least.startswith(prefix) and page.greatest.startswith(prefix)):
            raise _broken(self._bucket, f"keys that lack the prefix {prefix!r} are among those listed for it")
        self._count += 1
        if self._count > 1 and cursor in {self._cursor, self._kept_cursor}:
            raise _broken(self._bucket, "it points back to a page that was listed before")
        self._cursor = cursor
        if entries:
            self._empty = 0
            ends = (entries[0].key, entries[-1].key)
            if ends in {self._before, self._kept}:
                raise _broken(self._bucket, f"the page that begins with {ends[0]!r} came twice")
            self._before = ends
        else:
            self._empty += 1
            if self._empty > _EMPTY_MAX:
                raise _broken(self._bucket, f"{_EMPTY_MAX} pages in a row hold nothing and say that there is more")
        if self._count == self._power:
            self._power *= 2
            self._kept, self._kept_cursor = self._before, cursor


def _broken(bucket: Bucket, why: str) -> ListingBroken:
    operation = "ListObjects" if bucket.profile.list_version == 1 else "ListObjectsV2"
    where = f"{bucket.location.side.value}: {operation} s3://{bucket.location.bucket}"
    return ListingBroken(
        f"{where}: the listing is broken: {why}; nothing may be concluded from it", operation=operation
    )

"""How an object was cut when it was uploaded, where its store tells."""

from __future__ import annotations

import re
from typing import assert_never

from dth.errors import AccessDenied, NotFound, PreconditionFailed, ProtocolViolation, RequestRefused, ServerFault
from dth.model import Generation
from dth.stores.bucket import Bucket, Call
from dth.stores.encode import encode_query
from dth.stores.providers import PartsFrom
from dth.stores.xml import Element, XmlInvalid, parse, unquoted
from dth.transport.base import Response

_PAGE_LIMIT = 1 << 20  # bytes; a thousand parts with their checksums are below 300 KiB
_PAGES_MAX = 10
_of_parts = re.compile(r"[0-9a-f]{32}-([0-9]{1,5})").fullmatch


async def part_size(bucket: Bucket, key: str, generation: Generation) -> int:
    """See `Reader.part_size`. Nothing here may fail a copy: who does not tell is not believed, and that is all."""
    layout = _of_parts(generation.etag)
    if layout is None:
        return 0
    count = int(layout[1])
    try:
        match bucket.profile.parts_from:
            case PartsFrom.NOWHERE:
                return 0
            case PartsFrom.HEAD:
                return await _of_first(bucket, key, generation, count)
            case PartsFrom.ATTRIBUTES:
                return _equal(await _sizes(bucket, key, generation, count), generation.size, count)
            case never:
                assert_never(never)
    except (AccessDenied, NotFound, PreconditionFailed, RequestRefused, ServerFault):
        return 0


async def _of_first(bucket: Bucket, key: str, generation: Generation, count: int) -> int:
    """Of part 1, where as many of its size as the ETag counts make the object.

    The generation is told by the answer's ETag, not asked for by If-Match: Ceph answers with the part's own ETag.
    """
    call = Call("HeadObject", "HEAD", key, encode_query([("partNumber", "1")]), [("accept-encoding", "identity")])

    async def read(response: Response) -> tuple[str, str, str]:
        await response.read(0)
        headers = response.headers
        etag = unquoted(headers.get("etag", ""))
        return etag, headers.get("x-amz-mp-parts-count", ""), headers.get("content-length", "")

    etag, counted, size = await bucket.call(call, read)
    if etag != generation.etag or counted != str(count) or not (size.isascii() and size.isdigit()):
        return 0
    first = int(size)
    return first if first > 0 and (count - 1) * first < generation.size <= count * first else 0


async def _sizes(bucket: Bucket, key: str, generation: Generation, count: int) -> list[int]:
    """Of all parts, as GetObjectAttributes tells them; as far as they make sense."""
    sizes: list[int] = []
    for _ in range(_PAGES_MAX):
        page = await _attributes(bucket, key, len(sizes))
        parts = page.child("ObjectParts")
        if parts is None or unquoted(page.get("ETag")) != generation.etag:
            return []
        told = [part.get("Size").strip() for part in parts.all("Part")]
        if not told or not all(size.isascii() and size.isdigit() for size in told):
            return []
        sizes += map(int, told)
        if len(sizes) >= count or parts.truth("IsTruncated") is False:
            break
    return sizes


async def _attributes(bucket: Bucket, key: str, after: int) -> Element:
    headers = [("x-amz-object-attributes", "ETag,ObjectParts"), ("x-amz-max-parts", "1000")]
    if after:
        headers.append(("x-amz-part-number-marker", str(after)))
    call = Call("GetObjectAttributes", "GET", key, "attributes=", headers)

    async def read(response: Response) -> Element:
        try:
            if (response.length or 0) > _PAGE_LIMIT:  # who ignores the question sends the object
                raise ProtocolViolation("no answer to this question is so long")
            return parse((await response.read(_PAGE_LIMIT)).lstrip())
        except (XmlInvalid, ProtocolViolation):
            response.close()
            return Element("")

    return await bucket.call(call, read)


def _equal(sizes: list[int], total: int, count: int) -> int:
    """The size that all but the last have, where they are so many and make the whole."""
    if len(sizes) != count or sum(sizes) != total:
        return 0
    *firsts, last = sizes
    size = max(sizes)
    return size if last > 0 and all(each == size for each in firsts) else 0

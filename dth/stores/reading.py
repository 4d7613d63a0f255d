"""HEAD and GET: an object's head, and its bytes with their length asserted."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Self

from dth.errors import (
    AccessDenied,
    AnswerInvalid,
    BodyMismatch,
    DthError,
    NotFound,
    ObjectChanged,
    PreconditionFailed,
    RequestRefused,
    TransportError,
)
from dth.model import ByteSpan, Generation, ObjectHead, Tags
from dth.states import Side
from dth.stores.answers import ERROR_LIMIT, Question
from dth.stores.attributes import object_head
from dth.stores.bucket import Bucket, Call
from dth.stores.encode import encode_query
from dth.stores.part_layout import part_size
from dth.stores.sign import Header
from dth.stores.xml import Element, XmlInvalid, parse
from dth.transport.base import AnswerHead, Loan, Passing, Response

_CHECKSUM_MODE: Header = ("x-amz-checksum-mode", "ENABLED")
_GZIP: Header = ("accept-encoding", "gzip")
_PARTIAL, _PRECONDITION_FAILED, _NO_SUCH_RANGE = 206, 412, 416
_NO_SUCH_METHOD = {405, 501}
_content_range = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})").fullmatch


class _Decoded(ObjectChanged):
    """The answer is about the right object and does not hold its bytes as they are stored."""


def _is_decoded(headers: Mapping[str, str]) -> bool:
    """Whether the store says that it has decompressed what it sends (Cloud Storage does, of objects stored as gzip)."""
    stored = headers.get("x-goog-stored-content-encoding", "identity")
    return (stored != "identity" and "content-encoding" not in headers) or headers.get("warning", "").startswith("214")


class Stream:
    """`stores.base.ObjectStream` over a response."""

    __slots__ = ("_ask", "_asked_again", "_chunks", "_response", "_seen", "head", "length")

    def __init__(
        self,
        response: Response,
        head: ObjectHead,
        length: int,
        ask: Callable[[], Question],
        asked_again: Callable[[DthError], None],
    ) -> None:
        """`ask`: what was asked for, made only where an error must say it; `asked_again` hears of errors."""
        self._response = response
        self._ask = ask
        self._asked_again = asked_again
        self._chunks: AsyncIterator[bytes]
        self._seen = 0
        self.head = head
        self.length = length

    async def read(self) -> bytes:
        """See `ObjectStream.read`."""
        try:
            data = await self._response.read(self.length)
        except TransportError as exc:
            self._asked_again(exc)
            raise
        if len(data) != self.length:
            raise self._mismatch(len(data))
        return data

    def __aiter__(self) -> Self:
        """See `ObjectStream.__aiter__`."""
        self._chunks = aiter(self._response)
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            if self._seen != self.length:
                raise self._mismatch(self._seen) from None
            raise
        except TransportError as exc:
            self._asked_again(exc)
            raise
        self._seen += len(chunk)
        if self._seen > self.length:
            raise self._mismatch(self._seen)
        return chunk

    def lend(self, length: int, passing: Passing) -> Loan | None:
        """See `transport.base.Lender`."""
        lend = getattr(self._response, "lend", None)
        if lend is None or length != self.length - self._seen:
            return None

        def seen(data: bytes | memoryview) -> None:
            self._seen += len(data)
            passing(data)

        return lend(length, seen)  # type: ignore[no-any-return]

    def close(self) -> None:
        """See `ObjectStream.close`."""
        self._response.close()

    def _mismatch(self, seen: int) -> BodyMismatch:
        self.close()
        asked = self._ask()
        error = BodyMismatch(
            f"{asked.side}: {asked.operation} {asked.target}: {seen} bytes came instead of {self.length}"
        )
        self._asked_again(error)
        return error


class Reading:
    """The Reader's half of a store."""

    def __init__(self, bucket: Bucket, *, md5_etag: bool) -> None:
        self._bucket = bucket
        self._md5_etag = md5_etag
        self._checksum_mode = bool(bucket.profile.checksums)
        self._coding: Header = ("accept-encoding", bucket.profile.accept_encoding)
        """How bytes are asked for as they are stored: nothing on the way may compress or decompress them."""
        self._tried_gzip = self._coding == _GZIP
        self._asks_match = True  # False once this store has refused the very ETag that it tells
        self._heads_by_get = False  # True once it has refused a HEAD and answered a GET
        self._denies_both = False

    async def head(self, key: str, if_match: str) -> ObjectHead:
        """See `Reader.head`. A store, or something before it, may refuse HEAD and answer GET: where HEAD is refused as such,
        or by the source, the first byte is asked for."""
        if self._heads_by_get:
            return await self._head_by_get(key, if_match)
        try:
            return await self._head_with_checksums(key, if_match)
        except (AccessDenied, RequestRefused) as refused:
            here = (
                self._bucket.location.side is Side.SOURCE
                and isinstance(refused, AccessDenied)
                and not self._denies_both
            )
            if not here and refused.status not in _NO_SUCH_METHOD:
                raise
            try:
                found = await self._head_by_get(key, if_match)
            except (AccessDenied, RequestRefused):
                self._denies_both = True
                raise refused from None
            self._heads_by_get = True
            return found

    async def _head_by_get(self, key: str, if_match: str) -> ObjectHead:
        try:
            return await self._first_byte(key, if_match, [("range", "bytes=0-0")])
        except RequestRefused as exc:
            if exc.status != _NO_SUCH_RANGE:
                raise
        return await self._first_byte(key, if_match, [])  # it is empty

    async def _first_byte(self, key: str, if_match: str, headers: list[Header]) -> ObjectHead:
        headers = [*headers, self._coding]
        if if_match and self._asks_match:
            headers.append(("if-match", f'"{if_match}"'))
        call = Call("GetObject", "GET", key, headers=headers)

        async def read(response: Response) -> ObjectHead:
            try:
                if response.status == _PARTIAL:
                    total, _ = self._range(call, response, ByteSpan(0, 1))
                    await response.read(1)
                elif response.length is None:
                    raise self._invalid(call, response, "it does not say how long the object is")
                else:
                    total = response.length
                head = object_head(response.headers, total, md5_etag=self._md5_etag, whole=False)
            finally:
                response.close()
            if if_match and head.generation.etag != if_match:
                raise PreconditionFailed(
                    f"{self._named(call)}: its ETag is {head.generation.etag} now, not {if_match}",
                    operation=call.operation,
                    status=response.status,
                )
            return head

        return await self._bucket.call(call, read)

    async def _head_with_checksums(self, key: str, if_match: str) -> ObjectHead:
        """Checksums are asked for where the store has them; on AWS that needs kms:Decrypt for objects under KMS, so a
        refusal is asked again without."""
        if self._checksum_mode:
            try:
                return await self._head(key, if_match, [_CHECKSUM_MODE])
            except AccessDenied:
                found = await self._head(key, if_match, [])
                self._checksum_mode = False
                return found
        return await self._head(key, if_match, [])

    async def _head(self, key: str, if_match: str, headers: list[Header]) -> ObjectHead:
        """With If-Match, or without it and by the answer's ETag, where the store refuses its own (SeaweedFS#7274)."""
        try:
            return await self._head_once(key, if_match if self._asks_match else "", headers)
        except PreconditionFailed:
            if not if_match or not await self._is_still(key, if_match):
                raise
            self._asks_match = False
            return await self._head_once(key, "", headers)

    async def _head_once(self, key: str, if_match: str, headers: list[Header]) -> ObjectHead:
        headers = [*headers, self._coding]
        if if_match:
            headers.append(("if-match", f'"{if_match}"'))
        call = Call("HeadObject", "HEAD", key, headers=headers)

        async def read(response: Response) -> ObjectHead:
            await response.read(0)
            size = response.headers.get("content-length", "")
            if not (size.isascii() and size.isdigit()):
                raise self._invalid(call, response, "it does not say how long the object is")
            return object_head(response.headers, int(size), md5_etag=self._md5_etag, whole=True)

        return await self._bucket.call(call, read)

    async def tags(self, key: str) -> Tags:
        """See `Reader.tags`."""
        call = Call("GetObjectTagging", "GET", key, "tagging=")

        async def read(response: Response) -> Tags:
            body = (await response.read(ERROR_LIMIT)).lstrip()
            if not body:
                return ()  # Ceph 16.2, of an object whose upload was created with tags, all of which it dropped
            try:
                root = parse(body)
            except XmlInvalid as exc:
                raise self._invalid(call, response, str(exc)) from exc
            if root.name != "Tagging":
                raise self._invalid(call, response, f"a {root.name} came, not a Tagging")
            found = (root.child("TagSet") or Element("TagSet")).all("Tag")
            return tuple((tag.get("Key"), tag.get("Value")) for tag in found)

        return await self._bucket.call(call, read)

    async def part_size(self, key: str, generation: Generation) -> int:
        """See `Reader.part_size`."""
        return await part_size(self._bucket, key, generation)

    async def get(self, key: str, pinned: Generation | None, span: ByteSpan | None) -> Stream:
        """See `Reader.get`."""
        try:
            return await self._get(key, pinned, span)
        except _Decoded:
            if self._tried_gzip:
                raise
            self._tried_gzip = True
            before, self._coding = self._coding, _GZIP  # whoever decodes for others leaves it to those who can
            try:
                return await self._get(key, pinned, span)
            except ObjectChanged:
                self._coding = before
                raise
        except PreconditionFailed as exc:
            if pinned is None or not pinned.etag or not self._asks_match or exc.status != _PRECONDITION_FAILED:
                raise
            if not await self._is_still(key, pinned.etag):
                raise
            self._asks_match = False
            return await self._get(key, pinned, span)

    async def _is_still(self, key: str, etag: str) -> bool:
        """Whether a HEAD without conditions tells this ETag."""
        try:
            return (await self._head_once(key, "", [])).generation.etag == etag
        except (AccessDenied, NotFound, RequestRefused):
            return False

    def get_call(self, key: str, pinned: Generation | None, span: ByteSpan | None) -> Call:
        """The request for `Reader.get`."""
        headers = [self._coding]
        query = ""
        if pinned and pinned.etag and self._asks_match:
            headers.append(("if-match", f'"{pinned.etag}"'))
        elif pinned and pinned.version_id:
            query = encode_query([("versionId", pinned.version_id)])
        if span is not None:
            if span.length < 1 or span.start < 0:
                raise ValueError(f"{span} is no range of bytes")
            headers.append(("range", f"bytes={span.start}-{span.stop - 1}"))
        elif self._bucket.profile.checksums:
            headers.append(_CHECKSUM_MODE)
        return Call("GetObject", "GET", key, query, headers)

    async def _get(self, key: str, pinned: Generation | None, span: ByteSpan | None) -> Stream:
        call = self.get_call(key, pinned, span)

        async def read(response: Response) -> Stream:
            try:
                head, length = self.checked(call, response, pinned, span)
                return Stream(response, head, length, partial(self._bucket.question, call), self._bucket.asked_again)
            except BaseException:
                response.close()
                raise

        try:
            return await self._bucket.call(call, read)
        except RequestRefused as exc:
            if exc.status == 416 and pinned is not None:  # noqa: PLR2004 - range not satisfiable
                raise self._changed(call, f"it has no bytes {span} any more") from exc
            raise

    def checked(
        self, call: Call, response: AnswerHead, pinned: Generation | None, span: ByteSpan | None
    ) -> tuple[ObjectHead, int]:
        """What the answer's head says of the object, and how many bytes follow. Raises where it does not add up with what was
        asked and pinned."""
        headers = response.headers
        if span is not None:
            total, length = self._range(call, response, span)
        else:
            if response.status != 200:  # noqa: PLR2004 - statuses are their own names
                raise self._invalid(call, response, "the whole object was asked for")
            if response.length is None and pinned is None:
                raise self._invalid(call, response, "it does not say how long the object is")
            total = length = response.length if response.length is not None else pinned.size if pinned else 0
        head = object_head(headers, total, md5_etag=self._md5_etag, whole=span is None)
        if pinned is not None:
            etag = head.generation.etag
            if (total != pinned.size and etag and etag == pinned.etag) or _is_decoded(headers):
                raise _Decoded(
                    f"{self._named(call)}: {total} bytes came of the same object, which has {pinned.size}: the store, or something "
                    "on the way, decodes what it sends"
                )
            if total != pinned.size:
                raise self._changed(call, f"it has {total} bytes now, not {pinned.size}")
            if pinned.etag and not etag and not self._asks_match:
                raise self._invalid(call, response, "it has no ETag, and this store refuses If-Match")
            if pinned.etag and etag and etag != pinned.etag:
                raise PreconditionFailed(
                    f"{self._named(call)}: its ETag is {etag} now, not {pinned.etag}, and the store ignored If-Match",
                    operation=call.operation,
                    status=response.status,
                )
        return head, length

    def _range(self, call: Call, response: AnswerHead, span: ByteSpan) -> tuple[int, int]:
        """Total size of the object and bytes that follow."""
        if response.status != 206:  # noqa: PLR2004 - partial content
            raise self._invalid(call, response, "a range was asked for and not answered with 206")
        said = response.headers.get("content-range", "")
        match = _content_range(said)
        if match is None:
            raise self._invalid(call, response, f"its Content-Range is {said!r}")
        first, last, total = map(int, match.groups())
        if first != span.start or last != min(span.stop, total) - 1:
            raise self._invalid(call, response, f"bytes {span.start} to {span.stop} were asked for and {said!r} came")
        length = last - first + 1
        if response.length not in {None, length}:
            raise self._invalid(call, response, f"{response.length} bytes are announced for {said!r}")
        return total, length

    def _named(self, call: Call) -> str:
        question = self._bucket.question(call)
        return f"{question.side}: {question.operation} {question.target}"

    def _changed(self, call: Call, how: str) -> ObjectChanged:
        return ObjectChanged(f"{self._named(call)}: the object changed: {how}")

    def _invalid(self, call: Call, response: AnswerHead, why: str) -> AnswerInvalid:
        return AnswerInvalid(
            f"{self._named(call)}: the answer does not add up: {why}", operation=call.operation, status=response.status
        )

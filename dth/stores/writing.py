"""PUT, DELETE and multipart uploads. A 200 counts only with what it must hold."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from html import escape

from dth.errors import AnswerInvalid, NotFound, ProtocolViolation, StoreError
from dth.model import ByteSpan, Generation, Tags
from dth.states import RestoreState
from dth.stores.answers import ERROR_LIMIT, error_of, read_refusal
from dth.stores.attributes import content_md5, integrity_headers, write_headers, written_in, written_of
from dth.stores.base import OpenUpload, PutOptions, UploadedPart, Written
from dth.stores.bucket import Bucket, Call
from dth.stores.encode import encode_key, encode_query
from dth.stores.sign import Header
from dth.stores.xml import Element, XmlInvalid, parse, unquoted
from dth.transport.base import AnswerHead, Body, Response

_ANSWER_LIMIT = 8 << 20  # bytes; 1,000 parts or uploads are below one megabyte
_PAGES_MAX = 100_000


class Writing:
    """The Writer's half of a store."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._last: tuple[PutOptions | None, list[Header]] = (None, [])

    def _headers(self, options: PutOptions) -> list[Header]:
        """A list of the caller's own. Who writes many objects with the same options pays for one."""
        if options is not self._last[0]:
            self._last = options, write_headers(options, raw_metadata=self._bucket.profile.raw_metadata)
        return self._last[1].copy()

    async def put(self, key: str, body: Body, length: int, options: PutOptions) -> Written:
        """See `Writer.put`."""
        return await self._written(self.put_call(key, body, length, options))

    def put_call(self, key: str, body: Body, length: int, options: PutOptions, md5: str = "") -> Call:
        """The request for `Writer.put`. `md5` is the Content-MD5 in hex, where `options` have none."""
        headers = self._headers(options)
        if md5:
            headers.append(content_md5(md5))
        headers += integrity_headers(options)
        if options.if_none_match:
            headers.append(("if-none-match", "*"))
        return Call("PutObject", "PUT", key, "", headers, body, length)

    async def upload_part(
        self, key: str, upload_id: str, number: int, body: Body, length: int, options: PutOptions
    ) -> Written:
        """See `Writer.upload_part`."""
        query = encode_query([("partNumber", str(number)), ("uploadId", upload_id)])
        return await self._written(Call("UploadPart", "PUT", key, query, integrity_headers(options), body, length))

    async def _written(self, call: Call) -> Written:
        async def read(response: Response) -> Written:
            return self.checked(call, response, await response.read(ERROR_LIMIT))

        return await self._bucket.call(call, read)

    def checked(self, call: Call, response: AnswerHead, body: bytes) -> Written:
        """What the answer to a write says. Raises where it does not say that the bytes were written."""
        written = written_of(response.headers)
        if not written.etag or body.lstrip()[:1] == b"<":
            raise self._invalid(call, response, body, "no ETag")
        return written

    async def put_tags(self, key: str, tags: Tags) -> None:
        """See `Writer.put_tags`."""
        inner = "".join(f"<Tag><Key>{escape(name)}</Key><Value>{escape(text)}</Value></Tag>" for name, text in tags)
        xml = f'<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet>{inner}</TagSet></Tagging>'.encode()
        md5 = b64encode(hashlib.md5(xml, usedforsecurity=False).digest()).decode("ascii")  # this request must have one
        headers = [("content-type", "application/xml"), ("content-md5", md5)]

        async def read(response: Response) -> None:
            await response.read(ERROR_LIMIT)

        await self._bucket.call(Call("PutObjectTagging", "PUT", key, "tagging=", headers, xml), read)

    async def restore(self, key: str, days: int, tier: str) -> RestoreState:
        """See `Restorer.restore`: 202 where it was asked for now, 409 where it is under way, 200 where the copy is there (S3
        API Reference, RestoreObject)."""
        inner = f"<Days>{days}</Days><GlacierJobParameters><Tier>{tier}</Tier></GlacierJobParameters>"
        xml = f'<RestoreRequest xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</RestoreRequest>'.encode()
        md5 = b64encode(hashlib.md5(xml, usedforsecurity=False).digest()).decode("ascii")
        headers = [("content-type", "application/xml"), ("content-md5", md5)]

        async def read(response: Response) -> RestoreState:
            await response.read(ERROR_LIMIT)
            return RestoreState.READY if response.status == 200 else RestoreState.UNDER_WAY  # noqa: PLR2004

        try:
            return await self._bucket.call(Call("RestoreObject", "POST", key, "restore=", headers, xml), read)
        except StoreError as exc:
            if exc.store_code == "RestoreAlreadyInProgress":
                return RestoreState.UNDER_WAY
            raise

    async def delete(self, key: str, if_match: str) -> None:
        """See `Writer.delete`."""
        headers = [("if-match", f'"{if_match}"')] if if_match else []
        await self._gone(Call("DeleteObject", "DELETE", key, headers=headers))

    async def abort(self, key: str, upload_id: str) -> None:
        """See `Writer.abort_upload`."""
        await self._gone(Call("AbortMultipartUpload", "DELETE", key, encode_query([("uploadId", upload_id)])))

    async def _gone(self, call: Call) -> None:
        async def read(response: Response) -> None:
            await response.read(ERROR_LIMIT)

        try:
            await self._bucket.call(call, read)
        except NotFound as exc:
            if exc.store_code == "NoSuchBucket":
                raise

    async def create(self, key: str, options: PutOptions, checksum_algorithm: str) -> str:
        """See `Writer.create_upload`."""
        headers = self._headers(options)
        if checksum_algorithm:
            headers.append(("x-amz-checksum-algorithm", checksum_algorithm.upper()))
            kind = "FULL_OBJECT" if checksum_algorithm.startswith("crc") else "COMPOSITE"
            headers.append(("x-amz-checksum-type", kind))
        call = Call("CreateMultipartUpload", "POST", key, "uploads=", headers, repeatable=False)

        async def read(response: Response) -> str:
            result, body = await self._result(call, response, "InitiateMultipartUploadResult")
            upload_id = result.get("UploadId").strip()
            if not upload_id:
                raise self._invalid(call, response, body, "no UploadId")
            return upload_id

        return await self._bucket.call(call, read)

    async def complete(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, if_none_match: bool
    ) -> Written:
        """See `Writer.complete_upload`. Success is a whole result element with an ETag: S3 answers 200 and white space
        while it works, and an error after that is an error in a 200 (S3 API Reference, CompleteMultipartUpload)."""
        inner = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>&quot;{escape(part.etag, quote=False)}&quot;</ETag></Part>"
            for part in parts
        )
        xml = f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</CompleteMultipartUpload>'
        headers = [("content-type", "application/xml")]
        if if_none_match:
            headers.append(("if-none-match", "*"))
        query = encode_query([("uploadId", upload_id)])
        # Not repeated here: the store may be at it still, so whoever asks looks first.
        call = Call("CompleteMultipartUpload", "POST", key, query, headers, xml.encode(), repeatable=False)

        async def read(response: Response) -> Written:
            result, body = await self._result(call, response, "CompleteMultipartUploadResult")
            written = written_in(result, response.headers)
            if not written.etag:
                raise self._invalid(call, response, body, "no ETag")
            return written

        try:
            return await self._bucket.call(call, read)
        except (
            AnswerInvalid
        ):  # it has answered: Ceph 16.2 leaves the ETag out at times, and gives it to whoever asks again
            return await self._bucket.call(call, read)

    async def copy(
        self, source: Bucket, source_key: str, generation: Generation, key: str, options: PutOptions
    ) -> Written:
        """See `Writer.copy`. Attributes and tags are said anew, so that they are those of a PUT: what COPY would keep
        (other tags, `aws-chunked`) and would not keep (website redirects) differs by store."""
        headers = [*_copy_source(source, source_key, generation), ("x-amz-metadata-directive", "REPLACE")]
        if self._bucket.profile.keeps_tags:
            headers.append(("x-amz-tagging-directive", "REPLACE"))
        headers += self._headers(options)
        call = Call("CopyObject", "PUT", key, "", headers, repeatable=False)  # whoever asks has another way at hand
        return await self._copied(call, "CopyObjectResult")

    async def copy_part(
        self,
        source: Bucket,
        source_key: str,
        generation: Generation,
        span: ByteSpan,
        key: str,
        upload_id: str,
        number: int,
    ) -> Written:
        """See `Writer.copy_part`."""
        headers = _copy_source(source, source_key, generation)
        headers.append(("x-amz-copy-source-range", f"bytes={span.start}-{span.stop - 1}"))
        query = encode_query([("partNumber", str(number)), ("uploadId", upload_id)])
        return await self._copied(Call("UploadPartCopy", "PUT", key, query, headers), "CopyPartResult")

    async def _copied(self, call: Call, name: str) -> Written:
        async def read(response: Response) -> Written:
            result, body = await self._result(call, response, name)
            written = written_in(result, response.headers)
            if not written.etag:
                raise self._invalid(call, response, body, "no ETag")
            return written

        return await self._bucket.call(call, read)

    async def parts(self, key: str, upload_id: str) -> AsyncIterator[UploadedPart]:
        """See `Writer.uploaded_parts`. A marker alone is no sign of more: AWS names one on the last page too."""
        marker = ""
        for _ in range(_PAGES_MAX):
            parameters = [("max-parts", "1000"), ("uploadId", upload_id)]
            if marker:
                parameters.append(("part-number-marker", marker))
            call = Call("ListParts", "GET", key, encode_query(parameters))
            page = await self._page(call, "ListPartsResult")
            parts = [
                UploadedPart(
                    self._number(call, part, "PartNumber"), self._number(call, part, "Size"), unquoted(part.get("ETag"))
                )
                for part in page.all("Part")
            ]
            for part in parts:
                yield part
            if _is_last(page, parts):
                return
            following = page.get("NextPartNumberMarker").strip() or (str(parts[-1].number) if parts else "")
            if not following.isdigit() or int(following) <= int(marker or 0):
                if page.truth("IsTruncated") is None:
                    return  # it never said that there is more, and gave what it gave before
                raise self._endless(call)
            marker = following
        raise self._endless(call)

    async def uploads(self, prefix: str) -> AsyncIterator[OpenUpload]:
        """See `Writer.open_uploads`. Url-encoding is not asked for, because it cannot be relied on here: Ceph 16.2 encodes
        keys without saying so, SeaweedFS 4.48 says so without doing it. A key with control characters is an error."""
        last = OpenUpload("", "", "")
        for _ in range(_PAGES_MAX):
            parameters = [("max-uploads", "1000"), ("prefix", prefix), ("uploads", "")]
            if last.key:
                parameters += [("key-marker", last.key), ("upload-id-marker", last.upload_id)]
            call = Call("ListMultipartUploads", "GET", None, encode_query(parameters))
            page = await self._page(call, "ListMultipartUploadsResult")
            uploads = [
                OpenUpload(item.get("Key"), item.get("UploadId").strip(), item.get("Initiated").strip())
                for item in page.all("Upload")
            ]
            for upload in uploads if uploads[-1:] != [last] else ():
                yield upload
            if _is_last(page, uploads):
                return
            if not uploads or uploads[-1] == last:
                if page.truth("IsTruncated") is None:
                    return
                raise self._endless(call)
            last = uploads[-1]  # which is what the markers say
        raise self._endless(call)

    async def _page(self, call: Call, name: str) -> Element:
        async def read(response: Response) -> Element:
            return (await self._result(call, response, name))[0]

        return await self._bucket.call(call, read)

    async def _result(self, call: Call, response: Response, name: str) -> tuple[Element, bytes]:
        """The answer's root element, which must be a `name`."""
        body = await _without_padding(response)
        try:
            result = parse(body.lstrip())
        except XmlInvalid as exc:
            raise self._invalid(call, response, b"", str(exc)) from exc
        if result.name != name:
            raise self._invalid(call, response, body, f"a {result.name}, not a {name}")
        return result, body

    def _invalid(self, call: Call, response: AnswerHead, body: bytes, why: str) -> StoreError:
        """The error inside a 200 as what it would be with a status of its own; AnswerInvalid where there is none, or
        where it is one of the store's own failures."""
        question = self._bucket.question(call)
        refusal = read_refusal(response.status, response.headers, body)
        text = f"{question.side}: {question.operation} {question.target}: the answer has status {response.status} and {why}"
        if refusal.code:
            error = error_of(question, refusal)
            if error.code != "request_refused":
                return error
            text += f": {refusal.code}"
        return AnswerInvalid(text, operation=call.operation, status=response.status, store_code=refusal.code)

    def _number(self, call: Call, part: Element, name: str) -> int:
        text = part.get(name).strip()
        if not (text.isascii() and text.isdigit()):
            raise AnswerInvalid(f"{call.operation}: a part's {name} is {text!r}", operation=call.operation)
        return int(text)

    def _endless(self, call: Call) -> AnswerInvalid:
        question = self._bucket.question(call)
        return AnswerInvalid(
            f"{question.side}: {question.operation} {question.target}: a page says that there is more and leads nowhere",
            operation=call.operation,
        )


async def _without_padding(response: Response) -> bytes:
    """The answer's body without the white space that comes before its root element: stores send it, for minutes, while they
    work, so there may be any amount of it."""
    body = bytearray()
    async for chunk in response:
        if chunk.isspace() and body.count(b"<") <= 1:
            continue
        body += chunk
        if len(body) > _ANSWER_LIMIT:
            response.close()
            raise ProtocolViolation(f"the answer's body is longer than the {_ANSWER_LIMIT} bytes that make sense")
    return bytes(body)


def _is_last(page: Element, items: Sequence[object]) -> bool:
    """Whether a page says that it is the last one. Where it says neither, one more is asked for after its last item, until
    one is empty."""
    truncated = page.truth("IsTruncated")
    return not items if truncated is None else not truncated


def _copy_source(source: Bucket, key: str, generation: Generation) -> list[Header]:
    """Which object of which bucket, and that it must be this generation. A version is named only where no ETag is known: it
    takes a permission of its own. The path is encoded once, the question mark before the version is not."""
    path = f"/{source.location.bucket}/{encode_key(key)}"
    headers: list[Header] = []
    if generation.etag:
        headers.append(("x-amz-copy-source-if-match", f'"{generation.etag}"'))
    elif generation.version_id:
        path += "?" + encode_query([("versionId", generation.version_id)])
    headers.insert(0, ("x-amz-copy-source", path))
    if source.location.request_payer:
        headers.append(("x-amz-request-payer", "requester"))
    return headers

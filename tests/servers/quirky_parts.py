"""Multipart uploads of the quirky store, and what an object keeps of a request."""

import hashlib
import re
import time
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from .wire import Answer, Request, error, xml

_KEPT = ("content-type", "content-encoding", "content-disposition", "content-language", "cache-control", "expires")


def kept(request: Request, *, raw: bool) -> dict[str, str]:
    """Content headers and user metadata. AWS drops the aws-chunked token of Content-Encoding; others keep it (`raw`)."""
    headers = {
        name: value for name, value in request.headers.items() if name in _KEPT or name.startswith("x-amz-meta-")
    }
    codings = [coding.strip() for coding in headers.pop("content-encoding", "").split(",") if coding.strip()]
    codings = codings if raw else [coding for coding in codings if coding != "aws-chunked"]
    return headers | ({"content-encoding": ",".join(codings)} if codings else {})


def xml_key(key: str) -> str:
    """A key inside XML, as stores that know no encoding-type put it there."""
    return escape(key, {"\r": "&#13;"})


@dataclass
class Upload:
    """An open upload. Parts by number: bytes and ETag."""

    bucket: str
    key: str
    headers: dict[str, str]
    initiated: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()))
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)


class Uploads:
    """All that are open, by id. `part_min` is the smallest size of a part that is not the last."""

    def __init__(self, part_min: int = 5 << 20) -> None:
        self.part_min = part_min
        self.open: dict[str, Upload] = {}
        self._made = 0

    def _find(self, request: Request) -> Upload | None:
        upload = self.open.get(request.query["uploadId"])
        return upload if upload and (upload.bucket, upload.key) == (request.bucket, request.key) else None

    def create(self, bucket: str, key: str, headers: dict[str, str]) -> Answer:
        self._made += 1
        upload_id = f"upload-{self._made}"
        self.open[upload_id] = Upload(bucket, key, headers)
        name = f"<Bucket>{bucket}</Bucket><Key>{xml_key(key)}</Key><UploadId>{upload_id}</UploadId>"
        return xml(f"<InitiateMultipartUploadResult>{name}</InitiateMultipartUploadResult>")

    def part(self, request: Request, body: bytes, etag: str) -> Answer:
        upload = self._find(request)
        if upload is None:
            return error(404, "NoSuchUpload")
        upload.parts[int(request.query["partNumber"])] = body, etag
        return Answer(headers={"ETag": f'"{etag}"'})

    def complete(self, request: Request, body: bytes) -> tuple[Answer, tuple[bytes, str, dict[str, str]] | None]:
        """The answer, and the object where there is one: bytes, ETag, headers."""
        upload = self._find(request)
        if upload is None:
            return error(404, "NoSuchUpload"), None
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
        said = [etag.decode() for etag in re.findall(rb"<ETag>(?:&quot;|&#34;|\")?([^<&\"]+)", body)]
        if not numbers or numbers != sorted(set(numbers)):
            return error(400, "InvalidPartOrder" if numbers else "MalformedXML"), None
        if any(number not in upload.parts for number in numbers) or said != [upload.parts[n][1] for n in numbers]:
            return error(400, "InvalidPart"), None
        if any(len(upload.parts[number][0]) < self.part_min for number in numbers[:-1]):
            return error(400, "EntityTooSmall"), None
        del self.open[request.query["uploadId"]]
        digest = hashlib.md5(b"".join(hashlib.md5(upload.parts[n][0]).digest() for n in numbers)).hexdigest()
        etag = f"{digest}-{len(numbers)}"
        name = f"<Bucket>{upload.bucket}</Bucket><Key>{xml_key(upload.key)}</Key><ETag>&quot;{etag}&quot;</ETag>"
        answer = xml(f"<CompleteMultipartUploadResult>{name}</CompleteMultipartUploadResult>")
        return answer, (b"".join(upload.parts[n][0] for n in numbers), etag, upload.headers)

    def abort(self, request: Request) -> Answer:
        if self._find(request) is None:
            return error(404, "NoSuchUpload")
        del self.open[request.query["uploadId"]]
        return Answer(204)

    def list_parts(self, request: Request) -> Answer:
        upload = self._find(request)
        if upload is None:
            return error(404, "NoSuchUpload")
        after = int(request.query.get("part-number-marker", 0))
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag><Size>{len(body)}</Size></Part>"
            for number, (body, etag) in sorted(upload.parts.items())
            if number > after
        )
        return xml(f"<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>")

    def list_open(self, request: Request) -> Answer:
        uploads = "".join(
            f"<Upload><Key>{xml_key(upload.key)}</Key><UploadId>{upload_id}</UploadId>"
            f"<Initiated>{upload.initiated}</Initiated></Upload>"
            for upload_id, upload in sorted(self.open.items(), key=lambda item: item[1].key.encode())
            if upload.bucket == request.bucket and upload.key.startswith(request.query.get("prefix", ""))
        )
        head = "<IsTruncated>false</IsTruncated>"
        return xml(f"<ListMultipartUploadsResult>{head}{uploads}</ListMultipartUploadsResult>")

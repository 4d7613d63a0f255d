"""An object's headers, both ways: from an answer to `ObjectHead`, from `PutOptions` to a request."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping

from dth.errors import RequestRefused
from dth.etags import is_impossible
from dth.model import Attributes, Generation, ObjectHead
from dth.states import RestoreState
from dth.stores.base import PutOptions, Written
from dth.stores.encode import encode_query
from dth.stores.sign import Header
from dth.stores.xml import Element, unquoted

_CONTENT = frozenset(
    {
        "content-type",
        "content-encoding",
        "content-disposition",
        "content-language",
        "cache-control",
        "expires",
        "x-amz-website-redirect-location",
    }
)
CHECKSUMS = ("crc64nvme", "crc32c", "crc32", "sha256", "sha1")

_META = "x-amz-meta-"
_WITHHELD = "x-amz-missing-meta"  # how many metadata entries cannot stand in headers
_CHECKSUM = "x-amz-checksum-"
_CHECKSUM_HEADERS = {_CHECKSUM + name: name for name in CHECKSUMS}
_md5 = re.compile(r"[0-9a-f]{32}").fullmatch
_unsendable = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search


class _Kinds(dict[str, str]):
    """What an answer's header of some name is about: `content`, `metadata`, a `checksum`, or "" where it is none of an object's
    attributes. Names come again and again: looked up once, not taken apart for each object."""

    def __missing__(self, name: str) -> str:
        if name in _CONTENT:
            kind = "content"
        elif name.startswith(_META):
            kind = "metadata"
        else:
            kind = "checksum" if name in _CHECKSUM_HEADERS else ""
        if len(self) < _NAMES_KEPT:
            self[name] = kind
        return kind


_NAMES_KEPT = 1024
_kinds = _Kinds()


def object_head(headers: Mapping[str, str], size: int, *, md5_etag: bool, whole: bool) -> ObjectHead:
    """What an answer to HEAD or GET says of the object of `size` bytes.

    `md5_etag`: this kind of store gives the MD5 of a plain object as its ETag. `whole`: the answer is about all of the
    object, so that its checksums are the object's and not a range's.
    """
    etag = unquoted(headers.get("etag", ""))
    content, metadata, checksums = [], [], []
    for name, text in headers.items():
        kind = _kinds[name]
        if not kind:
            continue
        if kind == "content":
            content.append((name, text))
        elif kind == "metadata":
            metadata.append((name[len(_META) :], text))
        elif whole:
            checksums.append((_CHECKSUM_HEADERS[name], text))
    storage_class = headers.get("x-amz-storage-class", "")
    opaque = _opaque(headers)
    return ObjectHead(
        generation=Generation(etag, size, headers.get("x-amz-version-id") or None),
        last_modified=headers.get("last-modified", ""),
        attributes=Attributes(tuple(content), tuple(metadata), headers.get(_WITHHELD, "0") != "0"),
        md5=etag if md5_etag and _md5(etag) and not opaque and not is_impossible(etag, size) else "",
        checksums=tuple(checksums),
        checksum_type=_checksum_type(headers, checksums, etag) if checksums else "",
        storage_class="" if storage_class == "STANDARD" else storage_class,
        opaque_etag=opaque,
        tag_count=_count(headers["x-amz-tagging-count"]) if "x-amz-tagging-count" in headers else None,
        restore=_restore(headers["x-amz-restore"]) if "x-amz-restore" in headers else RestoreState.NONE,
    )


def write_headers(options: PutOptions, *, raw_metadata: bool = False) -> list[Header]:
    """What PutObject and CreateMultipartUpload share. Values go out as they came, except that metadata which is not ASCII is
    written as RFC 2047 says, unless the store keeps it raw. The coding `aws-chunked` describes a request, not an object, so
    stores that kept it are not followed."""
    if options.attributes.withheld:
        raise RequestRefused(
            "the object has user metadata that S3 cannot send in headers (x-amz-missing-meta), so a copy would lose it; "
            "--no-include-metadata copies the object without any metadata"
        )
    headers: list[Header] = []
    for name, text in options.attributes.headers:
        if name != "content-encoding":
            headers.append((name, text))
        elif coding := _coding(text):
            headers.append((name, coding))
    headers += [
        (_META + name, text if raw_metadata or text.isascii() else encoded_word(text))
        for name, text in options.attributes.metadata
    ]
    optional = (
        ("x-amz-storage-class", options.storage_class),
        ("x-amz-acl", options.acl),
        ("x-amz-server-side-encryption", options.sse),
        ("x-amz-server-side-encryption-aws-kms-key-id", options.sse_kms_key_id),
        ("x-amz-tagging", encode_query(options.tags) if options.tags else ""),
    )
    headers += [(name, text) for name, text in optional if text]
    for name, text in headers:
        if _unsendable(text):
            raise RequestRefused(f"the value of {name} cannot be sent as a header: {text!a}")
    return headers


def encoded_word(text: str) -> str:
    """Text that is not ASCII as AWS wants and gives user metadata: one encoded word of RFC 2047. Bytes that are no UTF-8 are
    called Latin-1, which any bytes are."""
    raw = text.encode("utf-8", "surrogateescape")
    charset = "UTF-8" if text.isprintable() or not any("\udc80" <= ch <= "\udcff" for ch in text) else "ISO-8859-1"
    return f"=?{charset}?B?{b64encode(raw).decode('ascii')}?="


def integrity_headers(options: PutOptions) -> list[Header]:
    """What lets the store check the bytes of this very request: Content-MD5 and one checksum."""
    headers = []
    if options.content_md5:
        headers.append(content_md5(options.content_md5))
    if options.checksum:
        algorithm, value = options.checksum
        headers.append((f"x-amz-checksum-{algorithm}", value))
    return headers


def content_md5(digest: str) -> Header:
    """The header for an MD5 in hex."""
    return "content-md5", b64encode(bytes.fromhex(digest)).decode("ascii")


def written_of(headers: Mapping[str, str]) -> Written:
    """A write's answer, from its headers."""
    return Written(
        unquoted(headers.get("etag", "")),
        _checksums(headers),
        headers.get("x-amz-version-id") or None,
        _opaque(headers),
    )


def written_in(result: Element, headers: Mapping[str, str]) -> Written:
    """An answer that says what was written in its body: of an upload that was completed, or of a copy."""
    found = ((name, result.get(f"Checksum{name.upper()}").strip()) for name in CHECKSUMS)
    return Written(
        unquoted(result.get("ETag")),
        tuple((name, value) for name, value in found if value),
        headers.get("x-amz-version-id") or None,
        _opaque(headers),
    )


def _checksums(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    if _CHECKSUM_HEADERS.keys().isdisjoint(headers):
        return ()
    return tuple([(name, headers[header]) for header, name in _CHECKSUM_HEADERS.items() if header in headers])


def _count(said: str) -> int | None:
    return int(said) if said.isascii() and said.isdigit() else None


def _checksum_type(headers: Mapping[str, str], checksums: list[tuple[str, str]], etag: str) -> str:
    """As the store says; SeaweedFS 4.48 does not say it of single PUTs, whose checksums can only be of one kind."""
    plain = "-" not in etag and not any("-" in value for _, value in checksums)
    return headers.get("x-amz-checksum-type", "").upper() or ("FULL_OBJECT" if plain else "")


def _restore(said: str) -> RestoreState:
    """S3 says `ongoing-request="true"`, then `ongoing-request="false", expiry-date="..."` until the copy is gone."""
    if 'ongoing-request="true"' in said:
        return RestoreState.UNDER_WAY
    return RestoreState.READY if 'ongoing-request="false"' in said else RestoreState.NONE


def _opaque(headers: Mapping[str, str]) -> bool:
    """An encryption under which AWS makes ETags of other stuff than the bytes."""
    return (
        headers.get("x-amz-server-side-encryption", "").startswith("aws:")
        or "x-amz-server-side-encryption-customer-algorithm" in headers
    )


def _coding(said: str) -> str:
    """The Content-Encoding to send, "" for none."""
    if "aws-chunked" not in said.lower():
        return said
    return ",".join(coding for part in said.split(",") if (coding := part.strip()).lower() not in {"aws-chunked", ""})

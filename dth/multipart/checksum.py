"""Checksums at hardware speed, and the forms in which S3 speaks of them.

CRC64NVME and CRC32C by awscrt cost 0.1 CPU s/GiB on a busy core with VAES (0.036 on a quiet one), the same for `bytes`
and for a `memoryview`, which is not copied; MD5 costs 1.3 to 1.9. Windows of 256 KiB cost as much as one of 64 MiB.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from dth.errors import BodyMismatch
from dth.etags import is_impossible
from dth.stores.base import Written

_Digest = Callable[[bytes | memoryview, int], int]
_Combine = Callable[[int, int, int], int]

MD5 = "md5"
_WIDTHS = {"crc64nvme": 8, "crc32c": 4, "crc32": 4}
_HASHES = (MD5, "sha1", "sha256")
_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)
_CONTENT_ETAG = re.compile(r"[0-9a-f]{32}(-[0-9]{1,5})?", re.ASCII)


@cache
def _functions(algorithm: str) -> tuple[_Digest, _Combine]:
    # Loading awscrt takes 37 ms of CPU, which each process of a sync of small objects would spend for nothing.
    from awscrt import checksums  # noqa: PLC0415

    return getattr(checksums, algorithm), getattr(checksums, f"combine_{algorithm}")


def best_algorithm(offered: Sequence[str]) -> str:
    """The first of `offered` that is computed here, "" where none is."""
    return next((algorithm for algorithm in offered if algorithm in _WIDTHS), "")


class Crc:
    """A running checksum of `length` bytes so far."""

    __slots__ = ("_combine", "_digest", "_width", "algorithm", "length", "value")

    def __init__(self, algorithm: str, value: int = 0, length: int = 0) -> None:
        self.algorithm = algorithm
        self.value = value
        self.length = length
        self._width = _WIDTHS[algorithm]
        self._digest, self._combine = _functions(algorithm)

    def update(self, data: bytes | memoryview) -> None:
        """Add `data`, without copying it."""
        self.value = self._digest(data, self.value)
        self.length += len(data)

    def copy(self) -> Crc:
        """Another one in the same state."""
        return Crc(self.algorithm, self.value, self.length)

    def joined(self, other: Crc) -> Crc:
        """The checksum of these bytes followed by `other`'s, without reading any again."""
        return Crc(self.algorithm, self._combine(self.value, other.value, other.length), self.length + other.length)

    @property
    def raw(self) -> bytes:
        """The big-endian value."""
        return self.value.to_bytes(self._width, "big")

    @property
    def base64(self) -> str:
        """As S3 writes it."""
        return _text(self.raw)


class Hash:
    """A running MD5, SHA-1 or SHA-256: no two of them can be joined."""

    __slots__ = ("_hash", "algorithm")

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self._hash = hashlib.new(algorithm, usedforsecurity=False)

    def update(self, data: bytes | memoryview) -> None:
        """Add `data`, without copying it."""
        self._hash.update(data)

    @property
    def raw(self) -> bytes:
        """The digest so far."""
        return self._hash.digest()

    @property
    def base64(self) -> str:
        """As S3 writes it."""
        return _text(self.raw)


class Sums:
    """All that is computed over bytes which pass once.

    `expected` holds what the source says of them, by algorithm, in base64. Algorithms that are not known here are left
    out.
    """

    __slots__ = ("_expected", "_sums")

    def __init__(self, algorithms: Iterable[str], expected: Sequence[tuple[str, str]] = ()) -> None:
        self._expected = dict(expected)
        names = dict.fromkeys((*algorithms, *self._expected))
        self._sums = {name: _sum(name) for name in names if computable(name)}

    def update(self, data: bytes | memoryview) -> None:
        """Add `data` to each."""
        for each in self._sums.values():
            each.update(data)

    def crc(self, algorithm: str) -> Crc | None:
        """The CRC of that name, None where it is not computed."""
        found = self._sums.get(algorithm)
        return found if isinstance(found, Crc) else None

    def raw(self, algorithm: str) -> bytes:
        """The bytes of the checksum of that name, none where it is not computed."""
        found = self._sums.get(algorithm)
        return found.raw if found else b""

    def check_source(self) -> bool:
        """Whether the source said what these bytes are, and they are. Raises BodyMismatch where they are others."""
        for name, said in self._expected.items():
            own = self._sums.get(name)
            if own is not None and own.base64 != said:
                raise BodyMismatch(f"read bytes with {name} {own.base64}, the source keeps {said}")
        return any(name in self._sums for name in self._expected)

    def check_answer(self, written: Written) -> bool:
        """Whether a destination's answer holds one of these: a checksum, or an MD5 as its ETag. Raises BodyMismatch
        where it holds another."""
        agreed = False
        for name, own in self._sums.items():
            if isinstance(own, Crc):
                agreed = check_answer(own, written) or agreed
            elif name == MD5 and is_md5(written.etag) and not written.opaque_etag:
                if written.etag != own.raw.hex():
                    raise BodyMismatch(f"sent bytes with MD5 {own.raw.hex()}, the destination holds {written.etag}")
                agreed = True
        return agreed


def computable(algorithm: str) -> bool:
    """Whether it is computed here."""
    return algorithm in _WIDTHS or algorithm in _HASHES


def _sum(algorithm: str) -> Crc | Hash:
    return Crc(algorithm) if algorithm in _WIDTHS else Hash(algorithm)


def check_answer(crc: Crc | None, written: Written) -> bool:
    """Whether the destination's answer holds our checksum of what was sent; False where it holds none.

    Raises BodyMismatch where it holds another. Composite values (`...-12`) are of another kind and say nothing.
    """
    if crc is None:
        return False
    answered = dict(written.checksums).get(crc.algorithm, "")
    if not answered or "-" in answered:
        return False
    if answered != crc.base64:
        raise BodyMismatch(f"sent bytes with {crc.algorithm} {crc.base64}, the destination holds {answered}")
    return True


def composite(algorithm: str, parts: Sequence[bytes]) -> str:
    """The checksum that S3 gives to an object of parts with these: the same function over theirs, `-`, their number."""
    whole = _sum(algorithm)
    whole.update(b"".join(parts))
    return f"{whole.base64}-{len(parts)}"


def joined(algorithm: str, parts: Sequence[Crc]) -> Crc:
    """The checksum of all parts one after the other."""
    whole = Crc(algorithm)
    for part in parts:
        whole = whole.joined(part)
    return whole


def _text(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")


def is_md5(etag: str) -> bool:
    """Whether the ETag has the form of an MD5; whether it is one, only the store's answer tells (`ObjectHead.md5`)."""
    return _MD5.fullmatch(etag) is not None


def is_content_etag(etag: str, size: int = 0) -> bool:
    """Whether the ETag has a form that is made of the bytes alone, so that two equal ones of equal size mean equal
    bytes: an MD5, or an MD5 of parts' MD5s and their count. KMS's look alike, but are never equal by chance. One that
    no object of `size` bytes can have is none."""
    return _CONTENT_ETAG.fullmatch(etag) is not None and not is_impossible(etag, size)


def multipart_etag(part_etags: Sequence[str]) -> str:
    """The ETag that S3 gives to an object of such parts: MD5 over the parts' binary MD5s, `-`, their number.

    "" where a part's ETag is no MD5. The rule is not documented, but AWS, MinIO and Ceph RGW keep to it.
    """
    if not part_etags or not all(is_md5(etag) for etag in part_etags):
        return ""
    digest = hashlib.md5(b"".join(map(bytes.fromhex, part_etags)), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(part_etags)}"

"""Checksums and the ETags made of them."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.multipart.checksum import (
    Crc,
    Sums,
    best_algorithm,
    composite,
    is_content_etag,
    joined,
    multipart_etag,
)

# The check values of the catalogue of parametrised CRC algorithms: over the nine digits.
CHECK = {"crc64nvme": 0xAE8B14860A799888, "crc32c": 0xE3069283, "crc32": 0xCBF43926}


@pytest.mark.parametrize("algorithm", CHECK)
def test_each_algorithm_gives_its_catalogue_value_and_s3s_base64(algorithm: str) -> None:
    crc = Crc(algorithm)
    crc.update(b"123456789")
    assert crc.value == CHECK[algorithm]
    assert crc.base64 == b64encode(CHECK[algorithm].to_bytes(8 if "64" in algorithm else 4, "big")).decode()


@given(algorithm=st.sampled_from(sorted(CHECK)), pieces=st.lists(st.binary(max_size=64), max_size=8))
def test_pieces_summed_one_by_one_or_joined_give_the_checksum_of_the_whole(algorithm: str, pieces: list[bytes]) -> None:
    whole, running = Crc(algorithm), Crc(algorithm)
    whole.update(b"".join(pieces))
    parts = []
    for piece in pieces:
        running.update(memoryview(piece))
        part = Crc(algorithm)
        part.update(piece)
        parts.append(part)
    assert running.value == whole.value == joined(algorithm, parts).value
    assert joined(algorithm, parts).length == whole.length
    if algorithm == "crc32":
        assert whole.value == zlib.crc32(b"".join(pieces))


# The same polynomials, bit by bit and reversed, as their catalogue has them: slow, and nobody's library.
POLYNOMIALS = {"crc64nvme": (0x9A6C9329AC4BC9B5, 64), "crc32c": (0x82F63B78, 32), "crc32": (0xEDB88320, 32)}


def by_hand(algorithm: str, data: bytes) -> int:
    polynomial, width = POLYNOMIALS[algorithm]
    ones = (1 << width) - 1
    crc = ones
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (polynomial if crc & 1 else 0)
    return crc ^ ones


@given(algorithm=st.sampled_from(sorted(CHECK)), data=st.binary(max_size=600), cuts=st.lists(st.integers(0, 600)))
def test_however_bytes_are_split_their_checksums_combine_to_that_of_the_whole(
    algorithm: str, data: bytes, cuts: list[int]
) -> None:
    places = sorted(min(cut, len(data)) for cut in cuts)
    parts = []
    for start, stop in pairwise([0, *places, len(data)]):
        part = Crc(algorithm)
        part.update(data[start:stop])
        parts.append(part)
    assert joined(algorithm, parts).value == by_hand(algorithm, data)


@given(algorithm=st.sampled_from(["sha256", "sha1", "crc32c", "crc32"]), parts=st.lists(st.binary(), min_size=1))
def test_a_composite_checksum_is_that_of_the_parts_own_and_their_number(algorithm: str, parts: list[bytes]) -> None:
    def raw(data: bytes) -> bytes:
        sums = Sums([algorithm])
        sums.update(data)
        return sums.raw(algorithm)

    whole = composite(algorithm, [raw(part) for part in parts])
    assert whole == f"{b64encode(raw(b''.join(map(raw, parts)))).decode()}-{len(parts)}"
    if algorithm == "sha256":
        assert raw(parts[0]) == hashlib.sha256(parts[0]).digest()


def test_a_copy_goes_its_own_way() -> None:
    crc = Crc("crc32c")
    crc.update(b"a")
    other = crc.copy()
    other.update(b"b")
    assert (crc.length, other.length) == (1, 2)


def test_the_best_offered_algorithm_that_is_known_wins() -> None:
    assert best_algorithm(("sha256", "crc32c", "crc64nvme")) == "crc32c"
    assert best_algorithm(()) == ""


def test_a_multipart_etag_is_the_md5_of_the_parts_md5s_and_their_number() -> None:
    parts = [hashlib.md5(p) for p in (b"one", b"two")]
    expected = hashlib.md5(parts[0].digest() + parts[1].digest()).hexdigest() + "-2"
    assert multipart_etag([p.hexdigest() for p in parts]) == expected


def test_parts_whose_etags_are_no_md5s_give_none() -> None:
    assert multipart_etag(["abc"]) == ""
    assert multipart_etag([]) == ""


@pytest.mark.parametrize(
    ("etag", "is_one"),
    [("d" * 32, True), ("d" * 32 + "-12", True), ("d" * 31, False), ("", False), ("5f3a-1b", False), ("D" * 32, False)],
)
def test_only_etags_of_the_form_of_md5s_can_be_made_of_the_bytes(etag: str, is_one: bool) -> None:
    assert is_content_etag(etag) is is_one

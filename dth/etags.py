"""What the form of an ETag rules out. That an ETag looks like an MD5 makes it none; that it cannot be one, its form can tell."""

from __future__ import annotations

EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
"""The MD5 of no bytes."""

IMPOSSIBLE = frozenset({EMPTY_MD5, EMPTY_MD5.upper(), "0" * 32, "f" * 32, "F" * 32})
"""What no object with bytes has as its MD5: stores answer so that never compute one."""


def is_impossible(etag: str, size: int) -> bool:
    """Whether it is the MD5 of no bytes on an object of `size` bytes, or nothing but zeros or ones; of parts, too."""
    head = etag.partition("-")[0]
    return head in IMPOSSIBLE and not (size == 0 and etag == EMPTY_MD5)

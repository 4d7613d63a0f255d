"""The chunked transfer coding, decoded from any split of the byte stream. Pure."""

from __future__ import annotations

import re
from typing import Final

from dth.transport.framing import HEAD_LIMIT, HEADERS_LIMIT, Malformed, parse_fields

LINE_LIMIT: Final = 4096
"""Bytes of one chunk's size line, extensions included."""

# At most 15 hexadecimal digits, so that a size stays below 2**60. Extensions are allowed and ignored.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?")


class ChunkedDecoder:
    """Takes the body's bytes as they come and gives the content. `done` is True once the last trailer was read."""

    __slots__ = ("_after_data", "_left", "_line", "_trailer_bytes", "_trailers", "done")

    def __init__(self) -> None:
        self.done = False
        self._left = 0  # bytes of the current chunk still to come
        self._line = b""  # an unfinished line
        self._after_data = False  # the CRLF that ends a chunk comes next
        self._trailers: list[str] | None = None  # None: still among the chunks
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The content in `data` and, once `done`, what follows the body. Raises Malformed."""
        if self._left > len(data):
            self._left -= len(data)
            return data, b""
        if self._line:
            data = self._line + data
            self._line = b""
        pieces: list[bytes] = []
        at = 0
        while at < len(data) and not self.done:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._after_data = self._left == 0
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._keep(data[at:])
                break
            self._end_of_line(data[at : end + 1])
            at = end + 1
        rest = data[at:] if self.done else b""
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), rest

    def _keep(self, line: bytes) -> None:
        limit = 1 if self._after_data else HEAD_LIMIT if self._trailers is not None else LINE_LIMIT
        if len(line) > limit:
            raise Malformed("a chunk's size line, end or trailer is too long")
        self._line = line

    def _end_of_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            raise Malformed("a bare LF in chunked framing")
        if self._after_data:
            if line != b"\r\n":
                raise Malformed("a chunk is longer than its size says")
            self._after_data = False
        elif self._trailers is None:
            self._size(line)
        else:
            self._trailer(line)

    def _size(self, line: bytes) -> None:
        found = _SIZE_LINE.fullmatch(line, 0, len(line) - 2)
        if found is None or len(line) > LINE_LIMIT:
            raise Malformed(f"chunk size {line[:40]!r}")
        self._left = int(found[1], 16)
        if self._left == 0:
            self._trailers = []

    def _trailer(self, line: bytes) -> None:
        """Trailers are checked like headers, and dropped: nothing of what is transferred depends on them."""
        assert self._trailers is not None
        self._trailer_bytes += len(line)
        if self._trailer_bytes > HEAD_LIMIT or len(self._trailers) > HEADERS_LIMIT:
            raise Malformed("too many trailers")
        if line != b"\r\n":
            self._trailers.append(line[:-2].decode("utf-8", "surrogateescape"))
            return
        if any(ch < " " and ch != "\t" for text in self._trailers for ch in text):
            raise Malformed("a control character in a trailer")
        parse_fields(self._trailers)
        self.done = True

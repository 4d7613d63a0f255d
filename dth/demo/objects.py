"""What the demo moves: objects whose bytes follow from their names, so that anyone can check them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class DemoObject:
    """One object; `version` changes its bytes. Sizes in bytes."""

    key: str
    size: int
    version: int = 0

    def blocks(self) -> Iterator[bytes]:
        """Its bytes, in pieces of at most a mebibyte, the same at every call."""
        seed = hashlib.sha256(f"{self.version}:{self.key}".encode()).digest()
        for start in range(0, self.size, BLOCK):
            length = min(BLOCK, self.size - start)
            piece = hashlib.blake2b(seed + start.to_bytes(8, "big")).digest()
            yield (piece * (length // len(piece) + 1))[:length]

    async def stream(self) -> AsyncIterator[bytes]:
        """The same, for an upload."""
        for block in self.blocks():
            yield block

    def sha256(self) -> str:
        """Of all its bytes, hex."""
        digest = hashlib.sha256()
        for block in self.blocks():
            digest.update(block)
        return digest.hexdigest()


_ODD = (
    "white space/two  blanks.txt",
    "punctuation/a+b&c=d?e#f%2Fg.txt",
    "punctuation/'single' \"double\".txt",
    "unicode/naïve café/日本語/😀.txt",
    "brackets/[1]{2}(3)<4>.txt",
    "dots/...three.txt",
    "dash-1/x.txt",
    "dash/x.txt",
    "dash0/x.txt",
    "percent/%41%zz%.txt",
)


def small_objects(count: int) -> Iterator[DemoObject]:
    """`count` objects of 0 to 8 KiB in nested folders, odd names first."""
    for number in range(count):
        key = (
            _ODD[number]
            if number < len(_ODD)
            else f"year={2020 + number % 5}/month={number % 12 + 1:02d}/{number:06d}.log"
        )
        yield DemoObject(key, number * 37 % 8192)


def large_object(size: int) -> DemoObject:
    """One object that travels in parts."""
    return DemoObject("backups/disk.img", size)


def changed(objects: list[DemoObject]) -> list[DemoObject]:
    """What happens between two syncs: every 250th object gets other bytes of the same size, and a few are new."""
    rewritten = [DemoObject(o.key, o.size, version=1) for o in objects[11::250] if o.size]
    new = [DemoObject(f"new/{number}.txt", 1000 + number) for number in range(7)]
    return rewritten + new

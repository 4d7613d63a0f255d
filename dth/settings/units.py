"""Sizes as people write them. Inside, a size is always a number of bytes."""

from __future__ import annotations

import re

_FACTORS = {
    "": 1, "b": 1,
    "k": 1024, "kib": 1024, "kb": 1000,
    "m": 1024**2, "mib": 1024**2, "mb": 1000**2,
    "g": 1024**3, "gib": 1024**3, "gb": 1000**3,
    "t": 1024**4, "tib": 1024**4, "tb": 1000**4,
}  # fmt: skip
_SIZE = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,6}))?\s*([A-Za-z]{0,3})", re.ASCII)
_SHOWN = (("TiB", 1024**4), ("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))


def parse_size(value: object) -> int:
    """Bytes of `64MiB`, `1.5GB`, `512k` or a plain number. `K` and `KiB` are 1,024 bytes, `KB` 1,000 (IEC
    80000-13; the bare letter as rclone reads it). Fractions are rounded down. Raises ValueError for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    factor = _FACTORS.get(match[3].lower()) if match else None
    if match is None or factor is None:
        raise ValueError("not a size")
    fraction = match[2] or ""
    scale: int = 10 ** len(fraction)
    return int(match[1]) * factor + int(fraction or 0) * factor // scale


def format_size(size: int) -> str:
    """The shortest exact spelling: `64MiB`, or plain bytes. `parse_size` reads it back to the same number."""
    for unit, factor in _SHOWN:
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)

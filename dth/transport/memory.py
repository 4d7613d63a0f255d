"""Asking the C library to keep what was freed, where the same megabytes come and go many times a second.

glibc gives a large block back to the kernel as soon as it is free, and the kernel fills the next one with noughts, 4 KiB at a
time. A listed page passes through several such blocks: that cost more than receiving it.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache

KEPT = 8 << 20
"""Bytes at the end of the heap that may be free and are kept all the same."""
_LARGEST = 4 << 20  # bytes of a block that comes from the heap; a page of the longest keys has 3.1 MB
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h


@lru_cache(maxsize=1)
def keep_freed() -> bool:
    """Keep up to `KEPT` bytes, from now on. False where the C library knows no such wish. Repeating it is no error."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, KEPT))

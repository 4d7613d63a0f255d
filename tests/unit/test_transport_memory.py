"""What was freed is kept: blocks of a page's size that come and go cost no page faults."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from dth.transport.memory import keep_freed
if sys.argv[1] == "kept":
    assert keep_freed() and keep_freed()
def page():
    return [bytes(250_000), bytes(282_000), bytes(600_000)]
page()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    page()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Page faults of a hundred pages, in a process of their own."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True, timeout=120)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_blocks_are_kept() -> None:
    assert faults("kept") * 10 < faults("given back")

"""A real terminal of a given width, and what a program showed on it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ROWS = 50
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")


@dataclass(frozen=True, slots=True)
class Shown:
    """How the program ended, and each line that it drew, in order, without what moves the cursor and colours."""

    code: int
    lines: list[str]


def in_terminal(argv: Sequence[str], env: Mapping[str, str], columns: int, *, timeout: float = 300) -> Shown:
    """Run the program with a terminal of so many columns for its three streams."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    process = subprocess.Popen(
        argv, env={**env, "TERM": "xterm-256color"}, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    data = bytearray()
    try:
        with contextlib.closing(os.fdopen(ours, "rb", buffering=0)) as screen:
            while piece := _read(screen.fileno()):
                data += piece
        code = process.wait(timeout)
    finally:
        process.kill()
        process.wait()
    text = _CONTROL.sub("", data.decode())
    return Shown(code, [line for line in re.split(r"[\r\n]+", text) if line.strip()])


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError as error:
        if error.errno == errno.EIO:  # Linux: the last writer has gone
            return b""
        raise

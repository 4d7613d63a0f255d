"""Standard input, output and error, made fit to be used, whatever the caller left of them."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from types import TracebackType
from typing import Any, TextIO, cast

from dth.text import printable


class Lasting:
    """A text stream that never fails its writer: the work matters more than its reader.

    Where a write fails (`| head` has gone, the disk is full) it is silent from then on, and `lost` says why.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """All of it, or nothing."""
        try:
            return self._stream.write(text)
        except OSError as error:
            return self._lose(error, len(text))

    def flush(self) -> None:
        """What was written is on its way."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error, 0)

    def _lose(self, error: OSError, written: int) -> int:
        self.lost = self.lost or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())  # what the buffer holds must not fail again when the interpreter ends
        os.close(nowhere)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def secure() -> None:
    """Open what is closed, and wrap what is written to.

    Else the first socket becomes standard output (libuv ends the process for that), and a worker's pipe with it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            lowest = os.open(os.devnull, os.O_RDWR)  # which is this one
            os.set_inheritable(lowest, True)  # noqa: FBT003 - positional there
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name) or os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
        setattr(sys, f"__{name}__", stream)
        setattr(sys, name, cast("TextIO", Lasting(stream)))
    hush()


def trace(error: BaseException) -> str:
    """The traceback, each line behind a bar: what an error's message holds cannot pass for a line of dth's own."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "".join(f"| {printable(line)}\n" for line in lines)


class _OneLine(logging.Formatter):
    """Log records of libraries, as `trace` shows errors."""

    def format(self, record: logging.LogRecord) -> str:
        first = printable(record.getMessage())
        error = record.exc_info[1] if record.exc_info else None
        return first + ("\n" + trace(error).rstrip("\n") if error else "")


def hush() -> None:
    """What Python itself would write to standard error, of errors that nobody caught and of logs, is made printable."""

    def uncaught(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
        sys.stderr.write(trace(error))

    sys.excepthook = uncaught
    if logging.lastResort:
        logging.lastResort.setFormatter(_OneLine())


def end() -> str:
    """Flush both. Why standard output was lost, "" where it was not, or where only its reader went away."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    lost = getattr(sys.stdout, "lost", None)
    return "" if lost is None or isinstance(lost, BrokenPipeError) else lost.strerror or str(lost)

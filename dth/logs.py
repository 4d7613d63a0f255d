"""Logs as JSON, for log collectors: one object a line on standard error, and one canonical line for each transfer.

Whatever stands in a key or in an error of somebody else, a line is ASCII without control characters, shorter than 4 KiB and
written at once: lines of several processes that share a pipe stay whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dth.model import ImageRecord, ObjectRecord
from dth.report import Report
from dth.states import Outcome
from dth.text import printable

STDERR = 2
_ATOMIC_BYTES = 4096  # POSIX: what a pipe takes at once, whoever else writes to it (PIPE_BUF on Linux)
_TEXT_CHARACTERS = 1000  # of a key or an error; where two are so long and all escapes, the line still fits
_SHORT_CHARACTERS = 200  # where it would not


def log_line(event: str, level: str, fields: Mapping[str, Any], *, now: float) -> str:
    """One line with its line feed. Texts in `fields` are made printable, and cut where they are too long for a line."""
    when = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for limit in (_TEXT_CHARACTERS, _SHORT_CHARACTERS):
        root = {
            "time": when,
            "level": level,
            "event": event,
            **{name: _plain(one, limit) for name, one in fields.items()},
        }
        line = json.dumps(root, separators=(",", ":")) + "\n"
        if len(line) <= _ATOMIC_BYTES:
            break
    return line


def _plain(value: Any, limit: int) -> Any:
    return printable(value, limit=limit) if isinstance(value, str) else value


def write_lines(lines: Sequence[str]) -> None:
    """To standard error, as many at once as stay whole. A reader that went away is no reason to fail."""
    chunk = b""
    try:
        for line in lines:
            data = line.encode("ascii")
            if chunk and len(chunk) + len(data) > _ATOMIC_BYTES:
                _write(chunk)
                chunk = b""
            chunk += data
        _write(chunk)
    except OSError:
        return


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(STDERR, data) :]


class TransferLog:
    """A report that logs every end besides keeping it, with the event `transfer`: objects and images alike."""

    only_failed = False

    def __init__(
        self,
        report: Report,
        *,
        job_id: str,
        process: str,
        write: Callable[[Sequence[str]], None] = write_lines,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._report = report
        self._always = {"job_id": job_id, "process": process}
        self._write = write
        self._clock = clock

    async def write(self, records: Sequence[ObjectRecord]) -> None:
        """See `Report`."""
        await self._report.write(records)
        await self._log([self._object(record) for record in records])

    async def write_images(self, records: Sequence[ImageRecord]) -> None:
        """See `Report`."""
        await self._report.write_images(records)
        await self._log([self._image(record) for record in records])

    async def _log(self, lines: Sequence[str]) -> None:
        if lines:
            await asyncio.to_thread(self._write, lines)

    def _object(self, one: ObjectRecord) -> str:
        verified_by = one.verified_by.value if one.verified_by else None
        seconds = round(one.seconds, 3) if one.seconds else None
        fields = {"key": one.key, "bytes": one.size, "reason": one.reason.value, "verified_by": verified_by}
        return self._line(one, {**fields, "seconds": seconds})

    def _image(self, one: ImageRecord) -> str:
        fields = {"key": one.source, "bytes": one.moved_bytes, "reason": None, "verified_by": None, "seconds": None}
        return self._line(one, {**fields, "digest": one.digest})

    def _line(self, one: ObjectRecord | ImageRecord, fields: Mapping[str, Any]) -> str:
        level = "error" if one.outcome is Outcome.FAILED else "info"
        end = {"outcome": one.outcome.value, "code": one.error_code, "error": one.error, "attempts": one.attempt}
        return log_line("transfer", level, {"run_id": one.run_id, **fields, **end, **self._always}, now=self._clock())

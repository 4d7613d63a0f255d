"""The report of a comparison: one line of JSON for each key."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dth.errors import SettingsError
from dth.report import ReportFailed, ReportLevel
from dth.states import Comparison, VerifiedBy


@dataclass(frozen=True, slots=True)
class Compared:
    """One key and how its two sides compare. A size is None, and an ETag "", where a side lacks the object; both are as
    listed. `offset` is the first byte that differs, where the bytes were read."""

    key: str
    dest_key: str
    comparison: Comparison
    detail: str
    size: int | None
    dest_size: int | None
    source_etag: str
    dest_etag: str
    verified_by: VerifiedBy | None
    offset: int | None
    error_code: str


class CompareReport:
    """Writes ASCII JSON lines into a new file: what an earlier comparison said holds no longer.

    Level FAILED keeps differences only. Use as a context manager; `open` raises SettingsError where the file cannot be
    written, `write` ReportFailed where the disk is full.
    """

    def __init__(self, path: Path, level: ReportLevel) -> None:
        self.path = path
        self.level = level
        self._descriptor = -1
        self._one_at_a_time = asyncio.Lock()

    def __enter__(self) -> CompareReport:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise SettingsError(f"the report {self.path} cannot be written: {error.strerror}; see --report") from error
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def keeps(self, comparison: Comparison) -> bool:
        """Whether this ends up in the file."""
        return self.level is ReportLevel.ALL or comparison.differs

    async def write(self, lines: Sequence[Compared]) -> None:
        """Add these; they are in the operating system's hands when this returns."""
        async with self._one_at_a_time:
            writing = asyncio.ensure_future(asyncio.to_thread(self.write_now, lines))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait({writing})  # a thread cannot be stopped, and what was found is worth keeping
                raise

    def write_now(self, lines: Sequence[Compared]) -> None:
        """`write`, blocking."""
        text = "".join(json.dumps(asdict(line), separators=(",", ":")) + "\n" for line in lines)
        data = text.encode("ascii")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise ReportFailed(f"cannot write the report {self.path}: {error.strerror}") from error

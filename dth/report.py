"""The report: one line of JSON for each object that ended."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from dth.errors import DthError, SettingsError
from dth.model import ImageRecord, ObjectRecord
from dth.states import Outcome


class ReportFailed(DthError):
    """The report cannot be written; the message names the file."""

    code = "report"


class ReportLevel(StrEnum):
    """Which ends are written down."""

    ALL = "all"
    FAILED = "failed"


class Rows(Protocol):
    """Where records of ended objects go. A worker's death may repeat records, never lose those of a recorded message;
    of several for one key and run the last one holds."""

    async def write(self, records: Sequence[ObjectRecord]) -> None:
        """Keep these; they are in the operating system's hands when this returns."""
        ...


class Report(Rows, Protocol):
    """The same for images as well, and for what refers to them."""

    @property
    def only_failed(self) -> bool:
        """Whether it keeps nothing but what ended FAILED: no other records need be made for it."""
        ...

    async def write_images(self, records: Sequence[ImageRecord]) -> None:
        """As `write`."""
        ...


class NullReport:
    """Keeps nothing."""

    only_failed = True

    async def write(self, records: Sequence[ObjectRecord]) -> None:
        """Forget them."""

    async def write_images(self, records: Sequence[ImageRecord]) -> None:
        """Forget them."""


class ReportAndRows:
    """A report, and rows that hold objects alone; the first that fails ends it."""

    only_failed = False

    def __init__(self, report: Report, rows: Rows) -> None:
        self._report = report
        self._rows = rows

    async def write(self, records: Sequence[ObjectRecord]) -> None:
        """See `Report`."""
        await self._report.write(records)
        await self._rows.write(records)

    async def write_images(self, records: Sequence[ImageRecord]) -> None:
        """See `Report`."""
        await self._report.write_images(records)


class JsonlReport:
    """Appends ASCII JSON lines to a file that several processes may share.

    Each batch is one `O_APPEND` write, which local file systems do not interleave; so lines stay whole. Raises
    ReportFailed where the file cannot be written.
    """

    def __init__(self, path: Path, level: ReportLevel) -> None:
        self._path = path
        self.only_failed = level is ReportLevel.FAILED

    def check(self) -> None:
        """Raise SettingsError before any work is done for a report that cannot be written. Makes the file."""
        try:
            _append(self._path, [])
        except OSError as error:
            raise SettingsError(f"the report {self._path} cannot be written: {error.strerror}; see --report") from error

    async def write(self, records: Sequence[ObjectRecord]) -> None:
        """Append those that the level asks for."""
        await self._keep(records)

    async def write_images(self, records: Sequence[ImageRecord]) -> None:
        """Append those that the level asks for."""
        await self._keep(records)

    async def _keep(self, records: Sequence[ObjectRecord] | Sequence[ImageRecord]) -> None:
        kept = [record for record in records if not self.only_failed or record.outcome is Outcome.FAILED]
        if kept:
            try:
                await asyncio.to_thread(_append, self._path, kept)
            except OSError as error:
                raise ReportFailed(f"cannot write the report {self._path}: {error}") from error


def _append(path: Path, records: Sequence[ObjectRecord | ImageRecord]) -> None:
    lines = "".join(json.dumps(_fields(record), separators=(",", ":")) + "\n" for record in records).encode("ascii")
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while lines:  # a short write happens only on a full disk, where the next one raises
            lines = lines[os.write(handle, lines) :]
    finally:
        os.close(handle)


def _fields(record: ObjectRecord | ImageRecord) -> dict[str, object]:
    fields = asdict(record)
    if isinstance(record, ObjectRecord):
        fields["seconds"] = round(record.seconds, 3)
    return fields

"""Lists of prefixes and keys, as people and inventories write them. Streamed: nothing here holds a whole list. Blocking.

By the file's name, `.gz` after it or not:

- `.csv`: a column named `key` (or `prefix`) in the first row, else the only column;
- `.jsonl`, `.ndjson`: each line a text, or an object with `key` (or `prefix`);
- `manifest.json`: an S3 Inventory of CSV files, whose keys are URL-encoded (S3 User Guide, "Amazon S3 Inventory list");
- anything else: one a line, as it stands.

Blank lines, CRLF and a byte order mark mean nothing. ORC and Parquet are refused by name.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import IO, Any, cast
from urllib.parse import unquote_plus

from dth.errors import SettingsError
from dth.model import Entry

LINE_CHARACTERS = 4096
"""The longest line of a list of keys: a key has 1,024 bytes. JSON and URLs spell one byte with up to six characters."""
ROW_CHARACTERS = 16_384
"""The longest row of a table or a line of JSON."""
MANIFEST_BYTES = 64 << 20

UNKNOWN = -1
"""The size of an entry of which only the name is known."""

Open = Callable[[str], IO[bytes]]
"""Opens one of the data files that a manifest names, by its key."""


def entries_of(name: str, file: IO[bytes], open_data: Open) -> Iterator[Entry]:
    """The list's lines in its own order, repetitions included. Raises SettingsError that names the list and the line that
    it cannot read."""
    try:
        yield from _entries(name, file, open_data)
    except (csv.Error, EOFError, IndexError, OSError, RecursionError, ValueError, zlib.error) as error:
        raise SettingsError(f"{name} cannot be read: {error or type(error).__name__}") from error


def _entries(name: str, file: IO[bytes], open_data: Open) -> Iterator[Entry]:
    base = name.removesuffix(".gz").lower()
    if base.endswith((".orc", ".parquet")):
        raise SettingsError(f"{name}: ORC and Parquet cannot be read; write the inventory or list as CSV")
    if base.endswith("manifest.json"):
        return (yield from _inventory(name, file, open_data))
    table = base.endswith((".csv", ".jsonl", ".ndjson"))
    lines = _lines(name, _plain(name, file), ROW_CHARACTERS if table else LINE_CHARACTERS)
    if base.endswith(".csv"):
        yield from _csv(name, lines)
    elif table:
        yield from _json(name, lines)
    else:
        yield from map(_named, _filled(lines))


def _plain(name: str, file: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if name.lower().endswith(".gz") else file


def _lines(name: str, file: IO[bytes], most: int) -> Iterator[str]:
    """Text lines with their ends, and the file closed after them; bytes that are no UTF-8 are kept as keys keep them. A line
    without an end would fill the memory: a megabyte of gzip can hold a gigabyte."""
    with io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="\n") as text:
        for number in itertools.count(1):
            line = text.readline(most + 1)
            if not line:
                return
            if len(line) > most:
                raise SettingsError(f"{name}: line {number} is longer than {most:,} characters, which no key is")
            yield line.removeprefix("\ufeff") if number == 1 else line


def _filled(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        text = line.removesuffix("\n").removesuffix("\r")
        if text and not text.isspace():
            yield text


def _named(key: str) -> Entry:
    return Entry(key, UNKNOWN, "", "", "")


def _csv(name: str, lines: Iterator[str]) -> Iterator[Entry]:
    column: int | None = None
    for number, row in enumerate(csv.reader(lines), 1):
        if not any(cell.strip() for cell in row):
            continue
        if column is None:
            names = [cell.strip().lower() for cell in row]
            column = next((names.index(one) for one in ("key", "prefix") if one in names), None)
            if column is not None:
                continue
            if len(row) > 1:
                raise SettingsError(
                    f"{name}: no column of the first row is named `key` or `prefix`, and there are {len(row)}"
                )
            column = 0
        if len(row) <= column:
            raise SettingsError(f"{name}: row {number} has no column {column + 1}")
        if row[column]:
            yield _named(row[column])


def _json(name: str, lines: Iterator[str]) -> Iterator[Entry]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise SettingsError(f"{name}: line {number} is no JSON") from exc
        if isinstance(value, Mapping):
            value = next((found for field, found in value.items() if field.lower() in {"key", "prefix"}), None)
        if not isinstance(value, str):
            raise SettingsError(f"{name}: line {number} holds neither a text nor an object with `key`")
        if value:
            yield _named(value)


def _inventory(name: str, file: IO[bytes], open_data: Open) -> Iterator[Entry]:
    try:
        manifest = json.loads(_manifest(name, file))
        form, schema, files = manifest["fileFormat"], manifest["fileSchema"], [one["key"] for one in manifest["files"]]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise SettingsError(f"{name} is no S3 Inventory manifest") from exc
    if not isinstance(schema, str) or not all(isinstance(key, str) for key in files):
        raise SettingsError(f"{name} is no S3 Inventory manifest")
    if form != "CSV":
        raise SettingsError(f"{name}: an inventory of format {form} cannot be read; configure it as CSV")
    at = {column.strip(): place for place, column in enumerate(schema.split(","))}
    if "Key" not in at:
        raise SettingsError(f"{name}: its schema has no column Key")
    for key in files:
        with closing(open_data(key)) as data:
            rows = csv.reader(_lines(key, _plain(key, data), ROW_CHARACTERS))
            yield from (_listed(row, at) for row in rows if row and _is_current(row, at))


def _manifest(name: str, file: IO[bytes]) -> bytes:
    data = _plain(name, file).read(MANIFEST_BYTES + 1)
    if len(data) > MANIFEST_BYTES:
        raise SettingsError(f"{name} is longer than any S3 Inventory manifest")
    return data


def _is_current(row: list[str], at: Mapping[str, int]) -> bool:
    def said(column: str, other: str) -> bool:
        return column in at and row[at[column]].lower() == other

    return not said("IsLatest", "false") and not said("IsDeleteMarker", "true")


def _listed(row: list[str], at: Mapping[str, int]) -> Entry:
    def cell(column: str) -> str:
        return row[at[column]] if column in at else ""

    key, size, etag = unquote_plus(cell("Key"), errors="surrogateescape"), cell("Size"), cell("ETag")
    if not size.isdecimal() or not etag:
        return _named(key)
    return Entry(key, int(size), etag.strip('"'), cell("LastModifiedDate"), cell("StorageClass"))


def batches(entries: Iterator[Entry], most: int) -> Iterator[list[Entry]]:
    """Entries, `most` at a time."""
    batch: list[Any] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) >= most:
            yield batch
            batch = []
    if batch:
        yield batch

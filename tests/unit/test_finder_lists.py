"""Lists of prefixes and keys: every spelling, each key once, in order, and what they name of two sides."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dth.errors import SettingsError
from dth.events import Event, Planned
from dth.finder.from_list import KeyList, ListedSide
from dth.finder.list_formats import UNKNOWN, entries_of
from dth.finder.run import preview
from dth.model import Entry, KeyMapping
from tests.servers.memory_store import MemoryStore
from tests.unit.finder_fakes import finder_settings, keys


def no_data(key: str) -> IO[bytes]:
    raise AssertionError(key)


def read(name: str, content: bytes) -> list[str]:
    return [entry.key for entry in entries_of(name, io.BytesIO(content), no_data)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list", b"\xef\xbb\xbfa/b\r\n\r\n  \nc d+%20\n\xff\nlast"),
        ("list.txt", b"a/b\nc d+%20\n\n\xff\nlast\r\n"),
        ("list.gz", gzip.compress(b"a/b\nc d+%20\n\xff\nlast\n", mtime=0)),
        ("keys.csv", b"\xef\xbb\xbfsize,Key\r\n1,a/b\r\n\r\n2,c d+%20\r\n3,\xff\r\n4,last\r\n"),
        ("keys.csv", b'a/b\n"c d+%20"\n\xff\nlast\n'),
        ("keys.CSV.gz", gzip.compress(b"prefix\na/b\nc d+%20\n\xff\nlast\n", mtime=0)),
        ("keys.jsonl", b'"a/b"\n\n{"Key": "c d+%20", "size": 1}\r\n"\\udcff"\n{"prefix": "last"}'),
    ],
)
def test_every_spelling_names_the_same_keys(name: str, content: bytes) -> None:
    assert read(name, content) == ["a/b", "c d+%20", "\udcff", "last"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("keys.csv", b"bucket,a\nbucket,b\n", "no column of the first row is named `key`"),
        ("keys.csv", b"size,key\n1\n", "row 2 has no column 2"),
        ("keys.jsonl", b'"a"\n{', "line 2 is no JSON"),
        ("keys.ndjson", b'{"name": "a"}\n', "line 1 holds neither"),
        ("keys.parquet", b"PAR1", "Parquet"),
        ("inventory/manifest.json", b"{}", "no S3 Inventory manifest"),
        ("manifest.json", b'{"fileFormat": "ORC", "fileSchema": "x", "files": []}', "format ORC"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, content: bytes, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read(name, content)


def test_an_inventory_is_decoded_and_holds_only_what_is_current() -> None:
    def rows(*some: Sequence[str]) -> bytes:
        text = io.StringIO()
        csv.writer(text, quoting=csv.QUOTE_ALL).writerows(some)
        return gzip.compress(text.getvalue().encode())

    when = "2024-05-01T12:00:00.000Z"
    files = {
        "p/data/1.csv.gz": rows(
            ("b", "a+b/%C3%BC%2B", "7", when, "e1", "STANDARD", "true", "false"),
            ("b", "old", "7", when, "e0", "STANDARD", "false", "false"),
            ("b", "gone", "", when, "", "", "true", "true"),
        ),
        "p/data/2.csv.gz": rows(("b", "%FF", "", when, "", "GLACIER", "true", "false")),
    }
    manifest = {
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, Size, LastModifiedDate, ETag, StorageClass, IsLatest, IsDeleteMarker",
        "files": [{"key": key} for key in files],
    }
    found = entries_of("p/manifest.json", io.BytesIO(json.dumps(manifest).encode()), lambda key: io.BytesIO(files[key]))
    assert list(found) == [Entry("a b/ü+", 7, "e1", when, "STANDARD"), Entry("\udcff", UNKNOWN, "", "", "")]


def plain(lines: Sequence[str]) -> Iterator[Entry]:
    return (Entry(line, UNKNOWN, "", "", "") for line in lines)


async def key_list(lines: Sequence[str], *, prefixes: bool = False, prefix: str = "") -> KeyList:
    chosen = KeyList(prefixes=prefixes, prefix=prefix, sort_memory=2_000, directory="")
    await chosen.read(plain(lines))
    return chosen


async def listing(side: ListedSide) -> list[str]:
    return [entry.key async for page in side.pages("") for entry in page]


@given(tree=st.sets(keys, max_size=15), prefixes=st.lists(st.text("ab/-", min_size=1, max_size=3), max_size=8))
@settings(deadline=None, max_examples=60)
async def test_nested_and_repeated_prefixes_list_each_key_once_in_order(tree: set[str], prefixes: list[str]) -> None:
    store = MemoryStore()
    for key in tree:
        store.seed(key, b"x")
    chosen = await key_list([*prefixes, *prefixes[:2]], prefixes=True)
    side = ListedSide(store, chosen, cut=0, put="", asks_all=False)
    assert await listing(side) == sorted(key for key in tree if any(key.startswith(one) for one in prefixes))
    chosen.close()


async def test_keys_and_folders_of_one_list_are_each_considered_once() -> None:
    store = MemoryStore()
    for key in ("a", "a/", "a/x", "b", "c/1"):
        store.seed(key, b"x")
    chosen = await key_list(["b", "a/x", "a/", "b", "missing", "a"])
    side = ListedSide(store, chosen, cut=0, put="", asks_all=False)
    assert await listing(side) == ["a", "a/", "a/x", "b"]
    assert store.requests["HeadObject"] == 3  # a, b, missing
    chosen.close()


async def test_a_plan_of_listed_keys_compares_both_sides_by_name_and_leaves_the_rest_alone() -> None:
    source, destination = MemoryStore(), MemoryStore()
    for key in ("p/same", "p/new", "p/differs", "p/not listed"):
        source.seed(key, b"12" if key == "p/differs" else b"1")
    for key in ("q/same", "q/differs", "q/other"):
        destination.seed(key, b"1")
    chosen = await key_list(["p/same", "p/new", "p/differs", "p/nowhere", "elsewhere"], prefix="p/")
    assert chosen.left_out == 1
    events: list[Event] = []
    found = await preview(
        ListedSide(source, chosen, cut=0, put="", asks_all=False),
        ListedSide(destination, chosen, cut=2, put="q/", asks_all=True),
        finder_settings(mapping=KeyMapping("p/", "q/", strip=True), listers=4),
        events.append,
    )
    planned: list[Any] = [event for event in events if isinstance(event, Planned)]
    assert [(one.key, one.reason) for one in planned] == [("p/differs", "size"), ("p/new", "missing")]
    assert (found.compared, found.dest_objects, found.extra) == (3, 2, 0)
    chosen.close()

"""Odd dates, lists, certificates, clocks and places: each is an answer in words, never a defect."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from pathlib import Path

import pytest

from dth.app.record import Record
from dth.app.sides import is_allowed, is_open_to_readers
from dth.errors import SettingsError
from dth.events import Event, Notice
from dth.finder.compare import newer
from dth.finder.from_list import _as_listed
from dth.finder.list_formats import LINE_CHARACTERS, entries_of
from dth.finder.select import Rules, selection
from dth.model import Entry, Location
from dth.multipart.claim import _seconds
from dth.settings import load_settings
from dth.states import Side
from dth.stores.answers import date_of, read_refusal
from dth.transport.tls import make_ssl_context
from dth.worker.events import _iso

PLACES = {"src_bucket": "from", "dest_bucket": "into"}

ODD_TIMES = [
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 01 Jan 0001 00:00:00 +2359",
    "Fri, 31 Dec 99999 23:59:59 GMT",
    "Fri, 31 Dec 99999999999999999999 23:59:59 GMT",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "Thu, 01 Jan 1970 00:00:00 +99999",
    "",
    "\udc80",
]


@pytest.mark.parametrize("time", ODD_TIMES)
def test_a_time_that_no_calendar_has_breaks_nothing(time: str) -> None:
    assert isinstance(_as_listed(time), str)
    assert isinstance(_iso(time), str)
    assert isinstance(_seconds(time), float)
    assert isinstance(newer(time, "2024-01-01T00:00:00Z"), bool)
    assert isinstance(newer("2024-01-01T00:00:00+00:00", time), bool)
    date_of({"date": time})
    assert (read_refusal(503, {"retry-after": time}, b"").retry_after or 0.0) >= 0.0
    after = load_settings({**PLACES, "modified_after": "2024-01-01T00:00:00Z"}, {}, None).modified_after
    chosen = selection(Rules((), (), 0, None, after, None, ()), "")
    assert chosen
    assert all(isinstance(one, str) for one in chosen.why_not("a", Entry("a", 1, "", time, "")))


# Lists


def read(name: str, data: bytes) -> list[Entry]:
    return list(entries_of(name, io.BytesIO(data), lambda _: io.BytesIO(b"")))


LISTS: list[tuple[str, bytes]] = [
    ("keys.csv", b"key\n" + b"k" * 140_000 + b"\n"),
    ("keys.csv", b'key\n"never closed ' + b"k" * 200_000),
    ("keys.csv", b"key\n\x00\n" + b'"' * 150_000),
    ("keys.txt.gz", gzip.compress(b"a\n" * 100_000)[:-20]),
    ("keys.txt.gz", b"no gzip at all"),
    ("keys.txt.gz", gzip.compress(b"a\n" * 1000)[:40] + b"\xff" * 40),
    ("keys.jsonl", b"[" * 10_000 + b"\n"),
    ("keys.jsonl", b'{"key":' * 1_900 + b"\n"),
    ("keys.jsonl", b"9" * 5000 + b"\n"),
    ("manifest.json", b"[" * 200_000),
    ("manifest.json", b'{"fileFormat":"CSV","fileSchema":7,"files":[]}'),
    ("keys.txt", b"k" * (LINE_CHARACTERS + 1)),
    ("keys.txt.gz", gzip.compress(b"k" * 50_000_000)),
    ("keys.jsonl.gz", gzip.compress(b'"' + b"k" * 50_000_000)),
    ("keys.csv.gz", gzip.compress(b"k" * 50_000_000)),
]


@pytest.mark.parametrize(("name", "data"), LISTS, ids=range(len(LISTS)))
def test_a_list_that_cannot_be_read_is_named_and_fills_no_memory(name: str, data: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(SettingsError) as raised:
        read(name, data)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 16 << 20
    assert str(raised.value).startswith(name)
    assert len(str(raised.value)) < 300


def test_the_longest_key_of_a_list_is_read() -> None:
    key = "\U0001f600" * 256
    assert [entry.key for entry in read("keys.txt", f"{key}\n".encode())] == [key]
    assert [entry.key for entry in read("keys.csv", f'key,x\n"{key}",1\n'.encode())] == [key]


# Certificates, places, clocks


@pytest.mark.parametrize("content", [b"", b"no certificate", None])
def test_a_bundle_of_certificates_that_is_none_is_an_error_of_settings(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"CA bundle .* cannot be used"):
        make_ssl_context(str(path))


@pytest.mark.parametrize(
    ("endpoint", "credentials", "told"),
    [
        ("http://store.example:9000", "", True),
        ("http://10.0.0.1", "", True),
        ("http://store.example", "anonymous", False),
        ("https://store.example", "", False),
        ("http://127.0.0.1:9000", "", False),
        ("http://127.8.8.8", "", False),
        ("http://[::1]:9000", "", False),
        ("http://localhost:9000", "", False),
        ("", "", False),
    ],
)
def test_credentials_over_plain_http_are_told_unless_they_stay_on_this_machine(
    endpoint: str, credentials: str, *, told: bool
) -> None:
    place = Location(Side.SOURCE, "", endpoint, "", "b", "", credentials, "", "")
    assert is_open_to_readers(place) is told


def test_what_every_process_notices_is_told_once() -> None:
    heard: list[Event] = []
    record = Record(heard.append)
    for code in ("plain_http", "plain_http", "other", "other"):
        record.note(Notice("warning", code, "text"))
    assert [event.code for event in heard if isinstance(event, Notice)] == ["plain_http", "other", "other"]


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        ("store.example:9000", True),
        ("store.example:9000/photos", True),
        ("STORE.example:9000/pho*", True),
        ("*.example:9000", True),
        ("*", True),
        ("store.example", False),
        ("store.example:9000/other", False),
        ("example:9000", False),
        ("", False),
    ],
)
def test_a_worker_may_touch_what_its_patterns_name(pattern: str, *, allowed: bool) -> None:
    assert is_allowed(pattern, "store.example:9000", "photos") is allowed


@pytest.mark.parametrize(
    "url", ["https://corp:S3cretPassw0rd@sqs.eu-west-1.amazonaws.com/1/q", "http://u:S3cret@h:9/q"]
)
@pytest.mark.parametrize("name", ["queue", "event_queue"])
def test_a_password_in_a_queue_s_url_is_refused_and_not_repeated(url: str, name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is a URL without a user") as raised:
        load_settings({name: url, "table": "t"}, {}, None, locations_required=False)
    assert "S3cret" not in str(raised.value)


@pytest.mark.parametrize("side", ["src", "dest"])
def test_a_secret_key_where_a_secret_s_name_belongs_is_not_repeated(side: str) -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    with pytest.raises(SettingsError, match="takes the name of a secret") as raised:
        load_settings({**PLACES, f"{side}_credentials": secret}, {}, None)
    assert secret not in str(raised.value)
    load_settings({**PLACES, f"{side}_credentials": "prod/backup-bucket-reader-of-the-archive"}, {}, None)

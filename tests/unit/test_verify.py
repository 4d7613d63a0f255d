"""Comparing two locations: what is said of each pair, and that nothing unknown is called equal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.errors import AccessDenied, Archived, ListingBroken, SettingsError
from dth.events import Difference, Event
from dth.finder.evidence import Evidence, by_heads, by_listing
from dth.model import Attributes, Entry, Generation, KeyMapping, ObjectHead
from dth.report import ReportLevel
from dth.states import Comparison, VerifiedBy
from dth.stores.attributes import object_head
from dth.stores.base import KeyRules
from dth.verify.attributes import attributes_differ
from dth.verify.compare_bytes import first_difference
from dth.verify.report import CompareReport
from dth.verify.run import Findings, VerifySettings, verify
from tests.servers.memory_store import AWS_LIKE, MIB, PLAIN, MemoryStore

A, B = "a" * 32, "b" * 32
ALL = Evidence(md5=True, multipart=True, checksums=False)


def listed(size: int, etag: str) -> Entry:
    return Entry("k", size, etag, "2024-05-01T12:00:00.000Z", "")


@pytest.mark.parametrize(
    ("ours", "theirs", "evidence", "wanted"),
    [
        (listed(1, A), listed(2, A), ALL, "size"),
        (listed(1, A), listed(1, A), ALL, "equal"),
        (listed(1, A), listed(1, A.upper()), ALL, "equal"),
        (listed(1, f"{A}-3"), listed(1, f"{A}-3"), ALL, "equal"),
        (listed(0, A), listed(0, "opaque"), ALL, "equal"),
        (listed(1, A), listed(1, B), ALL, None),
        (listed(1, f"{A}-3"), listed(1, f"{B}-3"), ALL, None),
        (listed(1, A), listed(1, f"{A}-1"), ALL, "not_verifiable"),
        (listed(1, f"{A}-3"), listed(1, f"{B}-4"), ALL, "not_verifiable"),
        (listed(1, A), listed(1, A), replace(ALL, md5=False), "not_verifiable"),
        (listed(1, f"{A}-3"), listed(1, f"{A}-3"), replace(ALL, multipart=False), "not_verifiable"),
        (listed(1, ""), listed(1, ""), ALL, "not_verifiable"),
        (listed(1, A), listed(1, f"{A}-1"), replace(ALL, checksums=True), None),
    ],
)
def test_a_listing_proves_equality_and_never_a_difference_in_content(
    ours: Entry, theirs: Entry, evidence: Evidence, wanted: str | None
) -> None:
    judgement = by_listing(ours, theirs, evidence)
    assert (judgement.comparison.value if judgement else None) == wanted


def head(etag: str, *, md5: bool = False, opaque: bool = False, crc: str = "", size: int = 1) -> ObjectHead:
    return ObjectHead(
        Generation(etag, size),
        "",
        Attributes(),
        md5=etag if md5 else "",
        checksums=(("crc64nvme", crc),) if crc else (),
        checksum_type="FULL_OBJECT" if crc else "",
        opaque_etag=opaque,
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "wanted", "proof"),
    [
        (head(A, md5=True), head(B, md5=True), "content", None),
        (head(A, md5=True), head(B, opaque=True), "not_verifiable", VerifiedBy.NOT_VERIFIABLE),
        (head(A), head(B), "not_verifiable", VerifiedBy.NOT_VERIFIABLE),
        (head(A, opaque=True, crc="x"), head(B, opaque=True, crc="x"), "equal", VerifiedBy.CRC),
        (head(A, crc="x"), head(f"{B}-2", crc="x"), "equal", VerifiedBy.CRC),
        (head(A, crc="x"), head(f"{B}-2", crc="y"), "content", None),
        (head(f"{A}-2"), head(f"{B}-2"), "content", None),
        (head(f"{A}-2", crc="x"), head(f"{B}-2", crc="x"), "equal", VerifiedBy.CRC),  # parts cut differently
        (head(f"{A}-2", opaque=True), head(f"{B}-2", opaque=True), "not_verifiable", VerifiedBy.NOT_VERIFIABLE),
        (head(A, size=2), head(A, size=3), "size", None),
        (head(A, size=0), head("x", size=0), "equal", VerifiedBy.COMPARED),
    ],
)
def test_heads_tell_md5s_from_what_only_looks_like_them(
    ours: ObjectHead, theirs: ObjectHead, wanted: str, proof: VerifiedBy | None
) -> None:
    judgement = by_heads(ours, theirs, ALL)
    assert (judgement.comparison.value, judgement.verified_by) == (wanted, proof)


@pytest.mark.parametrize(
    ("header", "value", "opaque"),
    [
        ("x-amz-server-side-encryption", "aws:kms", True),
        ("x-amz-server-side-encryption", "AES256", False),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256", True),
        ("content-type", "text/plain", False),
    ],
)
def test_a_head_says_where_encryption_hides_what_the_etag_is_made_of(header: str, value: str, *, opaque: bool) -> None:
    for etag in (A, f"{A}-2"):
        found = object_head({"etag": f'"{etag}"', header: value}, 1, md5_etag=True, whole=True)
        assert found.opaque_etag is opaque
        assert found.md5 == ("" if opaque or etag != A else A)


def attributes(metadata: dict[str, str] | None = None, **headers: str) -> Attributes:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Attributes(named, tuple((metadata or {}).items()))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (attributes(), attributes(content_type="binary/octet-stream")),
        (attributes(content_type="application/octet-stream"), attributes()),
        (attributes(content_encoding="aws-chunked"), attributes()),
        (attributes(content_encoding="gzip,aws-chunked"), attributes(content_encoding="gzip")),
        (attributes({"Seed": "1"}), attributes({"seed": "1"})),
    ],
)
def test_what_stores_make_up_is_no_difference_of_metadata(ours: Attributes, theirs: Attributes) -> None:
    assert attributes_differ(ours, theirs) == attributes_differ(theirs, ours) == ""


def test_a_difference_of_metadata_names_both_values() -> None:
    said = attributes_differ(attributes({"who": "me"}, cache_control="no-store"), attributes(content_type="text/plain"))
    assert "cache-control is 'no-store' at the source, absent at the destination" in said
    assert "content-type is absent at the source, 'text/plain' at the destination" in said
    assert "x-amz-meta-who is 'me' at the source, absent" in said


async def chunks(data: bytes, cuts: Sequence[int]) -> AsyncIterator[bytes]:
    at = 0
    for cut in [*sorted(cuts), len(data)]:
        yield data[at:cut]
        at = max(at, cut)


@given(
    st.binary(max_size=200),
    st.lists(st.integers(0, 200), max_size=8),
    st.lists(st.integers(0, 200), max_size=8),
    st.sets(st.integers(0, 199)),
)
def test_streams_are_compared_byte_by_byte_however_they_are_cut(
    data: bytes, cuts: list[int], their_cuts: list[int], flipped: set[int]
) -> None:
    other = bytes(byte ^ (at in flipped) for at, byte in enumerate(data))
    passed: list[int] = []
    found = asyncio.run(first_difference(chunks(data, cuts), chunks(other, their_cuts), passed.append))
    wanted = min((at for at in flipped if at < len(data)), default=None)
    assert found == wanted
    if wanted is None:
        assert sum(passed) == len(data)


class Sides:
    """Two stores in memory, and what a comparison of them says."""

    def __init__(self, folder: Path, **capabilities: Any) -> None:
        self.source = MemoryStore(replace(PLAIN, **capabilities))
        self.destination = MemoryStore(replace(PLAIN, **capabilities))
        self.folder = folder
        self.events: list[Event] = []
        self.findings = Findings()
        self.level = ReportLevel.ALL

    def both(self, key: str, data: bytes) -> None:
        self.source.seed(key, data)
        self.destination.seed(key, data)

    async def verify(self, **options: Any) -> dict[str, str]:
        """What each key was called."""
        settings = VerifySettings(
            mapping=KeyMapping("", "", strip=True),
            download=False,
            metadata=False,
            in_flight=0,
            memory_budget=8 * MIB,
            sort_memory=4 * MIB,
            sort_directory=str(self.folder),
        )
        with CompareReport(self.folder / "report", self.level) as report:
            await verify(
                self.source, self.destination, replace(settings, **options), report, self.findings, self.events.append
            )
        assert not self.source.open_streams
        assert not self.destination.open_streams
        return {line["key"]: line["comparison"] for line in self.lines()}

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "report").read_text().splitlines()]


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides(tmp_path)


async def test_each_key_of_either_side_is_reported_once(sides: Sides) -> None:
    for number in range(3000):
        sides.both(f"k{number:05}", b"same")
    sides.source.seed("a", b"1")
    sides.destination.seed("z", b"1")
    sides.destination.seed("k00007", b"SAME")
    sides.destination.seed("k00008", b"longer than that")
    found = await sides.verify()
    assert len(sides.lines()) == len(found) == 3002
    differing = {key: what for key, what in found.items() if what != "equal"}
    assert differing == {"a": "missing", "z": "extra", "k00007": "content", "k00008": "size"}
    named = {event.key: event.kind for event in sides.events if isinstance(event, Difference)}
    assert named == differing
    assert sides.findings.over
    assert sides.findings.differences == 4


async def test_a_listing_that_breaks_off_raises_and_calls_nothing_missing(sides: Sides) -> None:
    sides.both("a", b"1")
    sides.source.seed("b", b"1")
    sides.destination.fail("ListObjectsV2", ListingBroken("loops"))
    with pytest.raises(ListingBroken):
        await sides.verify()
    assert not sides.findings.over
    assert sides.findings.comparisons[Comparison.MISSING] == 0


async def test_an_unordered_listing_is_sorted_and_each_pair_is_said_once(sides: Sides) -> None:
    keys = [f"k{number:04}" for number in range(2500)]
    for key in keys:
        sides.both(key, b"same")
    sides.source.seed("only", b"1")
    jumbled = [*keys[:1500], keys[0] + "~", *keys[1500:]]
    sides.both(keys[0] + "~", b"same")

    async def pages(prefix: str, *, after: str = "", until: str = "") -> AsyncIterator[Sequence[Entry]]:
        for start in range(0, len(jumbled), 1000):
            yield [sides.destination.entry(key) for key in jumbled[start : start + 1000]]

    sides.destination.pages = pages  # type: ignore[method-assign]
    found = await sides.verify()
    assert len(sides.lines()) == len(found) == 2502
    assert {key: what for key, what in found.items() if what != "equal"} == {"only": "missing"}
    assert (sides.findings.listed.source, sides.findings.listed.destination) == (2502, 2501)


async def test_a_key_that_the_destination_cannot_hold_is_missing_for_that_reason(tmp_path: Path) -> None:
    sides = Sides(tmp_path, key_rules=KeyRules(folds_empty_segments=True))
    sides.source.seed("a//b", b"1")
    assert await sides.verify() == {"a//b": "missing"}
    assert "folds" in sides.lines()[0]["detail"]
    assert sides.lines()[0]["error_code"] == "key_refused"


async def test_etags_of_different_kinds_are_settled_by_reading(sides: Sides) -> None:
    sides.source.seed("a", bytes(3 * MIB), parts=MIB)
    sides.destination.seed("a", bytes(3 * MIB))
    assert await sides.verify() == {"a": "not_verifiable"}
    assert sides.source.calls["GetObject"] == 0
    sides.findings = Findings()
    assert await sides.verify(download=True) == {"a": "equal"}
    assert sides.lines()[0]["verified_by"] == "compared"


async def test_checksums_that_both_keep_settle_what_etags_cannot(tmp_path: Path) -> None:
    sides = Sides(tmp_path, checksums=AWS_LIKE.checksums)
    for store, parts in ((sides.source, MIB), (sides.destination, 0)):
        store.keeps_checksums = True
        store.seed("a", bytes(3 * MIB), parts=parts)
    assert await sides.verify() == {"a": "equal"}
    assert sides.lines()[0]["verified_by"] == "crc"
    assert sides.source.calls["GetObject"] == 0


async def test_encryption_that_hides_md5s_is_no_difference(sides: Sides) -> None:
    sides.source.seed("a", b"same")
    sides.destination.kms = True
    sides.destination.seed("a", b"same")
    assert await sides.verify() == {"a": "not_verifiable"}


async def test_a_flipped_byte_behind_equal_etags_is_found_by_reading_alone(sides: Sides) -> None:
    sides.both("a", bytes(3 * MIB))
    held = sides.destination.objects["a"]
    held.data = held.data[: 2 * MIB + 5] + b"\x01" + held.data[2 * MIB + 6 :]
    assert await sides.verify() == {"a": "equal"}
    assert await sides.verify(download=True) == {"a": "content"}
    assert sides.lines()[0]["offset"] == 2 * MIB + 5


async def test_a_large_object_is_read_in_spans_up_to_its_first_difference(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dth.verify.compare_bytes.READ_SPAN", 256 << 10)
    data = bytearray(4 * MIB)
    sides.source.seed("a", bytes(data))
    for at in (3 * MIB, MIB + 3, 2 * MIB):
        data[at] = 1
    sides.destination.seed("a", bytes(data))
    sides.source.short_streams = 2  # read again
    assert await sides.verify(download=True) == {"a": "content"}
    assert sides.lines()[0]["offset"] == MIB + 3
    assert sides.findings.bytes < 3 * MIB


async def test_the_first_difference_is_named_also_where_a_later_one_is_found_sooner(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    span = 256 << 10
    monkeypatch.setattr("dth.verify.compare_bytes.READ_SPAN", span)
    sides.source.seed("a", bytes(2 * span))
    sides.destination.seed("a", bytes(span - 1) + b"\x01\x01" + bytes(span - 1))
    assert await sides.verify(download=True) == {"a": "content"}
    assert sides.lines()[0]["offset"] == span - 1


async def test_tags_are_compared_only_when_asked_for_with_or_without_reading(sides: Sides) -> None:
    sides.source.seed("a", b"same", tags=(("k", "v"), ("z", "")))
    sides.destination.seed("a", b"same", tags=(("z", ""), ("k", "w")))
    assert await sides.verify(metadata=True) == {"a": "equal"}
    for download in (False, True):
        assert await sides.verify(tags=True, download=download) == {"a": "metadata"}
        assert sides.lines()[0]["detail"] == "tag k is 'v' at the source, 'w' at the destination"
    sides.destination.seed("a", b"same", tags=(("z", ""), ("k", "v")))
    assert await sides.verify(tags=True) == {"a": "equal"}
    sides.destination.before("GetObjectTagging", lambda: sides.destination.objects.pop("a"))
    assert await sides.verify(tags=True) == {"a": "missing"}


async def test_metadata_is_compared_only_when_asked_for_with_or_without_reading(sides: Sides) -> None:
    sides.source.seed("a", b"same", attributes({"who": "me"}))
    sides.destination.seed("a", b"same")
    assert await sides.verify() == {"a": "equal"}
    assert await sides.verify(metadata=True) == {"a": "metadata"}
    assert await sides.verify(metadata=True, download=True) == {"a": "metadata"}
    assert sides.lines()[0]["verified_by"] == "compared"
    assert "x-amz-meta-who" in sides.lines()[0]["detail"]


async def test_an_object_that_changes_while_it_is_read_is_read_anew(sides: Sides) -> None:
    sides.both("a", b"old bytes")
    sides.source.before("GetObject", lambda: (sides.source.seed("a", b"new"), sides.destination.seed("a", b"new")))
    assert await sides.verify(download=True) == {"a": "equal"}


async def test_an_object_that_never_stands_still_is_called_changed(sides: Sides) -> None:
    sides.both("a", b"1")
    serial = iter(range(10, 99))
    sides.source.faults.append(
        lambda name, _: sides.source.seed("a", str(next(serial)).encode()) if name == "GetObject" else None
    )
    sides.destination.seed("a", b"1")
    sides.destination.faults.append(
        lambda name, _: sides.destination.seed("a", b"22") if name == "HeadObject" else None
    )
    assert await sides.verify(download=True) == {"a": "changed"}


async def test_an_object_that_goes_meanwhile_is_named(sides: Sides) -> None:
    sides.both("a", b"1")
    sides.both("b", b"1")
    sides.source.faults.append(lambda name, key: name == "GetObject" and sides.source.objects.pop("a", None))
    sides.destination.faults.append(lambda name, key: name == "GetObject" and sides.destination.objects.pop("b", None))
    assert await sides.verify(download=True) == {"a": "changed", "b": "missing"}


async def test_what_cannot_be_read_is_named_with_its_reason(sides: Sides) -> None:
    for key in ("archived", "denied", "fine"):
        sides.both(key, b"1")
    refusals = {"archived": Archived("in GLACIER"), "denied": AccessDenied("s3:GetObject is missing")}

    def refuse(name: str, key: str) -> None:
        if name == "GetObject" and key in refusals:
            raise refusals[key]

    sides.source.faults.append(refuse)
    wanted = {"archived": "needs_restore", "denied": "failed", "fine": "equal"}
    assert await sides.verify(download=True) == wanted
    assert {line["key"]: line["error_code"] for line in sides.lines()}["denied"] == "access_denied"


async def test_a_denial_of_everything_ends_the_comparison(sides: Sides) -> None:
    for number in range(50):
        sides.both(f"k{number}", b"1")
    sides.source.fail("GetObject", AccessDenied("no"), times=1000)
    with pytest.raises(AccessDenied):
        await sides.verify(download=True)
    assert not sides.findings.over
    assert {line["comparison"] for line in sides.lines()} == {"failed"}  # what was known by then is kept


async def test_a_report_of_differences_alone_leaves_the_counts_whole(sides: Sides) -> None:
    for number in range(20):
        sides.both(f"k{number}", b"1")
    sides.level = ReportLevel.FAILED
    sides.source.seed("only", b"1")
    assert await sides.verify() == {"only": "missing"}
    assert sides.findings.comparisons == {Comparison.EQUAL: 20, Comparison.MISSING: 1}
    assert sides.findings.proofs == {"etag": 20}


async def test_one_at_a_time_and_hardly_any_memory_still_end(sides: Sides) -> None:
    for number in range(40):
        sides.both(f"k{number}", bytes(100_000))
    found = await sides.verify(download=True, metadata=True, in_flight=1, memory_budget=1)
    assert set(found.values()) == {"equal"}


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--report"), CompareReport(tmp_path / "no" / "r", ReportLevel.ALL):
        pass

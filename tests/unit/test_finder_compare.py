from __future__ import annotations

import dataclasses

import pytest

from dth.finder.compare import CompareMode, change, deciding
from dth.model import Entry
from dth.states import Reason
from tests.unit.finder_fakes import CAPABILITIES, entry

A, B = "a" * 32, "b" * 32
OLD, NEW = "2024-05-01T12:00:00.000Z", "2024-05-02T12:00:00.000Z"
OPAQUE = dataclasses.replace(CAPABILITIES, md5_etag=False, multipart_etag=False)


def obj(size: int = 1, etag: str = "", modified: str = OLD) -> Entry:
    return entry("k", size, etag, modified)


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [
        (obj(1, A), obj(2, A), Reason.SIZE),
        (obj(1, A, NEW), obj(1, A, OLD), Reason.EQUAL),  # comparable ETags alone decide
        (obj(1, A.upper(), NEW), obj(1, A, OLD), Reason.EQUAL),
        (obj(1, A, OLD), obj(1, B, NEW), Reason.ETAG),
        (obj(9, A + "-3", NEW), obj(9, A + "-3", OLD), Reason.EQUAL),
        (obj(9, A + "-3", OLD), obj(9, B + "-3", NEW), Reason.EQUAL),  # may be another cut of the same bytes
        (obj(9, A + "-3", NEW), obj(9, B + "-3", OLD), Reason.NEWER),
        (obj(9, A + "-3", OLD), obj(9, B + "-4", NEW), Reason.EQUAL),  # another layout proves nothing
        (obj(9, A + "-3", NEW), obj(9, B + "-4", OLD), Reason.NEWER),
        (obj(9, A, NEW), obj(9, A + "-1", OLD), Reason.NEWER),
        (obj(9, A, OLD), obj(9, A + "-1", NEW), Reason.EQUAL),
        (obj(1, "", OLD), obj(1, A, NEW), Reason.EQUAL),
        (obj(1, "short", OLD), obj(1, "other", NEW), Reason.EQUAL),
        (obj(9, A + "-x", OLD), obj(9, B + "-x", NEW), Reason.EQUAL),
        (obj(0, A, OLD), obj(0, B, NEW), Reason.EQUAL),  # different MD5s of nothing: one is none
        (obj(0, A, NEW), obj(0, B, OLD), Reason.NEWER),
        (obj(1, "", OLD), obj(1, "", OLD), Reason.EQUAL),
    ],
)
def test_each_row_of_the_ladder(source: Entry, destination: Entry, reason: Reason) -> None:
    assert deciding(CompareMode.AUTO, CAPABILITIES, CAPABILITIES)(source, destination) is reason


@pytest.mark.parametrize("opaque_side", [0, 1])
def test_etags_of_a_store_whose_profile_does_not_vouch_for_them_decide_nothing(opaque_side: int) -> None:
    sides = [CAPABILITIES, CAPABILITIES]
    sides[opaque_side] = OPAQUE
    decide = deciding(CompareMode.AUTO, *sides)
    assert decide(obj(1, A, OLD), obj(1, B, NEW)) is Reason.EQUAL
    assert decide(obj(1, A, NEW), obj(1, A, OLD)) is Reason.NEWER
    assert decide(obj(9, A + "-3", NEW), obj(9, A + "-3", OLD)) is Reason.NEWER


@pytest.mark.parametrize(
    ("mode", "source", "destination", "reason"),
    [
        (CompareMode.SIZE, obj(1, A, NEW), obj(1, B, OLD), Reason.EQUAL),
        (CompareMode.SIZE, obj(1), obj(2), Reason.SIZE),
        (CompareMode.MTIME, obj(1, A, OLD), obj(1, B, NEW), Reason.EQUAL),
        (CompareMode.MTIME, obj(1, A, NEW), obj(1, A, OLD), Reason.MTIME),
        (CompareMode.MTIME, obj(1), obj(2), Reason.SIZE),
        (CompareMode.ETAG, obj(1, "x", OLD), obj(1, "y", NEW), Reason.ETAG),
        (CompareMode.ETAG, obj(1, "x", NEW), obj(1, "X", OLD), Reason.EQUAL),
        (CompareMode.ETAG, obj(1, ""), obj(1, ""), Reason.ETAG),
        (CompareMode.ETAG, obj(1, "x"), obj(2, "x"), Reason.SIZE),
    ],
)
def test_other_modes_use_their_own_rungs(mode: CompareMode, source: Entry, destination: Entry, reason: Reason) -> None:
    assert deciding(mode, CAPABILITIES, CAPABILITIES)(source, destination) is reason


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [
        ("2024-05-01T12:00:00Z", "2024-05-01T12:00:00.000Z", Reason.EQUAL),
        ("2024-05-01T12:00:01Z", "2024-05-01T12:00:00.999Z", Reason.NEWER),
        ("2024-05-01T12:00:00.5Z", "2024-05-01T12:00:00.250000Z", Reason.NEWER),
        ("2024-05-01T14:00:00+02:00", "2024-05-01T12:00:00Z", Reason.EQUAL),
        ("2024-05-01T12:00:00", "2024-05-01T12:00:00Z", Reason.EQUAL),
        ("", "2024-05-01T12:00:00Z", Reason.NEWER),
        ("soon", "2024-05-01T12:00:00Z", Reason.NEWER),
    ],
)
def test_times_in_different_formats_compare_as_instants(source: str, destination: str, reason: Reason) -> None:
    decide = deciding(CompareMode.AUTO, OPAQUE, OPAQUE)
    assert decide(obj(modified=source), obj(modified=destination)) is reason


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        (obj(1, A), obj(1, A), Reason.EQUAL),
        (obj(1, A), obj(2, A), Reason.SIZE),
        (obj(1, A), obj(1, B), Reason.OPEN),
        (obj(1, A + "-2"), obj(1, A + "-2"), Reason.EQUAL),
        (obj(1, A + "-2"), obj(1, A), Reason.OPEN),
        (obj(0, A), obj(0, B), Reason.EQUAL),
        (obj(1, A, NEW), obj(1, A, OLD), Reason.EQUAL),
    ],
)
def test_comparing_by_checksum_believes_equal_etags_and_leaves_the_rest_open(
    ours: Entry, theirs: Entry, reason: Reason
) -> None:
    assert deciding(CompareMode.CHECKSUM, CAPABILITIES, CAPABILITIES)(ours, theirs) is reason


@pytest.mark.parametrize(
    ("storage_class", "reason"),
    [("GLACIER", Reason.ARCHIVED), ("DEEP_ARCHIVE", Reason.ARCHIVED), ("GLACIER_IR", Reason.SIZE), ("", Reason.SIZE)],
)
def test_only_sources_that_need_a_restore_are_archived(storage_class: str, reason: Reason) -> None:
    assert change(entry("k", cls=storage_class), Reason.SIZE).reason is reason


def test_an_archived_destination_counts_as_present() -> None:
    decide = deciding(CompareMode.AUTO, CAPABILITIES, CAPABILITIES)
    assert decide(obj(1, A), entry("k", 1, A, NEW, "DEEP_ARCHIVE")) is Reason.EQUAL

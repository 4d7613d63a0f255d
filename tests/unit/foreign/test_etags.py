"""Kind 3, form is taken for proof: an ETag of 32 hexadecimal digits is believed to be an MD5."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from dth.etags import EMPTY_MD5, is_impossible
from dth.finder.compare import CompareMode, deciding
from dth.finder.etag_proof import ByEtag
from dth.finder.evidence import Evidence, by_listing
from dth.finder.plan import Tally
from dth.model import Change, Entry
from dth.multipart.checksum import is_content_etag
from dth.states import Comparison, Reason
from dth.stores.attributes import object_head
from tests.servers.memory_store import AWS_LIKE, MemoryStore

ASSUMED = replace(AWS_LIKE, assumed=True, checksums=())
IMPOSSIBLE = [EMPTY_MD5, "0" * 32, "f" * 32, "F" * 32, EMPTY_MD5 + "-2", "0" * 32 + "-1"]
OLD, NEW = "2024-01-01T00:00:00.000Z", "2025-01-01T00:00:00.000Z"


@pytest.mark.parametrize("etag", IMPOSSIBLE)
def test_an_etag_that_no_object_with_bytes_can_have_proves_nothing(etag: str) -> None:
    ours, theirs = Entry("k", 5, etag, NEW, ""), Entry("k", 5, etag, OLD, "")
    assert deciding(CompareMode.AUTO, AWS_LIKE, AWS_LIKE)(ours, theirs) is Reason.NEWER
    assert deciding(CompareMode.ETAG, AWS_LIKE, AWS_LIKE)(ours, theirs) is Reason.ETAG
    judgement = by_listing(ours, theirs, Evidence(md5=True, multipart=True, checksums=False))
    assert judgement
    assert judgement.comparison is Comparison.NOT_VERIFIABLE
    assert not is_content_etag(etag, 5)
    assert object_head({"etag": f'"{etag}"'}, 5, md5_etag=True, whole=True).md5 == ""


def test_the_md5_of_no_bytes_is_right_for_an_empty_object() -> None:
    empty = Entry("k", 0, EMPTY_MD5, NEW, "")
    assert deciding(CompareMode.AUTO, AWS_LIKE, AWS_LIKE)(empty, empty._replace(last_modified=OLD)) is Reason.EQUAL
    assert object_head({"etag": EMPTY_MD5}, 0, md5_etag=True, whole=True).md5 == EMPTY_MD5
    assert not is_impossible(EMPTY_MD5, 0)


def entry_of(store: MemoryStore, key: str, when: str) -> Entry:
    stored = store.objects[key]
    return Entry(key, len(stored.data), stored.etag, when, "")


@pytest.mark.parametrize("fake", ["source", "destination", "neither"])
async def test_etags_that_differ_are_believed_only_where_a_look_shows_that_they_are_md5s(fake: str) -> None:
    source, destination = MemoryStore(ASSUMED), MemoryStore(ASSUMED)
    pairs = []
    for number in range(5):
        for store in (source, destination):
            store.seed(f"k{number}", b"%d of %s" % (number, b"source" if store is source else b"copies"))
            if store is {"source": source, "destination": destination}.get(fake):
                store.objects[f"k{number}"] = replace(
                    store.objects[f"k{number}"], etag=hashlib.md5(b"salt %d" % number).hexdigest()
                )
        pairs.append((entry_of(source, f"k{number}", OLD), entry_of(destination, f"k{number}", NEW)))
    decide = deciding(CompareMode.AUTO, ASSUMED, ASSUMED, asks=True)
    assert {decide(*pair) for pair in pairs} == {Reason.OPEN}
    tally = Tally()
    settled = await ByEtag(source, destination, tally)([Change(ours, Reason.OPEN, theirs) for ours, theirs in pairs])
    assert [one.reason for one in settled] == ([Reason.ETAG] * 5 if fake == "neither" else [])
    assert tally.undecided == (0 if fake == "neither" else 5)


def test_of_a_known_store_nothing_is_asked() -> None:
    ours, theirs = Entry("k", 5, "1" * 31 + "2", OLD, ""), Entry("k", 5, "1" * 31 + "3", NEW, "")
    assert deciding(CompareMode.AUTO, AWS_LIKE, AWS_LIKE, asks=True)(ours, theirs) is Reason.ETAG
    assert deciding(CompareMode.AUTO, ASSUMED, AWS_LIKE)(ours, theirs) is Reason.ETAG, "nobody is there to ask"

"""Deciding from two listed entries whether an object is copied. Pure: no I/O, no clock.

The ladder of `--compare auto`; the first row that applies decides, and its reason goes with the change:

    destination | sizes  | ETags comparable | ETags  | source newer || reason
    ------------+--------+------------------+--------+--------------++---------
    absent      |   -    |        -         |   -    |      -       || MISSING
    present     | differ |        -         |   -    |      -       || SIZE
    present     | equal  |       yes        | equal  |      -       || EQUAL
    present     | equal  |     yes, MD5s    | differ |      -       || ETAG (*)
    present     | equal  |       else       |   -    |     yes      || NEWER
    present     | equal  |       else       |   -    |     no       || EQUAL

Multipart ETags that differ prove nothing, be they of as many parts: one side may have been cut otherwise (12 and 8 MiB
here, 16 and 4 there), and such an object would be copied again by every run. What was written at the source since is newer.

(*) Where nobody knows the kind of one of the stores, and the source is no newer, the pair is OPEN: one object is read to see
whether the store's ETags are MD5s at all (`finder.etag_proof`). If they are not, the next rung decides. ETags that no object
with bytes can have (the MD5 of nothing, nothing but zeros or ones) are comparable with none.

and for every reason but EQUAL: a source in GLACIER or DEEP_ARCHIVE makes it ARCHIVED (nothing is sent; it must be
restored first). The storage class at the destination never matters: an archived object there is present.

`--compare size` ends after SIZE; `mtime` goes from SIZE to the newer rung, whose reason is then MTIME; `etag` takes all
ETags for comparable, and one that was not listed for different. `checksum` lets only what proves the bytes decide: equal
ETags of one kind, else what a HEAD of both objects says (`finder.resolve`); until then the reason is OPEN.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum

from dth.columns import Columns
from dth.etags import IMPOSSIBLE
from dth.finder.evidence import MD5_DIGITS, UNPROVEN, Evidence, by_listing, comparable
from dth.model import Change, Entry
from dth.states import Comparison, Reason
from dth.stores.base import Capabilities

Decide = Callable[[Entry, Entry], Reason]
"""Why the source's entry (first) must replace the destination's (second); EQUAL where it need not."""

Alike = Callable[[Columns, Columns], bool]
"""Whether every pair of two stretches of one length, whose keys are known to be the same, is EQUAL beyond doubt. False says
nothing of any of them: `Decide` does."""

ARCHIVED_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Classes that answer a GET only after a restore (S3 User Guide, "Storage classes"). GLACIER_IR answers at once."""


class CompareMode(StrEnum):
    """What decides whether an object that is at both sides is copied again."""

    AUTO = "auto"
    SIZE = "size"
    MTIME = "mtime"
    ETAG = "etag"
    CHECKSUM = "checksum"


def deciding(mode: CompareMode, source: Capabilities, destination: Capabilities, *, asks: bool = False) -> Decide:
    """The decision for pairs of these two stores. `asks`: what stays OPEN is asked of the objects; else nothing stays so but
    under `checksum`."""
    match mode:
        case CompareMode.AUTO:
            return _ladder(
                md5=source.md5_etag and destination.md5_etag,
                multipart=source.multipart_etag and destination.multipart_etag,
                doubts=asks and (source.assumed or destination.assumed),
            )
        case CompareMode.SIZE:
            return _by_size
        case CompareMode.MTIME:
            return _by_mtime
        case CompareMode.ETAG:
            return _by_etag
        case CompareMode.CHECKSUM:
            return _by_checksum(Evidence.of(source, destination))


def alike(mode: CompareMode, source: Capabilities, destination: Capabilities) -> Alike | None:
    """The first rungs of `deciding`, for whole stretches; None where they decide nothing."""
    if mode is CompareMode.AUTO and source.md5_etag and destination.md5_etag:
        return _same_md5s
    return _same_sizes if mode is CompareMode.SIZE else None


def _same_md5s(ours: Columns, theirs: Columns) -> bool:
    etags = ours.etags
    return (
        ours.sizes == theirs.sizes
        and etags == theirs.etags
        and set(map(len, etags)) == {MD5_DIGITS}
        and IMPOSSIBLE.isdisjoint(etags)
    )


def _same_sizes(ours: Columns, theirs: Columns) -> bool:
    return ours.sizes == theirs.sizes


def change(entry: Entry, reason: Reason, there: Entry | None = None) -> Change:
    """The change for a source entry, ARCHIVED where it cannot be read before it was restored. `there` is the destination's,
    kept where that may still show that nothing is to be done."""
    if reason is Reason.OPEN:
        return Change(entry, reason, there)
    return Change(entry, Reason.ARCHIVED if entry.storage_class in ARCHIVED_CLASSES else reason)


def _ladder(*, md5: bool, multipart: bool, doubts: bool) -> Decide:
    equal = Reason.EQUAL

    def decide(source: Entry, destination: Entry) -> Reason:
        _, size, ours, _, _ = source
        _, their_size, theirs, _, _ = destination
        if size != their_size:
            return Reason.SIZE
        if ours == theirs and md5 and len(ours) == MD5_DIGITS and (ours not in IMPOSSIBLE or not size):
            return equal  # nearly all pairs end here: ten times as fast as the careful look
        if comparable(ours, theirs, md5=md5, multipart=multipart):
            if ours.lower() == theirs.lower():
                return Reason.EQUAL
            # There is only one MD5 of no bytes: where those of two empty objects differ, one of them is no MD5.
            if source.size and "-" not in ours:
                doubted = doubts and not newer(source.last_modified, destination.last_modified)
                return Reason.OPEN if doubted else Reason.ETAG
        return Reason.NEWER if newer(source.last_modified, destination.last_modified) else Reason.EQUAL

    return decide


def _by_size(source: Entry, destination: Entry) -> Reason:
    return Reason.EQUAL if source.size == destination.size else Reason.SIZE


def _by_mtime(source: Entry, destination: Entry) -> Reason:
    if source.size != destination.size:
        return Reason.SIZE
    return Reason.MTIME if newer(source.last_modified, destination.last_modified) else Reason.EQUAL


def _by_etag(source: Entry, destination: Entry) -> Reason:
    if source.size != destination.size:
        return Reason.SIZE
    if source.size and source.etag.partition("-")[0] in IMPOSSIBLE:
        return Reason.ETAG
    return Reason.EQUAL if source.etag and source.etag.lower() == destination.etag.lower() else Reason.ETAG


def _by_checksum(evidence: Evidence) -> Decide:
    def decide(source: Entry, destination: Entry) -> Reason:
        judgement = by_listing(source, destination, evidence)
        if judgement is None or judgement is UNPROVEN:
            return Reason.OPEN
        return Reason.SIZE if judgement.comparison is Comparison.SIZE else Reason.EQUAL

    return decide


def newer(source: str, destination: str) -> bool:
    """Whether the source was written later. A time that cannot be read counts as newer: a copy too many loses nothing."""
    if len(source) == len(destination) and source[-1:] == destination[-1:] == "Z":
        return source > destination  # one format: text order is time order
    try:
        return _instant(source) > _instant(destination)
    except (ValueError, OverflowError):
        return True


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)

"""Deciding from two listed entries whether an object is copied. Pure: no I/O, no clock.

The ladder of `--compare auto`; the first row that applies decides, and its reason goes with the change:

    destination | sizes  | ETags comparable | ETags  | source newer || reason
    ------------+--------+------------------+--------+--------------++---------
    absent      |   -    |        -         |   -    |      -       || MISSING
    present     | differ |        -         |   -    |      -       || SIZE
    present     | equal  |       yes        | equal  |      -       || EQUAL
    present     | equal  |       yes        | differ |      -       || ETAG
    present     | equal  |       no         |   -    |     yes      || NEWER
    present     | equal  |       no         |   -    |     no       || EQUAL

and for every reason but EQUAL: a source in GLACIER or DEEP_ARCHIVE makes it ARCHIVED (nothing is sent; it must be
restored first). The storage class at the destination never matters: an archived object there is present.

`--compare size` ends after SIZE; `mtime` goes from SIZE to the newer rung, whose reason is then MTIME; `etag` takes all
ETags for comparable, and one that was not listed for different.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum

from dth.errors import SettingsError
from dth.model import Change, Entry
from dth.states import Reason
from dth.stores.base import Capabilities

Decide = Callable[[Entry, Entry], Reason]
"""Why the source's entry (first) must replace the destination's (second); EQUAL where it need not."""

ARCHIVED_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Classes that answer a GET only after a restore (S3 User Guide, "Storage classes"). GLACIER_IR answers at once."""

_HEX = frozenset("0123456789abcdefABCDEF")
_MD5_DIGITS = 32


class CompareMode(StrEnum):
    """What decides whether an object that is at both sides is copied again."""

    AUTO = "auto"
    SIZE = "size"
    MTIME = "mtime"
    ETAG = "etag"
    CHECKSUM = "checksum"


def deciding(mode: CompareMode, source: Capabilities, destination: Capabilities) -> Decide:
    """The decision for pairs of these two stores. Raises SettingsError for a mode that is not available yet."""
    match mode:
        case CompareMode.AUTO:
            return _ladder(
                md5=source.md5_etag and destination.md5_etag,
                multipart=source.multipart_etag and destination.multipart_etag,
            )
        case CompareMode.SIZE:
            return _by_size
        case CompareMode.MTIME:
            return _by_mtime
        case CompareMode.ETAG:
            return _by_etag
        case CompareMode.CHECKSUM:
            raise SettingsError("compare=checksum is not available yet; choose auto, size, mtime or etag")


def change(entry: Entry, reason: Reason) -> Change:
    """The change for a source entry, ARCHIVED where it cannot be read before it was restored."""
    return Change(entry, Reason.ARCHIVED if entry.storage_class in ARCHIVED_CLASSES else reason)


def _ladder(*, md5: bool, multipart: bool) -> Decide:
    def decide(source: Entry, destination: Entry) -> Reason:
        if source.size != destination.size:
            return Reason.SIZE
        ours, theirs = source.etag, destination.etag
        if ours == theirs and (multipart if "-" in ours else md5) and len(ours) >= _MD5_DIGITS:
            return Reason.EQUAL  # nearly all pairs end here: ten times as fast as the careful look
        if _comparable(ours, theirs, md5=md5, multipart=multipart):
            if ours.lower() == theirs.lower():
                return Reason.EQUAL
            # There is only one MD5 of no bytes: where those of two empty objects differ, one of them is no MD5.
            if source.size:
                return Reason.ETAG
        return Reason.NEWER if _newer(source.last_modified, destination.last_modified) else Reason.EQUAL

    return decide


def etags_say(ours: str, theirs: str, *, md5: bool, multipart: bool) -> bool | None:
    """Whether two objects of one size are the same bytes, as far as their ETags can say: None where they cannot.

    False is certain for MD5s. For multipart ETags it means other bytes or other part sizes.
    """
    if not _comparable(ours, theirs, md5=md5, multipart=multipart):
        return None
    return ours.lower() == theirs.lower()


def _comparable(ours: str, theirs: str, *, md5: bool, multipart: bool) -> bool:
    """Whether equal ETags mean equal bytes and different ones different bytes.

    Both are MD5s, or both are multipart ETags of as many parts. That the ETags of a store are MD5s is its profile's and
    its settings' word (`Capabilities`): under KMS they look the same and are none.
    """
    ours_hash, ours_dash, ours_parts = ours.partition("-")
    theirs_hash, theirs_dash, theirs_parts = theirs.partition("-")
    if ours_dash != theirs_dash or not (multipart if ours_dash else md5):
        return False
    if ours_parts != theirs_parts or (ours_dash and not ours_parts.isdecimal()):
        return False
    return (
        len(ours_hash) == _MD5_DIGITS
        and len(theirs_hash) == _MD5_DIGITS
        and _HEX.issuperset(ours_hash)
        and _HEX.issuperset(theirs_hash)
    )


def _by_size(source: Entry, destination: Entry) -> Reason:
    return Reason.EQUAL if source.size == destination.size else Reason.SIZE


def _by_mtime(source: Entry, destination: Entry) -> Reason:
    if source.size != destination.size:
        return Reason.SIZE
    return Reason.MTIME if _newer(source.last_modified, destination.last_modified) else Reason.EQUAL


def _by_etag(source: Entry, destination: Entry) -> Reason:
    if source.size != destination.size:
        return Reason.SIZE
    return Reason.EQUAL if source.etag and source.etag.lower() == destination.etag.lower() else Reason.ETAG


def _newer(source: str, destination: str) -> bool:
    """Whether the source was written later. A time that cannot be read counts as newer: a copy too many loses nothing."""
    if len(source) == len(destination) and source[-1:] == destination[-1:] == "Z":
        return source > destination  # one format: text order is time order
    try:
        return _instant(source) > _instant(destination)
    except ValueError:
        return True


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)

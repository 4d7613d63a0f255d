"""What two objects' listings and heads say of their bytes. Pure: no I/O.

| sizes | evidence | judgement |
|---|---|---|
| differ | | SIZE |
| equal | no bytes at all | EQUAL |
| equal | ETags of one kind, equal | EQUAL by `etag` |
| equal | a checksum of the whole object that both sides keep | EQUAL by `crc`, or CONTENT |
| equal | both ETags proven MD5s by the objects' own heads | EQUAL by `etag`, or CONTENT |
| equal | multipart ETags of as many parts, not encrypted, that differ | CONTENT |
| equal | else | NOT_VERIFIABLE |

A listing cannot tell an MD5 from an ETag made under KMS, so it is believed where ETags are equal, never where they differ.
"""

from __future__ import annotations

from dth.etags import IMPOSSIBLE
from dth.model import Entry, ObjectHead
from dth.states import Comparison, VerifiedBy
from dth.stores.base import Capabilities
from dth.values import value


@value
class Judgement:
    """How a pair compares. `detail` is for people; `offset` is the first byte that differs, where the bytes were read."""

    comparison: Comparison
    detail: str = ""
    verified_by: VerifiedBy | None = None
    offset: int | None = None
    error_code: str = ""
    by_md5: bool = False  # it rests on ETags being MD5s


_HEX = frozenset("0123456789abcdefABCDEF")
MD5_DIGITS = 32

EQUAL_BY_ETAG = Judgement(Comparison.EQUAL, "", VerifiedBy.ETAG)
EQUAL_BY_BYTES = Judgement(Comparison.EQUAL, "", VerifiedBy.COMPARED)
UNPROVEN = Judgement(
    Comparison.NOT_VERIFIABLE, "of one size; their ETags cannot be compared", VerifiedBy.NOT_VERIFIABLE
)


@value
class Evidence:
    """What the ETags and checksums of this pair of stores can prove."""

    md5: bool
    multipart: bool
    checksums: bool

    @classmethod
    def of(cls, source: Capabilities, destination: Capabilities) -> Evidence:
        """What both of them can."""
        return cls(
            md5=source.md5_etag and destination.md5_etag,
            multipart=source.multipart_etag and destination.multipart_etag,
            checksums=bool(source.checksums and destination.checksums),
        )

    def says(self, ours: str, theirs: str) -> bool | None:
        """See `etags_say`."""
        if ours == theirs and self.md5 and len(ours) == MD5_DIGITS and ours not in IMPOSSIBLE:
            return True  # nearly all pairs end here: no need for the careful look
        return etags_say(ours, theirs, md5=self.md5, multipart=self.multipart)


def by_listing(ours: Entry, theirs: Entry, evidence: Evidence) -> Judgement | None:
    """The judgement, None where the objects' heads may say more."""
    if ours.size != theirs.size:
        return sizes_differ(ours.size, theirs.size)
    said = evidence.says(ours.etag, theirs.etag)
    if said:
        return EQUAL_BY_ETAG
    if not ours.size:
        return EQUAL_BY_BYTES
    return None if said is False or evidence.checksums else UNPROVEN


def by_heads(ours: ObjectHead, theirs: ObjectHead, evidence: Evidence) -> Judgement:
    """The table above."""
    first, second = ours.generation, theirs.generation
    if first.size != second.size:
        return sizes_differ(first.size, second.size)
    said = evidence.says(first.etag, second.etag)
    if said:
        return EQUAL_BY_ETAG
    if not first.size:
        return EQUAL_BY_BYTES
    return _by_checksum(ours, theirs) or (UNPROVEN if said is None else _by_different_etags(ours, theirs))


def _by_different_etags(ours: ObjectHead, theirs: ObjectHead) -> Judgement:
    """ETags of one kind, by their form, that are not equal."""
    if ours.opaque_etag or theirs.opaque_etag:
        return UNPROVEN
    if ours.md5 and theirs.md5:
        text = f"MD5 {ours.md5} at the source, {theirs.md5} at the destination"
        return Judgement(Comparison.CONTENT, text, by_md5=True)
    first, second = ours.generation.etag, theirs.generation.etag
    if "-" not in first:
        return UNPROVEN  # they look like MD5s, and the objects' own answers don't vouch for it
    return Judgement(
        Comparison.CONTENT,
        f"ETag {first} at the source, {second} at the destination (or their parts were cut differently: --download "
        "would tell)",
    )


def sizes_differ(ours: int, theirs: int) -> Judgement:
    """Sizes alone decide."""
    return Judgement(Comparison.SIZE, f"{ours} bytes at the source, {theirs} at the destination")


def _by_checksum(ours: ObjectHead, theirs: ObjectHead) -> Judgement | None:
    if ours.checksum_type != "FULL_OBJECT" or theirs.checksum_type != "FULL_OBJECT":
        return None
    kept = dict(theirs.checksums)
    for name, checksum in ours.checksums:
        if name in kept:
            if checksum == kept[name]:
                return Judgement(Comparison.EQUAL, "", VerifiedBy.CRC)
            return Judgement(Comparison.CONTENT, f"{name} {checksum} at the source, {kept[name]} at the destination")
    return None


def etags_say(ours: str, theirs: str, *, md5: bool, multipart: bool) -> bool | None:
    """Whether two objects of one size are the same bytes, as far as their ETags can say: None where they cannot.

    False is certain for MD5s. For multipart ETags it means other bytes or other part sizes.
    """
    if not comparable(ours, theirs, md5=md5, multipart=multipart):
        return None
    return ours.lower() == theirs.lower()


def comparable(ours: str, theirs: str, *, md5: bool, multipart: bool) -> bool:
    """Whether equal ETags mean equal bytes and different ones different bytes.

    Both are MD5s, or both are multipart ETags of as many parts. That the ETags of a store are MD5s is its profile's and
    its settings' word (`Capabilities`): under KMS they look the same and are none.
    """
    ours_hash, ours_dash, ours_parts = ours.partition("-")
    theirs_hash, theirs_dash, theirs_parts = theirs.partition("-")
    if ours_dash != theirs_dash or not (multipart if ours_dash else md5):
        return False
    if ours_hash in IMPOSSIBLE or theirs_hash in IMPOSSIBLE:
        return False  # no object with bytes has such an MD5
    if ours_parts != theirs_parts or (ours_dash and not ours_parts.isdecimal()):
        return False
    return (
        len(ours_hash) == MD5_DIGITS
        and len(theirs_hash) == MD5_DIGITS
        and _HEX.issuperset(ours_hash)
        and _HEX.issuperset(theirs_hash)
    )

"""The closed sets that rows, messages and reports speak in."""

from __future__ import annotations

from enum import StrEnum


class Side(StrEnum):
    """Which of the two stores."""

    SOURCE = "source"
    DESTINATION = "destination"


class Outcome(StrEnum):
    """What became of one entry. SPLIT is not final: its parts are under way."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    SPLIT = "split"


class Reason(StrEnum):
    """Why a change was decided: the rung of the compare ladder that spoke."""

    MISSING = "missing"
    SIZE = "size"
    ETAG = "etag"
    NEWER = "newer"
    MTIME = "mtime"
    CHECKSUM = "checksum"
    UNCOMPARED = "uncompared"  # skip_compare sends everything; or a store denied to be asked about the object
    EXTRA = "extra"  # at the destination only
    EQUAL = "equal"
    ARCHIVED = "archived"  # the source must be restored first
    DIGEST = "digest"  # the destination's tag holds another image
    REFERRER = "referrer"  # the image is there, something that refers to it is not
    RESTORED = "restored"  # archived at the source, and readable for a while
    OPEN = "open"  # nothing that was listed decides: the objects themselves are asked; never leaves the finder
    EVENT = "event"  # something happened to the key at the source: what is true is asked there


class RestoreState(StrEnum):
    """What an archived object's own answer says of a readable copy of it."""

    NONE = ""
    UNDER_WAY = "under_way"
    READY = "ready"


class RunState(StrEnum):
    """A run's row. A run is over when it is SEALED and counted, or ABANDONED with nothing left in the queue. STANDING is
    the run of a job's events: it has no finder, and never ends."""

    LISTING = "listing"
    SEALED = "sealed"
    ABANDONED = "abandoned"
    STANDING = "standing"


class VerifiedBy(StrEnum):
    """What proved an object's bytes; `NOT_VERIFIABLE` is said, never implied."""

    CONTENT_MD5 = "content_md5"  # the source's MD5 ETag, checked by the destination over the bytes that it got
    OWN_MD5 = "own_md5"  # hashed here while streaming, equal to the source's MD5 ETag
    ETAG = "etag"  # equal ETags of equal layout on both sides
    CRC = "crc"  # a checksum of the source's, checked by the destination
    PART_CRC = "part_crc"  # our CRC of what was sent equals the destination's answer: covers our leg, not the source's
    STORE = "store"  # the store copied the bytes itself
    COMPARED = "compared"  # both sides were read and are the same, byte by byte (`dth verify --download`)
    READ_BACK = "read_back"  # read again at the destination: equal to what was read at the source
    NOT_VERIFIABLE = "not_verifiable"


class Comparison(StrEnum):
    """How the two sides of one key compare. All but the first two are differences."""

    EQUAL = "equal"
    NOT_VERIFIABLE = "not_verifiable"  # of one size, and nothing that was asked for can say more
    MISSING = "missing"  # at the source only
    EXTRA = "extra"  # at the destination only
    SIZE = "size"
    CONTENT = "content"
    METADATA = "metadata"
    CHANGED = "changed"  # while it was looked at, again and again
    NEEDS_RESTORE = "needs_restore"  # archived, so it could not be read
    FAILED = "failed"  # could not be looked at

    @property
    def differs(self) -> bool:
        """Whether it makes the two sides differ."""
        return self not in {Comparison.EQUAL, Comparison.NOT_VERIFIABLE}

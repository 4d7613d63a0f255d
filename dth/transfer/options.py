"""The job's settings that shape one transfer."""

from __future__ import annotations

from enum import StrEnum

from dth.values import value


class Verify(StrEnum):
    """How much proof is asked for: lengths only; whatever costs next to nothing; everything."""

    OFF = "off"
    TRANSFER = "transfer"
    FULL = "full"


@value
class CopyOptions:
    """The job's settings that shape a copy. Empty text means: not sent. Sizes in bytes; `part_size` 0 lets the plan
    choose; objects above `giant_threshold` are shared among all workers."""

    include_metadata: bool
    storage_class: str
    acl: str
    sse: str
    sse_kms_key_id: str
    verify: Verify
    no_clobber: bool
    multipart_threshold: int
    part_size: int
    giant_threshold: int

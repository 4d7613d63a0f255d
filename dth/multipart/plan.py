"""Which parts an upload has. Pure.

All parts are equal but the last, because some stores (Cloudflare R2) refuse others, and because then a part size and a
number say which bytes a part has, whoever sends it.
"""

from __future__ import annotations

import re

from dth.errors import TransferError
from dth.model import ByteSpan
from dth.stores.base import Capabilities
from dth.values import value

MIB = 1 << 20
DEFAULT_PART = 16 * MIB  # small enough that a retry is cheap, large enough that requests cost nothing beside bytes
ALIGNED_MAX = 512 * MIB  # no ETag is worth losing more than this to one cut connection

# Part sizes of the clients that wrote most of the world's multipart objects, the commonest first: AWS SDKs and CLI,
# MinIO and ours, the smallest allowed (rclone, Hadoop), s5cmd, and round numbers that people configure.
_COMMON_PARTS = tuple(n * MIB for n in (8, 16, 5, 64, 50, 10, 128, 32, 100, 15, 20, 25, 256, 200, 512, 500))
_LAYOUT = re.compile(r"[0-9a-f]{32}-([0-9]{1,5})", re.ASCII)


class PlanImpossible(TransferError):
    """No part plan within the destination's limits holds this object."""

    code = "part_plan"


@value
class PartPlan:
    """`count` parts of `part_size` bytes, the last one shorter or equal. Parts are numbered from 1."""

    size: int
    part_size: int
    count: int

    def span(self, number: int) -> ByteSpan:
        """The bytes of part `number`."""
        start = (number - 1) * self.part_size
        return ByteSpan(start, min(start + self.part_size, self.size))


def plan_parts(size: int, capabilities: Capabilities, wanted_part_size: int) -> PartPlan:
    """Equal parts within the destination's limits, of `wanted_part_size` (0: the default) where those allow it.

    Parts grow, in whole MiB, where more than `parts_max` would be needed. Raises PlanImpossible, saying by how much,
    where the object is too large for the destination.
    """
    if size > capabilities.object_max:
        raise PlanImpossible(
            f"the object has {size} bytes, the destination takes objects up to {capabilities.object_max}"
        )
    part_size = min(max(wanted_part_size or DEFAULT_PART, capabilities.part_min), capabilities.part_max)
    if _count(size, part_size) > capabilities.parts_max:
        needed = _count(size, capabilities.parts_max)
        if needed > capabilities.part_max:
            raise PlanImpossible(
                f"the object has {size} bytes, but {capabilities.parts_max} parts of {capabilities.part_max} bytes hold"
                f" only {capabilities.parts_max * capabilities.part_max}"
            )
        part_size = min(-(-needed // MIB) * MIB, capabilities.part_max)
    return PartPlan(size, part_size, _count(size, part_size))


def aligned_part_size(etag: str, size: int, capabilities: Capabilities) -> int:
    """A part size that the source was probably uploaded with, so that equal bytes get an equal ETag; 0 where none fits.

    A guess: an equal ETag afterwards proves the bytes, an unequal one proves nothing.
    """
    layout = _LAYOUT.fullmatch(etag)
    if layout is None or not capabilities.multipart_etag:
        return 0
    count = int(layout[1])
    if not 0 < count <= capabilities.parts_max:
        return 0
    for part_size in _COMMON_PARTS:
        if capabilities.part_min <= part_size <= min(capabilities.part_max, ALIGNED_MAX) and (
            _count(size, part_size) == count
        ):
            return part_size
    return 0


def takes_parts(part_size: int, size: int, capabilities: Capabilities) -> bool:
    """Whether the destination can hold an object of `size` bytes cut in such parts, as its source is."""
    count = _count(size, part_size)
    return (
        count <= capabilities.parts_max
        and (count == 1 or capabilities.part_min <= part_size <= capabilities.part_max)
        and min(size, part_size) <= capabilities.part_max
    )


def _count(size: int, part_size: int) -> int:
    """At least one: an empty object has one empty part."""
    return max(1, -(-size // part_size))

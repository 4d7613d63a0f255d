"""Large objects: parts in parallel."""

from __future__ import annotations

from dth.model import Generation
from dth.worker.context import CopyContext
from dth.worker.job import Copied


async def copy_large(key: str, dest_key: str, generation: Generation, ctx: CopyContext) -> Copied:
    """As `copy_single`, by a multipart upload."""
    raise NotImplementedError

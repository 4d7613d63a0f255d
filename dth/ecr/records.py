"""How an image ended, as the report tells it. Pure."""

from __future__ import annotations

from dth.ecr.blobs import Landed
from dth.ecr.copy import Copied, Image
from dth.ecr.dedup import Tally
from dth.ecr.registry import Registry
from dth.errors import DthError
from dth.model import ImageRecord
from dth.states import Outcome


def outcome_of(copied: Copied | None) -> Outcome:
    """FAILED where nothing came of it; SKIPPED where the destination had it."""
    if copied is None:
        return Outcome.FAILED
    return Outcome.DONE if copied.written else Outcome.SKIPPED


def record_of(
    run_id: str,
    source: Registry,
    destination: Registry,
    image: Image,
    tally: Tally,
    attempt: int,
    *,
    referrer: bool = False,
    copied: Copied | None = None,
    error: DthError | None = None,
) -> ImageRecord:
    """The report's line: of an image that was `copied`, or failed for good with `error`."""
    return ImageRecord(
        run_id=run_id,
        source=source.title(image.source, image.reference),
        destination=destination.title(image.destination, image.reference),
        digest=copied.digest if copied else image.digest,
        outcome=outcome_of(copied),
        moved_bytes=tally.moved_bytes,
        skipped_bytes=tally.skipped_bytes,
        blobs_uploaded=tally.blobs[Landed.UPLOADED],
        blobs_mounted=tally.blobs[Landed.MOUNTED],
        blobs_present=tally.blobs[Landed.PRESENT],
        mounts_refused=tally.mounts_refused,
        foreign_layers=tally.foreign,
        attempt=attempt,
        referrer_of=image.digest if referrer else "",
        error_code=error.code if error else "",
        error=str(error) if error else "",
    )

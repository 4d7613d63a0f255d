"""How an image ended, as the report tells it. Pure."""

from __future__ import annotations

from dth.ecr.copy import Copied, Image
from dth.ecr.dedup import Tally
from dth.ecr.registry import Registry
from dth.ecr.upload import Landed
from dth.errors import DthError, ManifestMissing
from dth.model import ImageRecord
from dth.states import Outcome

PLATFORM_MISSING = ManifestMissing.code


def lacking(copied: Copied | None) -> str:
    """Which wanted platforms the image that was copied does not have, in words; "" where it has them all."""
    lacks = copied.manifest.lacks if copied and copied.manifest else ()
    return f"the source's image has no {', '.join(lacks)}; the platforms that it has were copied" if lacks else ""


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
        error_code=error.code if error else PLATFORM_MISSING if lacking(copied) else "",
        error=str(error) if error else lacking(copied),
    )


def removal_of(run_id: str, source: str, destination: str, error: DthError | None) -> ImageRecord:
    """The report's line of a tag that was to be removed at the destination."""
    return ImageRecord(
        run_id=run_id, source=source, destination=destination, digest="",
        outcome=Outcome.FAILED if error else Outcome.DONE,
        moved_bytes=0, skipped_bytes=0, blobs_uploaded=0, blobs_mounted=0, blobs_present=0, mounts_refused=0,
        foreign_layers=0, attempt=1, referrer_of="",
        error_code=error.code if error else "",
        error=str(error) if error else "",
        removed=True,
    )  # fmt: skip

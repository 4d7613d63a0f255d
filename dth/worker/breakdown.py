"""What stands behind the counts of an outcome row, and which objects failed: see `dth.stats`. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from dth.messages import Entries, ImageMessage, Message, PartsMessage
from dth.model import ImageRecord
from dth.states import Outcome
from dth.stats import Breakdown, Failure
from dth.worker.outcomes import Ended

DEAD_LETTER = "dead_letter"
"""The code of what the queue gave up."""

_DELETED = "deleted"  # the proof of a delete: the source denied having the object before and after
_DIGEST = "digest"  # of an image: blobs and manifests are named by what they hold
_NONE = "none"  # nothing was asked for
_UNNEEDED = "unneeded"
_GONE = {"no_such_key": "gone", "not_found": "gone", "no_such_image": "gone"}


def breakdown_of(message: Entries, ended: Sequence[Ended | None]) -> Breakdown:
    """Of a message's entries that are final."""
    causes: dict[str, int] = {}
    skips: dict[str, int] = {}
    proofs: dict[str, int] = {}
    reasons: dict[str, int] = {}
    for entry, end in zip(message.objects, ended, strict=True):
        if end is None:
            continue
        if end.outcome is Outcome.DONE:
            proof = _proof(end)
            proofs[proof] = proofs.get(proof, 0) + 1
            reason = entry.reason.value
            reasons[reason] = reasons.get(reason, 0) + 1
        elif end.outcome is Outcome.SKIPPED:
            skip = _GONE.get(end.error_code, end.error_code) or _UNNEEDED
            skips[skip] = skips.get(skip, 0) + 1
        elif end.outcome is Outcome.FAILED:
            causes[end.error_code] = causes.get(end.error_code, 0) + 1
    return Breakdown(causes, skips, proofs, reasons)


def _proof(end: Ended) -> str:
    copied = end.copied
    if copied is None or copied.verified_by is None:
        return _NONE if copied and copied.dest_etag else _DELETED
    return copied.verified_by.value


def failures_of(message: Entries, ended: Sequence[Ended | None]) -> list[Failure]:
    """The entries that ended FAILED."""
    return [
        Failure(
            run_id=message.run_id,
            key=entry.key,
            code=end.error_code,
            error=end.error,
            size=entry.size,
            reason=entry.reason.value,
            attempt=end.attempt,
            message_id=message.message_id,
            failed_at=time.time(),
        )
        for entry, end in zip(message.objects, ended, strict=True)
        if end and end.outcome is Outcome.FAILED
    ]


def of_image(outcome: Outcome | None, code: str, reason: str, *, removed: bool = False) -> Breakdown:
    """Of one image."""
    match outcome:
        case Outcome.DONE:
            return Breakdown(proofs={_DELETED if removed else _DIGEST: 1}, reasons={reason: 1})
        case Outcome.SKIPPED:
            return Breakdown(skips={_GONE.get(code, code) or _UNNEEDED: 1})
        case Outcome.FAILED:
            return Breakdown(causes={code: 1})
        case _:
            return Breakdown()


def failed_image(record: ImageRecord, message: ImageMessage) -> list[Failure]:
    """The image, by its name at the source, where it FAILED."""
    return [failure_of(record, message.message_id, message.reason.value)] if record.outcome is Outcome.FAILED else []


def failure_of(record: ImageRecord, message_id: str, reason: str) -> Failure:
    """An image that FAILED, or a tag that could not be removed."""
    return Failure(
        run_id=record.run_id,
        key=record.source,
        code=record.error_code,
        error=record.error,
        size=0,
        reason=reason,
        attempt=record.attempt,
        message_id=message_id,
        failed_at=time.time(),
    )


def given_up(message: Message, names: Iterable[tuple[str, int]], why: str) -> tuple[Breakdown, list[Failure]]:
    """Of all that a message names, which the queue gave up, or which this version cannot work."""
    sizes = {} if isinstance(message, ImageMessage | PartsMessage) else {one.key: one for one in message.objects}
    failures = []
    for name, attempt in names:
        entry = sizes.get(name)
        size, reason = (entry.size, entry.reason.value) if entry else (0, "")
        failures.append(
            Failure(message.run_id, name, DEAD_LETTER, why, size, reason, attempt, message.message_id, time.time())
        )
    return Breakdown(causes={DEAD_LETTER: len(failures)} if failures else {}), failures

"""What becomes of a message's entries: pure decisions, from errors to the row, the remainder and the dead letters.

| what happened to an entry | what becomes of it |
|---|---|
| copied, or rightly left alone | DONE, SKIPPED |
| gone at the source, or archived there | SKIPPED, with the code |
| the destination says that it lacks what was just written | again with `attempt` + 1 |
| it alone is to blame and another try cannot help | FAILED, dead letter |
| it failed otherwise | again with `attempt` + 1; FAILED, dead letter once `max_attempts` are used up |
| throttled, endpoint or credentials out of order, owned by another | again, same attempt |
| not begun or cut off (stop, hand-over) | again, same attempt |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto

from dth.errors import (
    AccessDenied,
    Archived,
    BadCredentials,
    ConnectFailed,
    DthError,
    KeyRefused,
    LeaseLost,
    LeftOut,
    NoSuchBucket,
    NoSuchKey,
    RequestRefused,
    SettingsError,
    Throttled,
    TlsFailed,
    WrongRegion,
)
from dth.flow.breaker import is_refusal
from dth.ledgers.base import OutcomeRow
from dth.messages import Entries, ImageMessage, Message, ObjectEntry, ObjectsMessage, PartsMessage, encode
from dth.model import Counts, ObjectRecord
from dth.states import Outcome, Reason, Side
from dth.text import printable
from dth.transfer.result import Copied
from dth.values import value

BURIED = "/dead-"
"""In ids of letters that a worker wrote, having recorded the outcome (see `letters_of`)."""

_UNKNOWN = "failed for good; the worker that recorded it died before it could say why here, see its report"


@value
class Ended:
    """One entry after its turn. `outcome` None means not final: `attempt` is the one that comes next. `copied` is None
    where the copy raised; SPLIT doesn't count here: its upload's end counts it, and its parts are what remains. `seconds` have
    passed since its first request, 0.0 where nobody measured them."""

    outcome: Outcome | None
    attempt: int
    copied: Copied | None = None
    error_code: str = ""
    error: str = ""
    seconds: float = 0.0


class Verdict(Enum):
    """What an error means for the entry that met it."""

    SKIP = auto()  # final: there is nothing to copy
    FAIL = auto()  # final: another try cannot help
    RETRY = auto()  # a failed attempt
    WAIT = auto()  # not this entry's fault


def judge(error: Exception) -> Verdict:
    """The table above, by type alone. What is no `DthError` is a defect of ours, and counts as a failed attempt, so
    that an entry which sets one off cannot stop the worker."""
    match error:
        case NoSuchKey() | Archived():
            return Verdict.RETRY if error.side == Side.DESTINATION else Verdict.SKIP
        case Throttled() | LeaseLost() | ConnectFailed() | BadCredentials() | NoSuchBucket() | WrongRegion():
            return Verdict.WAIT
        case TlsFailed():
            return Verdict.WAIT
        case KeyRefused() | LeftOut() | AccessDenied() | RequestRefused() | SettingsError():
            return Verdict.FAIL
        case _:
            return Verdict.RETRY


def error_code(error: Exception) -> str:
    """The stable word for reports."""
    return error.code if isinstance(error, DthError) else "internal"


def error_text(error: Exception) -> str:
    """One line for people, in reports and dead letters."""
    return printable(str(error) if isinstance(error, DthError) else f"internal error: {error!r}", limit=4096)


def after_copy(copied: Copied, attempt: int, seconds: float = 0.0) -> Ended:
    """The copy returned."""
    code = copied.code if copied.outcome is Outcome.SKIPPED else ""
    return Ended(copied.outcome, attempt, copied, code, seconds=seconds)


def after_error(error: Exception, attempt: int, max_attempts: int, *, patient: bool) -> Ended:
    """The copy raised. `patient` while nothing has succeeded in this process: then a refusal may be everyone's, and is a
    failed attempt instead of the end, so that the breaker can speak before any entry is lost to it."""
    code, text = error_code(error), error_text(error)
    verdict = judge(error)
    if verdict is Verdict.FAIL and patient and is_refusal(error):
        verdict = Verdict.RETRY
    if verdict is Verdict.SKIP:
        return Ended(Outcome.SKIPPED, attempt, None, code, text)
    if verdict is Verdict.WAIT:
        return Ended(None, attempt, None, code, text)
    if verdict is Verdict.FAIL or attempt >= max_attempts:
        return Ended(Outcome.FAILED, attempt, None, code, text)
    return Ended(None, attempt + 1, None, code, text)


def refused(error: Exception, attempt: int) -> Ended:
    """A store goes on refusing this one entry, and no other."""
    return Ended(Outcome.FAILED, attempt, None, error_code(error), error_text(error))


def after_image_error(error: Exception, attempt: int, max_attempts: int, *, everyones: bool, gone: bool) -> Ended:
    """An image's copy raised. `everyones`: the fault is not this image's; `gone`: it was there when the run was planned.

    An image's own error knows whether trying again may help: a registry's denial or a broken manifest may be of one
    repository alone.
    """
    code, text = error_code(error), error_text(error)
    if gone:
        return Ended(Outcome.SKIPPED, attempt, None, code, text)
    if everyones or isinstance(error, Throttled | LeaseLost):
        return Ended(None, attempt, None, code, text)
    hopeless = isinstance(error, DthError) and not error.retryable
    if hopeless or attempt >= max_attempts:
        return Ended(Outcome.FAILED, attempt, None, code, text)
    return Ended(None, attempt + 1, None, code, text)


def attempt_of(entry: ObjectEntry, message: Entries) -> int:
    """Which attempt this is, from 1."""
    return entry.attempt or message.attempt


def coded(ended: Sequence[Ended | None], code: str) -> int:
    """How many have ended with that code."""
    return sum(1 for end in ended if end and end.outcome and end.copied and end.copied.code == code)


def counts_of(ended: Sequence[Ended | None]) -> Counts:
    """How many are final, and the bytes of those DONE."""
    outcomes = [end.outcome for end in ended if end]
    return Counts(
        done=outcomes.count(Outcome.DONE),
        skipped=outcomes.count(Outcome.SKIPPED),
        failed=outcomes.count(Outcome.FAILED),
        bytes=sum(end.copied.bytes for end in ended if end and end.copied and end.outcome is Outcome.DONE),
    )


_BITS = {Outcome.DONE: 1, Outcome.SKIPPED: 2, Outcome.FAILED: 3}
_DIGITS: Mapping[Outcome | None, str] = {outcome: str(bits) for outcome, bits in _BITS.items()}


def bitmap_of(outcomes: Sequence[Outcome | None]) -> str:
    """Two bits an entry as hex, entry 0 lowest: 1 DONE, 2 SKIPPED, 3 FAILED, 0 not ended here."""
    digits = "".join([_DIGITS.get(outcome, "0") for outcome in reversed(outcomes)])
    return f"{int(digits or '0', 4):x}"


def failed_in(bitmap: str, count: int) -> list[int]:
    """The entries that a row calls FAILED, by position."""
    bits = int(bitmap or "0", 16)
    return [index for index in range(count) if bits >> (2 * index) & 3 == _BITS[Outcome.FAILED]]


def next_id(message_id: str) -> str:
    """`run-12` is followed by `run-12/1`, that by `run-12/2`: unique, and known before it is sent."""
    if not is_remainder(message_id):
        return f"{message_id}/1"
    first, _, generation = message_id.rpartition("/")
    return f"{first}/{int(generation) + 1}"


def previous_id(message_id: str) -> str:
    """The id whose `next_id` this is; itself where it is no remainder's."""
    if not is_remainder(message_id):
        return message_id
    first, _, generation = message_id.rpartition("/")
    return first if generation == "1" else f"{first}/{int(generation) - 1}"


def is_remainder(message_id: str) -> bool:
    """True for ids that `next_id` makes; finders and translators of foreign messages make none with a slash."""
    _, slash, generation = message_id.rpartition("/")
    return bool(slash) and generation.isdecimal()


def remainder_of(message: Entries, ended: Sequence[Ended | None]) -> str:
    """The encoded message that must follow, "" where every entry has ended: the parts of the one that was split, or the
    entries that are left. These carry no more bytes for attempts than they must: the lowest is the message's own."""
    if parts := split_in(ended):
        return encode(parts)
    left = [
        (entry, end.attempt if end else attempt_of(entry, message))
        for entry, end in zip(message.objects, ended, strict=True)
        if end is None or end.outcome is None
    ]
    if not left:
        return ""
    base = min(attempt for _, attempt in left)
    entries = [entry.model_copy(update={"attempt": 0 if attempt == base else attempt}) for entry, attempt in left]
    return encode(
        message.model_copy(
            update={"message_id": next_id(message.message_id), "attempt": base, "objects": entries},
        )
    )


def sharable(message: Entries) -> ObjectsMessage | None:
    """What the upload of the message's object would stand for, where all workers may share it: the message has no other
    entry (the finder sends a large object alone), and it is no event, whose key must be looked at again afterwards."""
    if len(message.objects) > 1 or not isinstance(message, ObjectsMessage) or message.objects[0].reason is Reason.EVENT:
        return None
    return message.model_copy(update={"message_id": next_id(message.message_id)})


def split_in(ended: Sequence[Ended | None]) -> PartsMessage | None:
    """The parts of the entry that was split: it is the only one then (see `sharable`)."""
    return next((end.copied.parts for end in ended if end and end.copied and end.copied.parts), None)


def row_of(message: Entries, ended: Sequence[Ended | None]) -> OutcomeRow:
    """What this worker would like to be recorded."""
    return OutcomeRow(
        message_id=message.message_id,
        run_id=message.run_id,
        counts=counts_of(ended),
        bitmap=bitmap_of([end.outcome if end else None for end in ended]),
        remainder=remainder_of(message, ended),
    )


def image_row(message: ImageMessage, ended: Ended | None, moved: int) -> OutcomeRow:
    """What this worker would like to be recorded of an image. None: it was cut off."""
    outcome = ended.outcome if ended else None
    following = {"message_id": next_id(message.message_id), "attempt": ended.attempt if ended else message.attempt}
    return OutcomeRow(
        message_id=message.message_id,
        run_id=message.run_id,
        counts=Counts(
            done=int(outcome is Outcome.DONE),
            skipped=int(outcome is Outcome.SKIPPED),
            failed=int(outcome is Outcome.FAILED),
            bytes=moved,
        ),
        bitmap=bitmap_of([outcome]),
        remainder="" if outcome else encode(message.model_copy(update=following)),
    )


def image_letter(message: ImageMessage, bitmap: str, reason: str) -> tuple[str, str] | None:
    """The dead letter (body, reason) where the row in force calls the image FAILED; see `letters_of`."""
    if not failed_in(bitmap, 1):
        return None
    letter = message.model_copy(update={"message_id": f"{message.message_id}{BURIED}0", "attempt": 1})
    return encode(letter), reason or _UNKNOWN


def refused_row(message: Message, entries: int) -> OutcomeRow:
    """All entries of a message that this version cannot work are FAILED, so that its run can end."""
    return OutcomeRow(
        message_id=message.message_id,
        run_id=message.run_id,
        counts=Counts(failed=entries),
        bitmap=bitmap_of([Outcome.FAILED] * entries),
        remainder="",
    )


def nothing_happened(message: Entries, ended: Sequence[Ended | None]) -> bool:
    """True where giving the message back says the same as a remainder would: no end, and no attempt used up."""
    return all(
        end is None or (end.outcome is None and end.attempt == attempt_of(entry, message))
        for entry, end in zip(message.objects, ended, strict=True)
    )


def letters_of(message: Entries, bitmap: str, reasons: Mapping[int, str]) -> list[tuple[str, str]]:
    """A dead letter (body, reason) for each entry that the row in force calls FAILED.

    Ids are `<message id>/dead-<position>`, so that a letter buried twice (its worker died before it acknowledged) can
    be told. Where this worker does not know the reason, the letter says where to look.
    """
    return [
        (
            encode(
                message.model_copy(
                    update={
                        "message_id": f"{message.message_id}{BURIED}{index}",
                        "attempt": 1,
                        "objects": [message.objects[index].model_copy(update={"attempt": 0})],
                    }
                )
            ),
            reasons.get(index, _UNKNOWN),
        )
        for index in failed_in(bitmap, len(message.objects))
    ]


def record_of(message: Entries, entry: ObjectEntry, end: Ended, dest_key: str) -> ObjectRecord:
    """The report's line of an entry that has ended."""
    copied = end.copied
    assert end.outcome is not None
    return ObjectRecord(
        run_id=message.run_id,
        key=entry.key,
        dest_key=dest_key,
        size=entry.size,
        outcome=end.outcome,
        reason=entry.reason,
        source_etag=copied.source_etag if copied else entry.etag,
        dest_etag=copied.dest_etag if copied else "",
        verified_by=copied.verified_by if copied else None,
        attempt=end.attempt,
        error_code=end.error_code,
        error=end.error or (copied.note if copied else ""),
        seconds=end.seconds,
    )

"""One upload that all workers move: who opens it, which parts are where, and when it is whole.

    share_upload ──▶ row with its sharing, owned by nobody ──▶ `parts` messages ──▶ a row for each message moved
                                                                   └ whoever sees all rows takes the upload and ends it

The upload's row is written when it begins and when it ends, the rows of parts once each: none is hot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dth.errors import NoSuchUpload
from dth.ledgers.base import Ledger, MovedPart, PartsRow, Sharing, UploadRow
from dth.multipart.checksum import Crc
from dth.multipart.claim import claim_upload
from dth.multipart.complete import forget_completing
from dth.multipart.context import UploadContext, UploadTask
from dth.multipart.parts import SentPart, kept_parts
from dth.multipart.plan import MIB, PartPlan
from dth.multipart.upload import RESTARTS, plan_upload
from dth.stores.base import UploadedPart

PARTS_BYTES = 128 * MIB  # of one message: what a worker's death sends again at most, unless one part is larger
PARTS_MOST = 16
MESSAGES_AT_LEAST = 32  # of one upload, where it has so many parts: so that a whole fleet finds work in it
GROUP = 64  # messages; who moves the last of a group looks at all groups, the others at their own


def parts_a_message(plan: PartPlan) -> int:
    """How many parts one `parts` message names."""
    return max(1, min(PARTS_BYTES // plan.part_size, PARTS_MOST, plan.count // MESSAGES_AT_LEAST))


def plan_of(row: UploadRow) -> PartPlan:
    """The plan that the row's part size stands for."""
    size = row.generation.size
    return PartPlan(size, row.part_size, max(1, -(-size // row.part_size)))


def stretches(plan: PartPlan, count: int) -> Iterator[range]:
    """The plan's parts by number, `count` at a time."""
    for first in range(1, plan.count + 1, count):
        yield range(first, min(first + count, plan.count + 1))


async def share_upload(task: UploadTask, message_id: str, message: str, ctx: UploadContext) -> UploadRow:
    """Open the upload for all workers, in the name of the `objects` message that it stands for; nobody owns it then.

    Parts that an earlier attempt of one worker has sent are kept, in stretches that are there as a whole. Repeating it
    under the same id gives the same upload. Raises UploadOwned where another worker, or a sharing under another id, is
    at it.
    """
    plan = plan_upload(task, ctx)
    sharing = Sharing(message_id, message, parts_a_message(plan), task.crc, task.answer, task.digest)
    restarts = 0
    while True:
        claim = await claim_upload(task, plan, ctx, sharing)
        try:
            if claim.resumed:
                kept = await kept_parts(claim.upload_id, task, plan, ctx)
                await _keep(kept, claim.upload_id, plan, sharing.parts_a_message, ctx)
            return await claim.share(sharing)
        except NoSuchUpload:
            await claim.discard()
            await forget_completing(task.dest_key, ctx)
            restarts += 1
            if restarts > RESTARTS:
                raise
        except BaseException:
            await claim.release()
            raise


async def _keep(kept: dict[int, SentPart], upload_id: str, plan: PartPlan, count: int, ctx: UploadContext) -> None:
    """What is there already may be in force, with checksums: the message that opened the upload came twice."""
    known = {row.first async for row in ctx.ledger.parts(ctx.job_id, upload_id, 1, plan.count + 1)}
    for numbers in stretches(plan, count):
        if numbers.start not in known and all(number in kept for number in numbers):
            await ctx.ledger.put_parts(parts_row(ctx.job_id, upload_id, [kept[number] for number in numbers]))


def parts_row(job_id: str, upload_id: str, sent: Sequence[SentPart]) -> PartsRow:
    """What the ledger keeps of parts one after the other."""
    parts = tuple(
        MovedPart(
            one.part.etag,
            one.crc.value if one.crc is not None else None,
            one.answered,
            one.digest,
            one.opaque_etag,
        )
        for one in sent
    )
    return PartsRow(job_id, upload_id, sent[0].part.number, parts)


def sent_parts(rows: Sequence[PartsRow], row: UploadRow) -> list[SentPart]:
    """The parts of all rows, which begin at part 1 and leave nothing out, as Complete wants them."""
    plan, crc = plan_of(row), row.sharing.crc if row.sharing else ""
    sent: list[SentPart] = []
    for part in (part for moved in rows for part in moved.parts):
        number = len(sent) + 1
        length = plan.span(number).length
        own = Crc(crc, part.crc, length) if crc and part.crc is not None else None
        uploaded = UploadedPart(number, length, part.etag)
        sent.append(SentPart(uploaded, own, part.answered, part.digest, part.opaque_etag))
    return sent


async def moved_before(row: UploadRow, first: int, ledger: Ledger) -> bool:
    """Whether the parts of the message that begins at `first` are there."""
    return bool([one async for one in ledger.parts(row.job_id, row.upload_id, first, first + 1)])


async def whole(row: UploadRow, first: int, ledger: Ledger) -> list[PartsRow] | None:
    """All rows of the upload, None while some are missing; for who has just written the one that begins at `first`.

    Of all who write, at least one is told. Reads the message's group first and the rest only where that is complete: the
    last writer's is, and counting everything each time would read millions of rows for an object of 10,000 parts.
    """
    assert row.sharing
    plan, step = plan_of(row), row.sharing.parts_a_message * GROUP
    begin = (first - 1) // step * step + 1
    stop = min(begin + step, plan.count + 1)
    group = [one async for one in ledger.parts(row.job_id, row.upload_id, begin, stop)]
    if not _covers(group, begin, stop):
        return None
    return group if (begin, stop) == (1, plan.count + 1) else await all_rows(row, ledger)


async def all_rows(row: UploadRow, ledger: Ledger) -> list[PartsRow] | None:
    """All rows of the upload, None while some are missing."""
    stop = plan_of(row).count + 1
    rows = [one async for one in ledger.parts(row.job_id, row.upload_id, 1, stop)]
    return rows if _covers(rows, 1, stop) else None


def _covers(rows: Sequence[PartsRow], begin: int, stop: int) -> bool:
    for row in rows:
        if row.first != begin:
            return False
        begin = row.stop
    return begin == stop


async def missing(row: UploadRow, ledger: Ledger) -> list[range]:
    """The parts of each message that is not moved yet, by number."""
    assert row.sharing
    plan = plan_of(row)
    there = {one.first async for one in ledger.parts(row.job_id, row.upload_id, 1, plan.count + 1)}
    return [numbers for numbers in stretches(plan, row.sharing.parts_a_message) if numbers.start not in there]


def vain_resends(row: UploadRow, left: int) -> int:
    """How often messages were sent again and none arrived, where so many are missing now. Any that arrives begins anew: a
    queue whose depth is an estimate may look empty many times in the days of one upload."""
    assert row.sharing
    return row.sharing.resends if left >= row.sharing.missing else 0


def resent(row: UploadRow, left: int, now: float) -> UploadRow:
    """The row once its missing messages, so many, are sent again."""
    assert row.sharing
    resends = vain_resends(row, left) + 1
    return replace(row, sharing=replace(row.sharing, resends=resends, resent_at=now, missing=left))

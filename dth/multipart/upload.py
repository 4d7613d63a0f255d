"""One large object, in parts, from claim to close: what a death at any point leaves is found and used by the next."""

from __future__ import annotations

from dth.errors import Archived, BodyMismatch, ConditionConflict, NoSuchKey, NoSuchUpload, ObjectChanged
from dth.multipart.claim import Claim, claim_upload
from dth.multipart.complete import complete, completed_before, forget_completing
from dth.multipart.context import DestinationExists, UploadContext, Uploaded, UploadTask
from dth.multipart.parts import kept_parts, send_parts
from dth.multipart.plan import PartPlan, aligned_part_size, plan_parts

RESTARTS = 2  # how often an upload may vanish under the hands of one attempt


async def upload_object(task: UploadTask, ctx: UploadContext) -> Uploaded:
    """The destination holds exactly the task's generation when this returns.

    Parts that an earlier attempt has sent, of the same generation and plan, are kept. An upload that the store has
    lost is opened anew. Where the source changed (ObjectChanged), is gone (NoSuchKey) or archived, the destination must
    not be overwritten (DestinationExists), or a checksum contradicts (BodyMismatch), the upload is aborted; on any other failure, and on cancellation, it
    stays, for the next attempt. Raises UploadOwned where another worker is at it, LeaseLost where one took it over.
    """
    plan = plan_upload(task, ctx)
    restarts = 0
    while True:
        claim = await claim_upload(task, plan, ctx)
        try:
            uploaded = await claim.holding(_move(claim, task, plan, ctx))
        except (NoSuchUpload, ConditionConflict) as error:
            if isinstance(error, NoSuchUpload):  # there is nothing to abort
                await claim.close()
                await forget_completing(task.dest_key, ctx)
            else:
                await _give_up(claim, task, ctx)
            restarts += 1
            if restarts > RESTARTS:
                raise
        except (ObjectChanged, NoSuchKey, Archived, DestinationExists, BodyMismatch):
            await _give_up(claim, task, ctx)
            raise
        except BaseException:
            await claim.release()
            raise
        else:
            await claim.close()
            await forget_completing(task.dest_key, ctx)
            return uploaded


def plan_upload(task: UploadTask, ctx: UploadContext) -> PartPlan:
    """The parts of this object, as the task, its source and the destination want them."""
    size, capabilities = task.head.generation.size, ctx.limits
    wanted = task.part_size or aligned_part_size(task.head.generation.etag, size, capabilities)
    return plan_parts(size, capabilities, wanted)


async def _give_up(claim: Claim, task: UploadTask, ctx: UploadContext) -> None:
    await claim.discard()
    await forget_completing(task.dest_key, ctx)


async def _move(claim: Claim, task: UploadTask, plan: PartPlan, ctx: UploadContext) -> Uploaded:
    kept = {}
    if claim.resumed:
        if done := await completed_before(claim.upload_id, task, ctx):
            return done
        kept = await kept_parts(claim.upload_id, task, plan, ctx)
    sent = await send_parts(claim.upload_id, task, plan, kept, ctx)
    return await complete(claim.upload_id, sent, task, ctx)

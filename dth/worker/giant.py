"""Objects that are too large for one worker: their upload is opened here, and moved by all."""

from __future__ import annotations

from dth.messages import encode
from dth.model import Generation
from dth.multipart.sharing import share_upload
from dth.states import Outcome
from dth.worker.context import CopyContext
from dth.worker.job import Copied
from dth.worker.large import pinned_head, upload_context, upload_task
from dth.worker.stretch import whole_message


async def share_large(key: str, dest_key: str, generation: Generation, ctx: CopyContext) -> Copied:
    """SPLIT: the upload is open and nobody's; its parts travel once the caller has recorded this.

    Raises ObjectChanged where the source is not of this generation, UploadOwned where the key is being uploaded.
    """
    message = ctx.stands_for
    assert message is not None
    head = await pinned_head(key, generation, ctx)
    tags = await ctx.job.tags_of(key, head)
    uploading = upload_context(ctx)
    task = await upload_task(key, dest_key, head, tags, uploading, ctx)
    row = await share_upload(task, message.message_id, encode(message), uploading)
    parts = whole_message(message, row)
    return Copied(Outcome.SPLIT, 0, head.generation.etag, "", None, parts=parts)

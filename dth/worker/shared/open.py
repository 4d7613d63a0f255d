"""Objects that are too large for one worker: their upload is opened here, and moved by all."""

from __future__ import annotations

import time
from dataclasses import replace

from dth.ledgers.base import Ledger, UploadRow
from dth.messages import ObjectsMessage, PartsMessage, decode, encode
from dth.model import Generation
from dth.multipart.sharing import share_upload
from dth.states import Outcome
from dth.transfer.context import CopyContext
from dth.transfer.large import copy_large, pinned_head, upload_context, upload_task
from dth.transfer.result import Copied
from dth.values import value
from dth.worker import outcomes
from dth.worker.shared.messages import whole_message


@value
class MessageSharing:
    """The uploads that one message's objects may have. `stands_for` is the message of one entry that such an upload will
    stand for; None where the objects have to travel alone. See `transfer.context.Sharing`."""

    stands_for: ObjectsMessage | None

    @property
    def allowed(self) -> bool:
        """Whether the message's object may be shared."""
        return self.stands_for is not None

    async def open(self, key: str, dest_key: str, generation: Generation, ctx: CopyContext) -> Copied:
        """SPLIT: the upload is open and nobody's; its parts travel once the caller has recorded this. DONE where the source
        has no ETag: then this worker has moved it alone.

        Raises ObjectChanged where the source is not of this generation, UploadOwned where the key is being uploaded.
        """
        message = self.stands_for
        assert message is not None
        head = await pinned_head(key, generation, ctx)
        if not head.generation.etag:
            # Nothing else tells, over hours and many workers, that all parts are of one generation.
            return await copy_large(key, dest_key, generation, ctx)
        tags = await ctx.job.tags_of(key, head)
        uploading = upload_context(ctx)
        task = await upload_task(key, dest_key, head, tags, uploading, ctx)
        row = await share_upload(task, message.message_id, encode(message), uploading)
        parts = whole_message(message, row)
        return Copied(Outcome.SPLIT, 0, head.generation.etag, "", None, parts=parts)

    async def release(self, dest_key: str, ctx: CopyContext) -> bool:
        """Whether the key was held by a shared upload that nobody will send for, because its worker died and the message
        ended otherwise. It is an ordinary one now, for whoever claims it to go on with or to abort. Raises LeaseLost."""
        row = await ctx.ledger.upload(ctx.job.job_id, dest_key)
        if row is None or row.sharing is None or row.owned_until > time.time():
            return False
        if await called_for(row.sharing.message_id, row.upload_id, ctx.ledger) is not False:
            return False
        await ctx.ledger.update_upload(replace(row, sharing=None))
        return True


async def upload_of(parts: PartsMessage, ledger: Ledger) -> UploadRow | None:
    """The shared upload that these parts are of; None where it has ended."""
    row = await ledger.upload(parts.job_id, parts.dest_key)
    return row if row and row.sharing and row.upload_id == parts.upload_id else None


async def called_for(message_id: str, upload_id: str, ledger: Ledger) -> bool | None:
    """Whether the message that the shared upload came from, before the one that it stands for, is recorded as split into
    it; None where it has no outcome yet. False never changes: nobody will send for its parts."""
    outcome = await ledger.outcome(outcomes.previous_id(message_id))
    if outcome is None:
        return None
    sent = decode(outcome.remainder) if outcome.remainder else None
    return isinstance(sent, PartsMessage) and sent.upload_id == upload_id

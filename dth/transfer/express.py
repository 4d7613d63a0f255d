"""Which copies are plain enough for the express (`stores.base.Express`), and what such a copy proves.

Plain: a small object whose ETag is the MD5 of its bytes, at its first try, with nothing beside it to look at. The source's
ETag is pinned by If-Match, the destination checks the bytes against it (Content-MD5), and must answer with it. That is
what `copy_single` does in this case; whatever turns out to be otherwise is left to it.
"""

from __future__ import annotations

from collections.abc import Callable

from dth.errors import DigestRefused, DthError
from dth.events import Notice
from dth.messages import ObjectEntry
from dth.model import Attributes, ObjectHead
from dth.multipart.checksum import is_md5
from dth.states import Outcome, Reason, VerifiedBy
from dth.stores.base import Express, PutOptions, Written
from dth.transfer.context import CopyContext
from dth.transfer.options import Verify
from dth.transfer.result import Copied
from dth.transfer.single import WHOLE_MAX, put_options


async def express_for(ctx: CopyContext) -> Express | None:
    """The express for a delivery's objects; None where they all go the ordinary way."""
    job = ctx.job
    plain = (
        not ctx.redelivered
        and job.options.verify is Verify.TRANSFER
        and not job.options.no_clobber
        and job.tags is None
        and not job.trust.source_made_otherwise
        and not job.trust.destination_made_otherwise
    )
    if job.express is None or not plain or (job.one_store and await job.one_store.copies()):
        return None
    return job.express if await job.express.ready() else None


def takes(entry: ObjectEntry, dest_key: str, attempt: int, ctx: CopyContext) -> bool:
    """Whether the object is plain, as far as its listing tells."""
    capabilities = ctx.job.destination.capabilities
    return (
        attempt == 1
        and entry.size <= min(WHOLE_MAX, ctx.job.options.multipart_threshold, capabilities.put_max)
        and is_md5(entry.etag)
        and entry.reason is not Reason.EVENT
        and not (capabilities.key_rules.markers_yield and entry.key.endswith("/"))
        and not capabilities.key_rules.refusal(dest_key, entry.size)
    )


def plain_options(ctx: CopyContext) -> Callable[[ObjectHead], PutOptions | None]:
    """What an object is written with beside its MD5; None where its ETag is not an MD5 after all. Objects with the same
    attributes, one after the other, get the same options."""
    options = ctx.job.options
    last = put_options(Attributes(), options, if_none_match=False)
    attributes = Attributes()

    def of(head: ObjectHead) -> PutOptions | None:
        nonlocal last, attributes
        if not head.md5:
            return None
        if head.attributes != attributes:
            attributes = head.attributes
            last = put_options(attributes, options, if_none_match=False)
        return last

    return of


def plain_copy(entry: ObjectEntry, written: Written | DthError | None, ctx: CopyContext) -> Copied | None:
    """The copy that a trip has made; None where it has made none, or one that needs another look. Damage is told."""
    if isinstance(written, DigestRefused):
        ctx.emit(Notice("warning", "sent_again", str(written)))
    if not isinstance(written, Written) or written.etag != entry.etag:
        return None
    return Copied(Outcome.DONE, entry.size, entry.etag, written.etag, VerifiedBy.CONTENT_MD5)

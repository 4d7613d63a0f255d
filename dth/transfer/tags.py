"""Object tags, from the source's object to the destination's: asked for only where there may be some."""

from __future__ import annotations

from dth.errors import RequestRefused
from dth.model import ObjectHead, Tags
from dth.stores.base import ObjectStore


class TagCarrier:
    """Carries a job's tags. What it has learnt of the two stores holds for all of the job's objects.

    AWS keeps the number of tags to itself where the caller may not read them, so that an answer without a number says
    "none" or "not for you". The silence is believed only after this store has let us read the tags of one object.
    """

    def __init__(self, source: ObjectStore, destination: ObjectStore) -> None:
        self._source = source
        self._destination = destination
        self._may_read = False
        self._kept_by_put = destination.capabilities.keeps_tags is True
        self._kept_by_upload = self._kept_by_put and destination.capabilities.uploads_keep_tags
        self._added_after_upload = False

    @property
    def by_upload(self) -> bool:
        """Whether the destination is known to keep what an upload is created with, so that no object is complete without
        its tags."""
        return self._kept_by_upload

    async def read(self, key: str, head: ObjectHead) -> Tags:
        """The tags of the source's object whose answer `head` is. Raises AccessDenied where they can't be read."""
        if head.tag_count == 0:
            return ()
        if head.tag_count is None and self._may_read and self._source.capabilities.tells_tag_count:
            return ()
        tags = await self._source.tags(key)
        self._may_read = True
        return tags

    async def confirm_put(self, dest_key: str, tags: Tags) -> None:
        """After the first PUT with tags to a store of unknown kind: raises RequestRefused where it did not keep them."""
        if tags and not self._kept_by_put:
            await self._assert_kept(dest_key, tags)
            self._kept_by_put = True

    async def confirm_upload(self, dest_key: str, tags: Tags) -> None:
        """The completed upload has its tags. They are added where the store dropped those that it was created with (Ceph
        16.2 does), which one look finds out."""
        if not tags or self._kept_by_upload:
            return
        if not self._added_after_upload and await self._kept(dest_key, tags):
            self._kept_by_upload = True
            return
        await self._destination.put_tags(dest_key, tags)
        if not self._added_after_upload:
            await self._assert_kept(dest_key, tags)
            self._added_after_upload = True

    async def _kept(self, dest_key: str, tags: Tags) -> bool:
        return sorted(await self._destination.tags(dest_key)) == sorted(tags)

    async def _assert_kept(self, dest_key: str, tags: Tags) -> None:
        if not await self._kept(dest_key, tags):
            raise RequestRefused(
                f"destination: {dest_key!r} was written, but this store did not keep its tags: leave out --tags",
                operation="GetObjectTagging",
            )

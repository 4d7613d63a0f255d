"""Whether one store holds both sides of a job, so that it can be asked to copy by itself."""

from __future__ import annotations

from dth.stores.base import ObjectStore


class OneStore:
    """Found out at the first object, and ended by the first refusal: the rest of the job goes the ordinary way at once."""

    def __init__(self, source: ObjectStore, destination: ObjectStore) -> None:
        self._source = source
        self._destination = destination
        self._copies: bool | None = None

    async def copies(self) -> bool:
        """Whether it may be asked."""
        if self._copies is None:
            self._copies = await self._destination.copies_from(self._source)
        return self._copies

    def refused(self) -> bool:
        """Don't ask again. True for who says so first."""
        first, self._copies = self._copies is not False, False
        return first

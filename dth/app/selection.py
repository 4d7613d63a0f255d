"""What a job selects, from its settings."""

from __future__ import annotations

from dth import settings
from dth.finder.select import Rules, Selection, selection
from dth.model import Entry
from dth.settings import TransferJob
from dth.values import value


def selection_of(job: TransferJob) -> Selection | None:
    """What the job's settings choose; None where that is everything."""
    rules = Rules(
        include=job.include,
        exclude=job.exclude,
        min_size=job.min_size,
        max_size=job.max_size,
        modified_after=job.modified_after,
        modified_before=job.modified_before,
        storage_classes=job.storage_classes,
    )
    return selection(rules, settings.mapping(job).source_prefix)


@value
class Chosen:
    """A selection as workers ask it, by whole keys of the source. See `transfer.context.Choice`."""

    selection: Selection
    prefix: str

    def takes_key(self, key: str) -> bool:
        """Whether the patterns take the key."""
        return self.selection.takes_key(key.removeprefix(self.prefix))

    def takes(self, entry: Entry) -> bool:
        """Whether every rule takes the source's object."""
        return not self.selection.why_not(entry.key.removeprefix(self.prefix), entry)[0]

    def may_delete(self, entry: Entry) -> bool:
        """Whether every rule takes the destination's object, which has the source's key here."""
        return bool(self.selection.deletable([entry.key.removeprefix(self.prefix)], [entry]))


def choice_of(job: TransferJob) -> Chosen | None:
    """What the job chooses, for workers; None where that is everything."""
    chosen = selection_of(job)
    return Chosen(chosen, settings.mapping(job).source_prefix) if chosen else None

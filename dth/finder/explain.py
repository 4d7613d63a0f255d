"""Says which rule decides about one key, by asking both sides for that key alone. Writes nothing."""

from __future__ import annotations

from dth.events import Explained
from dth.finder.compare import Decide, change
from dth.finder.select import Selection
from dth.model import Entry, KeyMapping
from dth.states import Reason
from dth.stores.base import Lister

_WORDS = {
    Reason.MISSING: "the destination lacks it",
    Reason.SIZE: "the sizes differ",
    Reason.ETAG: "the sizes are equal, the ETags can be compared and differ",
    Reason.NEWER: "the sizes are equal, the ETags say nothing, and the source is newer",
    Reason.MTIME: "the sizes are equal, and the source is newer",
    Reason.UNCOMPARED: "--skip-compare sends everything",
    Reason.EQUAL: "nothing that is compared says that it differs",
    Reason.ARCHIVED: "it lies in an archive class and must be restored first",
}


async def explain(
    source: Lister,
    destination: Lister | None,
    mapping: KeyMapping,
    decide: Decide,
    select: Selection | None,
    key: str,
    *,
    delete: bool,
) -> Explained:
    """What a run would do about `key`, a source key, whole or without the source prefix, and why. `destination` None:
    nothing is compared."""
    if not key.startswith(mapping.source_prefix):
        key = mapping.source_prefix + key
    dest_key = mapping.dest_key(key)
    ours = await _listed(source, key)
    theirs = await _listed(destination, dest_key) if destination else None
    name = key[len(mapping.source_prefix) :]
    if ours is None:
        action, rule = _without_source(theirs, name, select, delete=delete)
        return Explained(key, dest_key, action, rule)
    if select and (left_out := select.why_not(name, ours)):
        return Explained(key, dest_key, "keep", f"not selected: {left_out}")
    reason = Reason.MISSING if theirs is None else decide(ours, theirs)
    if destination is None:
        reason = Reason.UNCOMPARED
    if reason is Reason.EQUAL:
        return Explained(key, dest_key, "keep", _WORDS[reason])
    reason = change(ours, reason).reason
    return Explained(key, dest_key, "skip" if reason is Reason.ARCHIVED else "copy", _WORDS[reason])


def _without_source(theirs: Entry | None, name: str, select: Selection | None, *, delete: bool) -> tuple[str, str]:
    if theirs is None:
        return "nothing", "no side that was asked has it"
    if not delete:
        return "keep", "only the destination has it, and --delete was not asked for"
    if select and not select.deletable([name], [theirs]):
        why = select.why_not(name, theirs) or "its time cannot be read"
        return "keep", f"only the destination has it, but the selection protects it: {why}"
    return "delete", "only the destination has it, and --delete was asked for"


async def _listed(lister: Lister, key: str) -> Entry | None:
    async for page in lister.pages(key, until=key):
        for entry in page:
            if entry.key == key:
                return entry
            if lister.capabilities.ordered:
                return None  # of all keys that begin with it, the key itself comes first
    return None

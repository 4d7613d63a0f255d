"""Says which rule decides about one key, by asking both sides for that key alone. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from dth.events import Explained
from dth.finder.compare import Decide, change
from dth.finder.plan import Settle
from dth.finder.select import Selection
from dth.model import Change, Entry, KeyMapping
from dth.states import Reason
from dth.stores.base import Lister, listed_alone

_WORDS = {
    Reason.MISSING: "the destination lacks it",
    Reason.SIZE: "the sizes differ",
    Reason.ETAG: "the sizes are equal, the ETags can be compared and differ",
    Reason.NEWER: "the sizes are equal, the ETags say nothing, and the source is newer",
    Reason.MTIME: "the sizes are equal, and the source is newer",
    Reason.CHECKSUM: "the sizes are equal, the checksums differ",
    Reason.UNCOMPARED: "it was not compared: --skip-compare sends everything, or a store denies questions about it",
    Reason.EQUAL: "nothing that is compared says that it differs",
    Reason.ARCHIVED: "it lies in an archive class and must be restored first",
    Reason.RESTORED: "it lies in an archive class, and a restored copy of it can be read",
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
    settle: Settle | None = None,
) -> Explained:
    """What a run would do about `key`, a source key, whole or without the source prefix, and why. `destination` None:
    nothing is compared."""
    if not key.startswith(mapping.source_prefix):
        key = mapping.source_prefix + key
    dest_key = mapping.dest_key(key)
    ours = await listed_alone(source, key)
    theirs = await listed_alone(destination, dest_key) if destination else None
    name = key[len(mapping.source_prefix) :]
    if ours is None:
        action, rule = _without_source(theirs, name, select, delete=delete)
        return Explained(key, dest_key, action, rule)
    if select and (left_out := select.why_not(name, ours)):
        return Explained(key, dest_key, "keep", f"not selected: {left_out}")
    reason = Reason.MISSING if theirs is None else decide(ours, theirs)
    if destination is None:
        reason = Reason.UNCOMPARED
    changes: Sequence[Change] = [] if reason is Reason.EQUAL else [change(ours, reason, theirs)]
    if settle:
        changes = await settle(changes)
    reason = changes[0].reason if changes else Reason.EQUAL
    action = {Reason.EQUAL: "keep", Reason.ARCHIVED: "skip"}.get(reason, "copy")
    return Explained(key, dest_key, action, _WORDS[reason])


def _without_source(theirs: Entry | None, name: str, select: Selection | None, *, delete: bool) -> tuple[str, str]:
    if theirs is None:
        return "nothing", "no side that was asked has it"
    if not delete:
        return "keep", "only the destination has it, and --delete was not asked for"
    if select and not select.deletable([name], [theirs]):
        why = select.why_not(name, theirs) or "its time cannot be read"
        return "keep", f"only the destination has it, but the selection protects it: {why}"
    return "delete", "only the destination has it, and --delete was asked for"

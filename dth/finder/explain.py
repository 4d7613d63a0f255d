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

NOT_SELECTED, NOWHERE, EXTRA_KEPT, EXTRA_DELETED, PROTECTED = (
    "not_selected", "nowhere", "extra_kept", "extra_deleted", "protected",
)  # fmt: skip
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
CODES = (NOT_SELECTED, NOWHERE, EXTRA_KEPT, EXTRA_DELETED, PROTECTED, *(reason.value for reason in _WORDS))
"""The stable words of all rules."""


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
        return Explained(key, dest_key, *_without_source(theirs, name, select, delete=delete))
    setting, left_out = select.why_not(name, ours) if select else ("", "")
    if setting:
        return Explained(key, dest_key, "keep", f"not selected: {left_out}", NOT_SELECTED, setting)
    reason = Reason.MISSING if theirs is None else decide(ours, theirs)
    if destination is None:
        reason = Reason.UNCOMPARED
    changes: Sequence[Change] = [] if reason is Reason.EQUAL else [change(ours, reason, theirs)]
    if settle:
        changes = await settle(changes)
    reason = changes[0].reason if changes else Reason.EQUAL
    action = {Reason.EQUAL: "keep", Reason.ARCHIVED: "skip"}.get(reason, "copy")
    return Explained(key, dest_key, action, _WORDS[reason], reason.value)


def _without_source(
    theirs: Entry | None, name: str, select: Selection | None, *, delete: bool
) -> tuple[str, str, str, str]:
    """The action, the rule in words, its code, and the setting that protects the destination's object."""
    if theirs is None:
        return "nothing", "no side that was asked has it", NOWHERE, ""
    if not delete:
        return "keep", "only the destination has it, and --delete was not asked for", EXTRA_KEPT, ""
    if select and not select.deletable([name], [theirs]):
        setting, why = select.why_not(name, theirs)
        why = why or "its time cannot be read"
        return "keep", f"only the destination has it, but the selection protects it: {why}", PROTECTED, setting
    return "delete", "only the destination has it, and --delete was asked for", EXTRA_DELETED, ""

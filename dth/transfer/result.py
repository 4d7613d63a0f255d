"""How one transfer ended."""

from __future__ import annotations

from dth.messages import PartsMessage
from dth.states import Outcome, VerifiedBy
from dth.values import value


@value
class Copied:
    """How a copy ended. FAILED never appears here: a copy that fails raises. SKIPPED says why in `note`. SPLIT has not
    ended: `parts` is the message that must be sent, once it is recorded, for all workers to move the object.
    `code` is a stable word for what a summary counts apart: `gone`, `untrue_listing`, `needs_restore`."""

    outcome: Outcome
    bytes: int
    source_etag: str
    dest_etag: str
    verified_by: VerifiedBy | None
    note: str = ""
    parts: PartsMessage | None = None
    code: str = ""

"""What a finder's run found, in numbers and in words."""

from __future__ import annotations

from typing import Self

from dth.errors import DeletesRefused, ListingFailed, RestoresFailed
from dth.events import Emit, Notice
from dth.finder.plan import Tally
from dth.finder.restore import Restores
from dth.states import Reason
from dth.values import value


@value
class Found:
    """A finished listing: `found` entries of `found_bytes` were sent; `reasons` says why, and counts archived ones too,
    which were not sent (`needs_restore`). `compared` source objects and `dest_objects` were listed; `extra` of these the
    source lacks, as far as they are selected; `not_selected` source objects are not. `refusal`
    says why deletes that were asked for were not sent, `failure` why restores could not be asked for, `wrong` why the source's listing
    cannot be trusted. `undecided` objects were kept
    although no checksum proves them equal."""

    found: int
    found_bytes: int
    compared: int
    dest_objects: int
    reasons: dict[str, int]
    needs_restore: int
    extra: int
    not_selected: int
    refusal: str = ""
    undecided: int = 0
    failure: str = ""
    wrong: str = ""

    def or_raise(self) -> Self:
        """Itself; ListingFailed where the source's listing turned out to be wrong, DeletesRefused or RestoresFailed where
        something that was asked for was not done."""
        if self.wrong:
            raise ListingFailed(self.wrong)
        if self.refusal:
            raise DeletesRefused(self.refusal)
        if self.failure:
            raise RestoresFailed(self.failure)
        return self


def finished(tally: Tally, restores: Restores | None, emit: Emit) -> Found:
    """The totals; what a person should know of them is said as a Notice."""
    reasons = {str(reason): count for reason, count in tally.reasons.items()}
    if tally.needs_restore:
        reasons[Reason.ARCHIVED.value] = tally.needs_restore
        text = f"{tally.needs_restore} objects lie in an archive class at the source and were not sent: "
        emit(Notice("warning", "needs_restore", text + _restoring(tally, restores), {"n": tally.needs_restore}))
    if tally.undecided:
        text = (
            f"{tally.undecided} objects were kept although nothing proves them equal: the sizes are, the source is no newer, and "
            "the two sides keep no checksum or ETag of one kind; `dth verify --download` would tell"
        )
        emit(Notice("warning", "undecided", text, {"n": tally.undecided}))
    failure = ""
    if restores and restores.error:
        failure = f"{tally.restores_failed} archived objects could not be restored; the first: {restores.error}"
    return Found(
        found=tally.found,
        found_bytes=tally.found_bytes,
        compared=tally.compared,
        dest_objects=tally.dest_objects,
        reasons=reasons,
        needs_restore=tally.needs_restore,
        extra=tally.extra,
        not_selected=tally.not_selected,
        undecided=tally.undecided,
        failure=failure,
    )


def _restoring(tally: Tally, restores: Restores | None) -> str:
    if not restores:
        return "restore them (--restore asks the source to), then run again"
    verb = "are asked for now" if restores.asks else "would be asked for"
    return f"{tally.restores_asked} {verb}, {tally.restores_under_way} were before; run again when they are restored"

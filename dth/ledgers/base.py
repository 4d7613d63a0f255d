"""What the engine asks of a ledger. Conditional writes only, so that DynamoDB fits as well as SQLite.

No call lists more than one job's rows; none depends on a clock other than its own host's, and leases carry slack for
that. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from dth.model import Counts, Generation
from dth.states import RunState
from dth.stats import NOTHING, Breakdown, Failure, Failures, ProcessRow
from dth.values import value


@value
class Run:
    """One run's row with its counters summed.

    `found` is the exact number of entries that the finder sent, known once SEALED; None before, and for an ABANDONED
    run, whose finder died. `job_settings` is the JSON text of the job's settings, without secrets. `reasons` counts
    changes by reason, `found_bytes` sums their sizes. `lease_until` is the finder's. `breakdown` is what stands behind
    `counts`, and adds up to them; of runs that an older version worked it holds less.
    """

    run_id: str
    job_id: str
    state: RunState
    job_settings: str
    finder: str
    lease_until: float
    started_at: float
    found: int | None
    found_bytes: int
    reasons: Mapping[str, int]
    counts: Counts
    breakdown: Breakdown = NOTHING

    @property
    def counted(self) -> bool:
        """Sealed, and every entry has reached its final outcome."""
        return self.state is RunState.SEALED and self.counts.ended >= (self.found or 0)


@value
class OutcomeRow:
    """What became of one message: written once, by the first who finishes.

    `bitmap` holds two bits an entry (see `worker.outcomes`), as hex. `remainder` is the JSON of the message that must
    follow for the entries that are not final yet, "" where there is none; whoever finds the row sends exactly this text.
    """

    message_id: str
    run_id: str
    counts: Counts
    bitmap: str
    remainder: str


@value
class Sharing:
    """What makes an upload one that all workers move: `message` is the JSON of the `objects` message, of one entry, that
    the upload stands for, `message_id` its id. The entry's outcome is recorded under this id when the upload ends.

    Each `parts` message names up to `parts_a_message` parts; `crc`, `answer` and `digest` are the checksums computed over
    each (see `multipart.context.UploadTask`), "" for none. `resends` counts how often lost messages were sent again since
    one of them arrived, last at `resent_at`, when they were `missing`.
    """

    message_id: str
    message: str
    parts_a_message: int
    crc: str
    answer: str = ""
    digest: str = ""
    resends: int = 0
    resent_at: float = 0.0
    missing: int = 0


@value
class UploadRow:
    """An upload's intent and owner. Written before CreateMultipartUpload; one per job and destination key.

    `upload_id` is "" until the store has answered. `generation` and `part_size` fix what a resume may continue.
    `owner` may work on it until `owned_until`; `revision` rises with every change, for compare-and-swap. `sharing` None:
    its owner moves it alone. A shared one has an owner only while it begins and while it ends.
    `strays_since` (0: never): then an owner died between asking the store for an upload and noting its id, so the store
    may come to hold one that nobody knows.
    """

    job_id: str
    run_id: str
    dest_key: str
    source_key: str
    generation: Generation
    part_size: int
    upload_id: str
    owner: str
    owned_until: float
    revision: int
    created_at: float
    sharing: Sharing | None = None
    strays_since: float = 0.0


def claimable(present: UploadRow, wanted: UploadRow, now: float) -> bool:
    """Whether `wanted`'s owner may take the present row over (see `Ledger.claim_upload`)."""
    if present.owned_until > now:
        return False
    return present.sharing is None or (
        wanted.sharing is not None and wanted.sharing.message_id == present.sharing.message_id
    )


@value
class MovedPart:
    """What one part of a shared upload is known by: see `multipart.parts.SentPart`. `crc` is None where none was computed."""

    etag: str
    crc: int | None
    answered: bool
    digest: bytes = b""
    opaque_etag: bool = False


@value
class PartsRow:
    """The store holds the parts from `first` on, as many as `parts` has: the work of one `parts` message."""

    job_id: str
    upload_id: str
    first: int
    parts: tuple[MovedPart, ...]

    @property
    def stop(self) -> int:
        """The number after the last part's."""
        return self.first + len(self.parts)


class Ledger(Protocol):
    """Runs, outcomes and uploads. Every call is safe from several tasks and processes."""

    async def start_run(self, run: Run, *, overlap: bool = False) -> None:
        """Write a new LISTING run, and a key of its own. Unless `overlap`, raises RunUnderWay where another run of the job is under way
        (LISTING with a living lease, or SEALED and not counted); a LISTING one whose lease is over becomes ABANDONED."""
        ...

    async def extend_run(self, run_id: str, finder: str, lease_until: float) -> None:
        """The finder's heartbeat. Raises LeaseLost where the run is no longer its LISTING run."""
        ...

    async def seal_run(
        self, run_id: str, finder: str, found: int, found_bytes: int, reasons: Mapping[str, int]
    ) -> None:
        """Fix the totals. Repeating it with the same totals is no error. Raises LeaseLost as `extend_run`."""
        ...

    async def abandon_run(self, run_id: str, *, expired_before: float | None = None) -> bool:
        """LISTING becomes ABANDONED; with `expired_before` only where the finder's lease ended before that time.
        True where this call did it."""
        ...

    async def run(self, run_id: str) -> Run | None:
        """The run with its counters, consistently read."""
        ...

    async def run_key(self, run_id: str) -> bytes:
        """The 32 random bytes that `start_run` made for the run, by which its messages are signed; b"" where the ledger
        has none, because it does not know the run or an older version opened it. They are no part of `Run`, so that
        nothing which shows runs can show them."""
        ...

    async def runs(self, job_id: str, limit: int) -> list[Run]:
        """The job's newest runs first."""
        ...

    async def record(
        self, row: OutcomeRow, process: str, breakdown: Breakdown = NOTHING, failures: Sequence[Failure] = ()
    ) -> OutcomeRow:
        """Write the row and add its counts, and what stands behind them, to the counter of `process` in one transaction,
        unless a row of that message exists: then nothing changes. Returns the row in force: the caller's own or the first
        writer's. `failures` can be read once this returns; a death meanwhile may leave them written and not counted."""
        ...

    async def failures(self, run_id: str, *, code: str = "", after: str = "", limit: int = 100) -> Failures:
        """Up to `limit` objects of a run that ended FAILED, of one error code or ("") of all, from where `after` of the page
        before leads to."""
        ...

    async def put_process(self, row: ProcessRow) -> None:
        """Write the row over what its process wrote before about the same run. May be forgotten by a power cut."""
        ...

    async def processes(self, job_id: str, run_id: str) -> list[ProcessRow]:
        """What every process of a run last wrote, also of those that are dead; with `run_id` "", those of the job's
        processes that had met no run yet."""
        ...

    async def outcome(self, message_id: str) -> OutcomeRow | None:
        """The row of a message, looked up when the message is received again."""
        ...

    async def claim_upload(self, row: UploadRow) -> UploadRow:
        """Write the intent where the key has none, or where the owner of the present one has let it lapse
        (`owned_until` passed): then its other fields stay and only the owner, `owned_until` and `run_id` become the
        caller's. A shared upload is under way whoever owns it: only who shares it under the same message id takes it
        over. Returns the row in force; the caller owns it where `owner` is its own."""
        ...

    async def upload(self, job_id: str, dest_key: str) -> UploadRow | None:
        """The row of a key, consistently read."""
        ...

    async def update_upload(self, row: UploadRow) -> UploadRow:
        """Compare-and-swap on `row.revision`; returns the row with its new revision. Raises LeaseLost where it moved."""
        ...

    async def close_upload(self, row: UploadRow) -> None:
        """Remove the row (completed or aborted), and sooner or later its parts' rows. A row that has moved to another
        revision raises LeaseLost; an absent one is no error."""
        ...

    def uploads(self, job_id: str) -> AsyncIterator[UploadRow]:
        """All rows of the job, in key order."""
        ...

    async def put_parts(self, row: PartsRow) -> None:
        """Write the row, over one of the same parts where there is one: both moved the same bytes."""
        ...

    def parts(self, job_id: str, upload_id: str, first: int, stop: int) -> AsyncIterator[PartsRow]:
        """Rows that begin in `first` up to but not including `stop`, in order, consistently read: a row whose `put_parts`
        has returned anywhere is among them."""
        ...

    async def advance(self, job_id: str, key: str, sequencer: str) -> bool:
        """An event of `key` is about to be acted on. False where a later one was seen already: sequencers compare as
        text. The same one again is no later one."""
        ...

    async def get_note(self, job_id: str, name: str) -> str | None:
        """A small durable value of the job (its mapping, a finder's checkpoint)."""
        ...

    async def put_note(self, job_id: str, name: str, value: str) -> None:
        """Write such a value, "" to remove it."""
        ...

    async def keep_note(self, job_id: str, name: str, value: str) -> str:
        """Write such a value where there is none; the one in force, which may be another's."""
        ...

    async def swap_note(self, job_id: str, name: str, before: str, value: str) -> bool:
        """Write such a value where it is still `before` ("": there is none); False, and nothing changed, where it is not."""
        ...

    async def notes(self, job_id: str, prefix: str) -> dict[str, str]:
        """The values of the job whose names begin so, by the rest of their names."""
        ...

    async def close(self) -> None:
        """Release files and connections."""
        ...


class Reclaimable(Protocol):
    """An embedded ledger, whose other users are known to be dead while its state is locked."""

    async def reclaim(self, owner: str | None = None) -> None:
        """End the leases on runs and uploads of `owner` (of everyone: None)."""
        ...

    async def owners(self) -> set[str]:
        """The processes that hold a lease on a listing run or an upload."""
        ...

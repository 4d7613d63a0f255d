"""A finder's run: what differs goes to the queue, and the run is sealed with exact totals, or abandoned.

Record, then send: the run's row is written before its first message, because workers load the job's settings by `run_id`; it
is sealed after the queue took the last one, because a sealed run promises that everything counted was sent. A death in
between leaves a LISTING run whose lease ends: the next finder abandons it, what was sent is still worked, and the listing
goes on at the last checkpoint (`finder.checkpoint`) with totals of its own.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from dth.columns import Uniform
from dth.error_groups import first_error
from dth.errors import DeletesRefused, DthError, LedgerError, ListingFailed
from dth.events import Emit, ListingProgress, Notice, Planned, RunAbandoned, RunSealed
from dth.finder.attempts import Attempts
from dth.finder.compare import CompareMode, alike, deciding
from dth.finder.dedup import Accepted
from dth.finder.delete_guards import DeleteRules, SpooledDeletes
from dth.finder.heads import Stores
from dth.finder.heartbeat import Heartbeat, Place
from dth.finder.outbox import Outbox
from dth.finder.pack import Packer
from dth.finder.plan import Accept, Decisions, Extras, Settle, Tally
from dth.finder.resolve import settling
from dth.finder.restore import RestoreRules, Restores
from dth.finder.result import Found, finished
from dth.finder.select import Selection
from dth.finder.suspects import Suspects
from dth.ledgers.base import Ledger, Run
from dth.model import Change, Counts, KeyMapping
from dth.queues.base import Queue
from dth.states import Reason, RunState
from dth.stores.base import Lister
from dth.values import value

LISTERS_BY_ITSELF = 16
"""Listers a side where nobody said. A page of 1,000 keys costs some 2 ms of CPU, so at 100 ms a page these keep a third of
a core busy; more of them would cost memory (a megabyte each) for little."""

_PROGRESS_SECONDS = 0.5
_FLUSH_SECONDS = 1.0  # a message that is not full waits no longer, so that workers start while the listing goes on
_ABANDON_SECONDS = 5.0


@value
class FinderSettings:
    """What a run of the finder needs to know. `finder` names this process; `job_settings` is the JSON text that goes with
    the run, without secrets. Sizes in bytes; `high_water` counts messages; `listers` list at once on each side (0: as many as
    pay); `select` None takes every object; `deletes` None deletes nothing. `resumable`: what is listed is the whole of both
    sides, so that a later run can go on where this one stops. `restore` None leaves archived objects alone."""

    job_id: str
    run_id: str
    finder: str
    job_settings: str
    mapping: KeyMapping
    compare: CompareMode
    skip_compare: bool
    pack_objects: int
    pack_bytes: int
    high_water: int
    sort_memory: int
    sort_directory: str
    lease_seconds: float
    overlap: bool
    listers: int
    select: Selection | None
    deletes: DeleteRules | None
    resumable: bool
    restore: RestoreRules | None


async def find(
    source: Lister,
    destination: Lister,
    queue: Queue,
    ledger: Ledger,
    settings: FinderSettings,
    emit: Emit,
    stores: Stores | None = None,
) -> Found:
    """Send every difference, each key once, and seal the run with exact totals.

    Raises RunUnderWay where another run of the job is; nothing was written then. DeletesRefused where a guard kept all
    deletes back, and RestoresFailed where archived objects could not be restored; the run is sealed without them. `stores` are
    asked about single objects, where settings want that. After any other error, and when cancelled,
    the run is ABANDONED, never sealed: a listing that failed is not an empty one.
    """
    deciding(settings.compare, source.capabilities, destination.capabilities)  # refuses before anything is written
    heart = Heartbeat(
        ledger,
        job_id=settings.job_id,
        run_id=settings.run_id,
        finder=settings.finder,
        lease_seconds=settings.lease_seconds,
        lease_until=time.time() + settings.lease_seconds,
        emit=emit,
    )
    await ledger.start_run(_new_run(settings, heart.lease_until), overlap=settings.overlap)
    try:
        found = await _list_and_send(source, destination, queue, settings, heart, emit, stores)
        await ledger.seal_run(settings.run_id, settings.finder, found.found, found.found_bytes, found.reasons)
        with suppress(LedgerError):  # nobody believes it any more: this run is sealed
            await heart.forget()
    except BaseException as caught:  # noqa: BLE001 - raised again below, unwrapped
        error = first_error(caught) if isinstance(caught, BaseExceptionGroup) else caught
        await _abandon(ledger, settings.run_id, error, emit)
        raise error from error.__cause__
    counted = found.found, found.found_bytes, found.compared
    emit(RunSealed(settings.run_id, *counted, found.reasons, found.not_selected, found.undecided))
    return found.or_raise()


async def preview(
    source: Lister, destination: Lister, settings: FinderSettings, emit: Emit, stores: Stores | None = None
) -> Found:
    """What `find` would send, as a Planned event for each change, in key order within each range; `skip`, or `restore`, for
    what must be restored first. Touches no queue and no ledger, and asks for no restore."""
    tally = Tally()
    restores = _restores(settings, stores, tally, ask=False)
    progress = _Progress(settings.run_id, tally, emit)

    async def accept(changes: Sequence[Change]) -> None:
        for change in changes:
            entry = change.entry
            action = "copy"
            if change.reason is Reason.ARCHIVED:
                action = "restore" if restores and restores.would_ask(entry.key) else "skip"
            emit(Planned(action, entry.key, settings.mapping.dest_key(entry.key), entry.size, change.reason))
        progress.note()

    began = time.time()
    with _deletes(settings) as deletes:
        suspects = Suspects(deletes or Extras())
        settle = settling(stores, tally, checksums=settings.compare is CompareMode.CHECKSUM, restores=restores)
        await _plan(source, destination, settings, tally, accept, suspects, settle, emit).run()
        progress.note(last=True)
        if wrong := await _listed_wrongly(suspects, settings, stores, began):
            raise ListingFailed(wrong)
        if deletes and (refusal := deletes.refusal(tally)):
            raise DeletesRefused(refusal)
        if deletes:
            async for changes in deletes.changes():
                for change in changes:
                    key, size = change.entry.key, change.entry.size
                    emit(Planned("delete", key, settings.mapping.dest_key(key), size, change.reason))
    return finished(tally, restores, emit).or_raise()


async def _list_and_send(
    source: Lister,
    destination: Lister,
    queue: Queue,
    settings: FinderSettings,
    heart: Heartbeat,
    emit: Emit,
    stores: Stores | None,
) -> Found:
    """Everything between the run's row and its seal: when this returns, the queue holds every message."""
    tally = Tally()
    restores = _restores(settings, stores, tally, ask=True)
    progress = _Progress(settings.run_id, tally, emit)
    outbox = Outbox(queue, settings.high_water, emit, await heart.ledger.run_key(settings.run_id))
    packer = Packer(
        "objects",
        settings.job_id,
        settings.run_id,
        settings.pack_objects,
        settings.pack_bytes,
        queue.message_bytes,
    )
    flushed = time.monotonic()

    async def accept(changes: Sequence[Change]) -> None:
        nonlocal flushed
        if not isinstance(changes, Uniform):
            changes = [change for change in changes if change.reason is not Reason.ARCHIVED]
        messages = packer.add(changes)
        if time.monotonic() - flushed >= _FLUSH_SECONDS:
            messages += packer.flush()
            flushed = time.monotonic()
        await outbox.put(messages)
        progress.note()

    refusal = wrong = ""
    began = time.time()
    with _deletes(settings) as deletes:
        suspects = Suspects(deletes or Extras())
        settle = settling(stores, tally, checksums=settings.compare is CompareMode.CHECKSUM, restores=restores)
        plan = _plan(source, destination, settings, tally, accept, suspects, settle, emit, heart.misled)

        def look() -> Place | None:
            """Everything accepted by now is in messages that were put by now: no await comes between."""
            left = plan.left()
            if outbox.full or not left:
                return None  # nothing moves, or everything is about to be sealed
            for message in packer.flush():  # one at most
                outbox.put_now(message)
            return Place(left, tally.needs_restore_behind, outbox.number)

        if settings.resumable:
            await _go_on(plan, heart, settings, tally, emit)
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(heart.run(look, outbox.sent))
            sending = tasks.create_task(outbox.run())
            await plan.run()
            progress.note(last=True)
            await outbox.put(packer.flush())
            wrong = await _listed_wrongly(suspects, settings, stores, began)
            if deletes and not wrong and not (refusal := deletes.refusal(tally)):
                await _send_deletes(deletes, settings, queue.message_bytes, tally, outbox)
            await outbox.close()
            await sending
            beating.cancel()
    return replace(finished(tally, restores, emit), refusal=refusal, wrong=wrong)


async def _listed_wrongly(suspects: Suspects, settings: FinderSettings, stores: Stores | None, began: float) -> str:
    """Why the source's listing is wrong, "" where nothing says so. A list of keys leaves out what it likes."""
    return await suspects.proof(stores, settings.mapping, began) if stores and settings.resumable else ""


async def _send_deletes(
    deletes: SpooledDeletes, settings: FinderSettings, message_bytes: int, tally: Tally, outbox: Outbox
) -> None:
    """All of them: the listings are whole, and no guard objected."""
    weight = settings.pack_bytes if deletes.rules.moved else sys.maxsize
    packer = Packer("delete", settings.job_id, settings.run_id, settings.pack_objects, weight, message_bytes)
    async for changes in deletes.changes():
        tally.found += len(changes)
        tally.reasons[Reason.EXTRA] = tally.reasons.get(Reason.EXTRA, 0) + len(changes)
        await outbox.put(packer.add(changes))
    await outbox.put(packer.flush())


@contextmanager
def _deletes(settings: FinderSettings) -> Iterator[SpooledDeletes | None]:
    """Where extras are kept, freed at the end; None where nothing is to be deleted."""
    if settings.deletes is None:
        yield None
        return
    deletes = SpooledDeletes(settings.deletes, settings.mapping, settings.sort_directory)
    try:
        yield deletes
    finally:
        deletes.close()


def _restores(settings: FinderSettings, stores: Stores | None, tally: Tally, *, ask: bool) -> Restores | None:
    return Restores(stores.source, replace(settings.restore, ask=ask), tally) if settings.restore and stores else None


def _plan(
    source: Lister,
    destination: Lister,
    settings: FinderSettings,
    tally: Tally,
    accept: Accept,
    extras: Extras,
    settle: Settle | None,
    emit: Emit,
    misled: Callable[[], Awaitable[None]] | None = None,
) -> Attempts:
    decisions = Decisions(
        mapping=settings.mapping,
        decide=deciding(settings.compare, source.capabilities, destination.capabilities, asks=settle is not None),
        accepted=Accepted(settings.sort_directory),
        tally=tally,
        accept=accept,
        extras=extras,
        select=settings.select,
        settle=settle,
        alike=alike(settings.compare, source.capabilities, destination.capabilities),
    )
    return Attempts(
        source,
        None if settings.skip_compare else destination,
        decisions,
        listers=settings.listers or LISTERS_BY_ITSELF,
        sort_memory=settings.sort_memory,
        sort_directory=settings.sort_directory,
        emit=emit,
        misled=misled,
    )


async def _go_on(plan: Attempts, heart: Heartbeat, settings: FinderSettings, tally: Tally, emit: Emit) -> None:
    """List only what the run before left, where it died and its checkpoint holds; and write checkpoints. With deletes
    everything is listed: what is extra behind a checkpoint was spooled by a process that is dead."""
    taken = await heart.begin(settings.job_settings, go_on=plan.in_ranges and not settings.deletes)
    if not taken:
        return
    plan.begin_at(taken.ranges)
    tally.needs_restore = tally.needs_restore_behind = taken.needs_restore
    text = (
        f"run {taken.runs[-2]} ended early: this one goes on where it was; what has changed before that is left to the "
        "next run"
    )
    emit(Notice("info", "taken_over", text))


def _new_run(settings: FinderSettings, lease_until: float) -> Run:
    return Run(
        run_id=settings.run_id,
        job_id=settings.job_id,
        state=RunState.LISTING,
        job_settings=settings.job_settings,
        finder=settings.finder,
        lease_until=lease_until,
        started_at=time.time(),
        found=None,
        found_bytes=0,
        reasons={},
        counts=Counts(),
    )


async def _abandon(ledger: Ledger, run_id: str, error: BaseException, emit: Emit) -> None:
    """Say in the ledger that nothing more comes, also when cancelled; where that fails too, the lease ends by itself."""
    with suppress(DthError, TimeoutError):
        async with asyncio.timeout(_ABANDON_SECONDS):
            if not await ledger.abandon_run(run_id):
                return
    reason = "interrupted" if isinstance(error, asyncio.CancelledError) else str(error) or type(error).__name__
    emit(RunAbandoned(run_id, reason))


class _Progress:
    """Emits ListingProgress about twice a second at most."""

    def __init__(self, run_id: str, tally: Tally, emit: Emit) -> None:
        self._run_id = run_id
        self._tally = tally
        self._emit = emit
        self._next = 0.0

    def note(self, *, last: bool = False) -> None:
        """Something was counted."""
        now = time.monotonic()
        if now < self._next and not last:
            return
        self._next = now + _PROGRESS_SECONDS
        tally = self._tally
        listed = tally.compared, tally.dest_objects
        self._emit(ListingProgress(self._run_id, *listed, tally.found, tally.found_bytes, tally.not_selected))

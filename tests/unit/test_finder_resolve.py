"""What listings leave open: checksums that decide, restores that are asked for, and what is said where neither helps."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from dth.errors import AccessDenied, DthError, NoSuchKey, RestoresFailed
from dth.events import Event, Notice, Planned
from dth.finder.compare import CompareMode, deciding
from dth.finder.explain import explain
from dth.finder.heads import HEADS, Stores
from dth.finder.plan import Tally
from dth.finder.resolve import ByChecksum, settling
from dth.finder.restore import RestoreRules, Restores
from dth.finder.result import Found
from dth.finder.run import find, preview
from dth.ledgers.base import Ledger
from dth.model import Attributes, Change, Entry, Generation, ObjectHead
from dth.queues.base import Queue
from dth.states import Reason, RestoreState
from dth.stores.base import Capabilities
from tests.unit.finder_fakes import CAPABILITIES, IDENTITY, FakeLister, entry, finder_settings, no_emit
from tests.unit.test_finder_run import HeldQueue, RunRows

SUMS = replace(CAPABILITIES, checksums=("crc64nvme",))
A, B = "a" * 32, "b" * 32
OLD, NEW = "2024-05-01T12:00:00.000Z", "2024-05-02T12:00:00.000Z"
RULES = RestoreRules(3, "Bulk")


@dataclass
class Asked:
    """A store that answers about single objects."""

    heads: Mapping[str, ObjectHead | DthError]
    capabilities: Capabilities = SUMS
    asked: list[str] = field(default_factory=list)
    restored: list[tuple[str, int, str]] = field(default_factory=list)
    refuses: DthError | None = None
    at_once: int = 0
    most_at_once: int = 0

    async def head(self, key: str, *, if_match: str = "") -> ObjectHead:
        self.asked.append(key)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        answer = self.heads.get(key, NoSuchKey(key))
        if isinstance(answer, DthError):
            raise answer
        return answer

    async def get(self, *_: object, **__: object) -> None:
        raise AssertionError("bodies are not read")

    async def restore(self, key: str, *, days: int, tier: str) -> RestoreState:
        self.restored.append((key, days, tier))
        if self.refuses:
            raise self.refuses
        return RestoreState.UNDER_WAY


def head(crc: str = "", *, etag: str = A, size: int = 1, md5: str = "", kind: str = "FULL_OBJECT", **more: object) -> ObjectHead:  # fmt: skip
    sums = (("crc64nvme", crc),) if crc else ()
    return replace(ObjectHead(Generation(etag, size), "", Attributes(), md5, sums, kind if crc else ""), **more)  # type: ignore[arg-type]


def both(source: Asked, destination: Asked) -> Stores:
    return Stores(source, destination)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ours", "theirs", "reason", "undecided"),
    [
        (head("x"), head("x", etag=B), None, 0),
        (head("x"), head("y", etag=B), Reason.CHECKSUM, 0),
        (head(md5=A), head(md5=B, etag=B), Reason.CHECKSUM, 0),
        (head(etag=A), head(etag=B), None, 1),  # they look like MD5s, and nobody vouches for it
        (head("x", kind="COMPOSITE"), head("y", kind="COMPOSITE", etag=B), None, 1),
        (head("x"), head("", etag=B), None, 1),
        (head("x", size=2), head("x", etag=B), Reason.SIZE, 0),
        (NoSuchKey("k"), head("x"), None, 0),
        (head("x"), NoSuchKey("k"), Reason.MISSING, 0),
    ],
)
async def test_what_both_objects_keep_decides_and_what_nothing_decides_is_counted(
    ours: ObjectHead | DthError, theirs: ObjectHead | DthError, reason: Reason | None, undecided: int
) -> None:
    tally = Tally()
    by_checksum = ByChecksum(both(Asked({"k": ours}), Asked({"q/k": theirs})), tally)
    pair = Change(entry("k", 1, A, OLD), Reason.OPEN, entry("q/k", 1, B, NEW))
    said = await by_checksum([pair])
    assert [one.reason for one in said] == ([reason] if reason else [])
    assert tally.undecided == undecided


async def test_where_nothing_decides_a_newer_source_is_copied() -> None:
    pair = Change(entry("k", 1, A, NEW), Reason.OPEN, entry("k", 1, B, OLD))
    tally = Tally()
    said = await ByChecksum(both(Asked({"k": head()}), Asked({"k": head(etag=B)})), tally)([pair])
    assert ([one.reason for one in said], tally.undecided) == ([Reason.NEWER], 0)


async def test_stores_that_keep_no_checksums_are_not_asked() -> None:
    ours, theirs = Asked({}, CAPABILITIES), Asked({}, SUMS)
    pair = Change(entry("k", 1, A + "-2", OLD), Reason.OPEN, entry("k", 1, B, NEW))
    tally = Tally()
    assert await ByChecksum(both(ours, theirs), tally)([pair]) == []
    assert (ours.asked, theirs.asked, tally.undecided) == ([], [], 1)


def open_pairs(count: int) -> list[Change]:
    return [Change(entry(f"k{n:02}", 1, A, OLD), Reason.OPEN, entry(f"k{n:02}", 1, B, NEW)) for n in range(count)]


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("denied", [1, 9, 15])
async def test_an_object_that_a_store_denies_is_sent_and_the_others_are_compared(side: str, denied: int) -> None:
    """The worker finds out what may be done with it. One object's refusal is not the whole store's."""
    pairs = open_pairs(16)
    some: dict[str, ObjectHead | DthError] = {one.entry.key: head("x") for one in pairs}
    refused = some | {one.entry.key: AccessDenied("no") for one in pairs[-denied:]}
    stores = both(*[Asked(refused if side == name else some) for name in ("source", "destination")])
    said = await ByChecksum(stores, Tally())(pairs)
    assert [(one.entry.key, one.reason) for one in said] == [
        (one.entry.key, Reason.UNCOMPARED) for one in pairs[-denied:]
    ]


@pytest.mark.parametrize("side", ["source", "destination"])
async def test_a_store_that_denies_every_object_ends_the_listing_in_words(side: str) -> None:
    pairs = open_pairs(16)
    some: dict[str, ObjectHead | DthError] = {one.entry.key: head("x") for one in pairs}
    none: dict[str, ObjectHead | DthError] = {one.entry.key: AccessDenied("no") for one in pairs}
    stores = both(*[Asked(none if side == name else some) for name in ("source", "destination")])
    with pytest.raises(BaseExceptionGroup) as raised:
        await ByChecksum(stores, Tally())(pairs)
    assert raised.group_contains(AccessDenied)


async def test_only_pairs_whose_etags_leave_it_open_are_asked_for_and_few_at_once() -> None:
    count = 4 * HEADS
    source = [entry(f"k{n:04}", 1, A if n % 2 else f"{n:032x}-2", OLD) for n in range(2 * count)]
    theirs = [e._replace(etag=A if n % 2 else B, last_modified=NEW) for n, e in enumerate(source)]
    heads = {e.key: head("x") for e in source}
    ours_asked, theirs_asked = Asked(heads), Asked(heads)
    listers = FakeLister([source]), FakeLister([theirs])
    for lister in listers:
        lister._capabilities = SUMS
    found = await preview(
        *listers, finder_settings(compare=CompareMode.CHECKSUM), no_emit, both(ours_asked, theirs_asked)
    )
    assert (found.found, found.undecided, found.compared) == (0, 0, 2 * count)
    assert sorted(ours_asked.asked) == sorted(theirs_asked.asked) == [e.key for e in source[::2]]
    assert 1 < ours_asked.most_at_once <= HEADS


async def searched(
    source: list[Entry], asked: Asked, events: list[Event] | None = None, queue: HeldQueue | None = None
) -> Found:
    settings = finder_settings(restore=RULES, skip_compare=True)
    emit = no_emit if events is None else events.append
    ports = cast("Queue", queue or HeldQueue()), cast("Ledger", RunRows())
    return await find(FakeLister([source]), FakeLister([]), *ports, settings, emit, both(asked, Asked({})))


COLD = [
    entry("asleep", cls="GLACIER"),
    entry("awake", cls="DEEP_ARCHIVE"),
    entry("plain"),
    entry("waking", cls="GLACIER"),
]
STATES = {
    "asleep": head(storage_class="GLACIER"),
    "awake": head(storage_class="DEEP_ARCHIVE", restore=RestoreState.READY),
    "waking": head(storage_class="GLACIER", restore=RestoreState.UNDER_WAY),
}


async def test_archived_objects_are_restored_once_and_those_that_can_be_read_are_sent() -> None:
    events, queue, asked = list[Event](), HeldQueue(), Asked(STATES)
    found = await searched(COLD, asked, events, queue)
    assert [(o.key, o.reason) for o in queue.entries()] == [("awake", Reason.RESTORED), ("plain", Reason.UNCOMPARED)]
    assert asked.restored == [("asleep", 3, "Bulk")]
    assert (found.found, found.needs_restore) == (2, 2)
    assert found.reasons == {"restored": 1, "uncompared": 1, "archived": 2}
    (notice,) = [e.text for e in events if isinstance(e, Notice)]
    assert "2 objects lie in an archive class" in notice
    assert "1 are asked for now, 1 were before" in notice


async def test_a_restore_that_is_refused_fails_the_run_by_name_and_holds_up_no_other_object() -> None:
    queue = HeldQueue()
    asked = Asked(STATES, refuses=AccessDenied("allow these credentials s3:RestoreObject"))
    with pytest.raises(RestoresFailed, match=r"1 archived objects.*s3:RestoreObject"):
        await searched(COLD, asked, queue=queue)
    assert [o.key for o in queue.entries()] == ["awake", "plain"]


async def test_an_object_that_was_written_anew_outside_of_the_archive_needs_no_restore() -> None:
    asked, queue = Asked({"asleep": head()}), HeldQueue()
    await searched(COLD[:1], asked, queue=queue)
    assert ([o.key for o in queue.entries()], asked.restored) == (["asleep"], [])


async def test_a_dry_run_names_what_it_would_restore_and_asks_for_nothing() -> None:
    events, asked = list[Event](), Asked(STATES)
    settings = finder_settings(restore=RULES, skip_compare=True)
    await preview(FakeLister([COLD]), FakeLister([]), settings, events.append, both(asked, Asked({})))
    planned = [(e.key, e.action) for e in events if isinstance(e, Planned)]
    assert planned == [("asleep", "restore"), ("awake", "copy"), ("plain", "copy"), ("waking", "skip")]
    assert asked.restored == []


async def test_a_dry_run_says_which_archived_objects_cannot_be_asked_for() -> None:
    asked = Asked({**STATES, "asleep": AccessDenied("allow these credentials s3:GetObject")})
    settings = finder_settings(restore=RULES, skip_compare=True)
    with pytest.raises(RestoresFailed, match=r"1 archived objects.*s3:GetObject"):
        await preview(FakeLister([COLD]), FakeLister([]), settings, no_emit, both(asked, Asked({})))


async def test_explain_asks_the_objects_where_the_job_would() -> None:
    asked, tally = Asked({"k": head("x"), **STATES}), Tally()
    stores = both(asked, Asked({"k": head("y", etag=B)}))
    settle = settling(stores, tally, checksums=True, restores=Restores(asked, replace(RULES, ask=False), tally))

    async def said(key: str, ours: Entry, theirs: list[Entry]) -> tuple[str, str]:
        decide = deciding(CompareMode.CHECKSUM, SUMS, SUMS)
        sides = FakeLister([[ours]]), FakeLister([theirs])
        told = await explain(*sides, IDENTITY, decide, None, key, delete=False, settle=settle)
        return told.action, told.rule

    assert await said("k", entry("k", 1, A), [entry("k", 1, B)]) == (
        "copy",
        "the sizes are equal, the checksums differ",
    )
    assert (await said("awake", COLD[1], []))[0] == "copy"
    assert (await said("asleep", COLD[0], []))[0] == "skip"
    assert asked.restored == []

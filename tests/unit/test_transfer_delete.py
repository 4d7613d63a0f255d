"""Deleting one object: what the source says counts, before and after, and only what the finder saw may go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dth.errors import AccessDenied, Archived, NoSuchBucket, NoSuchKey, NotFound, ServerFault
from dth.ledgers.sqlite import SqliteLedger
from dth.messages import ObjectEntry
from dth.model import KeyMapping
from dth.states import Outcome, Reason
from dth.transfer.context import Job
from dth.transfer.copy import copy_object
from dth.transfer.delete import delete_object
from dth.transfer.result import Copied
from tests.servers.copying import Surroundings, entry_of
from tests.servers.memory_store import AWS_LIKE, PLAIN, MemoryStore

CONDITIONAL = replace(AWS_LIKE, conditional_delete=True)


@pytest.fixture(params=[CONDITIONAL, PLAIN], ids=["if-match", "without"])
async def here(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Surroundings]:
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")
    yield Surroundings(ledger, destination=MemoryStore(request.param))
    await ledger.close()


def extra(here: Surroundings, data: bytes = b"old") -> ObjectEntry:
    """An object that only the destination has, as the finder names it."""
    return entry_of(here.destination.seed("key", data), Reason.EXTRA)


async def delete(here: Surroundings, entry: ObjectEntry, *, redelivered: bool = False, delete_to: str = "") -> Copied:
    context = here.context(redelivered=redelivered)
    return await delete_object(entry, replace(context, job=replace(context.job, delete_to=delete_to)), copy_object)


async def test_what_the_source_lacks_is_deleted_after_asking_it_and_asked_again_after(here: Surroundings) -> None:
    entry = extra(here)
    assert (await delete(here, entry)).outcome is Outcome.DONE
    await here.settled(None)
    assert here.source.requests["HeadObject"] == 2
    assert here.destination.requests["DeleteObject"] == 1


async def test_what_the_source_holds_stays(here: Surroundings) -> None:
    entry = extra(here)
    here.source.seed("key", b"new")
    copied = await delete(here, entry)
    assert (copied.outcome, copied.note) == (Outcome.SKIPPED, "the source has it")
    await here.settled(b"old")


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("HeadObject", AccessDenied("403", operation="HeadObject", status=403)),
        ("HeadObject", ServerFault("500", operation="HeadObject", status=500)),
        ("GetObject", NoSuchBucket("404", operation="GetObject", status=404)),
        ("GetObject", NotFound("404", operation="GetObject", status=404)),
        ("GetObject", AccessDenied("403", operation="GetObject", status=403)),
    ],
    ids=["denied", "fault", "bucket-gone", "404-of-something", "get-denied"],
)
async def test_only_a_404_of_the_very_key_is_absence(here: Surroundings, operation: str, error: Exception) -> None:
    entry = extra(here)
    here.source.fail(operation, error)
    with pytest.raises(type(error)):
        await delete(here, entry)
    await here.settled(b"old")


async def test_a_head_that_lies_is_not_believed_without_a_get(here: Surroundings) -> None:
    entry = extra(here)
    here.source.seed("key", b"live")
    here.source.fail("HeadObject", NoSuchKey("404", operation="HeadObject", status=404))
    assert (await delete(here, entry)).outcome is Outcome.SKIPPED
    await here.settled(b"old")


async def test_an_object_written_since_the_listing_stays(here: Surroundings) -> None:
    entry = extra(here)
    here.destination.seed("key", b"written by somebody")
    copied = await delete(here, entry)
    assert (copied.outcome, copied.note) == (Outcome.SKIPPED, "changed at the destination since it was listed")
    await here.settled(b"written by somebody")


async def test_with_if_match_an_object_written_at_the_last_moment_stays(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")
    here = Surroundings(ledger, destination=MemoryStore(CONDITIONAL))
    entry = extra(here)
    here.destination.before("DeleteObject", lambda: here.destination.seed("key", b"just now"))
    assert (await delete(here, entry)).outcome is Outcome.SKIPPED
    await here.settled(b"just now")
    await ledger.close()


async def test_a_key_that_comes_back_while_it_is_deleted_is_copied_before_the_end(here: Surroundings) -> None:
    entry = extra(here)
    here.destination.before("DeleteObject", lambda: here.source.seed("key", b"back"))
    copied = await delete(here, entry)
    assert copied.outcome is Outcome.DONE
    assert "came back" in copied.note
    await here.settled(b"back")


async def test_a_death_between_deleting_and_looking_again_is_mended_by_the_next_delivery(here: Surroundings) -> None:
    entry = extra(here)
    here.destination.objects.clear()  # the delivery before has deleted it
    here.source.seed("key", b"back")
    assert (await delete(here, entry, redelivered=True)).outcome is Outcome.DONE
    await here.settled(b"back")


async def test_deleting_twice_is_deleting_once(here: Surroundings) -> None:
    entry = extra(here)
    assert (await delete(here, entry)).outcome is Outcome.DONE
    again = await delete(here, entry, redelivered=True)
    assert (again.outcome, again.note) == (Outcome.DONE, "gone already")
    assert (await delete(here, entry)).outcome is Outcome.SKIPPED
    assert here.destination.requests["DeleteObject"] == 1


async def test_delete_to_keeps_a_verified_copy_first(here: Surroundings) -> None:
    entry = extra(here, b"precious")
    assert (await delete(here, entry, delete_to="trash/")).outcome is Outcome.DONE
    assert {key: stored.data for key, stored in here.destination.objects.items()} == {"trash/key": b"precious"}
    assert not here.source.objects


async def test_what_cannot_be_moved_is_not_deleted(here: Surroundings) -> None:
    entry = extra(here, b"precious")
    here.destination.fail("PutObject", AccessDenied("403", operation="PutObject", status=403))
    with pytest.raises(AccessDenied):
        await delete(here, entry, delete_to="trash/")
    await here.settled(b"precious")


async def test_what_is_archived_cannot_be_moved_and_is_not_deleted(here: Surroundings) -> None:
    entry = extra(here, b"precious")
    here.destination.fail("GetObject", Archived("403", operation="GetObject", status=403))
    copied = await delete(here, entry, delete_to="trash/")
    assert (copied.outcome, copied.note) == (Outcome.SKIPPED, "could not be moved to trash/: needs_restore")
    await here.settled(b"precious")


async def test_what_changes_while_it_is_moved_is_not_deleted(here: Surroundings) -> None:
    entry = extra(here, b"precious")
    here.destination.before("GetObject", lambda: here.destination.seed("key", b"newer"))
    assert (await delete(here, entry, delete_to="trash/")).outcome is Outcome.SKIPPED
    assert here.destination.objects["key"].data == b"newer"


async def test_moved_objects_keep_their_names_below_the_prefix(here: Surroundings) -> None:
    listed = here.destination.seed("copy/a/b", b"old")
    entry = entry_of(listed._replace(key="live/a/b"), Reason.EXTRA)
    context = here.context()
    job: Job = replace(context.job, mapping=KeyMapping("live/", "copy/", strip=True), delete_to="trash/")
    assert (await delete_object(entry, replace(context, job=job), copy_object)).outcome is Outcome.DONE
    assert list(here.destination.objects) == ["trash/a/b"]

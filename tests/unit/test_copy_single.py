"""Objects that move by one GET and one PUT."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, cast

import pytest

from dth.errors import BodyMismatch, ConnectionLost, DigestRefused, KeyRefused, ObjectChanged, Throttled
from dth.ledgers.base import Ledger
from dth.model import Attributes
from dth.states import Outcome, Reason, VerifiedBy
from dth.stores.base import Capabilities, KeyRules
from dth.transfer.copy import copy_object
from dth.transfer.options import Verify
from dth.transfer.result import Copied
from tests.servers.copying import KIB, Surroundings, entry_of
from tests.servers.memory_store import AWS_LIKE, PLAIN, MemoryStore

SMALL = bytes(range(256)) * 40
MEDIUM = bytes(range(251)) * 13_000  # 3.1 MiB: streamed

RICH = Attributes(
    (("content-type", "text/html"), ("content-encoding", "gzip"), ("cache-control", "no-cache")),
    (("owner", "me"), ("x-odd", "Zoë")),
)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dth.retry.RetryPolicy.wait_seconds", lambda *_: 0.0)


class NoLedger:
    """Nothing is written down for a small object: any call fails."""


def surroundings(capabilities: Capabilities = AWS_LIKE) -> Surroundings:
    return Surroundings(cast("Ledger", NoLedger()), destination=MemoryStore(capabilities))


@pytest.fixture
def here() -> Surroundings:
    return surroundings()


async def copy(here: Surroundings, data: bytes = SMALL, *, redelivered: bool = False, **seed: Any) -> Copied:
    listed = here.source.seed("key", data, **seed)
    return await copy_object(entry_of(listed), here.context(redelivered=redelivered))


@pytest.mark.parametrize("data", [b"", SMALL, MEDIUM], ids=["empty", "small", "streamed"])
async def test_a_copy_is_one_get_and_one_put_and_the_bytes_arrive(here: Surroundings, data: bytes) -> None:
    copied = await copy(here, data, attributes=RICH)
    assert copied == Copied(
        Outcome.DONE, len(data), hashlib.md5(data).hexdigest(), hashlib.md5(data).hexdigest(), VerifiedBy.CONTENT_MD5
    )
    stored = here.destination.objects["key"]
    assert stored.data == data
    assert stored.options.attributes == RICH
    assert here.source.calls == {"GetObject": 1}
    assert here.destination.calls == {"PutObject": 1}
    assert here.source.open_streams == 0


async def test_storage_class_acl_and_encryption_are_sent_where_set(here: Surroundings) -> None:
    here.set(storage_class="STANDARD_IA", acl="private", sse="aws:kms", sse_kms_key_id="k")
    await copy(here)
    sent = here.destination.objects["key"].options
    assert (sent.storage_class, sent.acl, sent.sse, sent.sse_kms_key_id) == ("STANDARD_IA", "private", "aws:kms", "k")


async def test_without_metadata_nothing_but_bytes_goes(here: Surroundings) -> None:
    here.set(include_metadata=False)
    await copy(here, attributes=RICH)
    assert here.destination.objects["key"].options.attributes == Attributes()


async def test_a_key_that_the_destination_cannot_hold_is_refused_before_any_request(here: Surroundings) -> None:
    here.destination.capabilities = replace(AWS_LIKE, key_rules=KeyRules(max_bytes=2))
    with pytest.raises(KeyRefused, match="takes 1 to 2"):
        await copy(here)
    assert not here.source.calls
    assert not here.destination.calls


async def test_a_source_that_is_gone_is_skipped(here: Surroundings) -> None:
    listed = here.source.seed("key", SMALL)
    del here.source.objects["key"]
    copied = await copy_object(entry_of(listed), here.context())
    assert (copied.outcome, copied.note) == (Outcome.SKIPPED, "source gone")


@pytest.mark.parametrize("data", [SMALL, MEDIUM], ids=["small", "streamed"])
async def test_an_object_that_changed_since_it_was_listed_is_planned_again_with_what_is_there_now(
    here: Surroundings, data: bytes
) -> None:
    listed = here.source.seed("key", data)
    newer = data[::-1] + b"longer"
    here.source.seed("key", newer)
    copied = await copy_object(entry_of(listed), here.context())
    assert here.destination.objects["key"].data == newer
    assert (copied.bytes, copied.source_etag) == (len(newer), hashlib.md5(newer).hexdigest())


async def test_an_object_that_changes_for_ever_is_given_up(here: Surroundings) -> None:
    listed = here.source.seed("key", SMALL)
    here.source.faults.append(
        lambda op, _: op == "GetObject" and here.source.seed("key", bytes([here.source.calls[op]]))
    )
    with pytest.raises(ObjectChanged):
        await copy_object(entry_of(listed), here.context())
    assert here.source.calls["GetObject"] == 4
    assert not here.destination.objects


async def test_a_wrong_size_in_a_foreign_message_is_corrected_by_asking(here: Surroundings) -> None:
    listed = here.source.seed("key", SMALL)
    foreign = entry_of(listed).model_copy(update={"size": 3, "etag": ""})
    assert (await copy_object(foreign, here.context())).bytes == len(SMALL)


async def test_a_refused_version_is_pinned_by_its_etag_instead(here: Surroundings) -> None:
    listed = here.source.seed("key", SMALL)
    here.source.denies_versions = True
    event = entry_of(listed).model_copy(update={"etag": "", "version_id": "v1"})
    assert (await copy_object(event, here.context())).outcome is Outcome.DONE


@pytest.mark.parametrize("data", [SMALL, MEDIUM], ids=["small", "streamed"])
async def test_a_source_that_is_cut_off_is_read_again(here: Surroundings, data: bytes) -> None:
    here.source.short_streams = 2
    await copy(here, data)
    assert here.destination.objects["key"].data == data
    assert here.source.open_streams == 0


async def test_a_source_that_is_always_cut_off_fails_with_the_sources_error_and_leaves_nothing(
    here: Surroundings,
) -> None:
    here.source.short_streams = 99
    with pytest.raises(ConnectionLost, match="cut by the test"):
        await copy(here, MEDIUM)
    assert not here.destination.objects


async def test_a_success_before_the_body_was_read_is_no_success(here: Surroundings) -> None:
    here.destination.early_successes = 1
    await copy(here, MEDIUM)
    assert here.destination.objects["key"].data == MEDIUM
    assert here.destination.calls["PutObject"] == 2


async def test_a_throttled_stream_is_sent_again_and_the_limiter_hears_of_it(here: Surroundings) -> None:
    here.destination.fail("PutObject", Throttled("slow", retry_after=0.0), times=2)
    ctx = here.context()
    heard: list[float | None] = []
    ctx.limiter.throttled = heard.append  # type: ignore[method-assign,assignment]
    await copy_object(entry_of(here.source.seed("key", MEDIUM)), ctx)
    assert heard == [0.0, 0.0]
    assert here.destination.objects["key"].data == MEDIUM


@pytest.mark.parametrize("data", [SMALL, MEDIUM], ids=["small", "streamed"])
async def test_bytes_damaged_on_the_way_are_refused_by_the_destination_and_sent_again(
    here: Surroundings, data: bytes
) -> None:
    here.destination.damage_puts = 1
    copied = await copy(here, data)
    assert here.destination.objects["key"].data == data
    assert copied.verified_by is VerifiedBy.CONTENT_MD5


async def test_bytes_that_are_damaged_each_time_end_as_refused(here: Surroundings) -> None:
    here.destination.damage_puts = 99
    with pytest.raises(DigestRefused):
        await copy(here)
    assert not here.destination.objects


@pytest.mark.parametrize("data", [SMALL, MEDIUM], ids=["small", "streamed"])
async def test_an_etag_that_only_looks_like_an_md5_is_found_out_and_the_copy_goes_on_without(
    here: Surroundings, data: bytes
) -> None:
    here.source.md5_lies = True
    copied = await copy(here, data)
    assert here.destination.objects["key"].data == data
    assert copied.verified_by is VerifiedBy.PART_CRC


async def test_an_etag_of_unknown_make_and_a_destination_without_checksums_is_said_to_be_not_verifiable() -> None:
    here = surroundings(PLAIN)
    here.source.kms = True
    assert (await copy(here)).verified_by is VerifiedBy.NOT_VERIFIABLE


@pytest.mark.parametrize("data", [SMALL, MEDIUM], ids=["small", "streamed"])
async def test_a_checksum_that_the_source_keeps_is_checked_by_the_destination(here: Surroundings, data: bytes) -> None:
    here.source.kms = True
    here.source.keeps_checksums = True
    here.destination.damage_puts = 1
    assert (await copy(here, data)).verified_by is VerifiedBy.CRC
    assert here.destination.objects["key"].data == data


async def test_a_streamed_body_whose_checksum_comes_back_different_is_sent_again(here: Surroundings) -> None:
    here.source.kms = True
    here.destination.damage_puts = 1
    assert (await copy(here, MEDIUM)).verified_by is VerifiedBy.PART_CRC
    assert here.destination.objects["key"].data == MEDIUM


async def test_a_streamed_body_without_an_answered_checksum_is_not_claimed_to_be_verified(here: Surroundings) -> None:
    here.source.kms = True
    here.destination.answers_checksums = False
    assert (await copy(here, MEDIUM)).verified_by is VerifiedBy.NOT_VERIFIABLE


async def test_verify_off_sends_no_digest(here: Surroundings) -> None:
    here.set(verify=Verify.OFF)
    await copy(here)
    assert here.destination.objects["key"].options.content_md5 == ""


async def test_a_store_that_ignores_the_digest_and_damages_the_bytes_is_caught() -> None:
    here = surroundings(PLAIN)
    here.destination.ignores_digests = True
    here.destination.damage_puts = 1
    with pytest.raises(BodyMismatch):
        await copy(here)


async def test_an_encryption_of_the_destinations_own_is_no_mismatch() -> None:
    here = surroundings(PLAIN)
    here.destination.kms = True
    assert (await copy(here)).verified_by is VerifiedBy.CONTENT_MD5


async def test_verify_full_reads_back_what_nothing_else_proves() -> None:
    here = surroundings(PLAIN)
    here.set(verify=Verify.FULL)
    here.source.kms = True
    assert (await copy(here, MEDIUM)).verified_by is VerifiedBy.READ_BACK
    here.destination.damage_puts = 1
    with pytest.raises(BodyMismatch):
        await copy(here, MEDIUM)


async def test_where_etags_cannot_tell_generations_apart_the_source_is_asked_again_after_the_copy(
    here: Surroundings,
) -> None:
    here.source.kms = True
    listed = here.source.seed("key", SMALL)
    here.source.before("HeadObject", lambda: here.source.seed("key", SMALL + b"newer"))
    await copy_object(entry_of(listed), here.context())
    assert here.destination.objects["key"].data == SMALL + b"newer"


async def test_a_source_deleted_after_the_copy_is_no_failure(here: Surroundings) -> None:
    here.source.kms = True
    listed = here.source.seed("key", SMALL)
    here.source.before("HeadObject", here.source.objects.clear)
    assert (await copy_object(entry_of(listed), here.context())).outcome is Outcome.DONE


@pytest.mark.parametrize("capabilities", [AWS_LIKE, PLAIN], ids=["conditional", "asked first"])
async def test_no_clobber_leaves_what_is_there(capabilities: Any) -> None:
    here = surroundings(capabilities)
    here.set(no_clobber=True)
    here.destination.seed("key", b"mine")
    copied = await copy(here)
    assert copied.outcome is Outcome.SKIPPED
    assert here.destination.objects["key"].data == b"mine"


async def test_a_redelivered_object_that_is_already_there_moves_no_bytes(here: Surroundings) -> None:
    here.destination.seed("key", SMALL)
    copied = await copy(here, redelivered=True)
    assert (copied.outcome, copied.verified_by) == (Outcome.DONE, VerifiedBy.ETAG)
    assert "GetObject" not in here.source.calls


async def test_a_redelivered_object_is_found_by_listing_where_head_is_refused(here: Surroundings) -> None:
    here.destination.denies_head = True
    here.destination.seed("key", SMALL)
    await copy(here, redelivered=True)
    assert here.destination.calls == {"HeadObject": 1, "ListObjectsV2": 1}


@pytest.mark.parametrize("reason", [Reason.NEWER, Reason.UNCOMPARED])
async def test_a_redelivered_object_whose_bytes_were_equal_all_along_is_copied_again(
    here: Surroundings, reason: Reason
) -> None:
    here.destination.seed("key", SMALL)
    listed = here.source.seed("key", SMALL, attributes=RICH)
    await copy_object(entry_of(listed, reason), here.context(redelivered=True))
    assert here.destination.objects["key"].options.attributes == RICH


async def test_a_redelivered_object_of_unknown_etags_is_copied_again(here: Surroundings) -> None:
    here.destination.seed("key", SMALL[::-1])
    here.source.kms = True
    await copy(here, redelivered=True)
    assert here.destination.objects["key"].data == SMALL


@pytest.mark.parametrize("outer", [False, True], ids=["slot taken here", "slot taken by the caller too"])
async def test_with_one_slot_and_a_budget_of_one_kilobyte_objects_still_move(
    *, here: Surroundings, outer: bool
) -> None:
    here.slots, here.memory = 1, KIB
    listed = here.source.seed("key", MEDIUM)
    ctx = here.context()
    if outer:
        async with ctx.limiter.slot():
            await copy_object(entry_of(listed), ctx)
    else:
        await copy_object(entry_of(listed), ctx)
    assert here.destination.objects["key"].data == MEDIUM


async def test_where_a_hash_must_precede_the_body_it_is_held_whole() -> None:
    here = surroundings(replace(PLAIN, needs_payload_hash=True))
    seen: list[type] = []
    receive = here.destination._receive

    async def spy(body: Any, length: int, options: Any) -> bytes | None:
        seen.append(type(body))
        return await receive(body, length, options)

    here.destination._receive = spy  # type: ignore[method-assign]
    await copy(here, MEDIUM)
    assert seen == [bytes]

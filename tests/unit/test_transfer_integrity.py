"""One bit that flips on its way, on either leg: found wherever a store offers something to find it by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dth.errors import BodyMismatch
from dth.events import Notice
from dth.states import VerifiedBy
from dth.stores.base import Capabilities
from dth.transfer.copy import copy_object
from dth.transfer.options import Verify
from dth.transfer.result import Copied
from tests.servers.copying import KIB, Make, Surroundings, entry_of, large_objects
from tests.servers.memory_store import AWS_LIKE, MIB, PLAIN, MemoryStore

LARGE = bytes(range(251)) * 1500  # 368 KiB: 6 parts of 64 KiB, 8 of 50
SMALL = bytes(range(250)) * 320  # 80 KiB: one PUT
TELLS = replace(AWS_LIKE, tells_parts=True)
OWN_ETAGS = replace(PLAIN, multipart_etag=False)

CRC = {"keeps_checksums": True, "kms": True}  # no ETag says anything
PARTS = 50 * KIB


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dth.retry.RetryPolicy.wait_seconds", lambda *_: 0.0)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with large_objects(tmp_path) as make:
        yield make


def between(make: Make, source: Capabilities, destination: Capabilities, **switches: Any) -> Surroundings:
    here = make(destination)
    here.set(part_size=0)
    here.source = MemoryStore(source)
    here.source.chunk = 16 * KIB
    for name, value in switches.items():
        setattr(here.source, name, value)
    return here


async def copy(here: Surroundings, data: bytes, parts: int = 0) -> Copied:
    return await copy_object(entry_of(here.source.seed("key", data, parts=parts)), here.context())


def noticed(here: Surroundings) -> bool:
    return any(isinstance(event, Notice) and event.code == "sent_again" for event in here.events)


WAYS: dict[str, tuple[Capabilities, Capabilities, bytes, int, dict[str, Any], VerifiedBy]] = {
    "single PUT, MD5": (AWS_LIKE, PLAIN, SMALL, 0, {}, VerifiedBy.CONTENT_MD5),
    "single PUT, checksum that both know": (AWS_LIKE, AWS_LIKE, SMALL, 0, CRC, VerifiedBy.CRC),
    "single PUT, checksum that the source knows": (AWS_LIKE, PLAIN, SMALL, 0, CRC, VerifiedBy.CRC),
    "parts, checksum that both know": (AWS_LIKE, AWS_LIKE, LARGE, 0, CRC, VerifiedBy.CRC),
    "parts, checksum that the source knows": (AWS_LIKE, PLAIN, LARGE, 0, CRC, VerifiedBy.CRC),
    "parts, checksum of another kind": (
        replace(AWS_LIKE, checksums=("crc32",)), AWS_LIKE, LARGE, 0, CRC, VerifiedBy.CRC,
    ),
    "parts as the source told": (TELLS, PLAIN, LARGE, PARTS, {}, VerifiedBy.ETAG),
    "parts as the source told, ETags of its own": (TELLS, OWN_ETAGS, LARGE, PARTS, {}, VerifiedBy.ETAG),
    "parts as the source told, checksums too": (TELLS, AWS_LIKE, LARGE, PARTS, {}, VerifiedBy.ETAG),
    "parts' SHA-256": (TELLS, AWS_LIKE, LARGE, PARTS, {"kms": True, "composite": "sha256"}, VerifiedBy.CRC),
    "parts' SHA-1, no checksums": (TELLS, PLAIN, LARGE, PARTS, {"kms": True, "composite": "sha1"}, VerifiedBy.CRC),
}  # fmt: skip


@pytest.mark.parametrize("leg", ["none", "source", "destination"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_flipped_bit_is_found_and_the_object_sent_again_and_the_record_says_what_proves_it(
    make: Make, way: str, leg: str
) -> None:
    source, destination, data, parts, switches, proof = WAYS[way]
    here = between(make, source, destination, **switches)
    here.source.damage_gets = 1 if leg == "source" else 0
    here.destination.damage_puts = 1 if leg == "destination" else 0
    ended = [await again(here, data, parts)]
    assert ended == [proof]
    assert here.destination.objects["key"].data == data
    assert noticed(here) is (leg != "none")
    await here.settled(data)


async def again(here: Surroundings, data: bytes, parts: int) -> VerifiedBy | None:
    """Tried once more where a checksum over all parts found it: then the whole object is an entry's next attempt."""
    try:
        return (await copy(here, data, parts)).verified_by
    except BodyMismatch as error:
        here.events.append(Notice("warning", "sent_again", str(error)))
        assert "key" not in here.destination.objects
        return (await copy(here, data, parts)).verified_by


@pytest.mark.parametrize("leg", ["source", "destination"])
@pytest.mark.parametrize("way", WAYS)
async def test_without_the_check_the_flipped_bit_would_have_become_the_object(make: Make, way: str, leg: str) -> None:
    source, destination, data, parts, switches, _ = WAYS[way]
    here = between(make, source, destination, **switches)
    here.set(verify=Verify.OFF)
    here.source.damage_gets = 1 if leg == "source" else 0
    here.destination.damage_puts = 1 if leg == "destination" else 0
    await copy(here, data, parts)
    wrong = here.destination.objects["key"].data
    assert len(wrong) == len(data)
    assert sum(ours != theirs for ours, theirs in zip(wrong, data, strict=True)) == 1


@pytest.mark.parametrize("leg", ["source", "destination"])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["single PUT", "parts"])
async def test_where_nothing_is_offered_the_record_says_so_and_verify_full_finds_it(
    make: Make, data: bytes, leg: str
) -> None:
    for verify in (Verify.TRANSFER, Verify.FULL):
        here = between(make, AWS_LIKE, OWN_ETAGS, kms=True)
        here.set(verify=verify)
        here.source.damage_gets = 1 if leg == "source" else 0
        here.destination.damage_puts = 1 if leg == "destination" else 0
        if verify is Verify.TRANSFER:
            assert (await copy(here, data)).verified_by is VerifiedBy.NOT_VERIFIABLE
            assert here.destination.objects["key"].data != data
            continue
        with pytest.raises(BodyMismatch, match="read back"):
            await copy(here, data)
        assert (await copy(here, data)).verified_by is VerifiedBy.READ_BACK
        assert here.destination.objects["key"].data == data


async def test_an_etag_of_parts_that_were_guessed_contradicts_nothing(make: Make) -> None:
    here = between(make, AWS_LIKE, PLAIN)
    here.set(part_size=PARTS)
    here.source.damage_gets = 1
    assert (await copy(here, LARGE, PARTS)).verified_by is VerifiedBy.NOT_VERIFIABLE
    assert (await copy(here, LARGE, PARTS)).verified_by is VerifiedBy.ETAG


async def test_an_etag_that_two_transfers_alike_contradict_is_not_made_of_parts_and_proves_nothing(make: Make) -> None:
    here = between(make, TELLS, PLAIN)
    listed = here.source.seed("key", LARGE, parts=PARTS)
    lie = "1234" * 8 + listed.etag[32:]
    here.source.objects["key"].etag = lie
    copied = await copy_object(entry_of(listed._replace(etag=lie)), here.context())
    assert copied.verified_by is VerifiedBy.NOT_VERIFIABLE
    assert len(here.destination.parts_received) == 2 * 8
    await here.settled(LARGE)


async def test_an_object_that_is_damaged_each_time_is_never_made(make: Make) -> None:
    here = between(make, TELLS, PLAIN)
    here.source.damage_gets = 99
    with pytest.raises(BodyMismatch, match="the source has"):
        await copy(here, LARGE, PARTS)
    await here.settled(None)


@pytest.mark.parametrize("data", [SMALL, LARGE * 9], ids=["held", "streamed"])
async def test_bytes_read_damaged_each_time_are_never_put_where_only_the_source_keeps_a_checksum(
    make: Make, data: bytes
) -> None:
    here = between(make, AWS_LIKE, PLAIN, **CRC)
    here.set(multipart_threshold=16 * MIB)
    here.source.damage_gets = 99
    with pytest.raises(BodyMismatch, match="the source keeps"):
        await copy(here, data)
    await here.settled(None)


async def test_an_encryption_of_the_destinations_own_does_not_contradict_the_sources_etag(make: Make) -> None:
    here = between(make, TELLS, PLAIN)
    here.destination.kms = True
    assert (await copy(here, LARGE, PARTS)).verified_by is VerifiedBy.NOT_VERIFIABLE
    await here.settled(LARGE)


async def test_a_part_size_that_was_asked_for_is_not_overruled_by_the_sources(make: Make) -> None:
    here = between(make, TELLS, PLAIN)
    here.set(part_size=70 * KIB)
    assert (await copy(here, LARGE, PARTS)).verified_by is VerifiedBy.NOT_VERIFIABLE
    assert len(here.destination.parts_received) == 6


@pytest.mark.parametrize(
    "limits", [{"part_min": 60 * KIB}, {"part_max": 40 * KIB}, {"parts_max": 7}], ids=lambda limits: next(iter(limits))
)
async def test_the_sources_parts_are_not_followed_beyond_the_destinations_limits(make: Make, limits: Any) -> None:
    here = between(make, TELLS, replace(PLAIN, **limits))
    assert (await copy(here, LARGE, PARTS)).verified_by is VerifiedBy.NOT_VERIFIABLE
    await here.settled(LARGE)


async def test_a_source_that_does_not_tell_is_not_asked(make: Make) -> None:
    here = between(make, AWS_LIKE, PLAIN)
    await copy(here, LARGE, PARTS)
    await copy(between(make, TELLS, PLAIN), LARGE)
    assert here.source.calls["GetObjectAttributes"] == 0


async def test_parts_kept_from_an_earlier_attempt_are_part_of_the_proof(make: Make) -> None:
    here = between(make, TELLS, PLAIN)
    here.slots = 1
    here.destination.fail("UploadPart", ConnectionError("a death"), times=1, after=3)
    with pytest.raises(ConnectionError):
        await copy(here, LARGE, PARTS)
    assert (await copy_object(entry_of(here.source.entry("key")), here.context("two"))).verified_by is VerifiedBy.ETAG
    assert len(here.destination.parts_received) == 8


async def test_a_part_that_must_be_held_whole_is_no_larger_than_the_memory(make: Make) -> None:
    here = between(make, TELLS, replace(PLAIN, needs_payload_hash=True))
    here.memory = 80 * KIB
    await copy(here, LARGE, PARTS)
    assert max(len(part) for part, _ in received(here)) <= 40 * KIB
    await here.settled(LARGE)


def received(here: Surroundings) -> list[tuple[bytes, int]]:
    data = here.destination.objects["key"].data
    count = len(here.destination.parts_received)
    size = -(-len(data) // count)
    return [(data[at : at + size], at) for at in range(0, len(data), size)]

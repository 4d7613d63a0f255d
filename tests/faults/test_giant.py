"""A giant object that all workers move, whatever dies, doubles, fails or changes, ends as its schedule demands."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from dth.messages import ObjectEntry
from dth.model import Location
from dth.states import Outcome, Reason, Side
from dth.stores.credentials import fixed
from dth.stores.s3 import S3Store
from dth.stores.sign import Credentials
from tests.faults.giant_arena import KEY, TRAPS, Arena, Places, Schedule, Trouble
from tests.servers.quirky import Quirks, Quirky
from tests.servers.s3server import S3Server

SEEDS = int(os.environ.get("DTH_TEST_SEEDS", "0"))  # `make giant-faults SEEDS=100`; two without
OWN_SEEDS = list(range(SEEDS)) if SEEDS else [10, 31]
RGW_SEEDS = [3, 5, 6] if SEEDS else [3]
OWN_PARTS, OWN_PART = 200, 2048
ANSWERS = (Trouble.COMPLETE_LOST, Trouble.COMPLETE_ERROR)
RGW_PARTS, RGW_PART = 200 if SEEDS else 20, 5 << 20


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dth.retry.RetryPolicy.wait_seconds", lambda *_: 0.0)


def pieces(seed: int, generation: int, size: int) -> Iterator[bytes]:
    dice = random.Random(f"{seed} {generation}")
    for start in range(0, size, 16 << 20):
        yield dice.randbytes(min(16 << 20, size - start))


def content(seed: int, generation: int, size: int) -> bytes:
    return b"".join(pieces(seed, generation, size))


def size_of(seed: int, generation: int, parts: int, part_size: int) -> int:
    """The first generation has all parts, later ones more or fewer, down to an object that is no giant."""
    if generation:
        parts = random.Random(f"parts {seed} {generation}").choice([1, parts // 5, parts, parts + 3])
    return parts * part_size - random.Random(f"size {seed} {generation}").randint(0, part_size - 1)


async def assert_ends_as_demanded(schedule: Schedule, arena: Arena) -> None:
    run = await arena.play()
    counts = run.counts
    ends = {Outcome.DONE: counts.done, Outcome.SKIPPED: counts.skipped, Outcome.FAILED: counts.failed}
    last = arena.report.records[-1]
    said = f"{schedule}: {run.counts}, {arena.died} deaths, {len(arena.happened.sprung)} in traps, {last.error_code} {last.error}"
    print(said)  # noqa: T201
    assert counts.ended == run.found == 1, said
    assert ends[schedule.outcome] == 1, said
    assert last.outcome is schedule.outcome
    assert bool(arena.happened.overwritten) == bool(schedule.generations)
    assert arena.happened.deleted == (schedule.trouble is Trouble.DELETED)
    assert len(arena.letters) >= (schedule.outcome is Outcome.FAILED)


@pytest.mark.parametrize("seed", OWN_SEEDS)
async def test_a_giant_object_ends_as_its_schedule_demands(seed: int, tmp_path: Path) -> None:
    schedule = Schedule.of(seed, OWN_PARTS)
    bodies = [content(seed, n, size_of(seed, n, OWN_PARTS, OWN_PART)) for n in range(schedule.generations + 1)]
    lost, error = (schedule.times if schedule.trouble is each else 0 for each in ANSWERS)
    with Quirky(Quirks(complete_lost=lost, complete_error=error), part_min=OWN_PART) as quirky:
        held = quirky.hold("source", KEY, bodies[0], content_type="x/y")

        async def overwrite(generation: int) -> None:
            quirky.hold("source", KEY, bodies[generation], content_type="x/z")

        async def delete() -> None:
            del quirky.objects["source", KEY]

        provider = "MinIO" if seed % 2 else "S3_Compatible"
        async with stores(quirky.server, "source", "destination", provider) as (source, destination):
            entry = ObjectEntry(key=KEY, size=len(bodies[0]), etag=held.etag, reason=Reason.MISSING)
            places = Places(source, destination, entry, OWN_PART, overwrite, delete, fails_by_itself=True)
            arena = Arena(tmp_path, places, schedule, part_min=1)
            await assert_ends_as_demanded(schedule, arena)
        stored = quirky.objects.get(("destination", KEY))
        newest = bodies[arena.happened.overwritten]  # a later generation may lack the part whose reading overwrites it
        assert (stored.body if stored else None) == (newest if schedule.outcome is Outcome.DONE else None)
        assert quirky.uploads.open == {}
        assert quirky.quirks.complete_error == 0
        # The first lost answer already makes dth look at the destination, where it finds the object: it need not meet the rest.
        assert quirky.quirks.complete_lost < lost or not lost


@pytest.mark.parametrize("after", [False, True], ids=["before the step", "after the step"])
@pytest.mark.parametrize("trouble", [Trouble.NOTHING, Trouble.DELETED, Trouble.PART_FAILS, Trouble.OVERWRITTEN])
async def test_a_lone_worker_may_die_at_any_step(trouble: Trouble, *, after: bool, tmp_path: Path) -> None:
    """Its heir ends a shared object of five parts as it must end, whichever step the first one died at."""
    stride = 1 if SEEDS else 5
    for at in range(1 + (stride > 1) * after, 500, stride):
        schedule = Schedule(at, trouble, 3, 1, ((at, after),), (), 0.0, mended=False)
        folder = tmp_path / str(at)
        folder.mkdir()
        bodies = [content(at, n, 5 * OWN_PART - 7) for n in range(2)]
        with Quirky(part_min=1) as quirky:
            held = quirky.hold("source", KEY, bodies[0])

            async def overwrite(generation: int, quirky: Quirky = quirky, bodies: list[bytes] = bodies) -> None:
                quirky.hold("source", KEY, bodies[generation])

            async def delete(quirky: Quirky = quirky) -> None:
                del quirky.objects["source", KEY]

            async with stores(quirky.server, "source", "destination", "MinIO") as (source, destination):
                entry = ObjectEntry(key=KEY, size=len(bodies[0]), etag=held.etag, reason=Reason.MISSING)
                places = Places(source, destination, entry, OWN_PART, overwrite, delete, fails_by_itself=True)
                arena = Arena(folder, places, schedule, part_min=1, workers=1)
                await assert_ends_as_demanded(schedule, arena)
            stored = quirky.objects.get(("destination", KEY))
            newest = bodies[arena.happened.overwritten]
            assert (stored.body if stored else None) == (newest if schedule.outcome is Outcome.DONE else None)
            assert quirky.uploads.open == {}
        if not arena.died:
            break
    assert 30 < at < 400


@pytest.mark.slow
@pytest.mark.parametrize("seed", RGW_SEEDS)
async def test_a_giant_object_on_ceph_ends_as_its_schedule_demands(seed: int, rgw: S3Server, tmp_path: Path) -> None:
    schedule = Schedule.of(seed, RGW_PARTS)
    client = rgw.client("a")
    here, there = rgw.make_bucket("a"), rgw.make_bucket("a")

    async def write(generation: int) -> None:
        path = tmp_path / f"generation-{generation}"
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for piece in pieces(seed, generation, size_of(seed, generation, RGW_PARTS, RGW_PART)):
                digest.update(piece)
                file.write(piece)
        hashes.append(digest.hexdigest())
        await asyncio.to_thread(client.upload_file, str(path), here, KEY)

    hashes: list[str] = []
    await write(0)

    async def delete() -> None:
        await asyncio.to_thread(client.delete_object, Bucket=here, Key=KEY)

    head = client.head_object(Bucket=here, Key=KEY)
    entry = ObjectEntry(key=KEY, size=head["ContentLength"], etag=head["ETag"].strip('"'), reason=Reason.MISSING)
    async with stores(rgw, here, there, "Ceph_RGW") as (source, destination):
        places = Places(source, destination, entry, RGW_PART, write, delete)
        arena = Arena(tmp_path, places, schedule, part_min=RGW_PART)
        await assert_ends_as_demanded(schedule, arena)
    assert client.list_multipart_uploads(Bucket=there).get("Uploads", []) == []
    if schedule.outcome is Outcome.DONE:
        body = client.get_object(Bucket=there, Key=KEY)["Body"]
        digest = hashlib.sha256()
        for chunk in body.iter_chunks(1 << 20):
            digest.update(chunk)
        assert digest.hexdigest() == hashes[arena.happened.overwritten]
    else:
        assert "Contents" not in client.list_objects_v2(Bucket=there)


def test_every_trouble_is_on_some_schedule_and_ends_are_fixed_beforehand() -> None:
    schedules = [Schedule.of(seed, OWN_PARTS) for seed in range(100)]
    assert {schedule.trouble for schedule in schedules} == set(Trouble)
    assert schedules == [Schedule.of(seed, OWN_PARTS) for seed in range(100)]
    assert any(schedule.doubled for schedule in schedules)
    assert {trap[:2] for schedule in schedules for trap in schedule.traps} == set(TRAPS)
    assert all(schedule.deaths for schedule in schedules)


@asynccontextmanager
async def stores(
    server: S3Server, source: str, destination: str, provider: str
) -> AsyncIterator[tuple[S3Store, S3Store]]:
    def opened(side: Side, bucket: str) -> S3Store:
        return S3Store.open(
            Location(side, provider, server.endpoint, server.region, bucket, "", "", "", ""),
            connect_seconds=10,
            first_byte_seconds=60,
            idle_seconds=60,
            max_connections=64,
            credentials=fixed(Credentials(server.access_key, server.secret_key)),
        )

    async with AsyncExitStack() as stack:
        both = opened(Side.SOURCE, source), opened(Side.DESTINATION, destination)
        for store in both:
            stack.push_async_callback(store.close)
        yield both

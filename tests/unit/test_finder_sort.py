from __future__ import annotations

import asyncio
import os
import random
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dth.finder.sort import ExternalSort
from dth.finder.spool import Spool, SpoolFailed
from dth.model import Entry
from tests.unit.finder_fakes import entry, keys, paged


async def sorted_by_disk(pages: Sequence[Sequence[Entry]], memory: int, directory: str = "") -> list[Entry]:
    sorting = ExternalSort(memory, directory, lambda objects, size: None)
    try:
        for page in pages:
            await sorting.add(page)
        await sorting.finish()
        first = [e for page in [list(p) async for p in sorting.pages()] for e in page]
        again = [e for page in [list(p) async for p in sorting.pages()] for e in page]
        assert first == again
        return first
    finally:
        sorting.close()


@given(
    listed=st.lists(st.tuples(keys, st.integers(0, 9)), max_size=150),
    memory=st.sampled_from([1, 3_000, 30_000, 10_000_000]),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
@settings(deadline=None, max_examples=60)
def test_entries_come_back_sorted_and_the_last_listed_of_a_key_wins(
    listed: list[tuple[str, int]], memory: int, sizes: list[int]
) -> None:
    entries = [entry(key, size) for key, size in listed]
    got = asyncio.run(sorted_by_disk(paged(entries, sizes), memory))
    assert got == [entry(key, size) for key, size in sorted(dict(listed).items())]
    assert all(type(e) is Entry for e in got)


async def test_many_runs_merge_in_several_passes(tmp_path: Path) -> None:
    rng = random.Random(1)
    entries = [entry(f"k{rng.randrange(10**6):06}", n) for n in range(20_000)]
    spills: list[tuple[int, int]] = []
    sorting = ExternalSort(100_000, str(tmp_path), lambda objects, size: spills.append((objects, size)))
    for page in paged(entries, [100]):
        await sorting.add(page)
    assert len(spills) > 50
    await sorting.finish()
    assert len(sorting._runs) <= sorting._fan_in() < len(spills)
    got = [e async for page in sorting.pages() for e in page]
    assert got == sorted({e.key: e for e in entries}.values())
    assert not list(tmp_path.iterdir()), "the file has no name, so that a kill leaves none"
    sorting.close()


async def test_memory_stays_within_its_bound(tmp_path: Path) -> None:
    memory = 4 << 20
    sorting = ExternalSort(memory, str(tmp_path), lambda objects, size: None)
    rng = random.Random(2)
    tracemalloc.start()
    try:
        for _ in range(60):
            await sorting.add([
                entry(f"some/folder/{rng.randrange(10**12):012}", n, f"{n:032x}", f"2024-05-01T12:00:00.{n:03}Z")
                for n in range(1000)
            ])  # fmt: skip
        await sorting.finish()
        count = 0
        async for page in sorting.pages():
            count += len(page)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        sorting.close()
    assert count == 60_000
    assert peak < memory


async def test_a_full_disk_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int, data: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(SpoolFailed, match=r"No space left on device.*free space"):
        await sorted_by_disk([[entry("b"), entry("a")]], 1, str(tmp_path))


async def test_a_directory_that_is_not_there_is_named() -> None:
    with pytest.raises(SpoolFailed, match="/nowhere/at/all"):
        await sorted_by_disk([[entry("b"), entry("a")]], 1, "/nowhere/at/all")


def test_short_writes_are_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda number, data, offset: whole(number, data[:7], offset))
    spool = Spool("")
    block = ["\udc80\U0001f600", "x" * 1000, 2**70]
    spool.append(block)
    spool.append("next")
    read, offset = spool.read(0)
    assert read == block
    assert spool.read(offset)[0] == "next"
    spool.close()
    with pytest.raises(SpoolFailed, match="closed"):
        spool.append("late")


async def test_closing_while_a_thread_still_writes_ends_it_and_touches_no_other_file(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    spool.append("first")

    def write_on() -> None:
        for _ in range(100_000):
            spool.append("x" * 10_000)

    writing = asyncio.ensure_future(asyncio.to_thread(write_on))
    while spool.size < 100_000:
        await asyncio.sleep(0)
    spool.close()
    with (tmp_path / "other").open("wb") as other:  # most likely gets the number that was freed
        with pytest.raises(SpoolFailed, match="closed"):
            await writing
        assert other.tell() == 0
    assert (tmp_path / "other").stat().st_size == 0

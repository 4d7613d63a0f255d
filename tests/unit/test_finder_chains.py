"""How many pages wait for one another, counted in rounds: all pages that are asked for at a time arrive at the same time."""

from __future__ import annotations

import asyncio
import hashlib
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence

import pytest

from dth.finder.result import Found
from dth.finder.run import preview
from dth.model import Entry
from tests.servers.lister import Deep, Flat, Skewed
from tests.unit.finder_fakes import CAPABILITIES, finder_settings, no_emit

PAGE = 100
PAGES = 1000


class Rounds:
    """Answers what was asked once nobody asks for more; both sides take part."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def arrival(self) -> None:
        """The end of the round in which this is called."""
        self._waiting.append(asyncio.get_running_loop().create_future())
        await self._waiting[-1]

    async def run(self) -> None:
        while True:
            calm, before = 0, -1
            while calm < 20:
                calm, before = (calm + 1 if before == len(self._waiting) else 0), len(self._waiting)
                await asyncio.sleep(0)
            self.count += bool(self._waiting)
            asked, self._waiting = self._waiting, []
            for arrived in asked:
                arrived.set_result(None)


class RoundLister:
    def __init__(self, keys: Sequence[str], rounds: Rounds) -> None:
        self.capabilities = CAPABILITIES
        self.asked = 0
        self._keys = keys
        self._rounds = rounds

    async def pages(self, prefix: str, *, after: str = "", until: str = "") -> AsyncIterator[Sequence[Entry]]:
        at = bisect_right(self._keys, after)
        while True:
            self.asked += 1
            await self._rounds.arrival()
            page = [Entry(key, 1, "", "2024-05-01T12:00:00.000Z", "") for key in self._keys[at : at + PAGE]]
            at += PAGE
            if inside := [one for one in page if not until or one.key <= until]:
                yield inside
            if len(inside) < len(page) or at >= len(self._keys):
                return


async def rounds_of(keys: Sequence[str], listers: int) -> tuple[int, int, Found]:
    """Rounds, pages asked for on one side, and what was found."""
    rounds = Rounds()
    source, destination = RoundLister(keys, rounds), RoundLister(keys, rounds)
    driver = asyncio.create_task(rounds.run())
    try:
        found = await preview(source, destination, finder_settings(listers=listers), no_emit)
    finally:
        driver.cancel()
    return rounds.count, source.asked, found


def hashes(count: int) -> list[str]:
    return sorted(hashlib.md5(b"%d" % n).hexdigest() for n in range(count))


def folders(count: int) -> list[str]:
    """Two dozen folders, none of which says how many more there are."""
    names = [f"{chr(97 + n * 7 % 26)}{chr(97 + n * 11 % 26)}" for n in range(26)]
    return sorted(f"{name}/part-{n:06}" for name in names for n in range(count // len(names)))


def numbered_folders(count: int) -> list[str]:
    """The number of a file goes on from folder to folder, so that digits within a folder promise more than there is."""
    return [f"d{n // PAGE:07}/f{n:09}" for n in range(count)]


def days(count: int) -> list[str]:
    return sorted(f"logs/{2019 + n % 5}/{n // 5 % 12 + 1:02}/{n // 60 % 28 + 1:02}/{n:08}.gz" for n in range(count))


def characters(count: int) -> list[str]:
    """An alphabet of thousands."""
    return sorted(f"資料/{chr(0x4E00 + n % 5000)}{n}" for n in range(count))


SHAPES = {
    "flat": Flat, "skewed": Skewed, "deep": Deep, "hashes": hashes, "folders": folders,
    "numbered folders": numbered_folders, "days": days, "characters": characters,
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
async def test_with_sixteen_listers_a_tenth_as_many_pages_wait_for_one_another(shape: str) -> None:
    keys = SHAPES[shape](PAGES * PAGE)
    rounds, asked, found = await rounds_of(keys, 16)
    assert (found.compared, found.dest_objects, found.found) == (len(keys), len(keys), 0)
    assert rounds <= len(keys) / PAGE / 10
    assert asked <= 1.35 * len(keys) / PAGE  # what looking in the wrong place may cost


async def test_one_lister_waits_for_every_page() -> None:
    rounds, asked, _ = await rounds_of(Flat(5_000), 1)
    assert (rounds, asked) == (50, 50)

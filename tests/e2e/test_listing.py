"""Listing in ranges over HTTP: how many pages wait for one another, and the plan on real servers against set arithmetic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from dth.events import Event, Planned
from dth.finder.result import Found
from dth.finder.run import preview
from dth.model import KeyMapping, Location
from dth.states import Side
from dth.stores.credentials import fixed
from dth.stores.s3 import S3Store
from dth.stores.sign import Credentials
from tests.e2e.harness import FULL, scaled
from tests.servers.lister import Deep, Flat, Lister, Skewed
from tests.servers.s3server import S3Server
from tests.unit.finder_fakes import finder_settings

MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def open_side(side: Side, bucket: str, endpoint: str, provider: str, key: str = "k", secret: str = "s") -> S3Store:
    location = Location(side, provider, endpoint, "us-east-1", bucket, "", "", "", "path")
    return S3Store.open(
        location,
        connect_seconds=30,
        first_byte_seconds=120,
        idle_seconds=120,
        max_connections=64,
        credentials=fixed(Credentials(key, secret)),
    )


async def planned(
    source: S3Store, destination: S3Store, listers: int, mapping: KeyMapping
) -> tuple[Found, list[Event]]:
    events: list[Event] = []
    try:
        found = await preview(
            source, destination, finder_settings(listers=listers, mapping=mapping, sort_memory=1 << 20), events.append
        )
    finally:
        await source.close()
        await destination.close()
    return found, events


@pytest.mark.slow
@pytest.mark.parametrize("shape", [Flat, Skewed, Deep])
async def test_with_sixteen_listers_a_tenth_as_many_pages_wait_for_one_another(
    shape: type[Flat | Skewed | Deep], capsys: pytest.CaptureFixture[str]
) -> None:
    """One lister waits for every page of a side in turn. The small size has small pages, as many of them; there a busy
    machine holds pages up longer than the latency, so half as good will do: `tests/unit/test_finder_chains.py` is exact."""
    keys = shape(scaled(1_000_000))
    pages, page, latency = 1000, scaled(1000), 0.2 if FULL else 0.05
    with Lister(keys, latency=latency, page=page, etag=lambda _: MD5) as lister:
        sides = [open_side(side, side.value, lister.endpoint, "Ceph_RGW") for side in Side]
        began = time.monotonic()
        found, _ = await planned(sides[0], sides[1], 16, KeyMapping("", "", strip=True))
        seconds = time.monotonic() - began
    with capsys.disabled():
        print(  # noqa: T201 - a figure for people
            f"\n{shape.__name__}: {len(keys):,} keys a side, {latency * 1000:.0f} ms a page: chain of {lister.longest_chain} "
            f"pages ({pages} with one lister), {len(lister.requests):,} requests, {seconds:.1f} s"
        )
    assert (found.compared, found.dest_objects, found.found, found.extra) == (len(keys), len(keys), 0, 0)
    assert lister.longest_chain <= pages / (10 if FULL else 5)
    assert len(lister.requests) < 2.6 * pages


async def test_one_lister_waits_for_every_page_in_turn() -> None:
    with Lister(Flat(5_000), page=100, etag=lambda _: MD5) as lister:
        sides = [open_side(side, side.value, lister.endpoint, "Ceph_RGW") for side in Side]
        await planned(sides[0], sides[1], 1, KeyMapping("", "", strip=True))
    assert lister.longest_chain >= 50  # more where one side's first page was asked for after the other's was answered
    assert len(lister.requests) == 100


def fill(server: S3Server, bucket: str, objects: dict[str, int]) -> None:
    client = server.client()

    def put(item: tuple[str, int]) -> None:
        client.put_object(Bucket=bucket, Key=item[0], Body=b"x" * item[1])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, objects.items()))


def inventory(server: S3Server, bucket: str, prefix: str) -> dict[str, int]:
    """By boto3."""
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", ())}


def tree(count: int) -> list[str]:
    """Flat, skewed and deep together, with the neighbours of `/` and characters beyond the basic plane."""
    flat = [f"flat-{n:09}" for n in range(count // 2)]
    busy = [f"tenant/busy/{n % 7}/{n:06}.log" for n in range(count // 4)]
    deep = [f"a/{n % 16:x}/{n % 5}/{n}" for n in range(count // 8)]
    odd = [
        f"p{mark}{n:05}" for n in range(count // 64) for mark in ("", "-", "/", "0", "é/", "\U0001f600", "\ufffd", " ~")
    ]
    return flat + busy + deep + odd


def difference(source: dict[str, int], destination: dict[str, int], mapping: KeyMapping) -> set[tuple[str, str]]:
    """By set arithmetic: key and reason."""
    changes = set()
    for key, size in source.items():
        there = destination.get(mapping.dest_key(key))
        if there != size:
            changes.add((key, "missing" if there is None else "size"))
    return changes


def split(count: int, mapping: KeyMapping) -> tuple[dict[str, int], dict[str, int]]:
    """About `count` keys over both sides: missing, differing, equal, extra."""
    keys = tree(count * 5 // 8)
    source = {key: len(key) % 3 for key in keys}
    destination = {mapping.dest_key(k): (s if n % 5 else 7) for n, (k, s) in enumerate(source.items()) if n % 5 < 3}
    return source, destination | {mapping.dest_key(f"{key}-extra"): 1 for key in keys[::50]}


async def compared(
    server: S3Server, provider: str, source: str, destination: str, listers: Sequence[int], mapping: KeyMapping
) -> list[list[Event]]:
    """The plan with each number of listers, after it was found equal to set arithmetic."""
    ours = inventory(server, source, mapping.source_prefix)
    theirs = inventory(server, destination, mapping.dest_listing_prefix)
    wanted = difference(ours, theirs, mapping)
    assert len(wanted) > 100
    gone = []
    for number in listers:
        sides = [
            open_side(side, bucket, server.endpoint, provider, server.access_key, server.secret_key)
            for side, bucket in zip(Side, (source, destination), strict=True)
        ]
        found, events = await planned(sides[0], sides[1], number, mapping)
        plan = [(event.key, event.reason) for event in events if isinstance(event, Planned)]
        assert len(plan) == len(set(plan)) == found.found
        assert set(plan) == wanted
        assert (found.compared, found.dest_objects) == (len(ours), len(theirs))
        assert found.extra == len(theirs.keys() - {mapping.dest_key(key) for key in ours})
        gone.append(events)
        if number > 1:
            assert sides[0].requests["ListObjectsV2"] > 2 + len(ours) // 1000  # it was listed in ranges
    return gone


@pytest.mark.slow
async def test_on_ceph_many_listers_and_one_give_the_plan_of_set_arithmetic(rgw: S3Server) -> None:
    mapping = KeyMapping("", "copy/of/", strip=True)
    ours, theirs = split(scaled(100_000), mapping)
    source, destination = [await asyncio.to_thread(rgw.make_bucket) for _ in Side]
    await asyncio.to_thread(fill, rgw, source, ours)
    await asyncio.to_thread(fill, rgw, destination, theirs)
    await compared(rgw, "Ceph_RGW", source, destination, [1, 16, 5], mapping)


@pytest.mark.slow
async def test_on_seaweedfs_the_sort_gives_the_plan_of_set_arithmetic_whether_it_is_known_or_not(
    seaweed: S3Server,
) -> None:
    mapping = KeyMapping("", "copy/", strip=True)
    ours, theirs = split(scaled(20_000), mapping)
    source, destination = [await asyncio.to_thread(seaweed.make_bucket) for _ in Side]
    await asyncio.to_thread(fill, seaweed, source, ours)
    await asyncio.to_thread(fill, seaweed, destination, theirs)
    await compared(seaweed, "SeaweedFS", source, destination, [1], mapping)

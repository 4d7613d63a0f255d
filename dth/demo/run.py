"""The demo's story: fill a store, sync, change something, sync again, once more, and check the result independently."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dth.app import verbs
from dth.demo.check import differences
from dth.demo.fill import fill
from dth.demo.objects import DemoObject, changed, large_object, small_objects
from dth.demo.seaweed import Seaweed, make_bucket, running
from dth.errors import BodyMismatch, DthError
from dth.events import Emit, Event, Notice
from dth.settings import TransferJob
from dth.summary import Summary

BUCKETS = ("dth-demo-source", "dth-demo-destination")
LARGE_BYTES = 300_000_000
KEYS = {"AWS_ACCESS_KEY_ID": "dth-demo", "AWS_SECRET_ACCESS_KEY": "only-on-this-machine"}


async def demo(emit: Emit, stop: asyncio.Event, *, objects: int) -> Summary:
    """Run it all; the last sync's summary. Raises an error where the check finds one wrong byte or a sync moved more, or
    less, than it had to. Leaves no process and no file."""
    say = _Narrator(emit)
    with tempfile.TemporaryDirectory(prefix="dth-demo-") as folder, _environment(KEYS):
        root = Path(folder)
        say(f"starting two object stores (SeaweedFS) in {folder}")
        async with running(root / "one", *KEYS.values()) as one, running(root / "two", *KEYS.values()) as two:
            await asyncio.to_thread(make_bucket, one, BUCKETS[0])
            await asyncio.to_thread(make_bucket, two, BUCKETS[1])
            return await _story(_job(one, two, root / "state"), one, two, objects, say, stop)


async def _story(
    job: TransferJob, one: Seaweed, two: Seaweed, count: int, say: _Narrator, stop: asyncio.Event
) -> Summary:
    content = [*small_objects(count), large_object(LARGE_BYTES)]
    expected = {item.key: item for item in content}
    say(f"filling {one.endpoint} with {count:,} small objects and one of {LARGE_BYTES // 1_000_000} MB")
    await fill(job, content)
    say("syncing to the other store")
    await say.sync("first sync", job, stop, moves=len(content))
    changes = changed(content)
    say(f"changing and adding {len(changes)} objects, syncing again")
    await fill(job, changes)
    expected |= {item.key: item for item in changes}
    await say.sync("after changes", job, stop, moves=len(changes))
    last = await say.sync("nothing to do", job, stop, moves=0)
    say("checking every object of the destination through its filer, not through dth")
    await asyncio.to_thread(_check, two.filer, expected)
    say.table(len(expected))
    return last


def _job(one: Seaweed, two: Seaweed, state: Path) -> TransferJob:
    return TransferJob(
        src_bucket=BUCKETS[0],
        src_endpoint=one.endpoint,
        src_region="us-east-1",
        dest_bucket=BUCKETS[1],
        dest_endpoint=two.endpoint,
        dest_region="us-east-1",
        strip_src_prefix=True,
        state=state,
    )


def _check(filer: str, expected: Mapping[str, DemoObject]) -> None:
    wrong = differences(filer, BUCKETS[1], {key: item.sha256() for key, item in expected.items()})
    if wrong:
        raise BodyMismatch(
            f"the destination is not what it should be ({len(wrong)} differences): {'; '.join(wrong[:5])}"
        )


class _Narrator:
    """Tells the story as notices, and remembers what the table will hold."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._rows: list[tuple[str, Summary]] = []

    def __call__(self, text: str) -> None:
        self._emit(Notice("info", "demo", text))

    async def sync(self, name: str, job: TransferJob, stop: asyncio.Event, *, moves: int) -> Summary:
        """One sync, which must move exactly `moves` objects."""
        summary = await verbs.sync(job, self._pass_on, stop, dry_run=False)
        if stop.is_set():
            raise asyncio.CancelledError
        if (summary.done, summary.failed) != (moves, 0):
            raise DthError(f"{name}: moved {summary.done}, failed {summary.failed}; {moves} had to move")
        self._rows.append((name, summary))
        return summary

    def _pass_on(self, event: Event) -> None:
        self._emit(event)

    def table(self, checked: int) -> None:
        """What was measured, a line each."""
        self(f"{'':16}{'objects':>9}{'MB':>9}{'seconds':>9}{'objects/s':>11}{'requests':>10}")
        for name, summary in self._rows:
            requests = sum(sum(side.values()) for side in summary.requests.values())
            rate = summary.done / summary.seconds if summary.seconds else 0.0
            self(
                f"{name:16}{summary.done:>9,}{summary.bytes / 1e6:>9,.1f}{summary.seconds:>9.1f}{rate:>11,.0f}"
                f"{requests:>10,}"
            )
        self(f"all {checked:,} objects at the destination are as expected, byte for byte")


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """The demo's keys, for the syncs and the worker processes that they start."""
    before = {name: os.environ.get(name) for name in [*values, "AWS_PROFILE", "AWS_SESSION_TOKEN"]}
    for name in before:
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

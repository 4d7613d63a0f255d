"""Runs an image job in this process, from one registry to another, in one go or through its queue, and says how it went."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dth.app import verbs
from dth.app.record import Record
from dth.embedded import process_name
from dth.events import Event, Notice, ObjectFailed, Requests
from dth.ledgers.sqlite import SqliteLedger
from dth.settings import ImageJob, TransferJob, load_image_settings
from dth.summary import Summary

HANG_SECONDS = 60
JOB = "images"


@dataclass
class Ran:
    summary: Summary
    events: list[Event]
    report: list[dict[str, Any]] = field(default_factory=list)

    @property
    def failures(self) -> dict[str, str]:
        """Error code by source, of images that ended FAILED."""
        return {one.key: one.error_code for one in self.events if isinstance(one, ObjectFailed) and one.final}

    @property
    def again(self) -> list[str]:
        """Error codes of attempts that were made anew."""
        return [one.error_code for one in self.events if isinstance(one, ObjectFailed) and not one.final]

    @property
    def warnings(self) -> list[str]:
        return [one.text for one in self.events if isinstance(one, Notice) and one.level == "warning"]

    def requests(self, side: str) -> dict[str, int]:
        """By operation."""
        (found,) = [one for one in self.events if isinstance(one, Requests)]
        return found.source if side == "source" else found.destination


async def sync_images(folder: Path, source: str, destination: str, *, dry_run: bool = False, **given: Any) -> Ran:
    """`dth ecr-sync` between two addresses; `given` are settings."""
    job, report = _job(folder, source, destination, given)
    events: list[Event] = []
    async with asyncio.timeout(HANG_SECONDS):
        summary = await verbs.ecr_sync(job, events.append, asyncio.Event(), dry_run=dry_run)
    return _ran(summary, events, report)


async def list_images(folder: Path, source: str, **given: Any) -> Ran:
    """`dth ecr-sync --list`."""
    job, report = _job(folder, source, "http://127.0.0.1:9", given)
    events: list[Event] = []
    async with asyncio.timeout(HANG_SECONDS):
        summary = await verbs.list_images(job, events.append, asyncio.Event())
    return _ran(summary, events, report)


async def enqueue_images(
    folder: Path, source: str, destination: str, *, stop_at: type[Event] | None = None, **given: Any
) -> Ran:
    """`dth ecr-sync --enqueue`: the job is called `images`. `stop_at`: as if Ctrl-C came with the first such event."""
    job, report = _job(folder, source, destination, {"job_id": JOB, **given})
    events: list[Event] = []
    stop = asyncio.Event()

    def hear(event: Event) -> None:
        events.append(event)
        if stop_at is not None and isinstance(event, stop_at):
            stop.set()

    async with asyncio.timeout(HANG_SECONDS):
        summary = await verbs.enqueue_images(job, hear, stop)
    return _ran(summary, events, report)


async def work_images(folder: Path, **given: Any) -> Ran:
    """One worker process of `dth work --until-empty` on what was enqueued, in this process."""
    report = folder / "report.jsonl"
    report.unlink(missing_ok=True)
    job = TransferJob(**{"job_id": JOB, "state": folder, "report": str(report), "stall_seconds": 1, **given})
    events: list[Event] = []
    record = Record(events.append)
    async with asyncio.timeout(HANG_SECONDS):
        await verbs.run_child(
            job.model_dump_json(exclude_unset=True), process_name(), strict=True, until_empty=True, emit=record.note,
            stop=asyncio.Event(),
        )  # fmt: skip
    ledger = await SqliteLedger.open(folder / JOB / "ledger.db")
    try:
        await record.read_runs(ledger)
    finally:
        await ledger.close()
    return _ran(record.summary(interrupted=False), events, report)


def _job(folder: Path, source: str, destination: str, given: dict[str, Any]) -> tuple[ImageJob, Path]:
    report = folder / "report.jsonl"
    report.unlink(missing_ok=True)
    flags = {"src_registry": source, "dest_registry": destination, "report": str(report), "state": str(folder), **given}
    return load_image_settings({name: str(value) for name, value in flags.items()}, {}, None), report


def _ran(summary: Summary, events: list[Event], report: Path) -> Ran:
    lines = report.read_text().splitlines() if report.exists() else []
    return Ran(summary, events, [json.loads(line) for line in lines])

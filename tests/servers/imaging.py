"""Runs an image job in this process, from one registry to another, and says how it went."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dth import app
from dth.events import Event, Notice, ObjectFailed, Requests
from dth.settings import load_image_settings
from dth.summary import Summary

HANG_SECONDS = 60


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
    report = folder / "report.jsonl"
    report.unlink(missing_ok=True)
    flags = {"src_registry": source, "dest_registry": destination, "report": str(report), "state": str(folder), **given}
    job = load_image_settings({name: str(value) for name, value in flags.items()}, {}, None)
    events: list[Event] = []
    async with asyncio.timeout(HANG_SECONDS):
        summary = await app.ecr_sync(job, events.append, asyncio.Event(), dry_run=dry_run)
    lines = report.read_text().splitlines() if report.exists() else []
    return Ran(summary, events, [json.loads(line) for line in lines])

"""`dth verify`, from settings."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from dth import settings
from dth.app.selection import selection_of
from dth.app.sides import MOVING_CONNECTIONS, Sides, open_pace, open_sides
from dth.app.stopping import unless_stopped
from dth.embedded import StateFolder
from dth.events import Emit
from dth.report import ReportLevel
from dth.settings import TransferJob
from dth.states import Comparison
from dth.summary import ExitCode, Verified
from dth.verify.report import CompareReport
from dth.verify.run import Findings, VerifySettings
from dth.verify.run import verify as compare


async def verify(
    job: TransferJob, emit: Emit, stop: asyncio.Event, *, download: bool, metadata: bool, tags: bool
) -> Verified:
    """Compare both sides and write to neither. Raises what a listing raises: a side that cannot be listed is not equal.

    `stop` ends it at once; what was found by then is in the report.
    """
    began = time.monotonic()
    folder = StateFolder(job.state, settings.job_id(job))
    folder.make()
    path = Path(job.report) if job.report else folder.path / "verify.jsonl"
    findings = Findings()
    with CompareReport(path, ReportLevel(job.report_level or ReportLevel.FAILED)) as report:
        async with open_sides(job, connections=MOVING_CONNECTIONS, pace=open_pace(job)) as sides:
            await sides.check(job, emit)
            options = _verify_settings(job, folder, download=download, metadata=metadata, tags=tags)
            comparing = compare(sides.source, sides.destination, options, report, findings, emit)
            await unless_stopped(comparing, stop)
            sides.tell(job, emit)
            return _summary(findings, sides, report, time.monotonic() - began)


def _verify_settings(
    job: TransferJob, folder: StateFolder, *, download: bool, metadata: bool, tags: bool
) -> VerifySettings:
    return VerifySettings(
        mapping=settings.mapping(job),
        download=download,
        metadata=metadata,
        tags=tags,
        in_flight=job.worker_number,
        memory_budget=job.memory_budget,
        sort_memory=job.sort_memory,
        sort_directory=str(folder.scratch),
        select=selection_of(job),
    )


def _summary(findings: Findings, sides: Sides, report: CompareReport, seconds: float) -> Verified:
    asked = sides.requests("verify")
    code = ExitCode.SOME_FAILED if findings.differences else ExitCode.COMPLETE
    return Verified(
        counts={one.value: findings.comparisons[one] for one in Comparison if findings.comparisons[one]},
        verified_by=dict(findings.proofs),
        source_objects=findings.listed.source,
        dest_objects=findings.listed.destination,
        bytes=findings.bytes,
        seconds=seconds,
        exit_code=code if findings.over else ExitCode.INTERRUPTED,
        complete=findings.over,
        report=str(report.path),
        requests={"source": asked.source, "destination": asked.destination},
    )

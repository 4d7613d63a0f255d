"""Worker processes and their parent: what is said while one of them is only starting."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from dth import settings
from dth.children import ChildTask
from dth.embedded import StateFolder
from dth.settings import TransferJob


async def test_a_worker_told_to_drain_before_it_has_read_its_task_drains(tmp_path: Path) -> None:
    job = TransferJob(src_bucket="one", dest_bucket="two", state=tmp_path)
    StateFolder(job.state, settings.job_id(job)).make()
    task = ChildTask("here:1:1/1", job.model_dump_json(exclude_unset=True), strict=False, until_empty=False)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dth.cli.child"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin
    assert child.stdout
    try:
        child.stdin.write(task.line() + b"drain\n")
        async with asyncio.timeout(60):
            said = [json.loads(line)["event"] async for line in child.stdout]
            assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        child.stdin.close()
    assert "WorkerStarted" in said

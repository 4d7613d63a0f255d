"""What a stop ends, and what a command says that was stopped."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from dth.app.build import Lock, open_embedded
from dth.app.stopping import unless_stopped
from dth.app.work import LocalWorkers
from dth.children import spawn
from dth.cli.output.summary import headline
from dth.embedded import StateFolder
from dth.errors import QueueError, SettingsError
from dth.settings import TransferJob
from dth.summary import ExitCode, RunTotals, Summary


async def test_work_ends_at_once_when_stopped_and_has_cleaned_up() -> None:
    stop, cleaned = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        try:
            stop.set()
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async with asyncio.timeout(30):
        await unless_stopped(endless(), stop)
    assert cleaned.is_set()


async def test_work_that_fails_before_it_is_stopped_says_so() -> None:
    async def failing() -> None:
        raise QueueError("gone")

    with pytest.raises(QueueError, match="gone"):
        await unless_stopped(failing(), asyncio.Event())


async def test_a_sync_stopped_before_its_finder_began_has_found_nothing_out(tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()

    async def find() -> None:
        pytest.fail("the finder was started")

    job = TransferJob(src_bucket="one", dest_bucket="two", state=tmp_path)
    async with open_embedded(job, lock=Lock.ALONE) as here, asyncio.timeout(30):
        assert not await LocalWorkers(job, here, lambda _: None, strict=False, start=spawn).run_until_over(find, stop)


async def test_a_state_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path, "job")
    (folder.path / "lock").mkdir(parents=True)  # fails to open, whoever asks
    with pytest.raises(SettingsError, match=r"cannot be written: .* --state"):
        await folder.lock(alone=True, patience_seconds=0)


SEALED = RunTotals("new", "sealed", found=2, done=2)
ABANDONED = RunTotals("old", "abandoned", done=1)


@pytest.mark.parametrize(
    ("runs", "code", "complete"),
    [
        ((SEALED,), ExitCode.COMPLETE, True),
        ((ABANDONED, SEALED), ExitCode.COMPLETE, True),  # its difference was found again
        ((SEALED, ABANDONED), ExitCode.SOME_FAILED, False),
        ((RunTotals("new", "sealed", found=2, done=1),), ExitCode.COMPLETE, False),
        ((), ExitCode.COMPLETE, True),
        ((), ExitCode.INTERRUPTED, False),  # nothing was seen because nothing was looked at
    ],
)
def test_a_summary_is_complete_when_nothing_is_left_to_do(
    runs: tuple[RunTotals, ...], code: int, *, complete: bool
) -> None:
    assert Summary(runs, 0, 1.0, code).complete is complete


def test_an_interrupted_dry_run_does_not_pass_for_a_whole_one() -> None:
    whole = Summary((), 5, 1.0, ExitCode.COMPLETE, planned=5, planned_bytes=10)
    assert headline(whole).startswith("Dry run: 5 objects")
    assert headline(replace(whole, exit_code=ExitCode.INTERRUPTED)).startswith("Interrupted dry run: 5 objects")

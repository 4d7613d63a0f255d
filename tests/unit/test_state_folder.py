"""The state on a machine that others use too: nobody reads it, and nobody decides what is in it."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dth.embedded import StateFolder
from dth.errors import LedgerError, SettingsError
from dth.ledgers.sqlite import SqliteLedger
from dth.queues.sqlite import SqliteQueue
from dth.report import JsonlReport, ReportLevel
from dth.verify.report import CompareReport


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def test_folders_and_files_are_their_owner_s_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    root = tmp_path / "new" / "state"
    folder = StateFolder(root, "job")
    os.close(await folder.lock(alone=True, patience_seconds=0))
    queue = await SqliteQueue.open(folder.queue, owner="o", lease_seconds=60, message_bytes=262_144, receive_limit=20)
    ledger = await SqliteLedger.open(folder.ledger)
    await queue.send(["x"])
    await ledger.put_note("job", "n", "v")
    JsonlReport(folder.path / "report.jsonl", ReportLevel.ALL).check()
    with CompareReport(folder.path / "verify.jsonl", ReportLevel.ALL):
        pass
    found = {path.relative_to(tmp_path): mode(path) for path in tmp_path.rglob("*")}
    await queue.close()
    await ledger.close()
    assert len(found) >= 10
    for path, bits in found.items():
        assert bits == (0o700 if (tmp_path / path).is_dir() else 0o600), path
    assert mode(root.parent) == 0o700


async def test_a_folder_that_an_older_version_left_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir(mode=0o755)
    StateFolder(tmp_path, "job").make()
    assert mode(tmp_path / "job") == 0o700


@pytest.mark.parametrize("where", [".", "job", "job/scratch"])
@pytest.mark.parametrize("bits", [0o770, 0o777, 0o707])
async def test_a_folder_that_others_may_write_to_is_refused_in_words(tmp_path: Path, where: str, bits: int) -> None:
    root = tmp_path / "state"
    (root / "job" / "scratch").mkdir(parents=True, mode=0o700)
    (root / where).chmod(bits)
    with pytest.raises(SettingsError, match="others may write to the state folder"):
        StateFolder(root, "job").make()


async def test_a_folder_that_nobody_can_take_away_from_may_hold_the_state(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    StateFolder(tmp_path, "job").make()


async def test_a_folder_of_somebody_else_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    StateFolder(tmp_path, "job").make()
    monkeypatch.setattr(os, "geteuid", lambda: 4242)  # of who comes later
    with pytest.raises(SettingsError, match=f"belongs to user {os.getuid()}"):
        StateFolder(tmp_path, "job").make()


async def test_a_linked_job_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "job").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="is a link"):
        StateFolder(tmp_path / "state", "job").make()


async def test_a_linked_lock_destroys_no_file(tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    folder = StateFolder(tmp_path / "state", "job")
    folder.make()
    (folder.path / "lock").symlink_to(victim)
    with pytest.raises(SettingsError, match="cannot be written"):
        await folder.lock(alone=True, patience_seconds=0)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("there", [True, False])
async def test_a_linked_database_is_not_followed(tmp_path: Path, *, there: bool) -> None:
    victim = tmp_path / "victim.db"
    if there:
        sqlite3.connect(victim).close()
        victim.touch()
    (tmp_path / "ledger.db").symlink_to(victim)
    with pytest.raises(LedgerError, match="it is a link"):
        await SqliteLedger.open(tmp_path / "ledger.db")
    assert victim.exists() is there
    assert not there or victim.read_bytes() == b""

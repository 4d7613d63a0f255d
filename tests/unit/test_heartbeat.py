"""A worker's signs of life: a file's time for one supervisor, messages for another."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from dth.app.heartbeat import beating
from dth.errors import SettingsError

BEAT = 0.01


async def renewed(file: Path) -> None:
    """Return once the file's time has moved on."""
    os.utime(file, (1, 1))
    while file.stat().st_mtime == 1:
        await asyncio.sleep(BEAT)


async def test_the_file_is_there_is_renewed_also_while_stopping_and_goes_at_the_end(tmp_path: Path) -> None:
    file, stop = tmp_path / "alive", asyncio.Event()
    async with asyncio.timeout(20):
        async with beating(str(file), stop, BEAT):
            await renewed(file)
            stop.set()
            await renewed(file)
        assert not file.exists()


async def test_a_file_that_cannot_be_written_is_named_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--health-file .*nowhere.alive: No such file"):
        async with beating(str(tmp_path / "nowhere" / "alive"), asyncio.Event(), BEAT):
            pytest.fail("it began")


async def test_systemd_hears_of_the_start_of_life_and_of_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, address = asyncio.Event(), tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(address))
        heard.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        async with beating("", stop, BEAT):
            assert heard.recv(100) == b"READY=1"
            assert await asyncio.to_thread(heard.recv, 100) == b"WATCHDOG=1"
            stop.set()
            while (state := await asyncio.to_thread(heard.recv, 100)) != b"STOPPING=1":
                assert state == b"WATCHDOG=1"


async def test_nobody_listens_and_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    async with beating("", asyncio.Event(), BEAT):
        await asyncio.sleep(3 * BEAT)

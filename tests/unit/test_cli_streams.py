"""Standard streams that are closed, full, or left by their reader never stop the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import dth

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("DTH_")} | {
    "PYTHONPATH": str(Path(dth.__file__).parents[1])
}

# Says something on both streams, makes a loop with sockets as the command does, and says something again.
WORK = """
    import asyncio, sys, uvloop
    from dth.cli.output import streams
    streams.secure()
    async def work():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        for stream in (sys.stdout, sys.stderr):
            for _ in range(10_000):
                stream.write("a line\\n")
                stream.flush()
        server.close()
        open({done!r}, "w").close()
    uvloop.run(work())
    print(streams.end(), file=open({lost!r}, "w"), end="")
"""


def worked(tmp_path: Path, redirection: str) -> str:
    """Run it under a shell's redirection; what it says of standard output, once it got to its end."""
    done, lost, program = tmp_path / "done", tmp_path / "lost", tmp_path / "work.py"
    program.write_text(textwrap.dedent(WORK).format(done=str(done), lost=str(lost)))
    line = f"({sys.executable} {program}; echo $? > {tmp_path}/code) {redirection}"
    subprocess.run(["bash", "-c", line], env=ENVIRONMENT, capture_output=True, check=False, timeout=60)
    assert done.exists(), (tmp_path / "code").read_text()
    assert (tmp_path / "code").read_text() == "0\n"
    return lost.read_text()


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_does_not_stop_the_work(redirection: str, tmp_path: Path) -> None:
    assert worked(tmp_path, redirection) == ""


@pytest.mark.parametrize("redirection", ["| head -1", "2>&1 | head -1"])
def test_a_reader_that_goes_away_does_not_stop_the_work(redirection: str, tmp_path: Path) -> None:
    assert worked(tmp_path, redirection) == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize(("redirection", "lost"), [(">/dev/full", "No space left on device"), ("2>/dev/full", "")])
def test_a_full_disk_behind_a_stream_does_not_stop_the_work_and_is_told_of_standard_output(
    redirection: str, lost: str, tmp_path: Path
) -> None:
    assert worked(tmp_path, redirection) == lost


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_command_whose_output_cannot_be_written_says_so_and_is_not_complete(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "dth", "status", "s3://one", "s3://two", "--json", "--state", str(tmp_path)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "dth: error: standard output could not be written: No space left on device\n"


def test_ctrl_c_while_the_command_is_being_loaded_ends_it_without_a_traceback() -> None:
    program = """
        import builtins, os, signal, sys
        plain = builtins.__import__
        def load(name, *rest):
            if name == "typer":
                os.kill(os.getpid(), signal.SIGINT)
            return plain(name, *rest)
        builtins.__import__ = load
        import dth.__main__
        dth.__main__.run()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGINT  # what a shell calls 130
    assert done.stderr == ""

"""Workers forked from a zygote: what they inherit, and what happens whoever of them dies first."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAM = """
    import asyncio, os, signal, sys, threading
    from dth.children import fork_or_spawn
    from dth.zygote import Zygote

    def main():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.write(1, b"ready\\n")
        line = os.read(0, 1000)
        if line.startswith(b"exit"):
            sys.exit(int(line[4:]))
        if line.startswith(b"raise"):
            raise RuntimeError("as asked")
        if line.startswith(b"descriptors"):
            os.write(1, repr(sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1]).encode() + b"\\n")

    zygote = Zygote.fork(main)
    start = fork_or_spawn(zygote)

    async def body():
        BODY

    asyncio.run(body())
    zygote.close()
"""


def with_body(body: str) -> str:
    return textwrap.dedent(PROGRAM).replace("    BODY", textwrap.indent(textwrap.dedent(body).strip(), "    "))


def played(body: str, *, code: int = 0) -> str:
    """What a program with that body prints. It runs alone: this process has threads, so it could not fork."""
    program = with_body(body)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.mark.parametrize(("order", "code"), [("exit 0", 0), ("exit 7", 7), ("raise", 1), ("", 0)])
def test_a_forked_worker_is_heard_and_its_exit_code_is_told(order: str, code: int) -> None:
    said = played(f"""
        worker = await start(-1)
        print((await worker.stdout.readline()).decode(), end="")
        worker.stdin.write(b"{order}\\n")
        print(await worker.stdout.read(), await worker.wait())
    """)
    assert said == f"ready\nb'' {code}\n"


def test_a_killed_worker_ends_with_its_signal_and_others_go_on() -> None:
    said = played("""
        one, two = await start(-1), await start(-1)
        one.kill()
        print(await one.wait())
        one.kill()
        two.stdin.write(b"exit 5\\n")
        print(await two.wait())
    """)
    assert said == f"{-signal.SIGKILL}\n5\n"


def test_a_worker_inherits_its_pipes_and_the_lock_and_nothing_else() -> None:
    said = played("""
        lock = os.open(os.devnull, os.O_RDONLY)
        many = [await start(-1) for _ in range(3)]
        worker = await start(lock)
        await worker.stdout.readline()
        worker.stdin.write(b"descriptors\\n")
        print((await worker.stdout.readline()).decode(), end="")
        for each in many:
            each.stdin.write(b"exit 0\\n")
            await each.wait()
        print(await worker.wait())
    """)
    descriptors, code = said.splitlines()
    assert len(eval(descriptors)) == 4, descriptors  # stdin, stdout, stderr, lock
    assert code == "0"


def test_workers_outlive_their_zygote_and_new_ones_are_spawned() -> None:
    said = played("""
        worker = await start(-1)
        await worker.stdout.readline()
        os.kill(zygote.pid, signal.SIGKILL)
        spawned = await start(-1)
        print(spawned.pid != worker.pid, type(spawned).__name__)
        spawned.kill()
        await spawned.wait()
        worker.stdin.write(b"exit 0\\n")
        print(await worker.wait())  # nobody was left to hear its code
    """)
    assert said == f"True Process\n{-signal.SIGKILL}\n"


def test_a_process_with_threads_makes_no_zygote() -> None:
    said = played("""
        threading.Thread(target=lambda: asyncio.run(asyncio.sleep(1)), daemon=True).start()
        print(Zygote.fork(main))
    """)
    assert said == "None\n"


async def test_no_process_is_left_when_the_command_is_killed() -> None:
    body = """
        workers = [await start(-1) for _ in range(3)]
        print(zygote.pid, *(worker.pid for worker in workers), flush=True)
        await asyncio.sleep(60)
    """
    program = with_body(body)
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout
    try:
        async with asyncio.timeout(60):
            pids = [int(word) for word in (await parent.stdout.readline()).split()]
            assert len(pids) == 4
            parent.kill()
            await parent.wait()
            while any(Path(f"/proc/{pid}").exists() and not _zombie(pid) for pid in pids):
                await asyncio.sleep(0.02)
    finally:
        if parent.returncode is None:
            parent.kill()


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_mean_stop_pass_the_zygote_by(stop: signal.Signals) -> None:
    said = played(f"""
        await start(-1)
        os.kill(zygote.pid, signal.{stop.name})
        worker = await start(-1)
        worker.stdin.write(b"exit 4\\n")
        print(await worker.wait())
    """)
    assert said == "4\n"
